"""What a device last said, and which of its alarm causes are there: decided from what it says, pure.

Glossary: 最新状态 last state; 工况 condition (the cause of an alarm, as the registry of devices sees it); 门限 threshold;
失联 silence; 离线 offline; 可疑读数 suspect value (outside what the sensor can measure); 守候 watch (for silence).

The row `STATE` is written only when something in it matters: a condition changes, the device is heard again, its clock cannot be
believed, or it was not written for a week. In between the newest trusted row of the history says more than it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from devices.domain import Reading
from linli.clock import beijing_day
from linli.deviceclass import DeviceClass, ThresholdRule
from linli.devicetime import LATE, trusted

WRITTEN_EVERY = timedelta(days=7)
"""How old `heard_at` may be before the row is written again, and with it the watch planned anew."""
PRESENCE_KEPT = timedelta(hours=1)
"""IoT Core may count a client's connections from 0 again once it was away for about an hour."""
SILENCE, OFFLINE, CLOSING, OFFER = 0, 1, 2, 3
"""The rungs of a device's wakes: silence, a lost connection, the days a silent device leaves unclosed, an offer's end."""


@dataclass(frozen=True)
class Condition:
    """`version` counts its changes; `at` is when the last one happened."""

    active: bool
    version: int
    at: datetime


@dataclass(frozen=True)
class Presence:
    """What the broker last said of the device's connection; `generation` counts the disconnections waited for."""

    connected: bool
    number: int
    at: datetime
    generation: int


@dataclass(frozen=True)
class DeviceState:
    """`revision` counts the writes of the row, 0 before the first; `watch` the plans for silence: an older wake is stale.

    `closed_to` is the last Beijing day (`yyyymmdd`) whose hourly figures are kept; `barred` why it is not listened to.
    """

    device_id: str
    device_class: str
    heard_at: datetime
    last: Reading | None = None
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    watch: int = 1
    presence: Presence | None = None
    barred: str | None = None
    closed_to: str | None = None
    revision: int = 0

    def active(self, alarm_type: str) -> bool:
        return alarm_type in self.conditions and self.conditions[alarm_type].active

    @property
    def unread_from(self) -> datetime:
        """The earliest device time at which the history may hold a believed reading newer than `last`."""
        horizon = self.heard_at - LATE
        return max(self.last.at, horizon) if self.last else horizon

    @property
    def unread_to(self) -> datetime:
        """By when a message that was heard has written the row again."""
        return self.heard_at + WRITTEN_EVERY

    @property
    def caught_up(self) -> bool:
        """Whether what was received until `heard_at` needs no more looking for than `unread_from` says."""
        return self.last is not None and self.last.at >= self.heard_at - LATE


@dataclass(frozen=True)
class Told:
    """One message of a device; its readings in order, each once."""

    thing: str
    readings: Sequence[Reading]
    received_at: datetime
    correlation_id: str

    @property
    def believed(self) -> list[Reading]:
        """The readings that may say how things are: trusted in time, without the values that are out of range."""
        kept = [r for r in self.readings if trusted(r.at, received_at=self.received_at)]
        if not any(r.suspect for r in kept):
            return kept
        return [known for r in kept if (known := r.without_suspects()).values]


@dataclass(frozen=True)
class Changed:
    """A condition that began or ended."""

    alarm_type: str
    condition: Condition


@dataclass(frozen=True)
class Decision:
    """The row to write, what changed in it, and whether the device is to be watched anew for silence or connection.

    `crossed`: a reading did it, which counts only if the history knows no newer one.
    """

    state: DeviceState
    changes: tuple[Changed, ...] = ()
    watch: int | None = None
    crossed: bool = False


def silent_at(heard_at: datetime, after_seconds: int) -> datetime:
    """From when a device counts as silent: a full minute, so that every watch over it ends in the same one."""
    return heard_at.replace(second=0, microsecond=0) + timedelta(seconds=after_seconds)


def hear(state: DeviceState, told: Sequence[Told], of: DeviceClass) -> Decision | None:
    """What the messages change, None if nothing that must be written."""
    believed = {r.key: r for message in told for r in message.believed}
    new = [believed[key] for key in sorted(believed) if state.last is None or key > state.last.key]
    received_at = max(message.received_at for message in told)
    crossings = _crossings(state, new, of.thresholds)
    changes = [*crossings, *_ended_by_hearing(state, of, received_at)]
    replan = _replanned(state, of, received_at)
    unbelieved = len(believed) == 0 and received_at > state.heard_at
    if not (changes or replan or unbelieved):
        return None
    watch = state.watch + 1 if replan and of.silence else state.watch
    heard = replace(
        state,
        last=new[-1] if new else state.last,
        heard_at=max(state.heard_at, received_at),
        conditions=_after(state, changes),
        watch=watch,
        closed_to=state.closed_to or beijing_day(received_at - 2 * LATE),
    )
    return Decision(heard, tuple(changes), SILENCE if watch != state.watch else None, bool(crossings))


def become(state: DeviceState, alarm_type: str, *, active: bool, at: datetime) -> Decision:
    """The condition changed by something else than a reading."""
    change = _change(state.conditions.get(alarm_type), alarm_type, active, at)
    return Decision(replace(state, conditions=_after(state, [change])), (change,))


def connection(state: DeviceState, of: DeviceClass, said: Presence) -> Decision | None:
    """The connection began or ended; None if something newer is known. `said.generation` is taken from the state."""
    known = state.presence
    if of.offline is None or (known is not None and not _newer(said, known)):
        return None
    generation = known.generation if known else 0
    now = replace(said, generation=generation if said.connected else generation + 1)
    changed: list[Changed] = []
    if said.connected and state.active(of.offline.alarm_type):
        changed.append(_change(state.conditions[of.offline.alarm_type], of.offline.alarm_type, False, said.at))
    after = replace(state, presence=now, conditions=_after(state, changed))
    return Decision(after, tuple(changed), None if said.connected else OFFLINE)


def _newer(said: Presence, known: Presence) -> bool:
    """By the broker's count of connections, of which each begins before it ends; by its time once that may start anew."""
    if abs(said.at - known.at) >= PRESENCE_KEPT:
        return said.at > known.at
    return (said.number, not said.connected) > (known.number, not known.connected)


def _crossings(state: DeviceState, readings: Sequence[Reading], rules: Iterable[ThresholdRule]) -> list[Changed]:
    """The changes that lead from what was to what is: what came and went in between is told once."""
    changes: list[Changed] = []
    for rule in rules:
        before = active = state.active(rule.alarm_type)
        turns: list[datetime] = []
        for reading in readings:
            if rule.metric in reading.values:
                now = rule.met(reading.values[rule.metric], active=active)
                if now != active:
                    turns.append(reading.at)
                active = now
        told = turns if len(turns) <= 2 else [turns[0]] if active != before else [turns[0], turns[-1]]
        condition = state.conditions.get(rule.alarm_type)
        for at in told:
            changes.append(_change(condition, rule.alarm_type, not (condition and condition.active), at))
            condition = changes[-1].condition
    return changes


def _ended_by_hearing(state: DeviceState, of: DeviceClass, received_at: datetime) -> list[Changed]:
    """A message the broker took after the device was last heard ends its silence; one after it went away, its absence."""
    over = []
    if of.silence and state.active(of.silence.alarm_type) and received_at > state.heard_at:
        over.append(of.silence.alarm_type)
    if of.offline and state.active(of.offline.alarm_type) and received_at > state.conditions[of.offline.alarm_type].at:
        over.append(of.offline.alarm_type)
    known = ((alarm_type, state.conditions[alarm_type]) for alarm_type in over)
    return [_change(was, alarm_type, False, max(received_at, was.at)) for alarm_type, was in known]


def _replanned(state: DeviceState, of: DeviceClass, received_at: datetime) -> bool:
    """Whether the row is to be written with a new watch: the first time, after a silence, and once a week."""
    if state.closed_to is None or received_at >= state.heard_at + WRITTEN_EVERY:
        return True
    return bool(of.silence and state.active(of.silence.alarm_type) and received_at > state.heard_at)


def _change(known: Condition | None, alarm_type: str, active: bool, at: datetime) -> Changed:
    return Changed(alarm_type, Condition(active, known.version + 1 if known else 1, at))


def _after(state: DeviceState, changes: Iterable[Changed]) -> Mapping[str, Condition]:
    return {**state.conditions, **{change.alarm_type: change.condition for change in changes}}
