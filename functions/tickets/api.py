"""The tickets API: report, read with the timeline, take a step, list my work, my grid's and what I reported."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Query

from linli.access import Actor
from linli.clock import utc_now
from linli.cursor import Cursors, secret_from_manager
from linli.http import Api, IdempotencyKey
from linli.limits import Limit
from linli.log import logger
from linli.places import place_seen_by_caller
from linli.sealed import deployed_seals
from tickets.commands import Report, StepWanted, open_ticket, step_ticket, ticket_seen_by
from tickets.domain import Ticket
from tickets.queries import ListWanted, list_page
from tickets.sealing import opened
from tickets.store import TicketsRow, TicketStore
from tickets.views import ListQuery, NewStep, NewTicket, TicketPage, TicketSummary, TicketView, ticket_view

log = logger("tickets")
api = Api("tickets", log)
store = TicketStore()
seals = deployed_seals(store.table)
cursors = Cursors(secret_from_manager)
handler = log.inject_lambda_context(api.handler)

# A resident reports a few things a day, a hotline's desk some a minute, its import of a backlog five a second.
OPENING = Limit(TicketsRow, "open", calls=300)


@api.route("POST", "/v1/tickets", status=201, limit=OPENING)
def report(body: NewTicket, key: IdempotencyKey, actor: Actor) -> TicketView:
    """Report something at a place; it is dispatched to the post on duty there."""
    ticket = open_ticket(
        Report(**body.model_dump()),
        key=key,
        actor=actor,
        request_id=api.request_id,
        locate=lambda place_id: place_seen_by_caller(api, place_id),
        store=store,
        seals=seals,
        clock=utc_now,
    )
    return _shown(ticket)


@api.route("GET", "/v1/tickets/work")
def list_work(query: Annotated[ListQuery, Query()], actor: Actor) -> TicketPage:
    """My post's open tickets, a grid's, or what I reported; by due time, reports by time, newest first."""
    wanted = ListWanted(query.of, query.grid_id, query.limit, query.cursor)
    page, cursor = list_page(wanted, actor=actor, store=store, cursors=cursors, now=utc_now())
    return TicketPage(items=[TicketSummary(**vars(summary)) for summary in page], next_cursor=cursor)


@api.route("GET", "/v1/tickets/<ticket_id>")
def read_ticket(ticket_id: str, actor: Actor) -> TicketView:
    """A ticket with its timeline."""
    return _shown(ticket_seen_by(actor, ticket_id, store=store))


@api.route("POST", "/v1/tickets/<ticket_id>/steps", status=201)
def take_step(ticket_id: str, body: NewStep, key: IdempotencyKey, actor: Actor) -> TicketView:
    """Take a step on the version you saw; 409 if somebody was faster or the state forbids it."""
    ticket = step_ticket(
        ticket_id,
        StepWanted(**body.model_dump()),
        key=key,
        actor=actor,
        store=store,
        seals=seals,
        clock=utc_now,
    )
    log.info(
        "step taken",
        ticket_id=ticket_id,
        step=body.step,
        correlation_id=ticket.correlation_id,
        request_id=api.request_id,
    )
    return _shown(ticket)


def _shown(ticket: Ticket) -> TicketView:
    told = store.told(ticket.ticket_id)
    return ticket_view(ticket, told.steps, opened(ticket, told, seals=seals))
