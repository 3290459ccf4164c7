"""The relay: what the bus accepts leaves the outbox, whatever happens to the rest."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from ulid import ULID

from relay.publish import OLD, Outboxed, missed, publish
from tests.support import NOW, table_on_moto

TABLE = "linli-tickets"


class Bus:
    """Accepts what it is not told to refuse or to choke on, by event id."""

    def __init__(self, *, refuses: str = "", chokes_on: str = "") -> None:
        self.accepted: list[str] = []
        self._refuses = refuses
        self._chokes_on = chokes_on

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        ids = [json.loads(entry["Detail"])["event_id"] for entry in Entries]
        assert len(ids) <= 10
        if self._chokes_on in ids:
            raise ClientError({"Error": {"Code": "ValidationException", "Message": ""}}, "PutEvents")
        self.accepted += [one for one in ids if one != self._refuses]
        return {"Entries": [{"ErrorCode": "Busy"} if one == self._refuses else {"EventId": one} for one in ids]}


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("BUS_NAME", "linli")
    with table_on_moto("tickets"):
        yield boto3.client("dynamodb")


def outbox(dynamodb: Any, count: int, *, age: timedelta = OLD + timedelta(minutes=1)) -> list[Outboxed]:
    rows = []
    for number in range(count):
        event_id = str(ULID.from_datetime(NOW - age))
        fact = json.dumps({"event_id": event_id, "type": "TicketOpened", "context": "tickets"})
        row = Outboxed(TABLE, f"OUT#{number % 8}", event_id, fact)
        item = {"pk": {"S": row.pk}, "sk": {"S": row.sk}, "fact": {"S": fact}}
        dynamodb.put_item(TableName=TABLE, Item=item)
        rows.append(row)
    return rows


def waiting(dynamodb: Any) -> set[str]:
    return {row.sk for row in missed([TABLE], dynamodb=dynamodb, now=NOW + timedelta(days=1))}


def test_what_the_bus_accepted_is_deleted(dynamodb: Any) -> None:
    rows = outbox(dynamodb, 25)
    bus = Bus()
    assert publish(rows, events=bus, dynamodb=dynamodb) == 25
    assert sorted(bus.accepted) == sorted(row.sk for row in rows)
    assert waiting(dynamodb) == set()


def test_what_it_refused_stays_and_is_sent_again(dynamodb: Any) -> None:
    rows = outbox(dynamodb, 12)
    assert publish(rows, events=Bus(refuses=rows[3].sk), dynamodb=dynamodb) == 11
    assert waiting(dynamodb) == {rows[3].sk}
    assert publish(missed([TABLE], dynamodb=dynamodb, now=NOW), events=Bus(), dynamodb=dynamodb) == 1
    assert waiting(dynamodb) == set()


def test_one_it_chokes_on_does_not_hold_up_the_others(dynamodb: Any) -> None:
    rows = outbox(dynamodb, 40)
    assert publish(rows, events=Bus(chokes_on=rows[0].sk), dynamodb=dynamodb) == 39
    assert waiting(dynamodb) == {rows[0].sk}


def test_a_relay_that_died_between_bus_and_delete_sends_the_same_event_again(dynamodb: Any) -> None:
    class Dying:
        def delete_item(self, **_: Any) -> None:
            raise EndpointConnectionError(endpoint_url="x")

    rows = outbox(dynamodb, 1)
    bus = Bus()
    assert publish(rows, events=bus, dynamodb=Dying()) == 0
    assert publish(missed([TABLE], dynamodb=dynamodb, now=NOW), events=bus, dynamodb=dynamodb) == 1
    assert set(bus.accepted) == {rows[0].sk}


@pytest.mark.parametrize("fact", ["{", "{}", "null", ""])
def test_a_row_nobody_can_read_stays_and_holds_up_no_other(dynamodb: Any, fact: str) -> None:
    rows = outbox(dynamodb, 12)
    unreadable = Outboxed(TABLE, "OUT#0", "0" * 26, fact)
    item = {"pk": {"S": unreadable.pk}, "sk": {"S": unreadable.sk}, **({"fact": {"S": fact}} if fact else {})}
    dynamodb.put_item(TableName=TABLE, Item=item)
    bus = Bus()
    assert publish(missed([TABLE], dynamodb=dynamodb, now=NOW), events=bus, dynamodb=dynamodb) == 12
    assert sorted(bus.accepted) == sorted(row.sk for row in rows)
    assert waiting(dynamodb) == {unreadable.sk}


def test_a_busy_table_does_not_hold_up_the_others(dynamodb: Any) -> None:
    class Busy:
        def get_paginator(self, name: str) -> Any:
            return self

        def paginate(self, **asked: Any) -> Any:
            if asked["TableName"] == "busy":
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "Query")
            return dynamodb.get_paginator("query").paginate(**asked)

    rows = outbox(dynamodb, 3)
    assert {row.sk for row in missed(["busy", TABLE], dynamodb=Busy(), now=NOW)} == {row.sk for row in rows}


def test_the_sweeper_leaves_young_rows_to_the_stream(dynamodb: Any) -> None:
    outbox(dynamodb, 3, age=timedelta(seconds=119))
    old = outbox(dynamodb, 2, age=timedelta(seconds=121))
    assert {row.sk for row in missed([TABLE], dynamodb=dynamodb, now=NOW)} == {row.sk for row in old}
