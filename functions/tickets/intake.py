"""The one intake: whatever brings a ticket, it is opened and dispatched here."""

from datetime import datetime

from linli.clock import new_id
from linli.facts import Place
from tickets.domain import KINDS, Duty, Ticket, dispatch
from tickets.store import TicketStore


def new_ticket(
    kind: str, category: str, place: Place, *, at: datetime, correlation_id: str, store: TicketStore
) -> Ticket:
    """A ticket, dispatched to the post on duty for the grid; received where the roster names nobody."""
    roster = store.roster(place.grid_id)
    ticket = Ticket(
        ticket_id=new_id(at),
        kind=kind,
        category=category,
        place=place,
        opened_at=at,
        due_at=at + KINDS[kind].limit,
        correlation_id=correlation_id,
    )
    return dispatch(ticket, roster.at(at) if roster else Duty())
