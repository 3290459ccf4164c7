"""Taking in what devices say, a batch at a time: the history first, then the states that must be written, then the archive.

Each step may be done again: the rows of a message are the same whenever it comes, a state follows the one it was decided on,
and the archive may hold a message twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from devices.domain import Device, Reading, class_named
from devices.events import DeviceConditionChanged, DeviceWakeWanted
from devices.figures import closable
from devices.history import DAY, Figured, Kept, close_day, newest, rows_of
from devices.state import OFFLINE, SILENCE, Decision, DeviceState, Told, hear, silent_at
from linli.clock import Clock
from linli.commands import ATTEMPTS, pause
from linli.deviceclass import DeviceClass
from linli.errors import StaleVersion, Unavailable, Unreadable
from linli.facts import Envelope, envelope
from linli.wake import Wake


class States(Figured, Protocol):
    """Where states and history are; everything raises Unavailable."""

    def states(self, device_ids: Iterable[str]) -> dict[str, DeviceState]: ...

    def save(self, state: DeviceState, *, facts: Iterable[Envelope], at: datetime) -> None: ...

    def keep(self, kept: Sequence[Kept]) -> set[tuple[str, str]]: ...

    def keep_first(self, kept: Kept) -> None: ...


class Archive(Protocol):
    """Where raw telemetry is kept beyond the table."""

    def add(self, told: Sequence[tuple[Told, DeviceClass]]) -> set[int]:
        """The positions of those that could not be handed over."""


@dataclass(frozen=True)
class Known:
    """A message that can be kept: its values flagged, and what its device's class asks for."""

    told: Told
    of: DeviceClass
    rows: Sequence[Kept]


def keep_telemetry(messages: Sequence[Told], *, store: States, archive: Archive, clock: Clock) -> dict[int, Exception]:
    """Keep the messages; why, by position, for those that were not."""
    states = store.states(message.thing for message in messages)
    refused: dict[int, Exception] = {}
    known: dict[int, Known] = {}
    for place, message in enumerate(messages):
        try:
            known[place] = _known(message, states.get(message.thing))
        except Unreadable as error:
            refused[place] = error
    for place in _not_kept(known, store):
        refused[place] = Unavailable()
        del known[place]
    for device_id, places in _by_device(known).items():
        one = known[places[0]]
        told = [known[place].told for place in places]
        own = frozenset(row.key for place in places for row in known[place].rows)
        try:
            _settle(states[device_id], told, one.of, own, store=store, clock=clock)
        except Unavailable as error:
            refused |= dict.fromkeys(places, error)
    places = [place for place in known if place not in refused and known[place].of.privacy != "L4"]
    for one_left in archive.add([(known[place].told, known[place].of) for place in places]):
        refused[places[one_left]] = Unavailable()
    return refused


def save(decision: Decision, of: DeviceClass, *, at: datetime, correlation_id: str, store: States) -> None:
    """Write the state with what it makes known. Raises StaleVersion, Unavailable."""
    store.save(decision.state, facts=_facts_of(decision, of, at=at, correlation_id=correlation_id), at=at)


def _facts_of(decision: Decision, of: DeviceClass, *, at: datetime, correlation_id: str) -> list[Envelope]:
    """What the decision makes known: each condition's change, and the wake it asks for."""
    state = decision.state
    facts = [
        envelope(
            DeviceConditionChanged(
                device_id=state.device_id,
                alarm_type=change.alarm_type,
                active=change.condition.active,
                changed_at=change.condition.at,
            ),
            aggregate_id=f"{state.device_id}#{change.alarm_type}",
            aggregate_version=change.condition.version,
            at=at,
            correlation_id=correlation_id,
        )
        for change in decision.changes
    ]
    wake = decision.watch is not None and wake_for(state, of, decision.watch)
    return [*facts, _wake_fact(wake, at=at, correlation_id=correlation_id)] if wake else facts


def first_watch(device: Device, *, correlation_id: str) -> list[Envelope]:
    """From its registration on a device is watched for silence, if its class has a limit for it."""
    state = DeviceState(device.device_id, device.device_class, heard_at=device.registered_at)
    wake = wake_for(state, class_named(device.device_class), SILENCE)
    return [_wake_fact(wake, at=device.registered_at, correlation_id=correlation_id)] if wake else []


def barred_as(
    state: DeviceState, reason: str | None, *, at: datetime, correlation_id: str
) -> tuple[DeviceState, list[Envelope]]:
    """The state of a device that may not speak, for this reason; or that may again and is watched anew from now on."""
    if reason is not None:
        return replace(state, barred=reason), []
    again = replace(state, barred=None, heard_at=max(at, state.heard_at), watch=state.watch + 1)
    wake = wake_for(again, class_named(state.device_class), SILENCE)
    return again, [_wake_fact(wake, at=at, correlation_id=correlation_id)] if wake else []


def wake_for(state: DeviceState, of: DeviceClass, rung: int) -> Wake | None:
    """When the device is to be looked at for silence or for its connection; None if its class has no such rule."""
    if rung == SILENCE and of.silence:
        fire_at = silent_at(state.heard_at, of.silence.after_seconds)
        return Wake("devices", state.device_id, SILENCE, state.watch, fire_at, of.silence.severity)
    if rung == OFFLINE and of.offline and state.presence:
        fire_at = silent_at(state.presence.at, of.offline.after_seconds)
        return Wake("devices", state.device_id, OFFLINE, state.presence.generation, fire_at, of.offline.severity)
    return None


def _wake_fact(wake: Wake, *, at: datetime, correlation_id: str) -> Envelope:
    wanted = DeviceWakeWanted(
        ref=wake.ref, rung=wake.rung, generation=wake.generation, fire_at=wake.fire_at, severity=wake.severity
    )
    return envelope(
        wanted,
        aggregate_id=f"{wake.ref}#{wake.rung}",
        aggregate_version=wake.generation,
        at=at,
        correlation_id=correlation_id,
    )


def last_state(state: DeviceState, *, store: States, now: datetime) -> Reading | None:
    """The newest believed reading: of the row, or of the history since."""
    found = newest(state, history=store, now=now)
    readings = [reading for reading in (state.last, found and found[0]) if reading]
    return max(readings, key=lambda reading: reading.key, default=None)


def _known(message: Told, state: DeviceState | None) -> Known:
    """Raises Unreadable for a device that is not known or may not speak, and for a metric its class does not have."""
    if state is None:
        raise Unreadable("thing", reason="unknown thing")
    if state.barred:
        raise Unreadable("thing", reason=f"{state.barred} thing")
    of = class_named(state.device_class)
    readings = [_flagged(reading, of, place) for place, reading in enumerate(message.readings)]
    readings.sort(key=lambda reading: reading.key)
    told = Told(message.thing, readings, message.received_at, message.correlation_id)
    return Known(told, of, rows_of(told, raw_days=of.raw_days))


def _flagged(reading: Reading, of: DeviceClass, place: int) -> Reading:
    suspect = []
    for name, value in reading.values.items():
        metric = of.metrics.get(name)
        if metric is None:
            raise Unreadable(f"readings.{place}.v", reason="unknown metric")
        if not metric.minimum <= value <= metric.maximum:
            suspect.append(name)
    return Reading(reading.at, reading.seq, reading.values, tuple(suspect)) if suspect else reading


def _not_kept(known: Mapping[int, Known], store: States) -> list[int]:
    """The positions of the messages that are not in the history, because the table is busy."""
    doubted = {id(row) for one in known.values() for row in one.rows if row.doubted}
    busy = store.keep([row for one in known.values() for row in one.rows if id(row) not in doubted])
    for one in known.values():
        for row in one.rows:
            if id(row) in doubted:
                store.keep_first(row)
                _recount(row, one.of, store=store)
    if not busy:
        return []
    return [place for place, one in known.items() if any((r.device_id, r.key) in busy for r in one.rows)]


def _recount(late: Kept, of: DeviceClass, *, store: States) -> None:
    """A day that is closed, or would be, takes up what came late; readings of long ago are a wrong clock's."""
    came = late.received_at
    if of.privacy != "L4" and closable(late.day, now=came) and late.readings[0].at > came - of.raw_days * DAY:
        close_day(late.device_id, late.day, of, store=store, now=came)


def _by_device(known: Mapping[int, Known]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, one in known.items():
        places.setdefault(one.told.thing, []).append(place)
    return places


def _settle(
    state: DeviceState, told: Sequence[Told], of: DeviceClass, own: frozenset[str], *, store: States, clock: Clock
) -> None:
    """Write the state that follows, if one must be. Raises Unavailable."""
    for attempt in range(ATTEMPTS):
        at = max(clock(), *(message.received_at for message in told))
        decision = _decided(state, told, of, own, store=store, now=at)
        if decision is None:
            return
        try:
            save(decision, of, at=at, correlation_id=told[-1].correlation_id, store=store)
            return
        except StaleVersion:
            pause(attempt)
            state = store.states([state.device_id])[state.device_id]
    raise Unavailable()


def _decided(
    state: DeviceState,
    told: Sequence[Told],
    of: DeviceClass,
    own: frozenset[str],
    *,
    store: States,
    now: datetime,
) -> Decision | None:
    """A reading changes a condition only if no newer one is known: the history is asked when one would."""
    decision = hear(state, told, of)
    if decision is None or not (decision.crossed or not decision.state.caught_up):
        return decision
    newer = newest(state, history=store, now=now, besides=own)
    if newer is None:
        return decision
    return hear(replace(state, last=newer[0]), told, of)
