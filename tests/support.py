"""What tests of several contexts need: a context's table as its template describes it, events, callers."""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import boto3
import yaml

from linli.access import Caller, Post
from linli.facts import Envelope
from linli.facts import Place as PlaceOf

ROOT = Path(__file__).parents[1]
SEED = ROOT / "infra" / "seed"
NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
CONTEXT = SimpleNamespace(
    function_name="function", memory_limit_in_mb=1024, invoked_function_arn="arn", aws_request_id="request-0"
)
ARCHIVE = "linli-archive"
COMMUNITY = "340104002001"
GRID = f"{COMMUNITY}001"
PATH = ("34", "3401", "340104", "340104002", COMMUNITY)
PLACE = PlaceOf(path=PATH, grid_id=GRID, building_id=f"{COMMUNITY}00001", room_id=f"{COMMUNITY}00001-1-0101")
WORKER = Caller("worker-1", (Post("grid-worker-001", "grid_worker", (*PATH, GRID)),))
OFFICER = Caller("officer-1", (Post("duty-officer-001", "duty_officer", PATH),))
RESIDENT = Caller("resident-1", home=COMMUNITY)


class _Template(yaml.SafeLoader):
    """Reads a template as data; what an intrinsic function would give is left as its argument."""


_Template.add_multi_constructor("!", lambda loader, _, node: getattr(loader, f"construct_{node.id}")(node))


def template(context: str) -> dict[str, Any]:
    return dict(yaml.load((ROOT / "infra" / f"{context}.yaml").read_text(encoding="utf-8"), _Template))


@contextmanager
def table_on_moto(context: str, properties: dict[str, Any] | None = None) -> Iterator[None]:
    """The context's table as its template describes it, or with these properties, on moto."""
    from moto import mock_aws  # slow to import, and unit tests need none of it

    settings = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "cn-north-1",
        f"{context.upper()}_TABLE": f"linli-{context}",
        "ARCHIVE_STREAM": ARCHIVE,
    }
    properties = properties or template(context)["Resources"]["Table"]["Properties"]
    names = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    wanted = {name: properties[name] for name in names if name in properties}
    with patch.dict(os.environ, settings), mock_aws():
        boto3.client("dynamodb").create_table(TableName=f"linli-{context}", **wanted)
        if context == "tickets":  # the context that seals
            os.environ["PERSONAL_KEY"] = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
            os.environ["SEAL_ALGORITHM"] = "AES-256-GCM"
        if context == "devices":
            _make_archive()
        yield


def _make_archive() -> None:
    """The bucket and the delivery stream of the raw archive, without its partitions."""
    region = {"LocationConstraint": os.environ["AWS_DEFAULT_REGION"]}
    boto3.client("s3").create_bucket(Bucket=ARCHIVE, CreateBucketConfiguration=region)
    target = {"RoleARN": "arn:aws:iam::123456789012:role/archive", "BucketARN": f"arn:aws:s3:::{ARCHIVE}"}
    boto3.client("firehose").create_delivery_stream(DeliveryStreamName=ARCHIVE, S3DestinationConfiguration=target)


def delivery(thing: str, message: object, *, at: datetime = NOW, trace: str = "trace-1") -> str:
    """A device's message as its rule puts it on the queue; bytes go as they are."""
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return json.dumps(
        {
            "payload": base64.b64encode(payload).decode(),
            "thing": thing,
            "received_ms": int(at.timestamp() * 1000),
            "trace": trace,
        }
    )


def on_bus(fact: Envelope) -> str:
    """A fact as the bus puts it on a subscriber's queue."""
    return json.dumps(
        {"source": f"linli.{fact.context}", "detail-type": fact.type, "detail": json.loads(fact.model_dump_json())}
    )


def sqs(*bodies: str, receives: int = 1) -> dict[str, Any]:
    """An SQS batch, each message received this often."""
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "receiptHandle": "handle",
                "body": body,
                "attributes": {"ApproximateReceiveCount": str(receives)},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
            }
            for number, body in enumerate(bodies)
        ]
    }


def request(
    method: str,
    path: str,
    caller: Caller | None,
    *,
    body: object = None,
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    refused: str | None = None,
) -> dict[str, Any]:
    """A payload 2.0 event behind the authorizer; a `body` of text goes as it is."""
    said = {"principal": caller.to_context()} if caller else {"refused": refused} if refused else None
    return {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", **(headers or {})},
        "queryStringParameters": query,
        "requestContext": {
            "http": {"method": method, "path": path, "sourceIp": "127.0.0.1", "protocol": "HTTP/1.1", "userAgent": ""},
            "requestId": "request-1",
            "stage": "$default",
            "authorizer": {"lambda": said} if said else None,
        },
        "body": body if body is None or isinstance(body, str) else json.dumps(body),
        "isBase64Encoded": False,
    }


def emitted(output: str) -> list[tuple[str, str, float, dict[str, str]]]:
    """(namespace, metric, value, all else the line says) of every metric in what was printed, as CloudWatch reads it."""
    found = []
    for line in output.splitlines():
        said = json.loads(line) if line.startswith("{") else {}
        for group in said.pop("_aws", {}).get("CloudWatchMetrics", []):
            for metric in group["Metrics"]:
                (value,) = said.pop(metric["Name"])
                found.append((group["Namespace"], metric["Name"], value, said))
            assert group["Dimensions"] == [["context"]]
    return found
