"""Rate limits: so many calls of one subject in a minute, counted in the table, whoever and whatever comes beside."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from botocore.exceptions import ReadTimeoutError
from pydantic import BaseModel
from pynamodb.exceptions import UpdateError

from linli.access import Actor
from linli.errors import TooMany
from linli.http import Api
from linli.limits import WINDOW, Limit, RateRow
from tests.access.wiring import operations
from tests.support import CONTEXT, NOW, OFFICER, RESIDENT, WORKER, request, table_on_moto
from tickets.store import TicketsRow

LIMITED = {"POST /v1/devices", "POST /v1/devices/{device_id}/credentials", "POST /v1/tickets", "GET /v1/grid/places"}


class At:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> At:
    return At()


@pytest.fixture
def limit(clock: At) -> Iterator[Limit]:
    with table_on_moto("tickets"):
        yield Limit(TicketsRow, "ask", calls=3, clock=clock)


def let_in(limit: Limit, subject: str, calls: int) -> int:
    passed = 0
    for _ in range(calls):
        try:
            limit.count(subject)
            passed += 1
        except TooMany:
            continue
    return passed


def test_so_many_and_no_more_in_a_minute_and_as_many_in_the_next(limit: Limit, clock: At) -> None:
    clock.now = NOW + timedelta(seconds=17.2)
    assert let_in(limit, "one", 5) == 3
    with pytest.raises(TooMany) as refused:
        limit.count("one")
    assert refused.value.details == {"seconds": 43}
    clock.now = NOW + WINDOW - timedelta(milliseconds=1)
    with pytest.raises(TooMany) as refused:
        limit.count("one")
    assert refused.value.details == {"seconds": 1}
    clock.now = NOW + WINDOW
    assert let_in(limit, "one", 5) == 3


def test_subjects_and_routes_are_counted_apart(limit: Limit, clock: At) -> None:
    other = Limit(TicketsRow, "other", calls=1, clock=clock)
    assert [let_in(limit, "one", 5), let_in(limit, "two", 5), let_in(other, "one", 5)] == [3, 3, 1]


def test_rows_that_were_not_deleted_in_time_count_for_nothing(limit: Limit, clock: At) -> None:
    for minute in range(3):
        clock.now = NOW + minute * WINDOW
        assert let_in(limit, "one", 4) == 3

    class Rate(RateRow, TicketsRow):
        pass

    rows = list(Rate.query("RATE#ask#one"))
    assert [(int(row.calls), int(row.expires_at)) for row in rows] == [
        (3, int((NOW + (minute + 2) * WINDOW).timestamp())) for minute in range(3)
    ]


def test_nobody_gets_past_a_counter_that_does_not_answer(limit: Limit, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_answer(*_: Any, **__: Any) -> None:
        raise UpdateError("no answer", ReadTimeoutError(endpoint_url="table"))

    monkeypatch.setattr(RateRow, "update", no_answer)
    api, asked = asking(limit)
    answer = api.handler(request("GET", "/v1/ask", WORKER), CONTEXT)
    assert (answer["statusCode"], answer["headers"]["Retry-After"], asked) == (503, "2", [])


class Answered(BaseModel):
    subject: str


def asking(limit: Limit) -> tuple[Api, list[str]]:
    """An API of one limited route, and who got through."""
    api, asked = Api("ask", Logger(service="ask")), []

    @api.route("GET", "/v1/ask", limit=limit)
    def ask(actor: Actor) -> Answered:
        """Ask."""
        asked.append(actor.subject)
        return Answered(subject=actor.subject)

    return api, asked


@pytest.mark.parametrize(
    ("language", "title"), [("zh", "操作过于频繁，请在 60 秒后再试"), ("en", "too many requests: try again in 60 s")]
)
def test_who_asks_too_often_is_told_when_to_come_back(limit: Limit, language: str, title: str) -> None:
    api, asked = asking(limit)

    def ask(who: Any) -> dict[str, Any]:
        return api.handler(request("GET", "/v1/ask", who, headers={"accept-language": language}), CONTEXT)

    answers = [ask(OFFICER) for _ in range(5)]
    assert [answer["statusCode"] for answer in answers] == [200] * 3 + [429] * 2
    refused = answers[-1]
    assert refused["headers"]["Retry-After"] == "60"
    assert refused["headers"]["Content-Type"] == "application/problem+json"
    problem = json.loads(refused["body"])
    assert (problem["code"], problem["status"], problem["title"]) == ("too-many-requests", 429, title)
    assert ask(RESIDENT)["statusCode"] == 200
    assert asked == [OFFICER.subject] * 3 + [RESIDENT.subject]
    assert ask(None)["statusCode"] == 401


def test_the_document_says_which_routes_are_limited() -> None:
    assert {route for route, one in operations().items() if "429" in one["responses"]} == LIMITED
