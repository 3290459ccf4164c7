"""Watching devices: answering the wakes that ask whether one has fallen silent or stayed away, and taking its connections."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

from devices.domain import Reading, class_named
from devices.figures import GRACE, days_to_close
from devices.history import close_day, last_heard, newest
from devices.state import CLOSING, OFFLINE, SILENCE, Decision, DeviceState, Presence, become, connection, silent_at
from devices.telemetry import States, save, wake_for
from linli.clock import Clock
from linli.commands import ATTEMPTS, pause
from linli.deviceclass import DeviceClass, SilenceRule
from linli.errors import StaleVersion, Unavailable
from linli.wake import Answer, Wake

ASKED_TOGETHER = 100
CLOSED_TOGETHER = 10
"""Days that are closed in one go, when so many wait for it."""


def look(wakes: Sequence[Wake], *, at: datetime, store: States, clock: Clock) -> Sequence[Answer]:
    """Each wake with the one that is to follow. A device that is changed meanwhile is not answered, and asked again."""
    answers: list[Answer] = []
    waiting = iter(wakes)
    while batch := list(islice(waiting, ASKED_TOGETHER)):
        states = store.states(wake.ref for wake in batch)
        for wake in batch:
            try:
                answers.append(Answer(wake, _then(wake, states.get(wake.ref), at=at, store=store, clock=clock)))
            except StaleVersion:
                continue
    return answers


def take_presence(device_id: str, said: Presence, *, correlation_id: str, store: States, clock: Clock) -> bool:
    """What the broker says of a connection; whether it was news of a device. Raises Unavailable."""
    for attempt in range(ATTEMPTS):
        state = store.states([device_id]).get(device_id)
        if state is None or state.barred:
            return False
        of = class_named(state.device_class)
        decision = connection(state, of, said)
        if decision is None:
            return False
        try:
            save(decision, of, at=clock(), correlation_id=correlation_id, store=store)
            return True
        except StaleVersion:
            pause(attempt)
    raise Unavailable()


def _then(wake: Wake, state: DeviceState | None, *, at: datetime, store: States, clock: Clock) -> Wake | None:
    """The wake that follows; None if the device is no longer waited for, or is missed from now on. Raises StaleVersion."""
    if state is None or state.barred:
        return None
    of = class_named(state.device_class)
    if wake.rung == SILENCE and wake.generation == state.watch:
        state = _days_closed(state, of, CLOSED_TOGETHER, at=at, store=store, clock=clock)
        return _if_silent(state, of, at=at, store=store, clock=clock)
    if wake.rung == CLOSING and wake.generation == state.watch:
        while (after := _days_closed(state, of, 1, at=at, store=store, clock=clock)) != state:
            state = after
        return None if at >= wake.fire_at else wake
    if wake.rung == OFFLINE and state.presence and wake.generation == state.presence.generation:
        return _if_away(state, of, at=at, store=store, clock=clock)
    return None


def _if_silent(state: DeviceState, of: DeviceClass, *, at: datetime, store: States, clock: Clock) -> Wake | None:
    """Each look costs more than the one before: the row, the newest reading, all that may have come since."""
    if of.silence is None:
        return None
    if state.active(of.silence.alarm_type):
        return _closing(state, of.silence, state.conditions[of.silence.alarm_type].at)
    looks: tuple[Callable[[DeviceState], DeviceState], ...] = (
        lambda known: known,
        lambda known: _with_newest(known, newest(known, history=store, now=at)),
        lambda known: replace(known, heard_at=last_heard(known, history=store, now=at)),
    )
    heard = state
    for take_look in looks:
        heard = take_look(heard)
        wake = wake_for(heard, of, SILENCE)
        if wake and at < wake.fire_at:
            return wake
    due_at = silent_at(heard.heard_at, of.silence.after_seconds)
    decision = become(heard, of.silence.alarm_type, active=True, at=due_at)
    save(decision, of, at=clock(), correlation_id=_correlation(state, state.watch), store=store)
    return _closing(state, of.silence, due_at)


def _closing(state: DeviceState, rule: SilenceRule, silent_since: datetime) -> Wake:
    """Nothing wakes a silent device any more: once its last day can be closed, this does."""
    fire_at = silent_since + timedelta(days=1) + GRACE
    return Wake("devices", state.device_id, CLOSING, state.watch, fire_at, rule.severity)


def _days_closed(
    state: DeviceState, of: DeviceClass, at_least: int, *, at: datetime, store: States, clock: Clock
) -> DeviceState:
    """The state after keeping the figures of its oldest unclosed days, if so many wait for it; what is sensitive has none."""
    if state.closed_to is None or of.privacy == "L4":
        return state
    days = days_to_close(state.closed_to, now=at)
    if len(days) < at_least:
        return state
    days = days[-of.raw_days :][:CLOSED_TOGETHER]
    for day in days:
        close_day(state.device_id, day, of, store=store, now=at)
    closed = replace(state, closed_to=days[-1])
    save(Decision(closed), of, at=clock(), correlation_id=_correlation(state, state.watch), store=store)
    return replace(closed, revision=state.revision + 1)


def _correlation(state: DeviceState, generation: int) -> str:
    return f"wake-{state.device_id}-{generation}"


def _with_newest(state: DeviceState, newest: tuple[Reading, datetime] | None) -> DeviceState:
    if newest is None:
        return state
    reading, received_at = newest
    last = reading if state.last is None or reading.key > state.last.key else state.last
    return replace(state, last=last, heard_at=max(state.heard_at, received_at))


def _if_away(state: DeviceState, of: DeviceClass, *, at: datetime, store: States, clock: Clock) -> Wake | None:
    again = wake_for(state, of, OFFLINE)
    over = state.presence is None or state.presence.connected
    if again is None or of.offline is None or over or state.active(of.offline.alarm_type):
        return None
    if at < again.fire_at:
        return again
    decision = become(state, of.offline.alarm_type, active=True, at=again.fire_at)
    save(decision, of, at=clock(), correlation_id=_correlation(state, again.generation), store=store)
    return None
