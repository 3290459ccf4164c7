"""Disagreements between restored tables, one of every kind: each is found, none is invented, and mended it is gone."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import boto3
import pytest

from alarms.commands import take_event
from alarms.domain import KnownDevice, event_at, rule_for
from alarms.on_device_registered import remember
from alarms.store import AlarmStore
from devices.domain import Device
from devices.events import DeviceRegistered
from devices.store import DeviceStore
from infra.local.reconcile import Agreement, reconcile
from linli.clock import utc_now
from linli.commands import command
from linli.facts import envelope
from linli.table import Step
from tests.fakes import FakeSeals
from tests.support import NOW, OFFICER, PLACE, RESIDENT, table_on_moto
from tickets.commands import Report, StepWanted, open_ticket, step_ticket
from tickets.domain import Ticket
from tickets.on_alarm_cleared import on_alarm_cleared
from tickets.on_alarm_raised import on_alarm_raised
from tickets.store import TicketStore

CONSUMERS = {"AlarmRaised": on_alarm_raised, "AlarmCleared": on_alarm_cleared, "DeviceRegistered": remember}
SMOKE = rule_for("smoke_detector", "smoke")
SEALS = FakeSeals()
Item = dict[str, Any]


class World:
    """Devices, alarms and tickets on real tables, facts delivered by hand."""

    def __init__(self) -> None:
        self.dynamodb = boto3.client("dynamodb")
        self.alarms, self.tickets, self.devices = AlarmStore(), TicketStore(), DeviceStore()
        self.said = 0

    def rows(self, context: str, prefix: str = "") -> list[Item]:
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=f"linli-{context}",
            FilterExpression="begins_with(pk, :prefix)",
            ExpressionAttributeValues={":prefix": {"S": prefix}},
        )
        return [item for page in pages for item in page["Items"]]

    def row(self, context: str, pk: str, sk: str) -> Item:
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        return dict(self.dynamodb.get_item(TableName=f"linli-{context}", Key=key)["Item"])

    def put(self, context: str, item: Item) -> None:
        self.dynamodb.put_item(TableName=f"linli-{context}", Item=item)

    def fill(self, context: str, items: list[Item]) -> None:
        for start in range(0, len(items), 25):
            puts = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
            self.dynamodb.batch_write_item(RequestItems={f"linli-{context}": puts})

    def drop(self, context: str, pk: str, sk: str) -> None:
        self.dynamodb.delete_item(TableName=f"linli-{context}", Key={"pk": {"S": pk}, "sk": {"S": sk}})

    def restore(self, context: str, items: list[Item]) -> None:
        """The table as it was."""
        for item in self.rows(context):
            self.drop(context, item["pk"]["S"], item["sk"]["S"])
        self.fill(context, items)

    def relay(self) -> None:
        """What the outboxes hold reaches its readers."""
        for context in CONTEXTS:
            for item in sorted(self.rows(context, "OUT#"), key=lambda one: one["sk"]["S"]):
                fact = json.loads(item["fact"]["S"])
                if fact["type"] in CONSUMERS:
                    CONSUMERS[fact["type"]](json.dumps({"detail": fact}))
                self.drop(context, item["pk"]["S"], item["sk"]["S"])

    def device(self, name: str) -> str:
        device = Device(name, "smoke_detector", f"serial-{name}", PLACE, NOW, "certificate")
        said = DeviceRegistered(device_id=name, device_class="smoke_detector", place=PLACE)
        fact = envelope(said, aggregate_id=name, aggregate_version=1, at=NOW, correlation_id="r")
        step = Step("register", NOW, "officer", "r")
        self.devices.add(device, step=step, command=command("register", name), fact=fact)
        self.relay()
        return name

    def smoke(self, device_id: str, *, active: bool, relay: bool = True) -> None:
        self.said += 1
        at = utc_now() + timedelta(seconds=self.said)
        event = event_at(at, self.said, active=active, received_at=at)
        device = KnownDevice(device_id, "smoke_detector", PLACE)
        take_event(device, SMOKE, event, correlation_id=f"trace-{device_id}", store=self.alarms, clock=utc_now)
        if relay:
            self.relay()

    def ticket_of(self, device_id: str) -> Ticket:
        heard = self.tickets.sensor(f"{device_id}#smoke")
        assert heard is not None
        assert heard.ticket_id is not None
        return self.tickets.ticket(heard.ticket_id)

    def report(self, key: str) -> Ticket:
        return open_ticket(
            Report("repair", "楼道灯不亮", PLACE.room_id or ""),
            key=key,
            actor=RESIDENT.acting(None),
            request_id="r",
            locate=lambda _: PLACE,
            store=self.tickets,
            seals=SEALS,
            clock=utc_now,
        )

    def step(self, ticket: Ticket, name: str) -> Ticket:
        wanted = StepWanted(name, ticket.version, "看过")
        return step_ticket(
            ticket.ticket_id,
            wanted,
            key=f"{name}-0001",
            actor=OFFICER.acting(None),
            store=self.tickets,
            seals=SEALS,
            clock=utc_now,
        )

    def found(self) -> list[str]:
        """The kinds a dry run finds, in order."""
        return self._reconciled(dry_run=True)

    def mend(self) -> list[str]:
        """The kinds found and, as far as anything can, mended; what that told has arrived."""
        kinds = self._reconciled(dry_run=False)
        self.relay()
        return kinds

    def _reconciled(self, *, dry_run: bool) -> list[str]:
        kinds: list[str] = []
        reconcile(self.agreement(), dry_run=dry_run, settle=0, say=lambda line: kinds.append(line.split()[0]))
        return kinds

    def agreement(self) -> Agreement:
        return Agreement(self.dynamodb)


CONTEXTS = ("devices", "alarms", "tickets")


@contextmanager
def empty() -> Iterator[World]:
    with ExitStack() as tables:
        for context in CONTEXTS:
            tables.enter_context(table_on_moto(context))
        yield World()


@pytest.fixture(scope="module")
def morning() -> dict[str, list[Item]]:
    """A morning's work, as rows: alarms raised, repeated, ended, raised again; tickets in every state."""
    with empty() as world:
        for name in ("quiet", "alarming", "ended", "again", "handled"):
            world.device(name)
        for name in ("alarming", "ended", "again", "again", "handled"):
            world.smoke(name, active=True)
        for name in ("ended", "again"):
            world.smoke(name, active=False)
        world.smoke("again", active=True)
        world.step(world.step(world.ticket_of("handled"), "accept"), "handle")
        for number, steps in enumerate(((), ("accept",), ("accept", "handle"))):
            ticket = world.report(f"report-{number}")
            for step in steps:
                ticket = world.step(ticket, step)
        world.relay()
        return {context: world.rows(context) for context in CONTEXTS}


@pytest.fixture
def world(morning: dict[str, list[Item]]) -> Iterator[World]:
    with empty() as world:
        for context, items in morning.items():
            world.fill(context, items)
        yield world


def test_tables_that_agree_are_left_alone(world: World) -> None:
    assert world.found() == []
    assert world.mend() == []


def alarm_lost_on_its_way(world: World) -> None:
    world.device("new")
    before = world.rows("tickets")
    world.smoke("new", active=True)
    world.restore("tickets", before)


def end_lost_on_its_way(world: World) -> None:
    before = world.rows("tickets")
    world.smoke("alarming", active=False)
    world.restore("tickets", before)


def alarm_and_its_end_lost(world: World) -> None:
    before = world.rows("tickets")
    for active in (True, False):
        world.smoke("quiet", active=active)
    world.restore("tickets", before)


def alarms_restored_to_before(world: World) -> None:
    before = world.rows("alarms")
    world.smoke("quiet", active=True)
    world.smoke("alarming", active=False)
    world.restore("alarms", before)


def alarms_went_on_after_their_restore(world: World) -> None:
    before = world.rows("alarms")
    world.smoke("ended", active=True)
    world.restore("alarms", before)
    world.smoke("ended", active=True, relay=False)
    row = world.row("alarms", "DEVICE#ended", "A#smoke")
    for item in world.rows("alarms", "OUT#"):
        world.drop("alarms", item["pk"]["S"], item["sk"]["S"])
    world.put("alarms", {**row, "active": {"BOOL": False}})


def device_registered_after(world: World) -> None:
    before = world.rows("alarms")
    world.device("new")
    world.restore("alarms", before)


def detectors_row_forgot_its_ticket(world: World) -> None:
    row = world.row("tickets", "SENSOR#alarming#smoke", "S")
    world.put("tickets", {name: value for name, value in row.items() if name != "ticket_id"})


def ticket_row_gone(world: World) -> None:
    ticket = world.ticket_of("alarming")
    world.drop("tickets", f"TICKET#{ticket.ticket_id}", "T")


def step_gone(world: World) -> None:
    world.drop("tickets", f"TICKET#{world.ticket_of('handled').ticket_id}", "S#000002")


def ticket_one_step_behind(world: World) -> None:
    ticket = world.ticket_of("alarming")
    before = world.row("tickets", f"TICKET#{ticket.ticket_id}", "T")
    world.step(ticket, "accept")
    world.relay()
    world.put("tickets", before)


def ticket_behind_with_a_hole(world: World) -> None:
    ticket = world.ticket_of("alarming")
    before = world.row("tickets", f"TICKET#{ticket.ticket_id}", "T")
    world.step(world.step(ticket, "accept"), "handle")
    world.relay()
    world.put("tickets", before)
    world.drop("tickets", f"TICKET#{ticket.ticket_id}", "S#000002")


def sensor_row_behind(world: World) -> None:
    before = world.row("tickets", "SENSOR#alarming#smoke", "S")
    world.smoke("alarming", active=False)
    world.put("tickets", before)


def sensor_row_gone(world: World) -> None:
    world.drop("tickets", "SENSOR#alarming#smoke", "S")


def sensor_row_ahead(world: World) -> None:
    """The transaction in which the ticket heard the end: of its rows only the detector's was kept."""
    ticket = world.ticket_of("handled")
    pk = f"TICKET#{ticket.ticket_id}"
    before = world.row("tickets", pk, "T")
    world.smoke("handled", active=False)
    world.put("tickets", before)
    world.drop("tickets", pk, f"S#{ticket.version + 1:06}")


def text_gone(world: World) -> None:
    (pk,) = {item["pk"]["S"] for item in world.rows("tickets", "TICKET#") if item["sk"]["S"] == "S#000003"} & {
        item["pk"]["S"] for item in world.rows("tickets", "TICKET#") if item["sk"]["S"] == "TEXT"
    }
    world.drop("tickets", pk, "TEXT")


def fact_of_nothing(world: World) -> None:
    world.report("report-fact")
    (item,) = world.rows("tickets", "OUT#")
    ticket_id = json.loads(item["fact"]["S"])["aggregate_id"]
    for row in world.rows("tickets", f"TICKET#{ticket_id}"):
        world.drop("tickets", row["pk"]["S"], row["sk"]["S"])
    for row in world.rows("tickets", "CMD#"):
        if ticket_id in row["result"]["S"]:
            world.drop("tickets", row["pk"]["S"], row["sk"]["S"])


def command_of_nothing(world: World) -> None:
    ticket = world.report("report-command")
    world.relay()
    for row in world.rows("tickets", f"TICKET#{ticket.ticket_id}"):
        world.drop("tickets", row["pk"]["S"], row["sk"]["S"])


PLANTED: dict[Callable[[World], None], tuple[list[str], list[str]]] = {
    alarm_lost_on_its_way: (["alarm-without-its-ticket"], []),
    end_lost_on_its_way: (["end-of-alarm-unheard"], []),
    alarm_and_its_end_lost: (["end-of-alarm-unheard"], []),
    alarms_restored_to_before: (["alarm-behind-what-was-heard"] * 2, []),
    alarms_went_on_after_their_restore: (["alarm-otherwise-than-heard"], []),
    device_registered_after: (["device-unknown-to-alarms"], []),
    detectors_row_forgot_its_ticket: (["sensor-behind-its-ticket"], []),
    ticket_row_gone: (["alarm-without-its-ticket", "sensor-without-its-ticket", "ticket-lost"], ["ticket-lost"]),
    step_gone: (["step-lost"], []),
    ticket_one_step_behind: (["ticket-behind-its-steps"], []),
    ticket_behind_with_a_hole: (["ticket-behind-its-steps"], ["ticket-behind-its-steps"]),
    sensor_row_behind: (["sensor-behind-its-ticket"], []),
    sensor_row_gone: (["sensor-behind-its-ticket"], []),
    sensor_row_ahead: (["ticket-behind-its-sensor"], []),
    text_gone: (["text-lost"], ["text-lost"]),
    fact_of_nothing: (["fact-without-its-state"], []),
    command_of_nothing: (["command-without-its-ticket"], []),
}
"""What is planted → the kinds that are found, and those that are still there when everything is mended."""


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_what_is_planted_is_found_nothing_is_invented_and_mended_it_is_gone(
    world: World, plant: Callable[[World], None]
) -> None:
    plant(world)
    found, beyond = PLANTED[plant]
    assert sorted(world.mend()) == found
    assert world.found() == beyond


def test_a_dry_run_writes_nothing(world: World) -> None:
    alarm_lost_on_its_way(world)
    step_gone(world)
    before = [world.rows(context) for context in CONTEXTS]
    assert sorted(world.found()) == ["alarm-without-its-ticket", "step-lost"]
    assert [world.rows(context) for context in CONTEXTS] == before


def test_after_alarms_were_restored_the_detectors_next_word_is_heard(world: World) -> None:
    alarms_restored_to_before(world)
    world.mend()
    assert world.ticket_of("quiet").sensor.active  # type: ignore[union-attr]
    world.smoke("quiet", active=False)
    assert not world.ticket_of("quiet").sensor.active  # type: ignore[union-attr]
    world.smoke("alarming", active=True)
    assert world.ticket_of("alarming").sensor.active  # type: ignore[union-attr]
    assert world.found() == []


def test_a_detectors_row_that_forgot_its_ticket_leads_to_it_again(world: World) -> None:
    ticket = world.ticket_of("alarming")
    detectors_row_forgot_its_ticket(world)
    world.mend()
    assert world.ticket_of("alarming") == ticket


def test_a_lost_alarm_gets_its_ticket_and_a_lost_step_its_place_in_the_timeline(world: World) -> None:
    alarm_lost_on_its_way(world)
    step_gone(world)
    world.mend()
    ticket = world.ticket_of("new")
    assert (ticket.device_id, ticket.correlation_id, ticket.severity) == ("new", "trace-new", "critical")
    timeline = world.tickets.timeline(world.ticket_of("handled").ticket_id)
    assert [step.action for step in timeline] == ["open", "lost", "handle"]
    assert timeline[1].subject == "system:reconcile"


def test_a_ticket_behind_its_steps_is_as_they_left_it(world: World) -> None:
    ticket_one_step_behind(world)
    world.mend()
    ticket = world.ticket_of("alarming")
    assert (ticket.version, ticket.state, ticket.handler) == (2, "in_work", "duty-officer-001")


def test_a_report_whose_ticket_was_lost_is_opened_when_it_is_sent_again(world: World) -> None:
    command_of_nothing(world)
    world.mend()
    assert world.report("report-command").version == 1
    assert world.found() == []


def test_a_fact_on_its_way_is_no_disagreement_when_it_arrives_before_the_second_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.device("new")
    world.smoke("new", active=True, relay=False)
    assert world.found() == ["alarm-without-its-ticket"]
    monkeypatch.setattr("infra.local.reconcile.time.sleep", lambda _: world.relay())
    assert reconcile(world.agreement(), dry_run=True, settle=9, say=lambda _: None) == {}
