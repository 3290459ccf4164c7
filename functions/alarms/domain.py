"""Alarms: one state for each (device, type), moved by what the device says, in the device's own order.

Glossary: 报警 alarm; 报警解除 clear; 报警类型 alarm type; 级别 severity (critical, major, minor, warning).
States follow ISA-18.2 / IEC 62682 as far as this product needs them: active or cleared; acknowledging is a ticket's step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from linli.clock import beijing_day, iso
from linli.errors import Unreadable
from linli.facts import Place

CLOCK_TRUSTED = timedelta(hours=24)
"""A device time further from the server's is kept, but the server's time orders the event."""


@dataclass(frozen=True)
class KnownDevice:
    """What the registry said of a device."""

    device_id: str
    device_class: str
    place: Place


@dataclass(frozen=True)
class AlarmRule:
    alarm_type: str
    severity: str


RULES: Mapping[tuple[str, str], AlarmRule] = {
    ("smoke_detector", "smoke"): AlarmRule("smoke", "critical"),
}
"""By (device class, event)."""


class Outcome(StrEnum):
    RAISED = "raised"
    REPEATED = "repeated"
    CLEARED = "cleared"
    IGNORED = "ignored"
    """Nothing to clear, or older than what is known: recorded, moves nothing."""


@dataclass(frozen=True, order=True)
class Moment:
    """The order of a device's events: its time (or the server's, if it cannot be trusted) and its counter."""

    at: datetime
    seq: int


@dataclass(frozen=True)
class Event:
    """`identity` is the same for every delivery of the event, and for no other of its device and type."""

    moment: Moment
    identity: str
    active: bool


@dataclass(frozen=True)
class Alarm:
    """The alarm of one type at one device. `version` counts its messages, `alarm_id` names the current activation."""

    device_id: str
    alarm_type: str
    severity: str
    place: Place
    version: int = 0
    active: bool = False
    alarm_id: str = ""
    occurrences: int = 0
    last: Moment | None = None
    correlation_id: str = ""

    @property
    def aggregate_id(self) -> str:
        return f"{self.device_id}#{self.alarm_type}"


def rule_for(device_class: str, event: str) -> AlarmRule:
    """Raises Unreadable for an event that devices of this class do not have."""
    rule = RULES.get((device_class, event))
    if rule is None:
        raise Unreadable("event", reason="unknown event for this device class")
    return rule


def event_at(at: datetime, seq: int, *, active: bool, received_at: datetime) -> Event:
    """A detector whose clock is wrong must still raise the alarm: then the server's time orders its event.

    A clock that starts anew after a power cut may say the same time twice, so the day of receipt joins the identity.
    """
    identity = f"{iso(at)}#{seq}"
    if abs(at - received_at) <= CLOCK_TRUSTED:
        return Event(Moment(at, seq), identity, active)
    return Event(Moment(received_at, seq), f"{identity}#{beijing_day(received_at)}", active)


def apply(alarm: Alarm, event: Event, *, alarm_id: str, correlation_id: str) -> tuple[Alarm, Outcome]:
    """The alarm after the event; `alarm_id` and `correlation_id` are taken if it raises."""
    seen = replace(alarm, version=alarm.version + 1)
    if alarm.last is not None and event.moment <= alarm.last:
        return seen, Outcome.IGNORED
    seen = replace(seen, last=event.moment)
    match alarm.active, event.active:
        case False, True:
            raised = replace(seen, active=True, alarm_id=alarm_id, occurrences=1, correlation_id=correlation_id)
            return raised, Outcome.RAISED
        case True, True:
            return replace(seen, occurrences=alarm.occurrences + 1), Outcome.REPEATED
        case True, False:
            return replace(seen, active=False), Outcome.CLEARED
    return seen, Outcome.IGNORED
