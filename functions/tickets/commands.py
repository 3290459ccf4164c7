"""What changes tickets: residents and staff who report, staff who take steps, detectors that speak."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from linli.access import Actor, Resource, entity
from linli.clock import Clock, new_id
from linli.commands import Command, command
from linli.errors import PlaceAbsent, StaleVersion
from linli.facts import Envelope, Fact, Place, envelope
from linli.table import Step
from tickets.domain import (
    KINDS,
    Duty,
    Sensor,
    State,
    Ticket,
    TicketAbsent,
    dispatch,
    hear_sensor,
    take_step,
)
from tickets.events import TicketOpened, TicketStepped
from tickets.store import HeardSensor, TicketStore

Locate = Callable[[str], Place]


@dataclass(frozen=True)
class Report:
    category: str
    text: str
    place_id: str


@dataclass(frozen=True)
class StepWanted:
    step: str
    expected_version: int
    note: str | None


@dataclass(frozen=True)
class Alarm:
    """What AlarmRaised said."""

    alarm_id: str
    aggregate_id: str
    version: int
    device_id: str
    alarm_type: str
    severity: str
    place: Place
    correlation_id: str


def open_ticket(
    report: Report,
    *,
    key: str,
    actor: Actor,
    request_id: str,
    locate: Locate,
    store: TicketStore,
    clock: Clock,
) -> Ticket:
    """Open what a resident or a member of staff reports. Raises PlaceAbsent, Denied, KeyReused."""
    place = locate(report.place_id)
    resource = Resource("Place", report.place_id, [*place.path, place.grid_id])
    actor.require("open_ticket", resource, seen_by="read_place", absent=PlaceAbsent("place_id"))
    asked = command(actor.subject, "open_ticket", key, content=vars(report))

    def act() -> dict[str, str]:
        at = clock()
        ticket = _new_ticket("complaint", report.category, place, at=at, correlation_id=request_id, store=store)
        ticket = replace(ticket, reporter=actor.subject, text=report.text)
        done = Step("open", at, actor.subject, request_id, post=actor.post_id, state=ticket.state)
        answer = {"ticket_id": ticket.ticket_id}
        store.save(ticket, step=done, command=asked.with_result(**answer), facts=[_opened(ticket, at)])
        return answer

    return store.ticket(store.table.once(asked, act)["ticket_id"])


def step_ticket(
    ticket_id: str,
    wanted: StepWanted,
    *,
    key: str,
    actor: Actor,
    request_id: str,
    store: TicketStore,
    clock: Clock,
) -> Ticket:
    """Take one step on the version the caller saw. Raises TicketAbsent, Denied, StaleVersion and the domain's refusals."""
    ticket = ticket_seen_by(actor, ticket_id, store=store)
    asked = command(actor.subject, "step_ticket", ticket_id, key, content=vars(wanted))

    def act() -> dict[str, str]:
        _require(actor, f"{wanted.step}_ticket", ticket)
        if ticket.version != wanted.expected_version:
            raise StaleVersion("expected_version")
        at = clock()
        post_id = actor.post_id or ""
        stepped = take_step(ticket, wanted.step, post_id=post_id, subject=actor.subject, note=wanted.note)
        done = Step(wanted.step, at, actor.subject, request_id, post=post_id, state=stepped.state, note=wanted.note)
        store.save(stepped, step=done, command=asked, facts=[_stepped(stepped, done)])
        return {}

    store.table.once(asked, act)
    return store.ticket(ticket_id)


def ticket_seen_by(actor: Actor, ticket_id: str, *, store: TicketStore) -> Ticket:
    """Raises TicketAbsent alike for what is not there and what is out of the caller's scope."""
    ticket = store.ticket(ticket_id)
    _require(actor, "read_ticket", ticket)
    return ticket


def _require(actor: Actor, action: str, ticket: Ticket) -> None:
    attributes = {}
    if ticket.holder:
        attributes["holder"] = entity("Post", ticket.holder)
    if ticket.reporter:
        attributes["reporter"] = entity("Resident", ticket.reporter)
    resource = Resource("Ticket", ticket.ticket_id, [*ticket.place.path, ticket.place.grid_id], attributes)
    actor.require(action, resource, seen_by="read_ticket", absent=TicketAbsent("ticket_id"))


def alarm_raised(alarm: Alarm, *, store: TicketStore, clock: Clock) -> Ticket | None:
    """One ticket for an alarm: a new one, or the open one of the same detector and type. None if it is known."""
    asked = command("alarm_raised", alarm.alarm_id)
    said = Sensor(alarm.aggregate_id, alarm.version, active=True)

    def act() -> Ticket:
        at = clock()
        heard = _newest(store.sensor(alarm.aggregate_id), said)
        before = store.ticket(heard.ticket_id) if heard.ticket_id else None
        if before and before.state is not State.CLOSED:
            return _tell_ticket(
                before, heard, "alarm_raised", correlation_id=alarm.correlation_id, at=at, asked=asked, store=store
            )
        ticket = _new_ticket(
            "alarm", alarm.alarm_type, alarm.place, at=at, correlation_id=alarm.correlation_id, store=store
        )
        ticket = replace(ticket, severity=alarm.severity, device_id=alarm.device_id, sensor=heard.sensor)
        done = Step("open", at, f"device:{alarm.device_id}", alarm.correlation_id, state=ticket.state)
        store.save(
            ticket,
            step=done,
            command=asked,
            facts=[_opened(ticket, at)],
            heard=replace(heard, ticket_id=ticket.ticket_id),
        )
        return ticket

    return store.table.first_time(asked, act)


def alarm_cleared(
    alarm_id: str, said: Sensor, *, correlation_id: str, store: TicketStore, clock: Clock
) -> Ticket | None:
    """The ticket the alarm went to hears that the detector is quiet. None if it is known, or no ticket is open."""
    asked = command("alarm_cleared", alarm_id)

    def act() -> Ticket | None:
        at = clock()
        heard = _newest(store.sensor(said.aggregate_id), said)
        ticket = store.ticket(heard.ticket_id) if heard.ticket_id else None
        if ticket is None or ticket.state is State.CLOSED:
            store.save_sensor(heard, at=at, command=asked)
            return None
        return _tell_ticket(
            ticket, heard, "alarm_cleared", correlation_id=correlation_id, at=at, asked=asked, store=store
        )

    return store.table.first_time(asked, act)


def _newest(known: HeardSensor | None, said: Sensor) -> HeardSensor:
    if known is None:
        return HeardSensor(said, ticket_id=None, revision=0)
    return replace(known, sensor=said) if said.version > known.sensor.version else known


def _tell_ticket(
    ticket: Ticket,
    heard: HeardSensor,
    step: str,
    *,
    correlation_id: str,
    at: datetime,
    asked: Command,
    store: TicketStore,
) -> Ticket:
    """The open ticket hears its detector; one that knew already is left alone."""
    told = hear_sensor(ticket, heard.sensor)
    if told is ticket:
        store.save_sensor(heard, at=at, command=asked)
        return ticket
    done = Step(step, at, f"device:{ticket.device_id}", correlation_id, state=told.state)
    store.save(told, step=done, command=asked, facts=[_stepped(told, done)], heard=heard)
    return told


def _new_ticket(
    kind: str, category: str, place: Place, *, at: datetime, correlation_id: str, store: TicketStore
) -> Ticket:
    published = store.roster(place.grid_id)
    ticket = Ticket(
        ticket_id=new_id(at),
        kind=kind,
        category=category,
        place=place,
        opened_at=at,
        due_at=at + KINDS[kind].limit,
        correlation_id=correlation_id,
    )
    return dispatch(ticket, published[0].at(at) if published else Duty())


def _opened(ticket: Ticket, at: datetime) -> Envelope:
    fact = TicketOpened(
        ticket_id=ticket.ticket_id,
        kind=ticket.kind,
        category=ticket.category,
        place=ticket.place,
        state=ticket.state,
        due_at=ticket.due_at,
        severity=ticket.severity,
        holder=ticket.holder,
    )
    return _said(fact, ticket, at)


def _stepped(ticket: Ticket, done: Step) -> Envelope:
    fact = TicketStepped(
        ticket_id=ticket.ticket_id,
        step=done.action,
        state=ticket.state,
        place=ticket.place,
        holder=ticket.holder,
        post=done.post,
    )
    return _said(fact, ticket, done.at)


def _said(fact: Fact, ticket: Ticket, at: datetime) -> Envelope:
    return envelope(
        fact,
        aggregate_id=ticket.ticket_id,
        aggregate_version=ticket.version,
        at=at,
        correlation_id=ticket.correlation_id,
    )
