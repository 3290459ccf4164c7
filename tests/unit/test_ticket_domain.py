"""The life of a ticket: the table, the detector's say, and who may not verify."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linli.facts import Place
from tickets.domain import (
    STEPS,
    Duty,
    NoteMissing,
    Roster,
    SameHand,
    Sensor,
    SensorStillAlarms,
    Shift,
    StaffStep,
    State,
    StepForbidden,
    Ticket,
    dispatch,
    hear_sensor,
    take_step,
)

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
PLACE = Place(path=("34", "3401", "340104", "340104002", "340104002001"), grid_id="340104002001001")
RECEIVED = Ticket("T1", "alarm", "smoke", PLACE, NOW, NOW + timedelta(hours=1), "trace")
DISPATCHED = dispatch(RECEIVED, Duty("worker", ("officer", "deputy")))
ALARMING = replace(DISPATCHED, sensor=Sensor("d#smoke", 1, active=True))


def by_worker(ticket: Ticket, step: str, note: str | None = "done") -> Ticket:
    return take_step(ticket, step, post_id="worker", subject="w", note=note)


def by_officer(ticket: Ticket, step: str) -> Ticket:
    return take_step(ticket, step, post_id="officer", subject="o", note=None)


def test_without_a_detector_handling_leads_to_verification() -> None:
    ticket = by_worker(by_worker(DISPATCHED, "accept"), "handle")
    assert (ticket.state, ticket.holder, ticket.handled_by) == (State.VERIFYING, "officer", "w")
    closed = by_officer(ticket, "verify")
    assert (closed.state, closed.holder, closed.version) == (State.CLOSED, None, 4)


def test_it_waits_for_the_detector_and_verification_starts_by_itself() -> None:
    done = by_worker(by_worker(ALARMING, "accept"), "handle")
    assert (done.state, done.holder) == (State.DONE, "worker")
    with pytest.raises(SensorStillAlarms):
        by_officer(done, "verify")
    quiet = hear_sensor(done, Sensor("d#smoke", 2, active=False))
    assert (quiet.state, quiet.holder) == (State.VERIFYING, "officer")


def test_a_detector_that_alarms_again_stops_the_verification() -> None:
    done = by_worker(by_worker(ALARMING, "accept"), "handle")
    verifying = hear_sensor(done, Sensor("d#smoke", 2, active=False))
    again = hear_sensor(verifying, Sensor("d#smoke", 3, active=True))
    assert again.state is State.DONE
    with pytest.raises(SensorStillAlarms):
        by_officer(again, "verify")


def test_an_older_word_of_the_detector_changes_nothing() -> None:
    quiet = hear_sensor(ALARMING, Sensor("d#smoke", 2, active=False))
    assert hear_sensor(quiet, Sensor("d#smoke", 1, active=True)) is quiet


@pytest.mark.parametrize(("post_id", "subject"), [("worker", "o"), ("officer", "w"), ("worker", "w")])
def test_the_checker_is_neither_the_handling_post_nor_the_handling_person(post_id: str, subject: str) -> None:
    verifying = by_worker(by_worker(DISPATCHED, "accept"), "handle")
    with pytest.raises(SameHand):
        take_step(verifying, "verify", post_id=post_id, subject=subject, note=None)


def test_handling_needs_a_note() -> None:
    with pytest.raises(NoteMissing) as refused:
        by_worker(by_worker(DISPATCHED, "accept"), "handle", note=None)
    assert refused.value.field == "note"


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("step", get_args(StaffStep))
def test_what_the_table_does_not_allow_is_refused(state: State, step: str) -> None:
    ticket = replace(DISPATCHED, state=state, handled_by="w")
    if state in STEPS[step]:
        assert by_officer(replace(ticket, handler="worker"), step) if step == "verify" else by_worker(ticket, step)
    else:
        with pytest.raises(StepForbidden) as refused:
            by_officer(ticket, step) if step == "verify" else by_worker(ticket, step)
        assert state.value in str(refused.value)
        assert "工单" in refused.value.text("zh")


SAID = st.tuples(st.just("sensor"), st.booleans())
DONE = st.tuples(st.sampled_from(["worker", "officer"]), st.sampled_from(get_args(StaffStep)))


@given(st.lists(SAID | DONE, max_size=25))
def test_no_order_of_steps_closes_a_ticket_whose_detector_alarms(moves: list[tuple[str, object]]) -> None:
    ticket, version = ALARMING, 1
    for who, what in moves:
        before = ticket
        if who == "sensor":
            version += 1
            ticket = hear_sensor(ticket, Sensor("d#smoke", version, active=bool(what)))
        else:
            try:
                ticket = take_step(ticket, str(what), post_id=who, subject=who, note="note")
            except (StepForbidden, SensorStillAlarms, SameHand):
                continue
        assert ticket.version == before.version + (ticket is not before)
        if ticket.state is State.CLOSED and before.state is not State.CLOSED:
            assert before.sensor is not None
            assert not before.sensor.active
            assert ticket.handled_by != who
        if ticket.sensor and ticket.sensor.active:
            assert ticket.state is not State.VERIFYING
        assert (ticket.holder is None) == (ticket.state is State.CLOSED)


def test_the_first_shift_on_duty_counts_and_the_duty_officer_stands_in() -> None:
    cover = Shift("cover", NOW, NOW + timedelta(hours=8))
    usual = Shift("worker", NOW - timedelta(days=1), NOW + timedelta(days=1))
    roster = Roster((cover, usual), "officer")
    assert roster.at(NOW).handler == "cover"
    assert roster.at(NOW + timedelta(hours=8)).handler == "worker"
    assert roster.at(NOW + timedelta(days=2)) == Duty("officer", ("officer",))


def test_where_nobody_is_on_duty_it_stays_received_and_anyone_in_the_area_may_accept() -> None:
    ticket = dispatch(RECEIVED, Duty())
    assert (ticket.state, ticket.holder) == (State.RECEIVED, None)
    accepted = by_worker(ticket, "accept")
    assert (accepted.state, accepted.holder) == (State.IN_WORK, "worker")
