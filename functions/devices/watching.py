"""Watching devices: answering the wakes that ask whether one has fallen silent or stayed away, and taking its connections."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice

from devices.domain import Reading, class_named
from devices.history import last_heard, newest
from devices.state import OFFLINE, SILENCE, DeviceState, Presence, become, connection, silent_at
from devices.telemetry import States, save, wake_for
from linli.clock import Clock
from linli.commands import ATTEMPTS, pause
from linli.deviceclass import DeviceClass
from linli.errors import StaleVersion, Unavailable
from linli.wake import Answer, Wake

ASKED_TOGETHER = 100


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
        return _if_silent(state, of, at=at, store=store, clock=clock)
    if wake.rung == OFFLINE and state.presence and wake.generation == state.presence.generation:
        return _if_away(state, of, at=at, store=store, clock=clock)
    return None


def _if_silent(state: DeviceState, of: DeviceClass, *, at: datetime, store: States, clock: Clock) -> Wake | None:
    """Each look costs more than the one before: the row, the newest reading, all that may have come since."""
    if of.silence is None or state.active(of.silence.alarm_type):
        return None
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
    save(decision, of, at=clock(), correlation_id=f"wake-{state.device_id}-{state.watch}", store=store)
    return None


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
    save(decision, of, at=clock(), correlation_id=f"wake-{state.device_id}-{again.generation}", store=store)
    return None
