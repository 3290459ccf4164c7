"""The HTTP interface of identity, under /v1/identity, and the whole API's document at /v1/openapi.json."""

import json
from functools import cache
from pathlib import Path
from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Query

from identity import commands
from identity.domain import Division, DivisionAbsent, division_code, known_book
from identity.store import AccountStore, DivisionStore
from identity.views import (
    Appointed,
    AppointmentIn,
    Book,
    ChildrenFilter,
    DivisionList,
    DivisionView,
    Document,
    Me,
    Registered,
    ResidentIn,
)
from linli.access import Actor, Caller
from linli.clock import utc_now
from linli.errors import Absent
from linli.http import Api, IdempotencyKey
from linli.log import logger

log = logger("identity")
api = Api("identity", log)
accounts: commands.Accounts = AccountStore()
divisions = DivisionStore()
clock = utc_now
handler = log.inject_lambda_context(api.handler)

DOCUMENT = Path(__file__).with_name("openapi.json")


@api.route("GET", "/v1/identity/divisions/<code>")
def read_division(code: str, query: Annotated[Book, Query()]) -> DivisionView:
    """A division by its code in a code book."""
    return DivisionView.of(_division(query.book, code))


@api.route("GET", "/v1/identity/divisions/<code>/children")
def list_children(code: str, query: Annotated[ChildrenFilter, Query()]) -> DivisionList:
    """The divisions directly below one, all of them or those of one name.

    Names repeat, so they are looked up inside a parent only. No parent has more than 44 children: one query reads
    them all, and the name is compared here instead of in an index of its own.
    """
    parent = _division(query.book, code)
    found = divisions.children(parent.book, parent.code)
    items = [DivisionView.of(division) for division in found if query.name in (None, division.name)]
    return DivisionList(book=parent.book, code=parent.code, items=items)


@api.route("GET", "/v1/identity/divisions/<code>/ancestors")
def list_ancestors(code: str, query: Annotated[Book, Query()]) -> DivisionList:
    """The divisions above one, from the province down."""
    division = _division(query.book, code)
    above = divisions.divisions(division.book, division.path[:-1])
    return DivisionList(book=division.book, code=division.code, items=[DivisionView.of(one) for one in above])


@api.route("GET", "/v1/identity/me")
def read_me(caller: Caller) -> Me:
    """Who the caller is: the posts they can act in, or the community they live in."""
    return Me.of(caller)


@api.route("POST", "/v1/identity/posts", status=201)
def appoint(body: AppointmentIn, key: IdempotencyKey, actor: Actor) -> Appointed:
    """Create a post in the administrator's area, or give it a new holder."""
    result = commands.appoint(
        commands.Appointment(**dict(body)),
        actor=actor,
        key=key,
        correlation_id=api.request_id,
        accounts=accounts,
        divisions=divisions,
        clock=clock,
    )
    return Appointed.model_validate(result)


@api.route("POST", "/v1/identity/residents", status=201)
def register_resident(body: ResidentIn, key: IdempotencyKey, actor: Actor) -> Registered:
    """Give a subject a home community in the administrator's area."""
    result = commands.register_resident(
        body.subject,
        body.community,
        actor=actor,
        key=key,
        correlation_id=api.request_id,
        accounts=accounts,
        divisions=divisions,
        clock=clock,
    )
    return Registered.model_validate(result)


@api.route("GET", "/v1/openapi.json", public=True)
def read_document() -> Document:
    """The document of the whole API."""
    if not DOCUMENT.exists():
        raise Absent()
    return _document()


@cache
def _document() -> Document:
    return Document(json.loads(DOCUMENT.read_text(encoding="utf-8")))


def _division(book: str, code: str) -> Division:
    found = divisions.division(known_book(book), division_code(code))
    if found is None:
        raise DivisionAbsent("code")
    return found
