"""The search for the canary finds it wherever it is planted; what is planted is taken away again."""

import gzip
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.local.client import Client
from tests.canary import NAME, PHONE, TEXT, serial
from tests.e2e import leaks
from tests.e2e.world import ROOM, World, until

PLANT = "planted-by-the-tests"


@pytest.fixture
def log_group(world: World) -> Iterator[str]:
    logs = world.linli.runtime.client("logs")
    logs.create_log_group(logGroupName=PLANT)
    logs.create_log_stream(logGroupName=PLANT, logStreamName=PLANT)
    logs.put_log_events(
        logGroupName=PLANT, logStreamName=PLANT, logEvents=[{"timestamp": 1_800_000_000_000, "message": TEXT}]
    )
    yield PLANT
    logs.delete_log_group(logGroupName=PLANT)


def test_in_a_log_group_and_those_of_the_functions_are_read(world: World, log_group: str) -> None:
    assert world.resident.get("/v1/identity/me").status == 200
    lines = list(leaks.log_lines(world.linli.runtime.client("logs")))
    planted = [line for group, line in lines if group == log_group]
    (found,) = leaks.sightings(log_group, planted)
    assert NAME in found and PHONE in found
    assert any(group.endswith("identity-api") and "answered" in line for group, line in lines)


def test_in_a_queue(world: World) -> None:
    queues = world.linli.runtime.client("sqs")
    url = queues.create_queue(QueueName=PLANT)["QueueUrl"]
    queues.send_message(QueueUrl=url, MessageBody=json.dumps({"detail": {"reporter": NAME}}))
    assert leaks.sightings("queue", leaks.messages(queues, url))
    queues.delete_queue(QueueUrl=url)


def test_in_a_fact_on_the_bus(world: World) -> None:
    runtime = world.linli.runtime
    queues = runtime.client("sqs")
    url = queues.get_queue_url(QueueName=leaks.HEARD)["QueueUrl"]
    mark = secrets.token_hex(8)
    entry = {"EventBusName": "linli", "Source": "planted", "DetailType": mark, "Detail": json.dumps({"text": TEXT})}
    runtime.client("events").put_events(Entries=[entry])

    def taken() -> list[str]:
        planted: list[dict[str, str]] = []
        for _ in range(500):  # the whole session's facts wait there
            got = queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=60).get("Messages", [])
            planted = [message for message in got if mark in message["Body"]]
            if planted or not got:
                break
        for message in planted:
            queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return leaks.sightings("fact", [message["Body"] for message in planted])

    assert until("the fact to be heard", taken)


@pytest.mark.parametrize(
    ("table", "row", "seen"),
    [
        ("linli-tickets", {"pk": {"S": "TICKET#P"}, "text": {"S": TEXT}, "note": {"S": TEXT}}, 2),
        ("linli-tickets", {"pk": {"S": "TICKET#P"}, "sealed": {"B": TEXT.encode()}}, 1),
        ("linli-tickets", {"pk": {"S": "TICKET#P"}, "category": {"S": NAME}}, 1),
        ("linli-tickets", {"pk": {"S": "OUT#P"}, "fact": {"S": json.dumps({"data": {"text": NAME}})}}, 1),
        ("linli-tickets", {"pk": {"S": "CMD#P"}, "result": {"S": NAME}}, 1),
        ("linli-alarms", {"pk": {"S": "PARKED#P"}, "payload": {"S": PHONE}}, 0),
        ("linli-alarms", {"pk": {"S": "PARKED#P"}, "reason": {"S": PHONE}, "field": {"S": PHONE}}, 2),
        ("linli-devices", {"pk": {"S": "THING#P"}, "serial": {"S": serial("1")}, "place": {"S": NAME}}, 1),
        ("linli-devices/list", {"pk": {"S": "THING#P"}, "serial": {"S": serial("1")}, "list_sort": {"S": NAME}}, 1),
        ("linli-devices", {"pk": {"S": "THING#P#20261123"}, "readings": {"B": b"\x00" + PHONE.encode()}}, 1),
        ("linli-timers", {"pk": {"S": "DUE#P"}, "ref": {"S": serial("1")}}, 1),
        ("linli-grid", {"pk": {"S": "GRID#P"}, "shifts": {"L": [{"M": {"post": {"S": NAME}}}]}}, 1),
    ],
)
def test_in_a_row_but_where_it_may_stand(table: str, row: dict[str, Any], seen: int) -> None:
    assert len(leaks.in_rows(table, [{**row, "sk": {"S": "-"}}])) == seen


def test_in_an_index_and_its_table(world: World) -> None:
    key = {"pk": {"S": f"TICKET#{PLANT}"}, "sk": {"S": "T"}}
    keys = {"post": {"S": PLANT}, "due_key": {"S": PLANT}, "category": {"S": NAME}}
    world.database.put_item(TableName="linli-tickets", Item={**key, **keys})
    projected = leaks.rows(world.database, "linli-tickets", IndexName="post")
    assert leaks.in_rows("linli-tickets/post", projected)
    assert leaks.in_rows("linli-tickets", leaks.rows(world.database, "linli-tickets"))
    world.database.delete_item(TableName="linli-tickets", Key=key)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["as it is", "packed as the archive is"])
def test_in_an_object(world: World, pack: Callable[[bytes], bytes]) -> None:
    storage = world.linli.runtime.client("s3")
    storage.create_bucket(Bucket=PLANT)
    storage.put_object(Bucket=PLANT, Key="report", Body=pack(TEXT.encode()))
    assert leaks.in_objects(storage)
    storage.delete_object(Bucket=PLANT, Key="report")
    storage.delete_bucket(Bucket=PLANT)


def test_in_a_refusal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = leaks.Refusals()
    refused = world.resident.post("/v1/tickets", {"category": NAME, "text": TEXT, "place_id": ROOM})
    assert (refused.status, refusals.found) == (422, [])
    monkeypatch.setattr(refusals, "_send", lambda *_: type(refused)(422, {"title": f"no category {NAME}"}, {}))
    refusals.watched(Client("", None), "POST", "/v1/tickets")
    assert len(refusals.found) == 1
