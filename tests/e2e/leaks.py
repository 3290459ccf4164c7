"""Searches what the local runtime holds for the canary, which every suite writes wherever a person may write.

A person's words stand nowhere: the ticket keeps its text and the notes on its steps under seal. A device's serial number
stands in its own row, in the list of its grid, and in the row that keeps it unique; what a parked message carried stands in
its payload.
"""

import gzip
import json
from collections.abc import Iterable, Iterator
from typing import Any

from infra.local.client import Answer, Client
from infra.local.package import BUCKET
from infra.local.runtime import Runtime
from tests.canary import seen_in

ALLOWED = {
    ("linli-devices", "THING", "serial"),
    ("linli-devices", "SERIAL", "pk"),
    ("linli-devices/list", "THING", "serial"),
}
"""Table or index, kind of row, attribute; and the payload of parked rows in every table."""
GZIP = b"\x1f\x8b"
HEARD = "heard-by-the-tests"


def hear_all_facts(runtime: Runtime) -> None:
    """A queue that gets whatever crosses the bus from now on."""
    queues, events = runtime.client("sqs"), runtime.client("events")
    url = queues.create_queue(QueueName=HEARD, Attributes={"MessageRetentionPeriod": "1209600"})["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=HEARD, EventBusName="linli", EventPattern=json.dumps({"source": [{"prefix": ""}]}))
    events.put_targets(Rule=HEARD, EventBusName="linli", Targets=[{"Id": "queue", "Arn": arn}])


def everywhere(runtime: Runtime) -> list[str]:
    """Each sighting with its place; read once and at the end, for it takes the messages out of the queues."""
    queues, database = runtime.client("sqs"), runtime.client("dynamodb")
    found = sightings("runtime log", [runtime.log.read_text(encoding="utf-8", errors="replace")])
    for group, line in log_lines(runtime.client("logs")):
        found += sightings(f"log group {group}", [line])
    for url in queues.list_queues()["QueueUrls"]:
        found += sightings(f"queue {url.rpartition('/')[2]}", messages(queues, url))
    for table in database.list_tables()["TableNames"]:
        found += in_rows(table, rows(database, table))
        for index in database.describe_table(TableName=table)["Table"].get("GlobalSecondaryIndexes", []):
            name = index["IndexName"]
            found += in_rows(f"{table}/{name}", rows(database, table, IndexName=name))
    return [*found, *in_workflows(runtime.client("stepfunctions")), *in_objects(runtime.client("s3"))]


def sightings(place: str, texts: Iterable[str]) -> list[str]:
    return [f"{place}: {', '.join(seen)}" for text in texts if (seen := seen_in(text))]


def log_lines(logs: Any) -> Iterator[tuple[str, str]]:
    """Every line of every log group, with the group's name."""
    for groups in logs.get_paginator("describe_log_groups").paginate():
        for name in (group["logGroupName"] for group in groups["logGroups"]):
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=name):
                yield from ((name, event["message"]) for event in page["events"])


def messages(queues: Any, url: str) -> Iterator[str]:
    while got := queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=600).get("Messages"):
        yield from (message["Body"] for message in got)


def rows(database: Any, table: str, **more: str) -> Iterator[dict[str, Any]]:
    for page in database.get_paginator("scan").paginate(TableName=table, **more):
        yield from page["Items"]


def in_rows(table: str, found: Iterable[dict[str, Any]]) -> list[str]:
    """Every attribute but those where it is allowed."""
    seen = []
    for row in found:
        kind = row["pk"]["S"].partition("#")[0]
        for name, value in row.items():
            if (table, kind, name) not in ALLOWED and (kind, name) != ("PARKED", "payload"):
                seen += sightings(f"{table}, {name} of a {kind} row", [text_of(value)])
    return seen


def text_of(value: Any) -> str:
    """An attribute as the database gives it; bytes are read as text, for what is under seal may not be."""
    return json.dumps(value, ensure_ascii=False, default=lambda data: data.decode("utf-8", "replace"))


def in_workflows(workflows: Any) -> list[str]:
    found = []
    for machine in workflows.list_state_machines()["stateMachines"]:
        for execution in workflows.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]:
            arn = execution["executionArn"]
            pages = workflows.get_paginator("get_execution_history").paginate(executionArn=arn)
            found += sightings(
                f"workflow {machine['name']}", (str(event) for page in pages for event in page["events"])
            )
    return found


def in_objects(storage: Any) -> list[str]:
    """Every bucket but the one the deployer puts code into."""
    found = []
    for bucket in (one["Name"] for one in storage.list_buckets()["Buckets"] if one["Name"] != BUCKET):
        for page in storage.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for key in (one["Key"] for one in page.get("Contents", [])):
                held = storage.get_object(Bucket=bucket, Key=key)["Body"].read()
                held = gzip.decompress(held) if held.startswith(GZIP) else held
                found += sightings(f"object {key} of {bucket}", [key, held.decode("utf-8", "replace")])
    return found


class Refusals:
    """Notes every refusal a client is answered in which the canary stands."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._send = Client.send

    def watched(self, client: Client, method: str, path: str, *more: Any) -> Answer:
        answer = self._send(client, method, path, *more)
        if answer.status >= 400:
            self.found += sightings(f"answer {answer.status} to {method} {path}", [f"{answer.body}{answer.headers}"])
        return answer
