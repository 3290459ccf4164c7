"""What crosses the tickets API."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from linli.facts import Place
from linli.http import Model, PlaceId
from linli.table import Step
from tickets.domain import Category, StaffStep, State, Ticket
from tickets.sealing import Shown

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class NewTicket(Model):
    category: Category
    text: Text = Field(description="what happened; no personal data of others")
    place_id: PlaceId = Field(description="building or room, an id of GET /v1/grid/places")


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
    of: Literal["mine", "grid", "reported"] = "mine"
    grid_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{15}$")] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: Annotated[str, StringConstraints(max_length=1000)] | None = None


def ticket_view(ticket: Ticket, timeline: list[Step], shown: Shown) -> TicketView:
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
        text=shown.text,
        timeline=[
            TimelineStep(action=s.action, at=s.at, state=State(s.state or ticket.state), post=s.post, note=note)
            for s, note in zip(timeline, shown.notes, strict=True)
        ],
    )
