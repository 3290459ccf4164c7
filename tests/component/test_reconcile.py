"""Disagreements between restored tables, one of every kind: each is found, none is invented, and mended it is gone."""

import json
from collections.abc import Callable, Iterator

import pytest

from infra.local.reconcile import reconcile
from tests.restored import CONTEXTS, Item, World, empty


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


def device_retired_after(world: World) -> None:
    before = world.rows("alarms")
    world.retire("alarming")
    world.restore("alarms", before)


def retired_device_unknown(world: World) -> None:
    world.retire("quiet")
    world.drop("alarms", "DEVICE#quiet", "D")


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
    device_retired_after: (["alarm-behind-what-was-heard", "device-otherwise-than-known"], []),
    retired_device_unknown: (["device-unknown-to-alarms"], []),
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


def test_a_retirement_that_was_forgotten_is_told_and_ends_what_still_alarmed(world: World) -> None:
    before = [world.rows(context) for context in ("alarms", "tickets")]
    world.retire("alarming")
    for context, items in zip(("alarms", "tickets"), before, strict=True):
        world.restore(context, items)
    assert world.mend() == ["device-otherwise-than-known"]
    known = world.alarms.device("alarming")
    assert known is not None
    assert (known.state, known.version) == ("retired", 2)
    assert not world.ticket_of("alarming").sensor.active  # type: ignore[union-attr]
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
