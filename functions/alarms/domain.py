"""Alarms: one state for each (device, type), moved by what the device says, in the device's own order.

Glossary: 报警 alarm; 报警解除 clear; 报警类型 alarm type; 级别 severity (critical, major, minor, warning).
States follow ISA-18.2 / IEC 62682 as far as this product needs them: active or cleared; acknowledging is a ticket's step.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from linli.clock import beijing_day, iso
from linli.deviceclass import EventRule, device_class
from linli.devicetime import trusted
from linli.errors import Unreadable
from linli.facts import Place


@dataclass(frozen=True)
class KnownDevice:
    """What the registry said of a device."""

    device_id: str
    device_class: str
    place: Place


class Outcome(StrEnum):
    RAISED = "raised"
    REPEATED = "repeated"
    CLEARED = "cleared"
    PASSED = "passed"
    """An alarm whose end was heard first: raised and cleared in one."""
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
    """The alarm of one type at one device.

    `version` counts its messages, `published` its facts; `alarm_id` names the last activation, `cleared` is its end.
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
    cleared: Moment | None = None
    published: int = 0
    correlation_id: str = ""

    @property
    def aggregate_id(self) -> str:
        return f"{self.device_id}#{self.alarm_type}"


def rule_for(class_name: str, event: str) -> EventRule:
    """Raises Unreadable for an event that devices of this class do not have."""
    of_class = device_class(class_name)
    rule = of_class and of_class.event_rule(event)
    if not rule:
        raise Unreadable("event", reason="unknown event for this device class")
    return rule


def event_at(at: datetime, seq: int, *, active: bool, received_at: datetime) -> Event:
    """A detector whose clock is wrong must still raise the alarm: then the server's time orders its event.

    A clock that starts anew after a power cut may say the same time twice, so the day of receipt joins the identity.
    """
    identity = f"{iso(at)}#{seq}"
    if trusted(at, received_at=received_at):
        return Event(Moment(at, seq), identity, active)
    return Event(Moment(received_at, seq), f"{identity}#{beijing_day(received_at)}", active)


def apply(alarm: Alarm, event: Event, *, alarm_id: str, correlation_id: str) -> tuple[Alarm, Outcome]:
    """The alarm after the event; `alarm_id` and `correlation_id` are taken if it raises."""
    seen = replace(alarm, version=alarm.version + 1)
    late = alarm.last is not None and event.moment <= alarm.last
    if late and not _was_missed(alarm, event):
        return seen, Outcome.IGNORED
    seen = seen if late else replace(seen, last=event.moment)
    raised = replace(seen, alarm_id=alarm_id, occurrences=1, correlation_id=correlation_id)
    if late:
        return replace(raised, cleared=alarm.last, published=alarm.published + 2), Outcome.PASSED
    match alarm.active, event.active:
        case False, True:
            return replace(raised, active=True, published=alarm.published + 1), Outcome.RAISED
        case True, True:
            return replace(seen, occurrences=alarm.occurrences + 1), Outcome.REPEATED
        case True, False:
            cleared = replace(seen, active=False, cleared=event.moment, published=alarm.published + 1)
            return cleared, Outcome.CLEARED
    return seen, Outcome.IGNORED


def _was_missed(alarm: Alarm, event: Event) -> bool:
    """A late activation of which only the end was heard: after the last alarm that is known to have ended."""
    return event.active and not alarm.active and (alarm.cleared is None or event.moment > alarm.cleared)
