"""What `tickets` publishes. Aggregate: the ticket."""

from datetime import datetime
from typing import ClassVar

from pydantic import AwareDatetime

from linli.facts import Envelope, Fact, Place, envelope
from linli.table import Step
from tickets.domain import Ticket


class TicketOpened(Fact):
    """A ticket exists, and waits for `holder` where somebody is on duty."""

    context: ClassVar[str] = "tickets"
    ticket_id: str
    kind: str
    category: str
    place: Place
    state: str
    due_at: AwareDatetime
    severity: str | None = None
    holder: str | None = None


class TicketStepped(Fact):
    """A step was taken, by staff or by the system."""

    context: ClassVar[str] = "tickets"
    ticket_id: str
    step: str
    state: str
    place: Place
    holder: str | None = None
    post: str | None = None


def opened(ticket: Ticket, at: datetime) -> Envelope:
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


def stepped(ticket: Ticket, done: Step) -> Envelope:
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
