"""Tickets' use cases, on the fake store and on DynamoDB rows alike."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from linli.access import Actor, Caller, Post
from linli.cursor import CursorExpired, Cursors
from linli.errors import Denied, KeyReused, PlaceAbsent, StaleVersion, Unavailable
from linli.facts import Place
from tests.canary import NOTE, TEXT
from tests.fakes import FakeSeals, FakeTicketStore
from tests.support import COMMUNITY, GRID, NOW, OFFICER, PATH, PLACE, RESIDENT, WORKER, table_on_moto
from tickets.commands import Report, StepWanted, open_ticket, step_ticket, ticket_seen_by
from tickets.detectors import Alarm, alarm_cleared, alarm_raised
from tickets.domain import Roster, SameHand, Sensor, Shift, State, StepForbidden, Ticket, TicketAbsent
from tickets.queries import GridAbsent, GridMissing, ListWanted, list_page
from tickets.store import TicketStore

REPORT = Report("repair", TEXT, PLACE.room_id or "")
ALARM = Alarm("alarm-1", "device-1#smoke", 1, "device-1", "smoke", "critical", PLACE, "trace-1")
ELSEWHERE = Caller("officer-2", (Post("duty-officer-002", "duty_officer", (*PATH[:-1], "340104002002")),))
HUANGSHAN = Caller("officer-3", (Post("duty-officer-003", "duty_officer", ("34", "3410")),))
CURSORS = Cursors(lambda: "a secret for tests")
SEALS = FakeSeals()


@pytest.fixture(params=["fake", "real"])
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "fake":
        yield _with_roster(FakeTicketStore())
    else:
        with table_on_moto("tickets"):
            yield _with_roster(TicketStore())


def _with_roster(store: Any) -> Any:
    shift = Shift("grid-worker-001", NOW - timedelta(days=1), NOW + timedelta(days=30))
    roster = Roster((shift,), "duty-officer-001", "duty-officer-002")
    store.save_roster(GRID, roster, version=1, at=NOW)
    return store


def acting(caller: Caller) -> Actor:
    return caller.acting(None)


def report(store: Any, *, key: str = "key-0001", caller: Caller = RESIDENT, what: Report = REPORT) -> Ticket:
    def locate(_: str) -> Place:
        return PLACE

    return open_ticket(
        what,
        key=key,
        actor=acting(caller),
        request_id="r-1",
        locate=locate,
        store=store,
        seals=SEALS,
        clock=lambda: NOW,
    )


def step(store: Any, ticket: Ticket, name: str, caller: Caller, *, key: str = "", note: str | None = NOTE) -> Ticket:
    wanted = StepWanted(name, ticket.version, note)
    key = key or f"{name}-{ticket.version}"
    return step_ticket(
        ticket.ticket_id,
        wanted,
        key=key,
        actor=acting(caller),
        store=store,
        seals=SEALS,
        clock=lambda: NOW + timedelta(minutes=5),
    )


def raised(store: Any, alarm: Alarm = ALARM) -> Ticket | None:
    return alarm_raised(alarm, store=store, clock=lambda: NOW)


def cleared(store: Any, version: int = 2, alarm_id: str = "alarm-1") -> Ticket | None:
    said = Sensor("device-1#smoke", version, active=False)
    return alarm_cleared(alarm_id, said, correlation_id="trace-1", store=store, clock=lambda: NOW)


def listed(store: Any, caller: Caller, wanted: str, **more: Any) -> list[str]:
    asked = ListWanted(wanted, more.get("grid_id"), more.get("limit", 20), more.get("cursor"))
    page, _ = list_page(asked, actor=acting(caller), store=store, cursors=CURSORS, now=NOW)
    return [summary.ticket_id for summary in page]


def test_a_report_is_dispatched_to_the_post_on_duty(store: Any) -> None:
    ticket = report(store)
    assert (ticket.state, ticket.holder, ticket.reporter) == (State.DISPATCHED, "grid-worker-001", "resident-1")
    assert store.ticket(ticket.ticket_id) == ticket
    assert [s.action for s in store.timeline(ticket.ticket_id)] == ["open"]


def test_the_same_request_again_is_the_same_ticket_and_another_with_the_same_key_is_refused(store: Any) -> None:
    first = report(store)
    assert report(store).ticket_id == first.ticket_id
    with pytest.raises(KeyReused):
        report(store, what=replace(REPORT, text="另一件事"))
    assert report(store, caller=WORKER).ticket_id != first.ticket_id
    assert len(listed(store, WORKER, "grid")) == 2


def test_a_place_out_of_scope_is_absent(store: Any) -> None:
    with pytest.raises(PlaceAbsent):
        report(store, caller=Caller("resident-2", home="340104002002"))


def test_the_life_of_an_alarms_ticket(store: Any) -> None:
    ticket = raised(store)
    assert ticket is not None
    assert (ticket.kind, ticket.severity, ticket.correlation_id) == ("alarm", "critical", "trace-1")
    ticket = step(store, ticket, "accept", WORKER)
    ticket = step(store, ticket, "handle", WORKER)
    assert ticket.state is State.DONE
    verifying = cleared(store)
    assert verifying is not None
    assert (verifying.state, verifying.holder) == (State.VERIFYING, "duty-officer-001")
    closed = step(store, verifying, "verify", OFFICER)
    assert closed.state is State.CLOSED
    actions = [(s.action, s.state, s.post) for s in store.timeline(closed.ticket_id)]
    assert actions == [
        ("open", "dispatched", None),
        ("accept", "in_work", "grid-worker-001"),
        ("handle", "done", "grid-worker-001"),
        ("alarm_cleared", "verifying", None),
        ("verify", "closed", "duty-officer-001"),
    ]
    assert listed(store, WORKER, "grid") == listed(store, OFFICER, "mine") == []


def test_one_alarm_is_one_ticket_however_often_it_is_told(store: Any) -> None:
    first = raised(store)
    assert first is not None
    assert raised(store) is None
    assert listed(store, WORKER, "grid") == [first.ticket_id]


def test_an_alarm_while_its_ticket_is_open_goes_to_that_ticket(store: Any) -> None:
    first = raised(store)
    assert first is not None
    cleared(store, 2)
    again = raised(store, replace(ALARM, alarm_id="alarm-2", version=3))
    assert again is not None
    assert again.ticket_id == first.ticket_id
    assert again.sensor == Sensor("device-1#smoke", 3, active=True)


def test_an_alarm_after_its_ticket_was_closed_is_a_new_ticket(store: Any) -> None:
    ticket = raised(store)
    assert ticket is not None
    quiet = cleared(store)
    assert quiet is not None
    handled = step(store, step(store, quiet, "accept", WORKER), "handle", WORKER)
    assert step(store, handled, "verify", OFFICER).state is State.CLOSED
    again = raised(store, replace(ALARM, alarm_id="alarm-2", version=3))
    assert again is not None
    assert again.ticket_id != ticket.ticket_id


@pytest.mark.parametrize("clear_first", [True, False])
def test_a_moved_detectors_alarm_is_a_new_ticket_and_the_old_one_can_end(store: Any, clear_first: bool) -> None:
    old = raised(store)
    assert old is not None
    moved = PLACE.model_copy(update={"room_id": None})
    again = replace(ALARM, alarm_id="alarm-2", version=3, place=moved)
    if clear_first:
        cleared(store)
    new = raised(store, again)
    assert new is not None
    cleared(store)
    assert raised(store, again) is None
    assert (new.ticket_id != old.ticket_id, new.place, store.ticket(old.ticket_id).place) == (True, moved, PLACE)
    sensors = [store.ticket(ticket.ticket_id).sensor for ticket in (old, new)]
    assert [sensor.active for sensor in sensors if sensor] == [False, True]
    cleared(store, version=4, alarm_id="alarm-2")
    assert not store.ticket(new.ticket_id).sensor.active


def test_a_clear_that_overtakes_its_alarm_leaves_a_ticket_whose_detector_is_quiet(store: Any) -> None:
    assert cleared(store, 2) is None
    ticket = raised(store)
    assert ticket is not None
    assert ticket.sensor == Sensor("device-1#smoke", 2, active=False)
    handled = step(store, step(store, ticket, "accept", WORKER), "handle", WORKER)
    assert handled.state is State.VERIFYING


def test_an_old_clear_after_a_new_alarm_changes_nothing(store: Any) -> None:
    raised(store)
    ticket = raised(store, replace(ALARM, alarm_id="alarm-2", version=3))
    told = cleared(store, 2)
    assert told == ticket
    assert told is not None
    assert told.sensor is not None
    assert told.sensor.active


def test_a_step_on_an_old_version_is_a_conflict_and_the_same_step_again_is_not(store: Any) -> None:
    ticket = report(store)
    accepted = step(store, ticket, "accept", WORKER, key="accept-key")
    assert step(store, ticket, "accept", WORKER, key="accept-key") == accepted
    with pytest.raises(StaleVersion):
        step(store, ticket, "accept", WORKER, key="another-key")
    with pytest.raises(StepForbidden):
        step(store, accepted, "accept", WORKER, key="third-key")
    with pytest.raises(KeyReused):
        step(store, accepted, "handle", WORKER, key="accept-key")


def test_only_the_holder_works_on_it_and_only_a_duty_officer_verifies(store: Any) -> None:
    ticket = report(store)
    with pytest.raises(Denied):
        step(store, ticket, "accept", OFFICER)
    verifying = step(store, step(store, ticket, "accept", WORKER), "handle", WORKER)
    with pytest.raises(Denied):
        step(store, verifying, "verify", WORKER)


@pytest.mark.parametrize("caller", [ELSEWHERE, HUANGSHAN, Caller("resident-2", home=COMMUNITY), Caller("nobody")])
def test_out_of_scope_is_absent(store: Any, caller: Caller) -> None:
    ticket = report(store)
    with pytest.raises(TicketAbsent) as refused:
        ticket_seen_by(acting(caller), ticket.ticket_id, store=store)
    with pytest.raises(TicketAbsent) as absent:
        ticket_seen_by(acting(caller), "01ARZ3NDEKTSV4RRFFQ69G5FAV", store=store)
    assert str(refused.value) == str(absent.value)
    with pytest.raises(TicketAbsent):
        step(store, ticket, "accept", caller)


def test_the_resident_sees_what_they_reported(store: Any) -> None:
    ticket = report(store)
    assert ticket_seen_by(acting(RESIDENT), ticket.ticket_id, store=store) == ticket
    assert listed(store, RESIDENT, "reported") == [ticket.ticket_id]
    with pytest.raises(Denied):
        listed(store, RESIDENT, "mine")


def test_lists_are_cut_by_the_callers_scope(store: Any) -> None:
    ticket = report(store)
    assert listed(store, WORKER, "mine") == listed(store, OFFICER, "grid", grid_id=GRID) == [ticket.ticket_id]
    with pytest.raises(GridAbsent):
        listed(store, ELSEWHERE, "grid", grid_id=GRID)
    assert listed(store, OFFICER, "grid", grid_id=f"{COMMUNITY}009") == []
    with pytest.raises(GridMissing):
        listed(store, OFFICER, "grid")


def test_a_list_goes_on_where_its_page_ended(store: Any) -> None:
    opened = [report(store, key=f"key-000{number}").ticket_id for number in range(5)]
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        asked = ListWanted("mine", None, 2, cursor)
        page, cursor = list_page(asked, actor=acting(WORKER), store=store, cursors=CURSORS, now=NOW)
        seen += [summary.ticket_id for summary in page]
        if cursor is None:
            break
    assert sorted(seen) == sorted(opened)
    assert cursor is None


def test_a_cursor_is_good_for_its_caller_its_list_and_a_day(store: Any) -> None:
    for number in range(3):
        report(store, key=f"key-000{number}")
    asked = ListWanted("mine", None, 2, None)
    _, cursor = list_page(asked, actor=acting(WORKER), store=store, cursors=CURSORS, now=NOW)
    assert cursor is not None
    for stolen, later in ((OFFICER, NOW), (WORKER, NOW + timedelta(hours=25))):
        with pytest.raises(CursorExpired):
            list_page(replace(asked, cursor=cursor), actor=acting(stolen), store=store, cursors=CURSORS, now=later)
    for broken in (cursor[:-2], cursor[::-1], "", "%%%", "是"):
        with pytest.raises(CursorExpired):
            list_page(replace(asked, cursor=broken), actor=acting(WORKER), store=store, cursors=CURSORS, now=NOW)


def test_an_older_roster_does_not_replace_a_newer_one(store: Any) -> None:
    newer = Roster((Shift("cover", NOW, None),), "duty-officer-001")
    assert store.save_roster(GRID, newer, version=3, at=NOW)
    assert not store.save_roster(GRID, Roster((), "duty-officer-001"), version=2, at=NOW)
    assert report(store).holder == "cover"


def test_without_a_roster_the_ticket_is_there_all_the_same(store: Any) -> None:
    elsewhere = PLACE.model_copy(update={"grid_id": f"{COMMUNITY}002"})
    ticket = raised(store, replace(ALARM, place=elsewhere))
    assert ticket is not None
    assert (ticket.state, ticket.holder) == (State.RECEIVED, None)
    assert listed(store, OFFICER, "grid", grid_id=elsewhere.grid_id) == [ticket.ticket_id]
    assert step(store, ticket, "accept", OFFICER).holder == "duty-officer-001"


def test_what_the_duty_officer_handled_waits_for_their_deputy(store: Any) -> None:
    deputy = Caller("officer-2", (Post("duty-officer-002", "duty_officer", PATH[:-1]),))
    nobody = Roster((), "duty-officer-001", "duty-officer-002")
    assert store.save_roster(GRID, nobody, version=2, at=NOW)
    ticket = report(store)
    assert ticket.holder == "duty-officer-001"
    verifying = step(store, step(store, ticket, "accept", OFFICER), "handle", OFFICER)
    assert listed(store, deputy, "mine") == [verifying.ticket_id]
    with pytest.raises(SameHand):
        step(store, verifying, "verify", OFFICER)
    assert step(store, verifying, "verify", deputy).state is State.CLOSED


def test_every_step_carries_the_tickets_correlation_id(store: Any) -> None:
    ticket = raised(store)
    assert ticket is not None
    quiet = cleared(store)
    assert quiet is not None
    step(store, step(store, step(store, quiet, "accept", WORKER), "handle", WORKER), "verify", OFFICER)
    assert {s.correlation_id for s in store.timeline(ticket.ticket_id)} == {"trace-1"}


def test_a_repetition_is_answered_though_the_place_can_no_longer_be_asked(store: Any) -> None:
    def down(_: str) -> Place:
        raise Unavailable

    first = report(store)
    again = open_ticket(
        REPORT,
        key="key-0001",
        actor=acting(RESIDENT),
        request_id="r",
        locate=down,
        store=store,
        seals=SEALS,
        clock=lambda: NOW,
    )
    assert again == first
