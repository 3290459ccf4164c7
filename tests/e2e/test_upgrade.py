"""From the last release to this one: what it left in its tables is read, worked on and migrated here, by the real API."""

import base64
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.local.build import LOCAL_TEMPLATE
from infra.local.client import Client
from infra.local.deploy import deploy, deployed, local_parameters
from infra.local.seed import GRIDS, Demonstration, Person
from infra.local.snapshot import key_context
from tests.e2e.world import until
from tests.support import ROOT, delivery
from tickets.versions import kind_of

RELEASES = sorted((ROOT / "tests" / "upgrade").glob("*.jsonl.gz"))
MIGRATE = "from infra.local import migrate as m; print(m.migrate(outputs)['tickets'])"
RECONCILE = """
import os, boto3
from infra.local.reconcile import Agreement, reconcile
for context in ("devices", "alarms", "tickets"):
    os.environ[f"{context.upper()}_TABLE"] = outputs[f"{context.capitalize()}Table"]
print(dict(reconcile(Agreement(boto3.client("dynamodb")), dry_run=sys.argv[2:] == ["dry"], settle=2, say=print)))
"""


def _bytes(value: dict[str, Any]) -> dict[str, Any]:
    return {"B": base64.b64decode(value["B"])} if set(value) == {"B"} else value


class Upgraded:
    """This release on the tables of an earlier one; people are those who were, under their new subjects."""

    def __init__(self, demonstration: Demonstration, recorded: Path) -> None:
        self.demonstration = demonstration
        text = gzip.decompress(recorded.read_bytes()).decode()
        accounts = json.loads(text.splitlines()[0])["accounts"]
        for name, subject in accounts.items():
            text = text.replace(subject, demonstration.make_user(Person(name, name)))
        lines = [json.loads(line, object_hook=_bytes) for line in text.splitlines()]
        self.rows = [(line["table"], self._item(line)) for line in lines if "item" in line]
        self.answers = [(line["who"], line["path"], line["body"]) for line in lines if "path" in line]
        self._load()
        self.clients = {name: demonstration.client(name) for name in accounts}

    def _item(self, line: dict[str, Any]) -> dict[str, Any]:
        """The recorded row; a data key's under this deployment's key."""
        item = dict(line["item"])
        if "data_key" in line:
            key = self.demonstration.outputs["PersonalKey"]
            kms, plain = self.demonstration.runtime.client("kms"), base64.b64decode(line["data_key"])
            wrapped = kms.encrypt(KeyId=key, Plaintext=plain, EncryptionContext=key_context(item))["CiphertextBlob"]
            item |= {"wrapped": {"B": wrapped}, "kms_key": {"S": key}}
        return item

    def _load(self) -> None:
        database = self.demonstration.runtime.client("dynamodb")
        for context in {table for table, _ in self.rows}:
            puts = [{"PutRequest": {"Item": item}} for table, item in self.rows if table == context]
            for start in range(0, len(puts), 25):
                answer = database.batch_write_item(RequestItems={f"linli-{context}": puts[start : start + 25]})
                assert not answer["UnprocessedItems"]

    def read(self) -> list[tuple[str, Any]]:
        """What the API answers today to everything that was asked then."""
        asked = ((path, self.clients[who].send("GET", path)) for who, path, _ in self.answers)
        return [(path, (answer.status, answer.body)) for path, answer in asked]

    def tickets(self) -> list[dict[str, Any]]:
        paths = [path for _, path, _ in self.answers if path.startswith("/v1/tickets/0")]
        return [dict(self.clients["officer2"].get(path).body) for path in paths]

    def operator(self, code: str, *arguments: str) -> str:
        """What an operator's tool prints, in a process of its own with the deployment's `outputs`."""
        code = f"import json, sys; outputs = json.loads(sys.argv[1])\n{code}"
        path = os.pathsep.join(str(ROOT / part) for part in ("", "functions", "layers/shared/python"))
        environment = {**os.environ, **self.demonstration.runtime.environment(), "PYTHONPATH": path}
        command = [sys.executable, "-c", code, json.dumps(self.demonstration.outputs), *arguments]
        done = subprocess.run(command, check=True, env=environment, cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    def detector_says(self, device_id: str, state: str) -> None:
        """A detector whose certificate is the old deployment's: its message as the rule queues it."""
        now = datetime.now(UTC)
        message = {"at": now.isoformat(), "seq": int(now.timestamp() * 1000), "event": "smoke", "state": state}
        queues = self.demonstration.runtime.client("sqs")
        url = queues.get_queue_url(QueueName="linli-alarms-device-events")["QueueUrl"]
        queues.send_message(QueueUrl=url, MessageBody=delivery(device_id, message, at=now))

    def scan(self, table: str) -> list[dict[str, Any]]:
        pages = self.demonstration.runtime.client("dynamodb").get_paginator("scan").paginate(TableName=table)
        return [item for page in pages for item in page["Items"]]


@pytest.fixture(scope="module", params=RELEASES, ids=lambda path: path.name.removesuffix(".jsonl.gz"))
def upgraded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    with deployed(tmp_path_factory.mktemp("upgrade"), LOCAL_TEMPLATE) as (runtime, outputs):
        yield Upgraded(Demonstration(runtime, outputs), request.param)


def covers(now: Any, then: Any) -> bool:
    """Whether an answer says what it said; it may say more."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(name in now and covers(now[name], then[name]) for name in then)
    if isinstance(then, list):
        return isinstance(now, list) and len(now) == len(then) and all(map(covers, now, then))
    return bool(now == then)


def take(client: Client, ticket: dict[str, Any], step: str, **more: Any) -> dict[str, Any]:
    body = {"step": step, "expected_version": ticket["version"], **more}
    answer = client.post(f"/v1/tickets/{ticket['ticket_id']}/steps", body)
    assert answer.status == 201, answer.body
    return dict(answer.body)


def test_everything_it_answered_is_answered_alike(upgraded: Upgraded) -> None:
    assert len(upgraded.answers) >= 30
    then = [body for _, _, body in upgraded.answers]
    differ = [
        (path, status, body, before)
        for (path, (status, body)), before in zip(upgraded.read(), then, strict=True)
        if status != 200 or not covers(body, before)
    ]
    assert differ == []


def test_tickets_it_left_open_go_on_to_their_end(upgraded: Upgraded) -> None:
    worker, officer = upgraded.clients["worker"], upgraded.clients["officer"]
    states = {ticket["state"] for ticket in upgraded.tickets()}
    assert states == {"dispatched", "in_work", "done", "verifying", "closed"}
    for ticket in upgraded.tickets():
        mine = ticket.get("holder") == "grid-worker-001"
        if mine and ticket["state"] == "dispatched" and ticket["kind"] == "alarm":
            ticket = take(worker, ticket, "accept", note="升级后接单")
        if mine and ticket["state"] == "in_work":
            ticket = take(worker, ticket, "handle", note="升级后办结")
        if ticket["state"] == "done":
            ticket = cleared(upgraded, ticket)
        if ticket["state"] == "verifying" and ticket["kind"] == "alarm":
            assert take(officer, ticket, "verify")["state"] == "closed"
    left = {(ticket["kind"], ticket["state"]) for ticket in upgraded.tickets()}
    assert left == {("alarm", "closed"), *(("complaint", state) for state in ("dispatched", "verifying", "closed"))}


def cleared(upgraded: Upgraded, ticket: dict[str, Any]) -> dict[str, Any]:
    upgraded.detector_says(ticket["device_id"], "clear")
    officer, path = upgraded.clients["officer"], f"/v1/tickets/{ticket['ticket_id']}"
    until("verification", lambda: officer.get(path).body["state"] == "verifying")
    return dict(officer.get(path).body)


def test_after_the_migration_everything_reads_as_before(upgraded: Upgraded) -> None:
    before = upgraded.read()
    first = upgraded.operator(MIGRATE)
    there_are_old = any(item["v"]["N"] == "1" for table, item in upgraded.rows if table == "tickets" and kind_of(item))
    assert ("rewritten=0" in first) != there_are_old
    assert "changed=0" in first
    assert upgraded.read() == before
    assert "old=0, rewritten=0" in upgraded.operator(MIGRATE)
    stored = json.dumps(upgraded.scan("linli-tickets"), default=lambda raw: raw.decode("latin1"), ensure_ascii=False)
    assert "合成数据" not in stored


RESTORED, TIMERS = "linli-tickets-restored", "linli-timers-restored"


def test_a_table_restored_to_a_moment_between_two_related_writes_is_made_to_agree(upgraded: Upgraded) -> None:
    """The drill of docs/deploy.md, but for the copying, which on AWS is point-in-time recovery's."""
    first, second, *_ = sorted({ticket["device_id"] for ticket in upgraded.tickets() if ticket["kind"] == "alarm"})
    officer = upgraded.clients["officer"]

    def open_alarms() -> dict[str, dict[str, Any]]:
        listed = officer.get("/v1/tickets/work", of="grid", grid_id=GRIDS[0], limit=100).body["items"]
        tickets = (officer.get(f"/v1/tickets/{one['ticket_id']}").body for one in listed if one["kind"] == "alarm")
        return {ticket["device_id"]: ticket for ticket in tickets}

    upgraded.detector_says(first, "active")
    until("the first alarm's ticket", lambda: first in open_alarms())
    before = upgraded.scan("linli-tickets")
    upgraded.detector_says(first, "clear")
    upgraded.detector_says(second, "active")
    until("the second alarm's ticket", lambda: second in open_alarms())
    until("the first alarm's end", lambda: not open_alarms()[first]["sensor_active"])
    restore(upgraded, before)
    assert second not in open_alarms()
    assert open_alarms()[first]["sensor_active"]
    texts = [ticket.get("text") for ticket in upgraded.tickets()]
    assert "合成数据" in str(texts)  # sealed in the table of another name

    found = upgraded.operator(RECONCILE, "dry")
    assert "'found': 2, 'mendable': 2" in found
    assert second not in open_alarms()
    assert "'mended': 2" in upgraded.operator(RECONCILE)
    until("the second alarm's ticket again", lambda: second in open_alarms())
    until("the first alarm's end again", lambda: not open_alarms()[first]["sensor_active"])
    assert upgraded.operator(RECONCILE) == "{}"

    ticket = take(upgraded.clients["worker"], open_alarms()[second], "accept", note="恢复后接单")
    assert ticket["timeline"][-1]["note"] == "恢复后接单"
    until("its facts to be relayed", lambda: not [one for one in upgraded.scan(RESTORED) if "OUT#" in one["pk"]["S"]])
    assert upgraded.scan("linli-tickets") != upgraded.scan(RESTORED)


def restore(upgraded: Upgraded, rows: list[dict[str, Any]]) -> None:
    """The tickets table as it was, and that of timers without its marks, stand in under other names."""
    runtime = upgraded.demonstration.runtime
    tickets = stand_in(upgraded, "linli-tickets", rows)
    wakes = [item for item in upgraded.scan("linli-timers") if not item["pk"]["S"].startswith("MARK#")]
    restored = {
        "RestoredTickets": tickets["LatestStreamArn"],
        "RestoredTimers": stand_in(upgraded, "linli-timers", wakes)["TableArn"],
    }
    parameters = local_parameters(runtime, LOCAL_TEMPLATE) | restored
    outputs = deploy(runtime, LOCAL_TEMPLATE, parameters, quiet=True)
    assert (outputs["TicketsTable"], outputs["TimersTable"]) == (RESTORED, TIMERS)
    upgraded.demonstration.outputs = outputs
    due = json.dumps({"time": datetime.now(UTC).isoformat()}).encode()
    runtime.client("lambda").invoke(FunctionName="linli-timers-tick", Payload=due)
    until("marks of drained minutes", lambda: [one for one in upgraded.scan(TIMERS) if "MARK#" in one["pk"]["S"]])


def stand_in(upgraded: Upgraded, name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A table with these rows and the indexes of the one of this name, as it is described."""
    database = upgraded.demonstration.runtime.client("dynamodb")
    kept = database.describe_table(TableName=name)["Table"]
    indexes = [
        {part: index[part] for part in ("IndexName", "KeySchema", "Projection")}
        for index in kept.get("GlobalSecondaryIndexes", [])
    ]
    made = database.create_table(
        TableName=f"{name}-restored",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=kept["AttributeDefinitions"],
        KeySchema=kept["KeySchema"],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
    )["TableDescription"]
    for item in rows:
        database.put_item(TableName=f"{name}-restored", Item=item)
    return dict(made)
