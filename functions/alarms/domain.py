"""Alarms: one state for each (device, type), moved by what the device says, in the device's own order.

Glossary: 报警 alarm; 报警解除 clear; 报警类型 alarm type; 级别 severity (critical, major, minor, warning); 报警延时 on-delay;
待报警 pending (the cause is there, its on-delay is not over); 状况 condition (what the platform sees in a device's readings,
or in their absence; told by `devices`).
States follow ISA-18.2 / IEC 62682 as far as this product needs them: quiet, pending, active; acknowledging is a ticket's step.

The on-delay:

- It counts on the server's time from the receipt of the first activation, and is over when the wake comes that was asked
  for. A device's clock cannot shorten it, nor a buffer that is sent late: its end follows right behind, and is heard.
- An end that is heard before it is over decides by the order of the device: had the cause lasted for the delay by the
  device's own times it was an alarm, raised and cleared in one; else it was none.
- An activation that comes late lengthens what is pending if no end is known in between. An end that comes late moves
  nothing. `generation` counts the delays, so a wake of an older one raises nothing.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from linli.clock import beijing_day, iso
from linli.deviceclass import AlarmRule, DeviceClass, EventRule, ThresholdRule, device_class
from linli.devicetime import trusted
from linli.errors import NotYet, Unreadable
from linli.facts import Place

IN_SERVICE, RETIRED = "in_service", "retired"
"""The registry's words for a device whose messages count, and for one that is gone for good."""


@dataclass(frozen=True)
class KnownDevice:
    """What the registry said of a device, as of the device's `version`."""

    device_id: str
    device_class: str
    place: Place
    state: str = IN_SERVICE
    version: int = 1


class Outcome(StrEnum):
    PENDING = "pending"
    RAISED = "raised"
    REPEATED = "repeated"
    CLEARED = "cleared"
    PASSED = "passed"
    """Raised and cleared in one: its end was heard already, or it is momentary."""
    ENDED = "ended"
    """Over before it was an alarm."""
    IGNORED = "ignored"
    """Nothing to clear, or older than what is known: recorded, moves nothing."""


@dataclass(frozen=True)
class Moment:
    """When it was said: the device's time, or the server's if that cannot be trusted, and a counter."""

    at: datetime
    seq: int


@dataclass(frozen=True)
class Said:
    """A device's event, or a change of its condition: from here on they are alike.

    `identity` is the same for every delivery of it, and for nothing else said of its device and type.
    """

    moment: Moment
    identity: str
    active: bool
    received_at: datetime


@dataclass(frozen=True)
class Terms:
    """What the device's class says of the alarm.

    `momentary`: it happened, there is no end to wait for. `counted`: what is said of it is ordered by its counter alone,
    as a condition's changes are; events are ordered by time, then counter.
    """

    alarm_type: str
    severity: str
    delay: timedelta = timedelta()
    momentary: bool = False
    counted: bool = False

    def after(self, one: Moment, other: Moment | None) -> bool:
        """Whether one was said after the other, or the other never."""
        if other is None:
            return True
        return one.seq > other.seq if self.counted else (one.at, one.seq) > (other.at, other.seq)

    def lasted(self, since: Moment, until: Moment) -> bool:
        """Whether the cause was there for long enough, by the times of whoever saw it."""
        return not self.delay or until.at - since.at >= self.delay


@dataclass(frozen=True)
class Pending:
    """The cause is there since `since` (the device's order); at `due_at` (the server's time) it is an alarm."""

    since: Moment
    due_at: datetime
    correlation_id: str


@dataclass(frozen=True)
class Alarm:
    """The alarm of one type at one device.

    `version` counts its messages, `published` its facts, `generation` its delays; `alarm_id` names the last activation,
    from `raised_at` to `cleared`. `last` is the newest that was said, `quiet` the first end since the last activation.
    """

    device_id: str
    alarm_type: str
    severity: str
    place: Place
    version: int = 0
    active: bool = False
    alarm_id: str = ""
    occurrences: int = 0
    last: Moment | None = None
    quiet: Moment | None = None
    raised_at: datetime | None = None
    cleared: Moment | None = None
    pending: Pending | None = None
    generation: int = 0
    published: int = 0
    correlation_id: str = ""

    @property
    def aggregate_id(self) -> str:
        return f"{self.device_id}#{self.alarm_type}"

    @property
    def state(self) -> str:
        return "active" if self.active else "pending" if self.pending else "cleared"


def event_terms(class_name: str, event: str) -> Terms:
    """Raises Unreadable for an event that devices of this class do not have."""
    of_class = device_class(class_name)
    rule = of_class and of_class.event_rule(event)
    if not of_class or not rule:
        raise Unreadable("event", reason="unknown event for this device class")
    return _terms(of_class, rule)


def condition_terms(class_name: str, alarm_type: str) -> Terms:
    """Raises Unreadable for a type that is no condition of devices of this class."""
    of_class = device_class(class_name)
    rule = of_class and of_class.rule(alarm_type)
    if not of_class or not rule or rule.on == "event":
        raise Unreadable("alarm_type", reason="unknown condition for this device class")
    return _terms(of_class, rule)


def alarm_terms(class_name: str, alarm_type: str) -> Terms | None:
    """None for a type that the class does not have, or has no longer."""
    of_class = device_class(class_name)
    rule = of_class and of_class.rule(alarm_type)
    return _terms(of_class, rule) if of_class and rule else None


def _terms(of_class: DeviceClass, rule: AlarmRule) -> Terms:
    about = rule.alarm_type, rule.severity
    match rule:
        case EventRule():
            delay = timedelta(seconds=rule.on_delay_seconds)
            return Terms(*about, delay, momentary=of_class.events[rule.event].momentary)
        case ThresholdRule():
            return Terms(*about, timedelta(seconds=rule.on_delay_seconds), counted=True)
    return Terms(*about, counted=True)


def event_said(at: datetime, seq: int, *, active: bool, received_at: datetime) -> Said:
    """A detector whose clock is wrong must still raise the alarm: then the server's time orders its event.

    A clock that starts anew after a power cut may say the same time twice, so the day of receipt joins the identity.
    """
    identity = f"{iso(at)}#{seq}"
    if trusted(at, received_at=received_at):
        return Said(Moment(at, seq), identity, active, received_at)
    return Said(Moment(received_at, seq), f"{identity}#{beijing_day(received_at)}", active, received_at)


def apply(alarm: Alarm, said: Said, terms: Terms, *, alarm_id: str, correlation_id: str) -> tuple[Alarm, Outcome]:
    """The alarm after what was said; `alarm_id` and `correlation_id` are taken if it raises."""
    seen = replace(alarm, version=alarm.version + 1)
    named = replace(seen, alarm_id=alarm_id, occurrences=1, correlation_id=correlation_id)
    late = not terms.after(said.moment, alarm.last)
    if not late:
        seen, named = replace(seen, last=said.moment), replace(named, last=said.moment)
    if terms.momentary:
        pressed = _passed(named, said.moment, said.moment, terms), Outcome.PASSED
        return pressed if said.active else (seen, Outcome.IGNORED)
    if late:
        return _heard_late(seen, named, said, terms)
    return _began(seen, named, said, terms) if said.active else _ended(seen, named, said, terms)


def wake(alarm: Alarm, generation: int, *, alarm_id: str, at: datetime) -> Alarm:
    """The alarm, raised if its on-delay of this generation is over; as it is if not, or if it waits for none."""
    pending = alarm.pending
    if pending is None or alarm.generation != generation or at < pending.due_at:
        return alarm
    named = replace(alarm, alarm_id=alarm_id, occurrences=1, correlation_id=pending.correlation_id, pending=None)
    return replace(_raised(named, pending.due_at), version=alarm.version + 1)


def _began(seen: Alarm, named: Alarm, said: Said, terms: Terms) -> tuple[Alarm, Outcome]:
    if seen.active:
        return replace(seen, occurrences=seen.occurrences + 1), Outcome.REPEATED
    if seen.pending:
        return seen, Outcome.REPEATED
    if not terms.delay:
        return _raised(named, said.moment.at), Outcome.RAISED
    pending = Pending(said.moment, said.received_at + terms.delay, named.correlation_id)
    waits = replace(seen, pending=pending, generation=seen.generation + 1, published=seen.published + 1)
    return waits, Outcome.PENDING


def _ended(seen: Alarm, named: Alarm, said: Said, terms: Terms) -> tuple[Alarm, Outcome]:
    if seen.active:
        cleared = replace(seen, active=False, cleared=said.moment, quiet=said.moment, published=seen.published + 1)
        return cleared, Outcome.CLEARED
    if not seen.pending:
        return replace(seen, quiet=seen.quiet or said.moment), Outcome.IGNORED
    since, correlation_id = seen.pending.since, seen.pending.correlation_id
    if not terms.lasted(since, said.moment):
        return replace(seen, pending=None, quiet=said.moment), Outcome.ENDED
    named = replace(named, pending=None, quiet=said.moment, correlation_id=correlation_id)
    return _passed(named, since, said.moment, terms), Outcome.PASSED


def _heard_late(seen: Alarm, named: Alarm, said: Said, terms: Terms) -> tuple[Alarm, Outcome]:
    """A late activation counts if only its end was heard, after the last alarm that is known to have ended."""
    began = said.moment
    if not said.active or seen.active:
        return seen, Outcome.IGNORED
    after_quiet = terms.after(began, seen.quiet)
    if seen.pending and after_quiet:
        earlier = replace(seen.pending, since=began) if terms.after(seen.pending.since, began) else seen.pending
        return replace(seen, pending=earlier), Outcome.REPEATED
    ended = seen.last if after_quiet else seen.quiet
    if ended is None or not terms.after(began, seen.cleared) or not terms.lasted(began, ended):
        return seen, Outcome.IGNORED
    return _passed(replace(named, quiet=ended), began, ended, terms), Outcome.PASSED


def _raised(named: Alarm, at: datetime) -> Alarm:
    return replace(named, active=True, raised_at=at, published=named.published + 1)


def _passed(named: Alarm, began: Moment, ended: Moment, terms: Terms) -> Alarm:
    return replace(named, raised_at=began.at + terms.delay, cleared=ended, published=named.published + 2)


class UnknownThing(NotYet):
    """Its DeviceRegistered may still be on its way: tried again before it is parked."""

    code = "unknown-thing"
    zh = "设备未登记"
    en = "the device is not registered"
