"""From the last release to this one: what it left in its tables is read, worked on and migrated here, by the real API."""

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
from infra.local.deploy import deployed
from infra.local.seed import Demonstration, Person
from tests.e2e.world import until
from tests.support import ROOT, delivery

RELEASES = sorted((ROOT / "tests" / "upgrade").glob("*.jsonl.gz"))
MIGRATE = "import json, sys; from infra.local import migrate as m; print(m.migrate(json.loads(sys.argv[1]))['tickets'])"


class Upgraded:
    """This release on the tables of an earlier one; people are those who were, under their new subjects."""

    def __init__(self, demonstration: Demonstration, recorded: Path) -> None:
        self.demonstration = demonstration
        text = gzip.decompress(recorded.read_bytes()).decode()
        accounts = json.loads(text.splitlines()[0])["accounts"]
        for name, subject in accounts.items():
            text = text.replace(subject, demonstration.make_user(Person(name, name)))
        lines = [json.loads(line) for line in text.splitlines()]
        self.rows = [(line["table"], line["item"]) for line in lines if "item" in line]
        self.answers = [(line["who"], line["path"], line["body"]) for line in lines if "path" in line]
        self._load()
        self.clients = {name: demonstration.client(name) for name in accounts}

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

    def migrate(self) -> str:
        path = os.pathsep.join(str(ROOT / part) for part in ("", "functions", "layers/shared/python"))
        environment = {**os.environ, **self.demonstration.runtime.environment(), "PYTHONPATH": path}
        command = [sys.executable, "-c", MIGRATE, json.dumps(self.demonstration.outputs)]
        done = subprocess.run(command, check=True, env=environment, cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()


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
    """The detector, whose certificate is the old deployment's, is quiet: its message as the rule queues it."""
    now = datetime.now(UTC)
    message = {"at": now.isoformat(), "seq": int(now.timestamp() * 1000), "event": "smoke", "state": "clear"}
    queues = upgraded.demonstration.runtime.client("sqs")
    url = queues.get_queue_url(QueueName="linli-alarms-device-events")["QueueUrl"]
    queues.send_message(QueueUrl=url, MessageBody=delivery(ticket["device_id"], message, at=now))
    officer, path = upgraded.clients["officer"], f"/v1/tickets/{ticket['ticket_id']}"
    until("verification", lambda: officer.get(path).body["state"] == "verifying")
    return dict(officer.get(path).body)


def test_after_the_migration_everything_reads_as_before(upgraded: Upgraded) -> None:
    before = upgraded.read()
    first = upgraded.migrate()
    assert "rewritten=0" not in first
    assert "changed=0" in first
    assert upgraded.read() == before
    assert "old=0, rewritten=0" in upgraded.migrate()
    stored = json.dumps(
        upgraded.demonstration.runtime.client("dynamodb").scan(TableName="linli-tickets")["Items"],
        default=lambda raw: raw.decode("latin1"),
        ensure_ascii=False,
    )
    assert "合成数据" not in stored
