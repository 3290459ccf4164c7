"""Tickets: what has to be done, where, by whom, until when, and how it ended.

Glossary:

    工单 ticket               one thing to be done; an alarm, a complaint and a grid event are kinds of it
    派单 dispatched           waits for the post on duty             接单 accept      the post takes it on
    办理中 in_work             somebody works on it                   办结 handle      done, with a note on what was done
    已办结 done                handled, but the detector still alarms
    核实 verifying / verify    another post looks whether it is so     结案 closed
    承办岗位 holder            the post the ticket waits for
    当事传感器 sensor          the detector whose alarm the ticket is about; what it says decides whether the ticket may close

The checker is not the handler (GB/T 30428, 核查结案; domain rule 5.6).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from linli.errors import Absent, Conflict, Invalid
from linli.facts import Place


class State(StrEnum):
    RECEIVED = "received"
    DISPATCHED = "dispatched"
    IN_WORK = "in_work"
    DONE = "done"
    VERIFYING = "verifying"
    CLOSED = "closed"


STATE_ZH: Mapping[State, str] = {
    State.RECEIVED: "已受理",
    State.DISPATCHED: "已派单",
    State.IN_WORK: "办理中",
    State.DONE: "已办结待解除报警",
    State.VERIFYING: "核实中",
    State.CLOSED: "已结案",
}

STEPS: Mapping[str, Mapping[State, State]] = {
    # by staff
    "accept": {State.RECEIVED: State.IN_WORK, State.DISPATCHED: State.IN_WORK},
    "handle": {State.IN_WORK: State.DONE},
    "verify": {State.VERIFYING: State.CLOSED},
    # by the system
    "start_verifying": {State.DONE: State.VERIFYING},
    "stop_verifying": {State.VERIFYING: State.DONE},
}
"""Step → {state before: state after}; what is not here is refused."""

StaffStep = Literal["accept", "handle", "verify"]


class Category(StrEnum):
    """What residents and staff report in this version; alarms bring their own category, the alarm type."""

    REPAIR = "repair"
    ENVIRONMENT = "environment"
    SAFETY = "safety"
    OTHER = "other"


@dataclass(frozen=True)
class Kind:
    """`limit` is natural time from dispatch."""

    limit: timedelta


KINDS: Mapping[str, Kind] = {
    "alarm": Kind(limit=timedelta(hours=1)),
    "complaint": Kind(limit=timedelta(days=10)),
}


class TicketAbsent(Absent):
    zh = "未找到该工单"
    en = "there is no such ticket"


class StepForbidden(Conflict):
    code = "step-forbidden"
    zh = "工单{state_zh}，不能执行“{step}”"
    en = "a ticket that is {state} does not allow {step}"


class SensorStillAlarms(Conflict):
    code = "sensor-still-alarms"
    zh = "传感器仍在报警，不能结案"
    en = "the detector still alarms: the ticket cannot be closed"


class SameHand(Conflict):
    code = "verifier-is-handler"
    zh = "核实人不能是办理人"
    en = "who handled the ticket does not verify it"


class NoteMissing(Invalid):
    code = "note-missing"
    zh = "办结须填写办理情况"
    en = "handling needs a note on what was done"


@dataclass(frozen=True)
class Duty:
    """Who is on duty for a grid at the moment asked about; None where the roster names nobody."""

    handler: str | None = None
    verifiers: tuple[str, ...] = ()
    """The duty officer and who stands in for them, in this order."""


@dataclass(frozen=True)
class Shift:
    post_id: str
    from_at: datetime
    to_at: datetime | None


@dataclass(frozen=True)
class Roster:
    """A grid's duty roster as `grid` last published it; the first shift that is on duty counts."""

    shifts: tuple[Shift, ...]
    duty_officer: str
    deputy_officer: str | None = None

    def at(self, moment: datetime) -> Duty:
        on = (s.post_id for s in self.shifts if s.from_at <= moment and (s.to_at is None or moment < s.to_at))
        verifiers = (self.duty_officer, *([self.deputy_officer] if self.deputy_officer else []))
        return Duty(handler=next(on, self.duty_officer), verifiers=verifiers)


@dataclass(frozen=True)
class Sensor:
    """What the ticket's detector last said, by the version of its alarm."""

    aggregate_id: str
    version: int
    active: bool


@dataclass(frozen=True)
class Ticket:
    ticket_id: str
    kind: str
    category: str
    place: Place
    opened_at: datetime
    due_at: datetime
    correlation_id: str
    state: State = State.RECEIVED
    version: int = 1
    handler: str | None = None
    """The post it was dispatched to, then the post that took it on."""
    verifiers: tuple[str, ...] = ()
    """The posts that may be asked to verify, the first that did not handle it is."""
    handled_by: str | None = None
    """The person (subject) who handled it."""
    reporter: str | None = None
    """The subject of the resident or the member of staff who reported it."""
    severity: str | None = None
    device_id: str | None = None
    sensor: Sensor | None = None
    unsealed: str | None = None
    """The text of a ticket from before texts were sealed, until it is."""

    @property
    def holder(self) -> str | None:
        """The post the ticket waits for."""
        if self.state is State.CLOSED:
            return None
        if self.state is State.VERIFYING:
            return next((post for post in self.verifiers if post != self.handler), None)
        return self.handler


def dispatch(ticket: Ticket, duty: Duty) -> Ticket:
    """To the post on duty; it stays received, for anyone in the area to accept, where nobody is."""
    if duty.handler is None:
        return ticket
    return replace(ticket, state=State.DISPATCHED, handler=duty.handler, verifiers=duty.verifiers)


def take_step(ticket: Ticket, step: str, *, post_id: str, subject: str, note: str | None) -> Ticket:
    """The ticket after a step of staff. Raises StepForbidden, SensorStillAlarms, SameHand, NoteMissing."""
    if step == "verify" and ticket.sensor and ticket.sensor.active:
        raise SensorStillAlarms("step")
    after = _moved(ticket, step)
    if step == "accept":
        return replace(after, handler=post_id)
    if step == "handle":
        if not note:
            raise NoteMissing("note")
        handled = replace(after, handler=post_id, handled_by=subject)
        return handled if ticket.sensor and ticket.sensor.active else _unversioned(handled, "start_verifying")
    if subject == ticket.handled_by or post_id == ticket.handler:
        raise SameHand("step")
    return after


def hear_sensor(ticket: Ticket, sensor: Sensor) -> Ticket:
    """The ticket after its detector spoke; unchanged if that is older than what is known.

    When it clears, verification of what is done starts by itself; when it alarms again, verification stops.
    """
    if ticket.sensor and sensor.version <= ticket.sensor.version:
        return ticket
    heard = replace(ticket, sensor=sensor, version=ticket.version + 1)
    if not sensor.active and ticket.state is State.DONE:
        return _unversioned(heard, "start_verifying")
    if sensor.active and ticket.state is State.VERIFYING:
        return _unversioned(heard, "stop_verifying")
    return heard


def _moved(ticket: Ticket, step: str) -> Ticket:
    return replace(_unversioned(ticket, step), version=ticket.version + 1)


def _unversioned(ticket: Ticket, step: str) -> Ticket:
    after = STEPS[step].get(ticket.state)
    if after is None:
        raise StepForbidden("step", state=ticket.state.value, state_zh=STATE_ZH[ticket.state], step=step)
    return replace(ticket, state=after)
