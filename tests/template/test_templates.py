"""What the templates promise each other, and what each of them promises the operator."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from infra.local.parked import contracts, queue_name
from infra.local.translate import Region, located
from linli.deviceclass import class_names, device_class
from tests.support import ROOT

CONTEXTS = sorted(path.stem for path in (ROOT / "infra").glob("*.yaml"))
APPLICATION = "AWS::Serverless::Application"
UNTAGGABLE = {
    "AWS::ApiGatewayV2::Authorizer",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::CloudWatch::Dashboard",
    "AWS::Cognito::UserPoolClient",
    "AWS::Cognito::UserPoolDomain",
    "AWS::Glue::Database",
    "AWS::Glue::Table",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::LayerVersion",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogStream",
    "AWS::Logs::MetricFilter",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
}


class _Tagged(yaml.SafeLoader):
    """Reads intrinsic functions as (name, argument), so that references can be followed."""


_Tagged.add_multi_constructor(
    "!", lambda loader, suffix, node: {"!": suffix, "of": getattr(loader, f"construct_{node.id}")(node, **_deep(node))}
)


def _deep(node: yaml.Node) -> dict[str, bool]:
    return {} if isinstance(node, yaml.ScalarNode) else {"deep": True}


def load(path: Path) -> dict[str, Any]:
    return dict(yaml.load(path.read_text(encoding="utf-8"), _Tagged))


ROOT_TEMPLATE = load(ROOT / "template.yaml")
NESTED = {name: item for name, item in ROOT_TEMPLATE["Resources"].items() if item["Type"] == APPLICATION}


def nested(name: str) -> dict[str, Any]:
    return load(ROOT / NESTED[name]["Properties"]["Location"])


def references(value: Any) -> Iterator[tuple[str, str]]:
    """(kind, target) of every !Ref, !GetAtt and !Sub variable below a value."""
    if isinstance(value, dict) and set(value) == {"!", "of"}:
        kind, of = value["!"], value["of"]
        if kind in ("Ref", "GetAtt"):
            yield kind, of
        elif kind == "Sub":
            text = of if isinstance(of, str) else of[0]
            yield from (("Ref", name) for name in re.findall(r"\$\{([A-Za-z]\w*)\}", text))
            yield from (("GetAtt", name) for name in re.findall(r"\$\{(\w+\.[\w.]+)\}", text))
        yield from references(of)
    elif isinstance(value, dict):
        yield from (found for one in value.values() for found in references(one))
    elif isinstance(value, list):
        yield from (found for one in value for found in references(one))


def resources(kind: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (context, name, item)
        for context in CONTEXTS
        for name, item in load(ROOT / "infra" / f"{context}.yaml")["Resources"].items()
        if item["Type"] == kind
    ]


FUNCTIONS = resources("AWS::Serverless::Function")
SUBSCRIPTIONS = [one for one in resources("AWS::Events::Rule") if "EventPattern" in one[2]["Properties"]]
MAPPINGS = resources("AWS::Lambda::EventSourceMapping")


def translated(path: Path) -> dict[str, Any]:
    """The resources that CloudFormation gets to see."""
    template = located(yaml_parse(path.read_text(encoding="utf-8")), path.parent)
    values = {name: item.get("Default", name) for name, item in template["Parameters"].items()}
    return dict(Translator({}, Parser(), boto_session=Region()).translate(template, values)["Resources"])


TRANSLATED = {path.stem: translated(path) for path in [ROOT / "template.yaml", *(ROOT / "infra").glob("*.yaml")]}


def test_every_template_of_infra_is_an_application() -> None:
    assert {Path(item["Properties"]["Location"]).stem for item in NESTED.values()} == set(CONTEXTS)


@pytest.mark.parametrize("name", sorted(NESTED))
def test_a_nested_template_is_fed_what_it_asks_for_and_nothing_else(name: str) -> None:
    assert set(NESTED[name]["Properties"].get("Parameters", {})) == set(nested(name).get("Parameters", {}))


@pytest.mark.parametrize("name", sorted(NESTED))
def test_every_parameter_of_a_nested_template_is_used(name: str) -> None:
    template = nested(name)
    used = {target for kind, target in references(template) if kind == "Ref"}
    conditions = {target for _, target in references(template.get("Conditions", {}))}
    assert set(template.get("Parameters", {})) <= used | conditions


def test_every_output_that_is_read_exists_and_every_reference_leads_somewhere() -> None:
    known = set(ROOT_TEMPLATE["Resources"]) | set(ROOT_TEMPLATE["Parameters"])
    for kind, target in references(ROOT_TEMPLATE):
        name, _, rest = target.partition(".")
        assert name in known or target.startswith("AWS::"), target
        if kind == "GetAtt" and name in NESTED:
            assert rest.removeprefix("Outputs.") in nested(name)["Outputs"], target


def test_the_order_of_the_applications_has_no_circle() -> None:
    graph = {
        name: {target.split(".")[0] for _, target in references(item["Properties"])} & NESTED.keys()
        for name, item in NESTED.items()
    }
    assert len(list(TopologicalSorter(graph).static_order())) == len(NESTED)


@pytest.mark.parametrize(("context", "name", "item"), FUNCTIONS, ids=lambda value: str(value)[:30])
def test_a_functions_rights_are_narrow(context: str, name: str, item: dict[str, Any]) -> None:
    statements = [one for policy in item["Properties"]["Policies"] for one in policy["Statement"]]
    for statement in statements:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert statement["Effect"] == "Allow"
        assert not [action for action in actions if "*" in action or action in ("dynamodb:Scan", "iam:PassRole")]
        if statement["Resource"] == "*":
            without_resource = {"CreateKeysAndCertificate", "CreateCertificateFromCsr", "DescribeEndpoint"}
            whole = {f"iot:{action}" for action in without_resource | {"AttachPolicy", "DetachPolicy"}}
            assert set(actions) <= whole, (context, name)
        if context != "relay" and any(action.startswith("dynamodb:") for action in actions):
            assert {target.split(".")[0] for _, target in references(statement["Resource"])} == {"TableName"}


@pytest.mark.parametrize(("context", "name", "item"), FUNCTIONS, ids=lambda value: str(value)[:30])
def test_a_function_keeps_its_log_180_days_and_is_told_apart_by_its_tag(
    context: str, name: str, item: dict[str, Any]
) -> None:
    template = load(ROOT / "infra" / f"{context}.yaml")
    group = item["Properties"]["LoggingConfig"]["LogGroup"]["of"]
    assert template["Resources"][group]["Properties"]["RetentionInDays"] == 180
    assert template["Globals"]["Function"]["Tags"] == {"context": context}


@pytest.mark.parametrize(("context", "name", "item"), SUBSCRIPTIONS, ids=lambda value: str(value)[:30])
def test_a_subscriber_has_a_queue_and_that_queue_a_dead_letter_queue(
    context: str, name: str, item: dict[str, Any]
) -> None:
    here = load(ROOT / "infra" / f"{context}.yaml")["Resources"]
    (target,) = item["Properties"]["Targets"]
    queue = here[target["Arn"]["of"].split(".")[0]]
    assert queue["Type"] == "AWS::SQS::Queue"
    dead = here[queue["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]["of"].split(".")[0]]
    assert dead["Properties"]["MessageRetentionPeriod"] == 1209600
    assert "DeadLetterConfig" in target


@pytest.mark.parametrize(("context", "name", "item"), MAPPINGS, ids=lambda value: str(value)[:30])
def test_a_function_may_read_what_it_is_fed_and_no_other_queue_or_stream(
    context: str, name: str, item: dict[str, Any]
) -> None:
    resources = load(ROOT / "infra" / f"{context}.yaml")["Resources"]
    properties = item["Properties"]
    function = resources[properties["FunctionName"]["of"]]["Properties"]
    source = properties["EventSourceArn"]
    needed = "sqs:ReceiveMessage" if source["!"] == "GetAtt" else "dynamodb:GetRecords"
    (readable,) = [one["Resource"] for one in function["Policies"][0]["Statement"] if needed in one["Action"]]
    if source["!"] == "GetAtt":
        queue = resources[source["of"].removesuffix(".Arn")]
        assert readable == source
        assert properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert queue["Properties"]["VisibilityTimeout"] >= 6 * function["Timeout"]
    else:
        assert readable == [one["Properties"]["EventSourceArn"] for owner, _, one in MAPPINGS if owner == context]
        assert properties["DestinationConfig"]["OnFailure"]["Destination"]["of"] == "DeadLetters.Arn"


def test_every_queue_but_the_dead_letters_has_its_reader() -> None:
    read = {(context, item["Properties"]["EventSourceArn"]["of"]) for context, _, item in MAPPINGS}
    queues = [(context, f"{name}.Arn") for context, name, _ in resources("AWS::SQS::Queue")]
    assert {queue for queue in queues if not queue[1].endswith("DeadLetters.Arn")} <= read


@pytest.mark.parametrize("context", sorted(TRANSLATED))
def test_no_role_may_more_than_its_statements_and_its_log(context: str) -> None:
    for name, item in TRANSLATED[context].items():
        if item["Type"] == "AWS::IAM::Role":
            managed = [re.findall(r"\w+", str(arn))[-1] for arn in item["Properties"].get("ManagedPolicyArns", [])]
            assert set(managed) <= {"AWSLambdaBasicExecutionRole"}, name


@pytest.mark.parametrize("context", sorted(TRANSLATED))
def test_what_can_be_tagged_says_its_context(context: str) -> None:
    for name, item in TRANSLATED[context].items():
        if item["Type"] not in UNTAGGABLE:
            named = (item["Properties"].get(name) for name in ("Tags", "UserPoolTags", "ResourceTags"))
            tags: Any = next(filter(None, named), [])
            pairs = tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}
            own = name.lower() if item["Type"] == "AWS::CloudFormation::Stack" else "shared"
            assert pairs.get("context") == (own if context == "template" else context), name


@pytest.mark.parametrize(
    ("context", "name", "item"), resources("AWS::DynamoDB::Table"), ids=lambda value: str(value)[:30]
)
def test_a_table_is_encrypted_recoverable_and_its_indexes_carry_no_personal_data(
    context: str, name: str, item: dict[str, Any]
) -> None:
    properties = item["Properties"]
    assert item["DeletionPolicy"] == "RetainExceptOnCreate"
    assert properties["SSESpecification"]["SSEType"] == "KMS"
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    personal = {"text", "note", "payload", "phone", "subject"}
    for index in properties.get("GlobalSecondaryIndexes", []):
        assert index["Projection"]["ProjectionType"] == "INCLUDE"
        assert not personal & set(index["Projection"]["NonKeyAttributes"])


@pytest.mark.parametrize(
    ("context", "name", "item"), resources("AWS::ApiGatewayV2::Route"), ids=lambda value: str(value)[:30]
)
def test_a_route_asks_who_calls(context: str, name: str, item: dict[str, Any]) -> None:
    properties = item["Properties"]
    if properties["RouteKey"] == "GET /v1/openapi.json":
        assert "AuthorizerId" not in properties
    else:
        assert (properties["AuthorizationType"], properties["AuthorizerId"]["!"]) == ("CUSTOM", "Ref")


def test_what_is_archived_is_gone_when_its_class_says() -> None:
    ((_, _, bucket),) = [one for one in resources("AWS::S3::Bucket") if one[0] == "devices"]
    rules = {rule.get("Prefix"): rule for rule in bucket["Properties"]["LifecycleConfiguration"]["Rules"]}
    archived = [of for name in class_names() if (of := device_class(name)) and of.privacy != "L4"]
    assert archived
    for of in archived:
        rule = rules.get(f"telemetry/class={of.name}/", rules["telemetry/"])
        assert rule["ExpirationInDays"] == of.raw_days, of.name


@pytest.mark.parametrize("kind", ["AWS::Logs::LogGroup", "AWS::IoT::Policy"])
def test_logs_and_what_devices_hang_on_outlive_the_stack(kind: str) -> None:
    assert resources(kind)
    for context, name, item in resources(kind):
        kept = (item.get("DeletionPolicy"), item.get("UpdateReplacePolicy"))
        assert kept == ("RetainExceptOnCreate", "Retain"), (context, name)


def test_two_deployments_do_not_hear_each_others_devices() -> None:
    # What the broker itself says of connections has no prefix; of another deployment's devices nothing is known here.
    rules = set((ROOT / "iot_rules").glob("*.yaml")) - {ROOT / "iot_rules" / "presence.yaml"}
    for path in [*rules, ROOT / "infra" / "devices.yaml"]:
        topics = re.findall(r"\S+/v1/\S+/(?:events|telemetry|requests|answers)", path.read_text(encoding="utf-8"))
        assert topics, path.name
        for topic in topics:
            assert re.search(r"(\$\{Prefix\}|<prefix>)/v1/", topic), (path.name, topic)


def test_nothing_names_a_partition_or_a_region() -> None:
    # The name of a service that is the same in every partition; CloudWatch Logs has one for each region.
    principal = re.compile(r"\s*Principal: (\{ Service: )?[a-z]+\.amazonaws\.com( \})?")
    for path in [ROOT / "template.yaml", *(ROOT / "infra").glob("*.yaml"), *(ROOT / "iot_rules").glob("*.yaml")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"arn:aws[-:]", text), path.name
        assert not re.search(r"(us|eu|cn|ap)-(east|west|north|south)\w*-[0-9]", text), path.name
        for line in text.splitlines():
            assert "amazonaws.com" not in line or principal.fullmatch(line), (path.name, line)


def test_only_who_shows_and_takes_personal_texts_may_open_and_seal_them() -> None:
    for context, name, item in FUNCTIONS:
        properties = item["Properties"]
        mine = {target for _, target in references([properties["Policies"], properties.get("Environment", {})])}
        assert ("PersonalKeyArn" in mine) == (properties["Handler"] == "tickets.api.handler"), (context, name)


def sources() -> set[tuple[str, str, str]]:
    """(context, module, source) of every function that parks what it cannot read."""
    found = set()
    for path in sorted((ROOT / "functions").glob("*/*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            given = {one.arg: one.value for one in call.keywords} if isinstance(call, ast.Call) else {}
            if isinstance(given.get("source"), ast.Constant):
                found.add((path.parent.name, path.stem, str(given["source"].value)))
    return found


def test_a_parked_message_finds_its_queue_and_its_contract() -> None:
    read = set()
    for context, _, item in MAPPINGS:
        here = load(ROOT / "infra" / f"{context}.yaml")["Resources"]
        if item["Properties"]["EventSourceArn"]["!"] == "GetAtt":
            queue = here[item["Properties"]["EventSourceArn"]["of"].removesuffix(".Arn")]["Properties"]
            dead = here[queue["RedrivePolicy"]["deadLetterTargetArn"]["of"].removesuffix(".Arn")]["Properties"]
            module = here[item["Properties"]["FunctionName"]["of"]]["Properties"]["Handler"].split(".")[1]
            assert dead["QueueName"]["of"] == f"{queue['QueueName']['of']}-dead"
            read.add((context, module, queue["QueueName"]["of"]))
    assert {
        (context, module, queue_name("${Prefix}", context, source)) for context, module, source in sources()
    } == read
    assert all((ROOT / page).exists() for _, _, source in sources() for page in contracts(source))


def test_a_parked_fact_is_explained_by_the_contracts_of_all_that_its_queue_hears() -> None:
    heard = {}
    for context, _, item in SUBSCRIPTIONS:
        here = load(ROOT / "infra" / f"{context}.yaml")["Resources"]
        (target,) = item["Properties"]["Targets"]
        queue = here[target["Arn"]["of"].split(".")[0]]["Properties"]["QueueName"]["of"]
        heard[queue] = {f"events/schemas/{fact}-v1.json" for fact in item["Properties"]["EventPattern"]["detail-type"]}
    assert heard
    assert heard == {
        queue_name("${Prefix}", context, source): set(contracts(source))
        for context, _, source in sources()
        if source[0].isupper()
    }


def test_an_operator_finds_the_table_of_every_context_that_parks() -> None:
    tables = {name.removesuffix("Table").lower() for name in ROOT_TEMPLATE["Outputs"] if name.endswith("Table")}
    assert {context for context, _, _ in sources()} <= tables
