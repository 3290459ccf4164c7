"""What people do with tickets: residents and staff report, staff take steps."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from linli.access import Actor, Resource, entity
from linli.clock import Clock
from linli.commands import command
from linli.errors import PlaceAbsent, StaleVersion
from linli.facts import Place
from linli.table import Step
from tickets.domain import Ticket, TicketAbsent, take_step
from tickets.events import opened, stepped
from tickets.intake import new_ticket
from tickets.sealing import Seals, seal_note, seal_text
from tickets.store import TicketStore

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


def open_ticket(
    report: Report,
    *,
    key: str,
    actor: Actor,
    request_id: str,
    locate: Locate,
    store: TicketStore,
    seals: Seals,
    clock: Clock,
) -> Ticket:
    """Open what a resident or a member of staff reports. Raises PlaceAbsent, Denied, KeyReused, SealUnavailable."""
    asked = command(actor.subject, "open_ticket", key, content=vars(report))

    def act() -> dict[str, str]:
        place = locate(report.place_id)
        resource = Resource("Place", report.place_id, [*place.path, place.grid_id])
        actor.require("open_ticket", resource, seen_by="read_place", absent=PlaceAbsent("place_id"))
        at = clock()
        ticket = new_ticket("complaint", report.category, place, at=at, correlation_id=request_id, store=store)
        ticket = replace(ticket, reporter=actor.subject)
        text = seal_text(ticket, report.text, at=at, seals=seals)
        done = Step("open", at, actor.subject, request_id, post=actor.post_id, state=ticket.state)
        answer = {"ticket_id": ticket.ticket_id}
        store.save(ticket, step=done, command=asked.with_result(**answer), facts=[opened(ticket, at)], text=text)
        return answer

    return store.ticket(store.table.once(asked, act)["ticket_id"])


def step_ticket(
    ticket_id: str,
    wanted: StepWanted,
    *,
    key: str,
    actor: Actor,
    store: TicketStore,
    seals: Seals,
    clock: Clock,
) -> Ticket:
    """Take one step on the version the caller saw; a text that is not sealed yet goes under seal with it.

    Raises TicketAbsent, Denied, StaleVersion, SealUnavailable and the domain's refusals.
    """
    ticket = ticket_seen_by(actor, ticket_id, store=store)
    asked = command(actor.subject, "step_ticket", ticket_id, key, content=vars(wanted))

    def act() -> dict[str, str]:
        _require(actor, f"{wanted.step}_ticket", ticket)
        if ticket.version != wanted.expected_version:
            raise StaleVersion("expected_version")
        at = clock()
        post_id = actor.post_id or ""
        after = take_step(ticket, wanted.step, post_id=post_id, subject=actor.subject, note=wanted.note)
        note = seal_note(after, after.version, wanted.note, at=at, seals=seals) if wanted.note else None
        text = seal_text(after, after.unsealed, at=at, seals=seals) if after.unsealed else None
        after = replace(after, unsealed=None)
        done = Step(wanted.step, at, actor.subject, ticket.correlation_id, post=post_id, state=after.state, sealed=note)
        store.save(after, step=done, command=asked, facts=[stepped(after, done)], text=text)
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
