"""The local runtime keeps its data over a restart, and its stream mapping delivers again, once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local.deploy import deploy
from infra.local.process import LocalError, free_port
from infra.local.runtime import Runtime

COPY = """
import json, os, boto3
def handler(event, context):
    print("copied", len(event["Records"]))
    for record in event["Records"]:
        body = record["dynamodb"]["Keys"]["pk"]["S"]
        boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=body)
"""
ROOT = {
    "Resources": {"Loop": {"Type": "AWS::Serverless::Application", "Properties": {"Location": "Loop/template.yaml"}}},
    "Outputs": {
        name: {"Value": {"Fn::GetAtt": ["Loop", f"Outputs.{name}"]}} for name in ("TableName", "QueueUrl", "ApiId")
    },
}
LOOP: dict[str, Any] = {
    "Transform": "AWS::Serverless-2016-10-31",
    "Resources": {
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
                "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
            },
        },
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Http": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Name": "loop", "ProtocolType": "HTTP"}},
        "Copy": {
            "Type": "AWS::Serverless::Function",
            "Properties": {
                "Runtime": "python3.13",
                "Handler": "copying.handler",
                "CodeUri": "Copy",
                "Timeout": 10,
                "Environment": {"Variables": {"QUEUE": {"Ref": "Queue"}}},
                "Policies": [{"SQSSendMessagePolicy": {"QueueName": {"Fn::GetAtt": ["Queue", "QueueName"]}}}],
                "Events": {
                    "Rows": {
                        "Type": "DynamoDB",
                        "Properties": {
                            "Stream": {"Fn::GetAtt": ["Table", "StreamArn"]},
                            "StartingPosition": "LATEST",
                            "BatchSize": 25,
                            "FilterCriteria": {"Filters": [{"Pattern": json.dumps({"eventName": ["INSERT"]})}]},
                        },
                    }
                },
            },
        },
    },
    "Outputs": {
        "TableName": {"Value": {"Ref": "Table"}},
        "QueueUrl": {"Value": {"Ref": "Queue"}},
        "ApiId": {"Value": {"Ref": "Http"}},
    },
}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A built root template with one application, as `sam build` leaves it."""
    code = tmp_path / "build" / "Loop" / "Copy"
    code.mkdir(parents=True)
    (code / "copying.py").write_text(COPY)
    write(tmp_path / "build", 25)
    return tmp_path / "build" / "template.yaml"


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    with Runtime(tmp_path / "runtime", free_port(), free_port()) as started:
        yield started


def write(folder: Path, batch_size: int) -> None:
    # A root without resources of its own is no stack, so it has one.
    root = {
        **ROOT,
        "Resources": {**ROOT["Resources"], "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": "b"}}},
    }
    (folder / "template.yaml").write_text(yaml.safe_dump(root))
    loop = json.loads(json.dumps(LOOP))
    loop["Resources"]["Copy"]["Properties"]["Events"]["Rows"]["Properties"]["BatchSize"] = batch_size
    (folder / "Loop" / "template.yaml").write_text(yaml.safe_dump(loop))


def mappings(runtime: Runtime) -> list[tuple[int, str]]:
    found = runtime.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    return [(item["BatchSize"], item["FilterCriteria"]["Filters"][0]["Pattern"]) for item in found]


def delivered(runtime: Runtime, outputs: dict[str, str], key: str) -> list[str]:
    """Write a row and read what the function copied from the stream into the queue."""
    runtime.client("dynamodb").put_item(TableName=outputs["TableName"], Item={"pk": {"S": key}})
    queue = runtime.client("sqs")
    for _ in range(10):
        messages = queue.receive_message(QueueUrl=outputs["QueueUrl"], WaitTimeSeconds=1).get("Messages", [])
        for message in messages:
            queue.delete_message(QueueUrl=outputs["QueueUrl"], ReceiptHandle=message["ReceiptHandle"])
        if messages:
            return [message["Body"] for message in messages]
    return []


def test_restart_keeps_data_and_delivery(runtime: Runtime, built: Path) -> None:
    outputs = deploy(runtime, built, {}, quiet=True)
    assert delivered(runtime, outputs, "before") == ["before"]
    before = mappings(runtime)

    runtime.stop()
    runtime.start()

    rows = runtime.client("dynamodb").scan(TableName=outputs["TableName"])["Items"]
    assert [row["pk"]["S"] for row in rows] == ["before"]
    assert [api["ApiId"] for api in runtime.client("apigatewayv2").get_apis()["Items"]] == [outputs["ApiId"]]
    assert mappings(runtime) == before
    assert delivered(runtime, outputs, "after") == ["after"]
    assert deploy(runtime, built, {}, quiet=True) == outputs

    write(built.parent, 26)
    deploy(runtime, built, {}, quiet=True)
    assert mappings(runtime) == [(26, before[0][1])]
    assert delivered(runtime, outputs, "changed") == ["changed"]


def test_only_signed_callers_are_let_in(runtime: Runtime) -> None:
    import boto3
    from botocore.exceptions import ClientError

    stranger = boto3.client(
        "dynamodb",
        endpoint_url=runtime.endpoint,
        region_name="us-east-1",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="wrong",
    )
    with pytest.raises(ClientError, match="UnrecognizedClient"):
        stranger.list_tables()
    assert runtime.client("dynamodb").list_tables()["TableNames"] == []


def test_a_taken_port_is_named(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=f"{runtime.gateway_port} is taken.*LINLI_PORT"):
        Runtime(tmp_path / "other", runtime.gateway_port, free_port()).start()
    with pytest.raises(LocalError, match=f"{runtime.mqtt_port} is taken.*LINLI_MQTT_PORT"):
        Runtime(tmp_path / "other", free_port(), runtime.mqtt_port).start()


def test_state_of_another_version_is_refused(tmp_path: Path) -> None:
    runtime = Runtime(tmp_path / "runtime", free_port(), free_port())
    runtime.state.mkdir(parents=True)
    (runtime.state / "VERSION").write_text("0.9")
    with pytest.raises(LocalError, match="make reset"):
        runtime.start()


def test_an_abandoned_runtime_is_stopped_and_its_data_kept(tmp_path: Path) -> None:
    first = Runtime(tmp_path / "runtime", free_port(), free_port())
    first.start()
    first.client("sqs").create_queue(QueueName="kept")
    with Runtime(tmp_path / "runtime", first.gateway_port, first.mqtt_port) as second:
        assert "left behind" in second.notes[0]
        assert len(second.client("sqs").list_queues()["QueueUrls"]) == 1
