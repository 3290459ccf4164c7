"""Old rows: how they read, and how a walk rewrites them - stopped, raced, without its key, and twice."""

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from linli.access import Caller, Post
from linli.migration import Walk
from linli.sealed import SealUnavailable, deployed_seals
from linli.table import Row, Table, TableMeta, TableName
from linli.versions import Item, Upcasts, current, upcast
from tests.fakes import FakeSeals
from tests.support import GRID, NOW, PATH, ROOT, table_on_moto
from tickets.commands import StepWanted, step_ticket
from tickets.detectors import Alarm, alarm_raised
from tickets.domain import Sensor
from tickets.migration import TicketsPlan
from tickets.sealing import Shown, opened
from tickets.store import TicketStore
from tickets.versions import kind_of

TABLE = "linli-tickets"
RECORDED = ROOT / "tests" / "upgrade" / "v0.1.0.jsonl.gz"


def recorded() -> list[Item]:
    """The tickets table as the first release left it."""
    lines = map(json.loads, gzip.decompress(RECORDED.read_bytes()).decode().splitlines())
    return [line["item"] for line in lines if line.get("table") == "tickets"]


OLD = [item for item in recorded() if kind_of(item)]
TICKETS = sorted({item["pk"]["S"].removeprefix("TICKET#") for item in OLD})
WRITTEN = sorted(item[name]["S"] for item in OLD for name in ("text", "note") if name in item)


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    with table_on_moto("tickets"):
        client = boto3.client("dynamodb")
        for item in recorded():
            client.put_item(TableName=TABLE, Item=item)
        yield client


@pytest.fixture
def store(dynamodb: Any) -> TicketStore:
    return TicketStore()


named: list[Item] = []
"""The rows the walks of one test left as beyond them."""


@pytest.fixture(autouse=True)
def nothing_named() -> None:
    named.clear()


def walk(dynamodb: Any, store: TicketStore, pace: Callable[[int], None] = lambda _: None, seals: Any = None) -> Walk:
    plan = TicketsPlan(store, seals or deployed_seals(store.table))
    return Walk(dynamodb, TABLE, plan, pace=pace, name=named.append)


def shown(store: TicketStore) -> dict[str, Shown]:
    seals = deployed_seals(store.table)
    return {one: opened(store.ticket(one), store.told(one), seals=seals) for one in TICKETS}


def all_rows(dynamodb: Any) -> list[Item]:
    return [item for page in dynamodb.get_paginator("scan").paginate(TableName=TABLE) for item in page["Items"]]


def plain(dynamodb: Any) -> list[str]:
    text = json.dumps(all_rows(dynamodb), default=lambda raw: raw.decode("latin1"), ensure_ascii=False)
    return [one for one in WRITTEN if one in text]


def test_there_is_something_to_migrate() -> None:
    assert len(WRITTEN) >= 10
    assert {item["v"]["N"] for item in OLD} == {"1"}


def test_a_walk_seals_what_was_plain_and_what_is_shown_stays_the_same(dynamodb: Any, store: TicketStore) -> None:
    before = shown(store)
    assert plain(dynamodb) == WRITTEN
    counts = walk(dynamodb, store).run()
    assert (counts.old, counts.rewritten, counts.changed, counts.beyond, named) == (len(OLD), len(OLD), 0, 0, [])
    assert plain(dynamodb) == []
    assert shown(store) == before
    assert {item["v"]["N"] for item in all_rows(dynamodb) if kind_of(item)} == {"2"}
    assert walk(dynamodb, store).run().old == walk(dynamodb, store).look().old == 0
    assert not [item for item in all_rows(dynamodb) if item["pk"]["S"] == "MIGRATION"]


def test_a_dry_run_counts_and_writes_nothing(dynamodb: Any, store: TicketStore) -> None:
    before = all_rows(dynamodb)
    assert walk(dynamodb, store).look().old >= len(OLD)
    assert all_rows(dynamodb) == before


class Stopped(Exception):
    pass


@pytest.mark.parametrize("pages", [1, 2, 5])
def test_a_walk_that_was_stopped_goes_on_and_its_counts_too(
    dynamodb: Any, store: TicketStore, pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("linli.migration.PAGE", 20)
    before = shown(store)
    left = [pages]

    def stop(_: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Stopped

    with pytest.raises(Stopped):
        walk(dynamodb, store, stop).run()
    assert [item for item in all_rows(dynamodb) if item["pk"]["S"] == "MIGRATION"]
    counts = walk(dynamodb, store).run()
    assert (counts.old, counts.rewritten) == (len(OLD), len(OLD))
    assert plain(dynamodb) == []
    assert shown(store) == before


def test_a_row_written_meanwhile_is_left_alone_until_the_next_walk(dynamodb: Any, store: TicketStore) -> None:
    waiting = next(one for one in TICKETS if store.ticket(one).unsealed and store.ticket(one).version == 1)
    plan = TicketsPlan(store, deployed_seals(store.table))
    rewritten, raced = plan.rewritten, []

    def race(item: Item) -> list[Item]:
        rows = rewritten(item)
        if item["pk"]["S"].endswith(waiting) and item["sk"]["S"] == "T" and not raced:
            newer = {**item, "version": {"N": "2"}, "state": {"S": "in_work"}}
            raced.append(dynamodb.put_item(TableName=TABLE, Item=newer))
        return rows

    plan.rewritten = race  # type: ignore[method-assign]
    counts = Walk(dynamodb, TABLE, plan, pace=lambda _: None, name=named.append).run()
    assert counts.changed == 1
    assert (store.ticket(waiting).version, store.ticket(waiting).state) == (2, "in_work")
    assert store.ticket(waiting).unsealed
    assert walk(dynamodb, store).run().rewritten == 1
    assert (store.ticket(waiting).version, store.ticket(waiting).unsealed) == (2, None)


def test_a_note_whose_ticket_is_gone_is_named_left_and_holds_up_nobody(dynamodb: Any, store: TicketStore) -> None:
    of_note = next(item for item in OLD if "note" in item)
    orphans = [{**of_note, "pk": {"S": f"TICKET#{name}"}} for name in ("gone-1", "gone-2", "gone-3")]
    for orphan in orphans:
        dynamodb.put_item(TableName=TABLE, Item=orphan)
    before = shown(store)
    counts = walk(dynamodb, store).run()
    assert (counts.old, counts.rewritten, counts.beyond) == (len(OLD) + 3, len(OLD), 3)
    assert sorted(item["pk"]["S"] for item in named) == [orphan["pk"]["S"] for orphan in orphans]
    assert [item for item in all_rows(dynamodb) if "note" in item] == [
        item for item in all_rows(dynamodb) if item in orphans
    ]
    assert shown(store) == before
    again = walk(dynamodb, store).run()
    assert (again.old, again.rewritten, again.beyond) == (3, 0, 3)


def test_without_kms_a_walk_stops_and_nothing_is_lost(dynamodb: Any, store: TicketStore) -> None:
    seals = FakeSeals()
    seals.down = True
    with pytest.raises(SealUnavailable):
        walk(dynamodb, store, seals=seals).run()
    assert plain(dynamodb) == WRITTEN
    walk(dynamodb, store).run()
    assert plain(dynamodb) == []


def test_a_step_of_staff_seals_the_text_of_a_ticket_from_before(dynamodb: Any, store: TicketStore) -> None:
    ticket = next(t for t in map(store.ticket, TICKETS) if t.unsealed and t.state == "dispatched")
    seals = deployed_seals(store.table)
    holder = Caller("worker-1", (Post(ticket.holder or "", "grid_worker", (*PATH, GRID)),))
    after = step_ticket(
        ticket.ticket_id,
        StepWanted("accept", ticket.version, "马上去"),
        key="key-00000001",
        actor=holder.acting(None),
        store=store,
        seals=seals,
        clock=lambda: NOW,
    )
    assert after.unsealed is None
    told = opened(after, store.told(ticket.ticket_id), seals=seals)
    assert (told.text, told.notes[-1]) == (ticket.unsealed, "马上去")
    assert ticket.unsealed not in plain(dynamodb)


def test_who_has_no_key_writes_an_old_ticket_as_the_old_one_it_is(dynamodb: Any, store: TicketStore) -> None:
    """A consumer that met an alarm's ticket with a text (there is none today) must not make it pass for migrated."""
    (alarm,) = [t for t in map(store.ticket, TICKETS) if t.kind == "alarm" and t.state == "dispatched"]
    key = {"pk": {"S": f"TICKET#{alarm.ticket_id}"}, "sk": {"S": "T"}}
    row = dynamodb.get_item(TableName=TABLE, Key=key)["Item"]
    dynamodb.put_item(TableName=TABLE, Item={**row, "text": {"S": "旧的"}})
    assert alarm.sensor is not None
    said = Sensor(alarm.sensor.aggregate_id, alarm.sensor.version + 1, active=True)
    again = Alarm(
        "alarm-again", said.aggregate_id, said.version, alarm.device_id or "", "smoke", "critical", alarm.place, "t"
    )
    assert alarm_raised(again, store=store, clock=lambda: NOW) is not None
    kept = dynamodb.get_item(TableName=TABLE, Key=key)["Item"]
    assert (kept["v"], kept["text"], kept["version"]) == ({"N": "1"}, {"S": "旧的"}, {"N": str(alarm.version + 1)})


def test_a_new_ticket_is_of_todays_version(store: TicketStore, dynamodb: Any) -> None:
    alarm = Alarm("alarm-2", "device-2#smoke", 1, "device-2", "smoke", "critical", store.ticket(TICKETS[0]).place, "t")
    ticket = alarm_raised(alarm, store=store, clock=lambda: NOW)
    assert ticket is not None
    rows = [item for item in all_rows(dynamodb) if item["pk"]["S"] == f"TICKET#{ticket.ticket_id}"]
    assert {(item["sk"]["S"], item["v"]["N"]) for item in rows} == {("T", "2"), ("S#000001", "2")}


LAMPS: Upcasts = {
    ("lamp", 1): lambda item: {**item, "watts": {"N": str(int(item["power"]["N"]) * 1000)}},
    ("lamp", 2): lambda item: {**item, "lit": {"S": "on" if int(item["watts"]["N"]) else "off"}},
}
"""A made-up kind that has had three versions."""


def test_every_version_is_brought_up_to_today() -> None:
    old = {"pk": {"S": "L"}, "sk": {"S": "1"}, "power": {"N": "2"}}
    today = upcast("lamp", old, LAMPS)
    assert (today["watts"], today["lit"], today["v"]) == ({"N": "2000"}, {"S": "on"}, {"N": "3"})
    assert "v" not in old
    assert (current("lamp", LAMPS), current("post", LAMPS)) == (3, 1)


def test_a_row_of_a_later_release_is_left_as_it_is() -> None:
    newer = {"pk": {"S": "L"}, "sk": {"S": "1"}, "v": {"N": "9"}, "hue": {"S": "warm"}}
    assert upcast("lamp", newer, LAMPS) == newer


def test_a_row_class_reads_an_old_row_as_todays() -> None:
    class LampRow(Row):
        class Meta(TableMeta):
            table_name = TableName("TICKETS_TABLE")

        upcasts = LAMPS
        watts = NumberAttribute()
        lit = UnicodeAttribute()

    with table_on_moto("tickets"):
        old = {"pk": {"S": "L"}, "sk": {"S": "1"}, "power": {"N": "2"}, "v": {"N": "1"}}
        boto3.client("dynamodb").put_item(TableName=TABLE, Item=old)
        row = Table(LampRow).get(LampRow, "L", "1")
        assert row is not None
        assert (row.watts, row.lit, row.v) == (2000, "on", 3)
