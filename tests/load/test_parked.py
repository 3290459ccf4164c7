"""Many parked messages, listed and put back: requests counted, time measured and printed, never asserted."""

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.local.parked import ParkedMessages, Queues, Wanted, replay
from infra.local.process import free_port
from infra.local.redrive import groups
from infra.local.runtime import Runtime
from linli.clock import beijing_day, iso
from tests.fakes_timers import KEYS
from tests.support import NOW, delivery

TABLE, QUEUE = "linli-alarms", "linli-alarms-device-events"
DAY = beijing_day(NOW)
BODY = delivery("device-1", {"at": iso(NOW), "seq": 1, "event": "smoke", "state": "burning"})


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    with Runtime(tmp_path / "runtime", free_port(), free_port()) as started:
        yield started


class Counted:
    """How many requests and how many seconds something took."""

    def __init__(self, *clients: Any) -> None:
        self.requests = 0
        for client in clients:
            client.meta.events.register("before-send", self._count)

    def _count(self, **_: Any) -> None:
        self.requests += 1

    def tell(self, capsys: pytest.CaptureFixture[str], what: str, messages: int, started: float) -> None:
        seconds = time.perf_counter() - started
        with capsys.disabled():
            print(f"\n  {messages:,} parked messages {what}: {seconds:.1f} s = {messages / seconds:,.0f}/s,", end=" ")
            print(f"{self.requests:,} requests = {self.requests / messages:.4f} each", end="")
        self.requests = 0


def park(runtime: Runtime, count: int) -> None:
    """Rows as `Table.park` writes them, many in a request."""
    client = runtime.client("dynamodb")
    client.create_table(TableName=TABLE, **KEYS)
    body = BODY.encode()
    text = {
        "pk": f"PARKED#{DAY}",
        "parked_at": iso(NOW),
        "source": "device_events",
        "reason": "literal_error",
        "field": "state",
        "sha256": hashlib.sha256(body).hexdigest(),
        "payload": base64.b64encode(body).decode(),
    }
    row = {name: {"S": value} for name, value in text.items()} | {"size": {"N": str(len(body))}, "v": {"N": "1"}}
    for start in range(0, count, 25):
        puts = [{"PutRequest": {"Item": {**row, "sk": {"S": f"id-{n:07d}"}}}} for n in range(start, start + 25)]
        assert not client.batch_write_item(RequestItems={TABLE: puts})["UnprocessedItems"]


@pytest.mark.parametrize("count", [1_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_many_are_listed_and_put_back_once(runtime: Runtime, capsys: pytest.CaptureFixture[str], count: int) -> None:
    park(runtime, count)
    dynamodb, sqs = runtime.client("dynamodb"), runtime.client("sqs")
    url = sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
    parked, queues = ParkedMessages("alarms", TABLE, dynamodb), Queues("linli", sqs)
    counted = Counted(dynamodb, sqs)

    started = time.perf_counter()
    (group,) = groups(parked.on(DAY), Wanted()).values()
    counted.tell(capsys, "listed", count, started)
    assert len(group.waiting) == count

    for what, sent in (("put back", count), ("found put back", 0)):
        started = time.perf_counter()
        done = replay(parked, DAY, Wanted(), queues=queues, at=NOW + timedelta(hours=1), by="operator-1")
        counted.tell(capsys, what, count, started)
        assert (done.sent, done.already) == (sent, count - sent)
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    assert int(attributes["ApproximateNumberOfMessages"]) == count
    (first,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert json.loads(first["Body"]) == json.loads(BODY)
