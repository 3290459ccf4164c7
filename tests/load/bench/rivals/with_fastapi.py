"""The same GET behind FastAPI and Mangum, with a response model."""

from typing import Any

from fastapi import FastAPI, HTTPException, Request
from mangum import Mangum
from pydantic import BaseModel

from tests.load.bench.rivals.bare import areas_of, ticket_of


class Step(BaseModel):
    action: str
    at: str
    state: str | None = None
    post: str | None = None


class TicketView(BaseModel):
    ticket_id: str
    kind: str
    category: str
    state: str
    version: int
    place: dict[str, Any]
    opened_at: str
    due_at: str
    text: str | None = None
    timeline: list[Step]


app = FastAPI()


@app.get("/v1/tickets/{ticket_id}")
def read_ticket(ticket_id: str, request: Request) -> TicketView:
    found = ticket_of(ticket_id, areas_of(request.scope["aws.event"]))
    if found is None:
        raise HTTPException(404)
    return TicketView.model_validate(found)


handler = Mangum(app, lifespan="off")
