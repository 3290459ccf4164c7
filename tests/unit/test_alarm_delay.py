"""The on-delay, what is momentary, and what is counted, against naive models of the same rules."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alarms.commands import hear, raise_delayed
from alarms.domain import (
    Alarm,
    KnownDevice,
    Moment,
    Outcome,
    Said,
    Terms,
    alarm_terms,
    apply,
    condition_terms,
    event_terms,
    wake,
)
from linli.errors import Unreadable
from linli.facts import Place
from tests.fakes import FakeAlarmStore

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
PLACE = Place(path=("34", "3401", "340104", "340104002", "340104002001"), grid_id="340104002001001")
DOOR = KnownDevice("door-1", "door_sensor", PLACE)
DELAY = 10
OPEN = Terms("open", "warning", timedelta(seconds=DELAY))
QUIET = Alarm("door-1", "open", "warning", PLACE)


def second(number: int) -> datetime:
    return NOW + timedelta(seconds=number)


def said(number: int, *, active: bool, received: int | None = None) -> Said:
    at = second(number)
    return Said(Moment(at, number), str(number), active, received_at=at if received is None else second(received))


def play(*heard: Said, terms: Terms = OPEN) -> tuple[Alarm, list[Outcome]]:
    alarm, outcomes = QUIET, []
    for number, one in enumerate(heard):
        alarm, outcome = apply(alarm, one, terms, alarm_id=f"alarm-{number}", correlation_id=f"trace-{number}")
        outcomes.append(outcome)
    return alarm, outcomes


def test_a_cause_that_lasts_is_an_alarm_when_its_wake_comes_and_not_before() -> None:
    alarm, outcomes = play(said(0, active=True, received=3), said(5, active=True))
    assert outcomes == [Outcome.PENDING, Outcome.REPEATED]
    assert (alarm.state, alarm.published, alarm.pending and alarm.pending.due_at) == ("pending", 1, second(3 + DELAY))
    assert wake(alarm, 1, alarm_id="a", at=second(2 + DELAY)) is alarm
    assert wake(alarm, 2, alarm_id="a", at=second(60)) is alarm
    raised = wake(alarm, 1, alarm_id="a", at=second(3 + DELAY))
    assert (raised.state, raised.alarm_id, raised.correlation_id) == ("active", "a", "trace-0")
    assert (raised.raised_at, raised.published, raised.version) == (second(3 + DELAY), 2, 3)
    assert wake(raised, 1, alarm_id="b", at=second(60)) is raised


def test_an_end_in_time_leaves_nothing_and_its_wake_raises_nothing() -> None:
    alarm, outcomes = play(said(0, active=True), said(9, active=False))
    assert outcomes == [Outcome.PENDING, Outcome.ENDED]
    assert (alarm.state, alarm.published, alarm.alarm_id) == ("cleared", 1, "")
    assert wake(alarm, 1, alarm_id="a", at=second(60)) is alarm
    again, _ = play(said(0, active=True), said(9, active=False), said(12, active=True))
    assert wake(again, 1, alarm_id="a", at=second(60)) is again
    assert wake(again, 2, alarm_id="a", at=second(22)).active


def test_a_buffer_sent_late_tells_what_lasted_long_enough_as_an_alarm_that_has_passed() -> None:
    hour = 3600
    _, outcomes = play(said(0, active=True, received=hour), said(9, active=False, received=hour))
    assert outcomes == [Outcome.PENDING, Outcome.ENDED]
    long, outcomes = play(said(0, active=True, received=hour), said(10, active=False, received=hour))
    assert outcomes == [Outcome.PENDING, Outcome.PASSED]
    assert (long.state, long.correlation_id, long.published) == ("cleared", "trace-0", 3)
    assert (long.raised_at, long.cleared) == (second(10), Moment(second(10), 10))


def test_an_activation_that_comes_after_its_end_counts_if_it_lasted() -> None:
    assert play(said(9, active=False), said(0, active=True))[1] == [Outcome.IGNORED, Outcome.IGNORED]
    assert play(said(10, active=False), said(0, active=True))[1] == [Outcome.IGNORED, Outcome.PASSED]
    # Two ends are known: the first one after the activation is its own.
    assert play(said(5, active=False), said(20, active=False), said(0, active=True))[1][-1] is Outcome.IGNORED
    assert play(said(5, active=False), said(20, active=False), said(8, active=True))[1][-1] is Outcome.PASSED


def test_an_activation_that_comes_late_lengthens_what_is_pending() -> None:
    _, outcomes = play(said(8, active=True), said(0, active=True), said(12, active=False))
    assert outcomes == [Outcome.PENDING, Outcome.REPEATED, Outcome.PASSED]
    _, outcomes = play(
        said(0, active=True), said(2, active=False), said(8, active=True), said(1, active=True), said(12, active=False)
    )
    assert outcomes == [Outcome.PENDING, Outcome.ENDED, Outcome.PENDING, Outcome.IGNORED, Outcome.ENDED]


def test_what_is_pending_is_not_lengthened_by_what_had_its_own_end_nor_shortened() -> None:
    shortened = play(said(0, active=True), said(8, active=True), said(5, active=True), said(11, active=False))
    assert shortened[1][-1] is Outcome.PASSED
    after_alarm = play(
        said(0, active=True),
        said(10, active=False),
        said(20, active=True),
        said(5, active=True),
        said(25, active=False),
    )
    assert after_alarm[1][1:] == [Outcome.PASSED, Outcome.PENDING, Outcome.IGNORED, Outcome.ENDED]
    ends = said(5, active=False), said(20, active=False), said(8, active=True)
    after_missed = play(*ends, said(30, active=True), said(12, active=True), said(35, active=False))
    assert after_missed[1][2:] == [Outcome.PASSED, Outcome.PENDING, Outcome.IGNORED, Outcome.ENDED]


def test_an_alarm_that_was_cleared_does_not_lengthen_the_next() -> None:
    pending, _ = play(said(0, active=True))
    active = wake(pending, 1, alarm_id="a", at=second(DELAY))
    outcomes = []
    for one in (said(15, active=False), said(20, active=True), said(12, active=True), said(25, active=False)):
        active, outcome = apply(active, one, OPEN, alarm_id="b", correlation_id="r")
        outcomes.append(outcome)
    assert outcomes == [Outcome.CLEARED, Outcome.PENDING, Outcome.IGNORED, Outcome.ENDED]


def test_each_press_is_an_alarm_that_has_passed_whatever_the_order() -> None:
    terms = event_terms("sos_button", "sos")
    alarm, outcomes = play(said(5, active=True), said(3, active=True), said(9, active=False), terms=terms)
    assert outcomes == [Outcome.PASSED, Outcome.PASSED, Outcome.IGNORED]
    assert (alarm.state, alarm.published, alarm.alarm_id, alarm.last) == ("cleared", 4, "alarm-1", Moment(second(9), 9))
    assert (alarm.raised_at, alarm.cleared) == (second(3), Moment(second(3), 3))


def test_a_condition_is_ordered_by_its_count_whatever_its_times_say() -> None:
    terms = condition_terms("door_sensor", "battery_low")

    def change(version: int, number: int, *, active: bool) -> Said:
        return Said(Moment(second(number), version), f"v{version}", active, received_at=NOW)

    assert play(change(1, 9, active=True), change(2, 3, active=False), terms=terms)[1] == [
        Outcome.RAISED,
        Outcome.CLEARED,
    ]
    overtaken = play(change(2, 3, active=False), change(1, 9, active=True), terms=terms)
    assert overtaken[1] == [Outcome.IGNORED, Outcome.PASSED]
    older = play(change(3, 1, active=True), change(2, 9, active=False), change(1, 9, active=True), terms=terms)
    assert older[1] == [Outcome.RAISED, Outcome.IGNORED, Outcome.IGNORED]


def test_terms_come_from_the_class() -> None:
    assert event_terms("door_sensor", "open").delay == timedelta(minutes=10)
    assert event_terms("fall_detector", "fall").momentary
    assert condition_terms("smoke_detector", "silent") == Terms("silent", "major", counted=True)
    assert alarm_terms("door_sensor", "open") == event_terms("door_sensor", "open")
    assert alarm_terms("door_sensor", "smoke") is alarm_terms("no_such_class", "open") is None
    for unknown in ("open", "smoke"):
        with pytest.raises(Unreadable) as refused:
            condition_terms("door_sensor", unknown)
        assert refused.value.field == "alarm_type"


def alarms_in_order(heard: list[tuple[int, bool]], wakes: list[int]) -> int:
    """Naive: each stretch from the first activation to the next end, whether it lasted or was woken meanwhile."""
    alarms, since = 0, None
    for number, active in heard:
        if active and since is None:
            since = number
        elif not active and since is not None:
            alarms += number - since >= DELAY or any(since + DELAY <= at <= number for at in wakes)
            since = None
    return alarms + (since is not None and any(at >= since + DELAY for at in wakes))


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans()), unique_by=lambda one: one[0], max_size=12), st.data())
def test_in_the_devices_order_an_alarm_is_what_lasted(heard: list[tuple[int, bool]], data: st.DataObject) -> None:
    heard.sort()
    wakes = sorted(data.draw(st.lists(st.integers(0, 90), max_size=6)))
    alarm, raised, cleared = QUIET, 0, 0
    steps = sorted([(number, 1, active) for number, active in heard] + [(at, 0, None) for at in wakes])
    for number, _, active in steps:
        if active is None:
            after = wake(alarm, alarm.generation, alarm_id="x", at=second(number))
            raised += after is not alarm
        else:
            after, outcome = apply(alarm, said(number, active=active), OPEN, alarm_id="x", correlation_id="r")
            raised += outcome is Outcome.PASSED
            cleared += outcome in (Outcome.PASSED, Outcome.CLEARED)
        alarm = after
    assert raised == alarms_in_order(heard, wakes)
    assert raised - cleared == alarm.active
    assert alarm.published == raised + cleared + alarm.generation


@dataclass
class Delivered:
    """Everything that reached the context, as the use cases see it."""

    store: FakeAlarmStore = field(default_factory=FakeAlarmStore)
    wakes: list[tuple[int, int]] = field(default_factory=list)

    def deliver(self, number: int, *, active: bool, received: int) -> None:
        one = said(number, active=active, received=received)
        before = len(self.store.table.outbox)
        hear(DOOR, OPEN, one, correlation_id="r", store=self.store, clock=lambda: second(received))
        for fact in self.store.table.outbox[before:]:
            if fact.type == "AlarmWakeWanted":
                due_at = datetime.fromisoformat(fact.data["fire_at"])
                assert due_at == second(received + DELAY)
                self.wakes.append((fact.data["generation"], received + DELAY))

    def wake(self, generation: int, at: int) -> None:
        raise_delayed(DOOR, OPEN, generation, at=second(at), store=self.store, clock=lambda: second(at))

    @property
    def alarm(self) -> Alarm:
        return self.store.alarm(DOOR, OPEN)

    @property
    def said(self) -> list[str]:
        return [fact.type for fact in self.store.table.outbox if fact.type != "AlarmWakeWanted"]


EVENTS = st.lists(st.tuples(st.integers(0, 40), st.booleans()), unique_by=lambda one: one[0], min_size=1, max_size=10)


@given(EVENTS, st.data())
def test_whatever_order_repetition_and_wakes_come_in(events: list[tuple[int, bool]], data: st.DataObject) -> None:
    """Bounds that hold for every interleaving; what arrives in order is held to the naive model above."""
    deliveries = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=5))))
    world, woken = Delivered(), False
    for received, (number, active) in enumerate(deliveries, 50):
        world.deliver(number, active=active, received=received)
        if world.wakes and data.draw(st.booleans()):
            generation, due = data.draw(st.sampled_from(world.wakes))
            before, at = world.alarm, data.draw(st.integers(received, 80))
            world.wake(generation, at)
            changed = world.alarm is not before
            assert changed == (before.pending is not None and before.generation == generation and at >= due)
            woken |= changed
    newest = max(events)
    assert (world.alarm.state != "cleared") == newest[1]
    steps = world.store.steps[DOOR.device_id, "open"]
    assert world.alarm.version == len(steps) == len(events) + sum(step.subject == "timers" for step in steps)
    assert world.said == ["AlarmRaised", "AlarmCleared"] * (len(world.said) // 2) + ["AlarmRaised"] * (
        world.alarm.active
    )
    versions = [fact.aggregate_version for fact in world.store.table.outbox]
    assert versions == list(range(1, world.alarm.published + 1))
    spans = [end - began for began, on in events for end, still in events if on and not still and end > began]
    assert woken or not world.said or max(spans, default=0) >= DELAY  # no alarm out of what was short
    for generation, due in world.wakes:
        world.wake(generation, due + 1000)
    assert world.alarm.active == newest[1]
    assert world.said or not alarms_in_order(sorted(events), [])  # nothing that lasted was missed
