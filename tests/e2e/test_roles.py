"""Every function's role, tried under the local authorization: it may what its template says, and nothing beside.

The functions, their statements, tables and queues are read from the templates, so a new function is tried by itself. What
no function ever needs, and that only the relay publishes, stands here by hand.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.local.runtime import ACCOUNT, REGION
from infra.local.seed import Demonstration
from tests.support import ROOT, template

PREFIX = "linli"
DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "ForbiddenException", "UnauthorizedException"}
KEY = {"pk": {"S": "PROBE"}, "sk": {"S": "-"}}
UNMET: dict[str, Any] = {"ConditionExpression": "attribute_exists(pk)"}
"""No row is there, so what is allowed is refused by its condition and writes nothing."""
Clients = Callable[[str], Any]


@dataclass(frozen=True)
class Function:
    context: str
    name: str
    statements: tuple[dict[str, Any], ...] = field(compare=False)

    def may(self, action: str, *resources: str) -> bool:
        """By the template; one of the `resources` stands there as the template writes it, none of them is any."""
        return any(
            action in _listed(one["Action"])
            and (
                not resources or any(_names(of, resource) for of in _listed(one["Resource"]) for resource in resources)
            )
            for one in self.statements
        )


def _names(written: str, resource: str) -> bool:
    """A statement's resource names this one: all of it, its end after the account, or any index of a table."""
    return any(
        written == one or written.endswith(f":{one}") for one in (resource, re.sub("/index/.*", "/index/*", resource))
    )


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def functions() -> Iterator[Function]:
    for path in sorted((ROOT / "infra").glob("*.yaml")):
        for item in template(path.stem)["Resources"].values():
            if item["Type"] == "AWS::Serverless::Function":
                properties = item["Properties"]
                statements = tuple(one for policy in properties["Policies"] for one in policy["Statement"])
                yield Function(path.stem, properties["FunctionName"].replace("${Prefix}", PREFIX), statements)


def queues() -> dict[str, tuple[str, str]]:
    """Every queue's name, with its context and its logical name there."""
    return {
        item["Properties"]["QueueName"].replace("${Prefix}", PREFIX): (path.stem, logical)
        for path in sorted((ROOT / "infra").glob("*.yaml"))
        for logical, item in template(path.stem)["Resources"].items()
        if item["Type"] == "AWS::SQS::Queue"
    }


FUNCTIONS = sorted(functions(), key=lambda function: function.name)
TABLES = [path.stem for path in sorted((ROOT / "infra").glob("*.yaml")) if "Table" in template(path.stem)["Resources"]]
OWN_TABLE = ("Table.Arn", "table/${TableName}")
"""How a template writes its own table, made by it or given to it."""
TABLE_ACTIONS: dict[str, Callable[[Any, str], Any]] = {
    "dynamodb:GetItem": lambda db, table: db.get_item(TableName=table, Key=KEY),
    "dynamodb:PutItem": lambda db, table: db.put_item(TableName=table, Item=KEY, **UNMET),
    "dynamodb:UpdateItem": lambda db, table: db.update_item(TableName=table, Key=KEY, **UNMET),
    "dynamodb:DeleteItem": lambda db, table: db.delete_item(TableName=table, Key=KEY, **UNMET),
    "dynamodb:Query": lambda db, table: db.query(
        TableName=table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": KEY["pk"]}
    ),
    "dynamodb:Scan": lambda db, table: db.scan(TableName=table, Limit=1),
}


def indexes(table: str) -> dict[str, str]:
    """The table's indexes, each with its first key."""
    made = template(table)["Resources"]["Table"]["Properties"].get("GlobalSecondaryIndexes", [])
    return {one["IndexName"]: one["KeySchema"][0]["AttributeName"] for one in made}


def ask_index(database: Any, table: str, index: str, key: str) -> Any:
    return database.query(
        TableName=f"{PREFIX}-{table}", IndexName=index, KeyConditionExpression="#key = :key",
        ExpressionAttributeNames={"#key": key}, ExpressionAttributeValues={":key": {"S": "PROBE"}},
    )  # fmt: skip


QUEUE_ACTIONS: dict[str, Callable[[Any, str], Any]] = {
    "sqs:GetQueueAttributes": lambda sqs, url: sqs.get_queue_attributes(QueueUrl=url),
    "sqs:ReceiveMessage": lambda sqs, url: sqs.receive_message(QueueUrl=url, VisibilityTimeout=0),
    "sqs:SendMessage": lambda sqs, url: sqs.send_message(QueueUrl=url, MessageBody="probe"),
    "sqs:PurgeQueue": lambda sqs, url: sqs.purge_queue(QueueUrl=url),
}
NEVER: dict[str, Callable[[Clients, str], Any]] = {
    "dynamodb:DeleteTable": lambda of, _: of("dynamodb").delete_table(TableName=f"{PREFIX}-timers"),
    "kms:Encrypt": lambda of, key: of("kms").encrypt(KeyId=key, Plaintext=b"probe"),
    "kms:DisableKey": lambda of, key: of("kms").disable_key(KeyId=key),
    "kms:ScheduleKeyDeletion": lambda of, key: of("kms").schedule_key_deletion(KeyId=key),
    "iam:ListRoles": lambda of, _: of("iam").list_roles(),
    "iam:PutRolePolicy": lambda of, _: of("iam").put_role_policy(RoleName="x", PolicyName="x", PolicyDocument="{}"),
    "sts:AssumeRole": lambda of, _: of("sts").assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/x", RoleSessionName="probe"),
    "lambda:Invoke": lambda of, _: of("lambda").invoke(FunctionName=f"{PREFIX}-identity-api", Payload=b"{}"),
    "lambda:UpdateFunctionCode": lambda of, _: of("lambda").update_function_code(FunctionName="x", ZipFile=b"x"),
    "s3:ListBuckets": lambda of, _: of("s3").list_buckets(),
    "logs:DeleteLogGroup": lambda of, _: of("logs").delete_log_group(logGroupName="/linli/linli/none"),
    "iot:UpdateThing": lambda of, _: of("iot").update_thing(thingName="x"),
    "iot:DeletePolicy": lambda of, _: of("iot").delete_policy(policyName="x"),
    "cognito-idp:ListUserPools": lambda of, _: of("cognito-idp").list_user_pools(MaxResults=1),
    "cloudformation:ListStacks": lambda of, _: of("cloudformation").list_stacks(),
}  # fmt: skip
CERTIFICATE = "0" * 64
PRINCIPAL = f"arn:aws:iot:{REGION}:{ACCOUNT}:cert/{CERTIFICATE}"
SOME: dict[str, Callable[[Clients], Any]] = {
    "iot:CreateThing": lambda of: of("iot").create_thing(thingName="probe"),
    "iot:DeleteThing": lambda of: of("iot").delete_thing(thingName="probe"),
    "iot:CreateKeysAndCertificate": lambda of: of("iot").create_keys_and_certificate(setAsActive=False),
    "iot:CreateCertificateFromCsr": lambda of: of("iot").create_certificate_from_csr(certificateSigningRequest="x"),
    "iot:UpdateCertificate": lambda of: of("iot").update_certificate(certificateId=CERTIFICATE, newStatus="ACTIVE"),
    "iot:DeleteCertificate": lambda of: of("iot").delete_certificate(certificateId=CERTIFICATE),
    "iot:DescribeCertificate": lambda of: of("iot").describe_certificate(certificateId=CERTIFICATE),
    "iot:AttachPolicy": lambda of: of("iot").attach_policy(policyName="probe", target=PRINCIPAL),
    "iot:DetachPolicy": lambda of: of("iot").detach_policy(policyName="probe", target=PRINCIPAL),
    "iot:AttachThingPrincipal": lambda of: of("iot").attach_thing_principal(thingName="probe", principal=PRINCIPAL),
    "iot:DetachThingPrincipal": lambda of: of("iot").detach_thing_principal(thingName="probe", principal=PRINCIPAL),
    "iot:ListThingPrincipals": lambda of: of("iot").list_thing_principals(thingName="probe"),
    "iot:Publish": lambda of: of("iot-data").publish(topic=f"{PREFIX}/v1/probe/answers", payload=b"{}"),
    "firehose:PutRecordBatch": lambda of: of("firehose").put_record_batch(
        DeliveryStreamName=f"{PREFIX}-telemetry", Records=[{"Data": b"{}"}]
    ),
}
"""What some functions may: whoever may not is denied it. Who may is not tried, for what it leaves others would count."""
WHO = {
    "iot:CreateThing": {"devices-api", "devices-on-device-request"},
    "iot:DeleteThing": {"devices-api"},
    "iot:CreateKeysAndCertificate": {"devices-api"},
    "iot:CreateCertificateFromCsr": {"devices-api", "devices-on-device-request"},
    "iot:UpdateCertificate": {"devices-api", "devices-on-device-request", "devices-on-wake"},
    "iot:DeleteCertificate": {"devices-api", "devices-on-device-request"},
    "iot:DescribeCertificate": {"devices-on-device-request"},
    "iot:AttachPolicy": {"devices-api", "devices-on-device-request"},
    "iot:DetachPolicy": {"devices-api", "devices-on-device-request", "devices-on-wake"},
    "iot:AttachThingPrincipal": {"devices-api", "devices-on-device-request"},
    "iot:DetachThingPrincipal": {"devices-api", "devices-on-device-request", "devices-on-wake"},
    "iot:ListThingPrincipals": {"devices-api", "devices-on-device-request", "devices-on-wake"},
    "iot:Publish": {"devices-on-device-request"},
    "firehose:PutRecordBatch": {"devices-on-telemetry"},
    "events:PutEvents": {"relay-on-outbox", "relay-sweep"},
    "lambda:InvokeFunction": {"timers-on-minute"},
    "secretsmanager:GetSecretValue": {"devices-api", "tickets-api"},
}
"""By hand: who may what only some need."""


def test_every_deployed_function_is_tried(linli: Demonstration) -> None:
    pages = linli.runtime.client("lambda").get_paginator("list_functions").paginate()
    assert {one["FunctionName"] for page in pages for one in page["Functions"]} == {one.name for one in FUNCTIONS}


@pytest.fixture(scope="module")
def clients(linli: Demonstration) -> Callable[[Function], Clients]:
    def of(function: Function) -> Clients:
        """Clients with the credentials the function itself gets."""
        role = linli.runtime.client("lambda").get_function_configuration(FunctionName=function.name)["Role"]
        given = linli.runtime.client("sts").assume_role(RoleArn=role, RoleSessionName="probe")["Credentials"]
        session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], REGION)
        settings = Config(proxies={}, s3={"addressing_style": "path"})
        return cache(lambda service: session.client(service, endpoint_url=linli.runtime.endpoint, config=settings))

    return cache(of)


def denied(call: Callable[[], Any]) -> bool:
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"] in DENIED
    return False


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_tables(clients: Any, function: Function) -> None:
    database = clients(function)("dynamodb")
    wrong, allowed = [], 0
    for table in TABLES:
        named = OWN_TABLE if table == function.context else (f"table/${{{table.capitalize()}Table}}",)
        for action, call in TABLE_ACTIONS.items():
            may = function.may(action, *named) and (table == function.context or function.context == "relay")
            allowed += may
            if denied(lambda call=call, table=table: call(database, f"{PREFIX}-{table}")) == may:
                wrong.append(f"{action} on {table}: {'denied' if may else 'allowed'}")
        for index, key in indexes(table).items():
            may = function.may("dynamodb:Query", *(f"{one}/index/{index}" for one in named))
            allowed += may
            if denied(lambda table=table, index=index, key=key: ask_index(database, table, index, key)) == may:
                wrong.append(f"dynamodb:Query on {table}/{index}: {'denied' if may else 'allowed'}")
    assert not wrong
    needs = any(action in TABLE_ACTIONS for one in function.statements for action in _listed(one["Action"]))
    assert bool(allowed) == needs, "the control: what is allowed was let through, so it is the role that is asked"
    assert not function.may("dynamodb:Scan")


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_queues(clients: Any, linli: Demonstration, function: Function) -> None:
    sqs, operator = clients(function)("sqs"), linli.runtime.client("sqs")
    wrong = []
    for queue, (context, logical) in queues().items():
        url = operator.get_queue_url(QueueName=queue)["QueueUrl"]
        for action, call in QUEUE_ACTIONS.items():
            may = context == function.context and function.may(action, f"{logical}.Arn")
            if may and action == "sqs:SendMessage":
                continue  # it would stand among the dead letters
            if denied(lambda call=call, url=url: call(sqs, url)) == may:
                wrong.append(f"{action} on {queue}: {'denied' if may else 'allowed'}")
    assert not wrong


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_the_bus_secrets_devices_and_what_nobody_needs(clients: Any, linli: Demonstration, function: Function) -> None:
    of = clients(function)
    key = linli.runtime.client("kms").list_keys()["Keys"][0]
    secrets = linli.runtime.client("secretsmanager").list_secrets()["SecretList"]
    secret = next(one for one in secrets if "CursorSecret" in one["Name"])
    nothing: dict[str, Any] = {"EventBusName": PREFIX, "Source": "probe", "DetailType": "Probe", "Detail": "{}"}
    tried: dict[str, tuple[bool, Callable[[], Any]]] = {
        "events:PutEvents": (function.context == "relay", lambda: of("events").put_events(Entries=[nothing])),
        "secretsmanager:GetSecretValue": (
            function.may("secretsmanager:GetSecretValue", "CursorSecret"),
            lambda: of("secretsmanager").get_secret_value(SecretId=secret["ARN"]),
        ),
    }
    tried |= {name: (False, lambda call=call: call(of)) for name, call in SOME.items() if not function.may(name)}
    tried |= {name: (False, lambda call=call: call(of, key["KeyId"])) for name, call in NEVER.items()}
    wrong = [name for name, (may, call) in tried.items() if denied(call) == may]
    assert not wrong


def test_what_only_some_need_is_theirs_alone() -> None:
    given = {action: {one.name.removeprefix(f"{PREFIX}-") for one in FUNCTIONS if one.may(action)} for action in WHO}
    assert given == WHO
    assert WHO.keys() >= SOME.keys()


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_who_may_be_woken(clients: Any, function: Function) -> None:
    """A function invokes those its template names, and no other; asked without running them."""
    invoke = clients(function)("lambda").invoke
    wrong = []
    for other in FUNCTIONS:
        parameter = "".join(part.capitalize() for part in other.name.removeprefix(f"{PREFIX}-").split("-"))
        may = function.may("lambda:InvokeFunction", parameter)
        if denied(lambda name=other.name: invoke(FunctionName=name, InvocationType="DryRun")) == may:
            wrong.append(f"{other.name}: {'denied' if may else 'allowed'}")
    assert not wrong


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_the_archive_and_the_key_of_personal_data(clients: Any, linli: Demonstration, function: Function) -> None:
    of, operator = clients(function), linli.runtime.client("lambda")
    settings = operator.get_function_configuration(FunctionName=f"{PREFIX}-tickets-api")["Environment"]["Variables"]
    (bucket,) = [
        one["Name"]
        for one in linli.runtime.client("s3").list_buckets()["Buckets"]
        if f"{PREFIX}-telemetry" in one["Name"]
    ]
    asked: dict[str, tuple[bool, Callable[[], Any]]] = {
        "s3:GetObject": (False, lambda: of("s3").get_object(Bucket=bucket, Key="probe")),
        "s3:PutObject": (False, lambda: of("s3").put_object(Bucket=bucket, Key="probe", Body=b"probe")),
        "s3:ListBucket": (False, lambda: of("s3").list_objects_v2(Bucket=bucket)),
        "kms:GenerateDataKey": (
            function.may("kms:GenerateDataKey", "PersonalKeyArn"),
            lambda: of("kms").generate_data_key(
                KeyId=settings["PERSONAL_KEY"], NumberOfBytes=32, EncryptionContext={"class": "L3"}
            ),
        ),
    }
    assert [name for name, (may, call) in asked.items() if denied(call) == may] == []


def test_a_right_too_many_is_found(clients: Any, linli: Demonstration) -> None:
    """The control: the probe sees what the authorization allows, and it is the role that is asked."""
    function = next(one for one in FUNCTIONS if one.name == f"{PREFIX}-grid-api")
    database = clients(function)("dynamodb")
    role = (
        linli.runtime.client("lambda").get_function_configuration(FunctionName=function.name)["Role"].rpartition("/")[2]
    )
    right = {"Effect": "Allow", "Action": "dynamodb:Scan", "Resource": f"arn:aws:dynamodb:*:*:table/{PREFIX}-alarms"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [right]})
    scan = TABLE_ACTIONS["dynamodb:Scan"]
    iam = linli.runtime.client("iam")
    assert denied(lambda: scan(database, f"{PREFIX}-alarms"))
    iam.put_role_policy(RoleName=role, PolicyName="too-many", PolicyDocument=document)
    try:
        assert not denied(lambda: scan(database, f"{PREFIX}-alarms"))
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="too-many")
    assert denied(lambda: scan(database, f"{PREFIX}-alarms"))
