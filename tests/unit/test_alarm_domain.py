"""One alarm for each device and type, whatever order the device's messages come in."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alarms.domain import (
    Alarm,
    Moment,
    Outcome,
    Said,
    Terms,
    apply,
    event_said,
    event_terms,
)
from linli.errors import Unreadable
from linli.facts import Place

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
PLACE = Place(path=("34", "3401", "340104", "340104002", "340104002001"), grid_id="340104002001001")
QUIET = Alarm("device", "smoke", "critical", PLACE)
AT_ONCE = Terms("smoke", "critical")


def said(second: int, *, active: bool) -> Said:
    at = NOW + timedelta(seconds=second)
    return Said(Moment(at, second), str(second), active, received_at=at)


def play(*events: Said, terms: Terms = AT_ONCE) -> tuple[Alarm, list[Outcome]]:
    alarm, outcomes = QUIET, []
    for number, event in enumerate(events):
        alarm, outcome = apply(alarm, event, terms, alarm_id=f"alarm-{number}", correlation_id=f"trace-{number}")
        outcomes.append(outcome)
    return alarm, outcomes


def test_raise_repeat_clear() -> None:
    alarm, outcomes = play(said(1, active=True), said(2, active=True), said(3, active=False))
    assert outcomes == [Outcome.RAISED, Outcome.REPEATED, Outcome.CLEARED]
    assert (alarm.active, alarm.occurrences, alarm.alarm_id, alarm.version) == (False, 2, "alarm-0", 3)


def test_an_activation_after_a_clear_is_a_new_alarm_with_its_own_correlation() -> None:
    alarm, _ = play(said(1, active=True), said(2, active=False), said(3, active=True))
    assert (alarm.alarm_id, alarm.correlation_id, alarm.occurrences) == ("alarm-2", "trace-2", 1)


def test_an_alarm_whose_end_came_first_was_an_alarm_all_the_same() -> None:
    alarm, outcomes = play(said(5, active=False), said(3, active=True), said(4, active=True))
    assert outcomes == [Outcome.IGNORED, Outcome.PASSED, Outcome.IGNORED]
    assert (alarm.active, alarm.version, alarm.published, alarm.alarm_id) == (False, 3, 2, "alarm-1")


def test_an_older_message_is_recorded_and_moves_nothing() -> None:
    alarm, outcomes = play(said(1, active=True), said(5, active=False), said(3, active=True), said(2, active=False))
    assert outcomes == [Outcome.RAISED, Outcome.CLEARED, Outcome.IGNORED, Outcome.IGNORED]
    assert (alarm.active, alarm.version, alarm.published) == (False, 4, 2)


def test_an_older_clear_does_not_end_what_began_after_it() -> None:
    alarm, outcomes = play(said(5, active=True), said(3, active=False))
    assert outcomes == [Outcome.RAISED, Outcome.IGNORED]
    assert alarm.active


def test_nothing_to_clear() -> None:
    assert play(said(1, active=False))[1] == [Outcome.IGNORED]


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), unique_by=lambda pair: pair[0], max_size=12))
def test_the_last_event_in_the_devices_order_decides(pairs: list[tuple[int, bool]]) -> None:
    alarm, outcomes = play(*(said(second, active=active) for second, active in pairs))
    newest = max(pairs, default=(0, False))
    assert alarm.active == newest[1]
    assert alarm.version == len(pairs)
    assert outcomes.count(Outcome.RAISED) - outcomes.count(Outcome.CLEARED) == int(alarm.active)
    facts = outcomes.count(Outcome.RAISED) + outcomes.count(Outcome.CLEARED) + 2 * outcomes.count(Outcome.PASSED)
    assert alarm.published == facts
    assert any(active for _, active in pairs) == bool({Outcome.RAISED, Outcome.PASSED} & set(outcomes))


def test_a_clock_years_off_does_not_silence_the_detector() -> None:
    wrong = datetime(1970, 1, 1, tzinfo=UTC)
    event = event_said(wrong, 7, active=True, received_at=NOW)
    assert event.moment == Moment(NOW, 7)
    assert event.identity != event_said(wrong, 7, active=True, received_at=NOW + timedelta(days=1)).identity
    assert event.identity == event_said(wrong, 7, active=True, received_at=NOW + timedelta(minutes=5)).identity


@pytest.mark.parametrize("minutes", [-24 * 60, -1, 0, 10])
def test_a_buffered_event_is_ordered_by_its_device(minutes: int) -> None:
    at = NOW + timedelta(minutes=minutes)
    assert event_said(at, 1, active=True, received_at=NOW).moment.at == at


def test_a_clock_that_ran_ahead_does_not_silence_the_detector_when_it_is_set_right() -> None:
    ahead = event_said(NOW + timedelta(hours=8), 1, active=False, received_at=NOW)
    later = NOW + timedelta(minutes=1)
    real = event_said(later, 2, active=True, received_at=later)
    assert play(ahead, real)[1] == [Outcome.IGNORED, Outcome.RAISED]


def test_an_event_the_class_does_not_have_is_unreadable() -> None:
    with pytest.raises(Unreadable) as refused:
        event_terms("smoke_detector", "fall")
    assert refused.value.field == "event"
