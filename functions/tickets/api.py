"""The tickets API: report, read with the timeline, take a step, list my work, my grid's and what I reported."""

from typing import Annotated, Literal

from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import AwareDatetime, Field, StringConstraints

from linli.access import Actor
from linli.clock import utc_now
from linli.cursor import Cursors, secret_from_manager
from linli.facts import Place
from linli.http import Api, IdempotencyKey, Model
from linli.log import logger
from linli.places import place_seen_by_caller
from tickets.commands import Report, StepWanted, open_ticket, step_ticket, ticket_seen_by
from tickets.domain import Category, StaffStep, State, Ticket
from tickets.queries import ListWanted, list_page
from tickets.store import TicketStore

log = logger("tickets")
api = Api("tickets", log)
store = TicketStore()
cursors = Cursors(secret_from_manager)
handler = log.inject_lambda_context(api.handler)

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class NewTicket(Model):
    category: Category
    text: Text = Field(description="what happened; no personal data of others")
    place_id: Annotated[str, StringConstraints(min_length=17, max_length=40)] = Field(
        description="building or room, an id of GET /v1/grid/places"
    )


class NewStep(Model):
    step: StaffStep
    expected_version: Annotated[int, Field(ge=1)] = Field(description="the version of the ticket you decided on")
    note: Text | None = Field(default=None, description="what was done; required for `handle`")


class TimelineStep(Model):
    action: str
    at: AwareDatetime
    state: State
    post: str | None = None
    note: str | None = None


class TicketView(Model):
    ticket_id: str
    kind: str
    category: str
    state: State
    version: int
    place: Place
    opened_at: AwareDatetime
    due_at: AwareDatetime
    correlation_id: str
    holder: str | None = Field(default=None, description="the post the ticket waits for")
    severity: str | None = None
    device_id: str | None = None
    sensor_active: bool | None = Field(default=None, description="whether the detector still alarms")
    text: str | None = None
    timeline: list[TimelineStep]


class TicketSummary(Model):
    ticket_id: str
    kind: str
    category: str
    state: State
    severity: str | None = None
    opened_at: AwareDatetime
    due_at: AwareDatetime
    version: int


class TicketPage(Model):
    items: list[TicketSummary]
    next_cursor: str | None = Field(default=None, description="absent on the last page; good for 24 hours")


class ListQuery(Model):
    list: Literal["mine", "grid", "reported"] = "mine"
    grid_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{15}$")] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: Annotated[str, StringConstraints(max_length=1000)] | None = None


@api.route("POST", "/v1/tickets", status=201)
def report(body: NewTicket, key: IdempotencyKey, actor: Actor) -> TicketView:
    """Report something at a place; it is dispatched to the post on duty there."""
    ticket = open_ticket(
        Report(**body.model_dump()),
        key=key,
        actor=actor,
        request_id=api.request_id,
        locate=lambda place_id: place_seen_by_caller(api, place_id),
        store=store,
        clock=utc_now,
    )
    return _view(ticket)


@api.route("GET", "/v1/tickets/work")
def list_work(query: Annotated[ListQuery, Query()], actor: Actor) -> TicketPage:
    """My post's open tickets, a grid's, or what I reported; by due time, reports by time, newest first."""
    wanted = ListWanted(query.list, query.grid_id, query.limit, query.cursor)
    page, cursor = list_page(wanted, actor=actor, store=store, cursors=cursors, now=utc_now())
    return TicketPage(items=[TicketSummary(**vars(summary)) for summary in page], next_cursor=cursor)


@api.route("GET", "/v1/tickets/<ticket_id>")
def read_ticket(ticket_id: str, actor: Actor) -> TicketView:
    """A ticket with its timeline."""
    return _view(ticket_seen_by(actor, ticket_id, store=store))


@api.route("POST", "/v1/tickets/<ticket_id>/steps", status=201)
def take_step(ticket_id: str, body: NewStep, key: IdempotencyKey, actor: Actor) -> TicketView:
    """Take a step on the version you saw; 409 if somebody was faster or the state forbids it."""
    ticket = step_ticket(
        ticket_id,
        StepWanted(**body.model_dump()),
        key=key,
        actor=actor,
        request_id=api.request_id,
        store=store,
        clock=utc_now,
    )
    return _view(ticket)


def _view(ticket: Ticket) -> TicketView:
    timeline = [
        TimelineStep(action=s.action, at=s.at, state=State(s.state or ticket.state), post=s.post, note=s.note)
        for s in store.timeline(ticket.ticket_id)
    ]
    return TicketView(
        ticket_id=ticket.ticket_id,
        kind=ticket.kind,
        category=ticket.category,
        state=ticket.state,
        version=ticket.version,
        place=ticket.place,
        opened_at=ticket.opened_at,
        due_at=ticket.due_at,
        correlation_id=ticket.correlation_id,
        holder=ticket.holder,
        severity=ticket.severity,
        device_id=ticket.device_id,
        sensor_active=ticket.sensor.active if ticket.sensor else None,
        text=ticket.text,
        timeline=timeline,
    )
