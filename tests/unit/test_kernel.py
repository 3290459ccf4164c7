"""The kernel's small promises: what passes, what a log line hides, what a page's cursor is good for."""

import json
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pynamodb.exceptions import CancellationReason, GetError, PutError, TransactWriteError, VerboseClientError

from linli.access import Caller, Post
from linli.batch import read
from linli.clock import beijing_day, iso, new_id
from linli.commands import command
from linli.cursor import CursorExpired, Cursors
from linli.errors import PostUnclear, StaleVersion, Unavailable, Unreadable
from linli.log import logger
from linli.table import never_fits, passes
from tests.support import NOW, PATH

THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "Query")
WRONG = ClientError({"Error": {"Code": "ValidationException", "Message": ""}}, "Query")


@pytest.mark.parametrize(
    ("error", "waiting_helps"),
    [
        (GetError("", THROTTLED), True),
        (GetError("", ReadTimeoutError(endpoint_url="x")), True),
        (EndpointConnectionError(endpoint_url="x"), True),
        (Unavailable(), True),
        (GetError("", WRONG), False),
        (StaleVersion(), False),
        (KeyError("x"), False),
    ],
)
def test_what_waiting_helps(error: Exception, waiting_helps: bool) -> None:
    assert passes(error) is waiting_helps


def test_a_log_line_hides_numbers_of_persons_and_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    logger("tests").info(
        "told 13900001234 and 34010419900307123X",
        seq=17000000000,
        trace="0123456789abcdef13900001234",
        place_id="34010400200100001-1-0101",
        nested={"list": ["13900001234"]},
    )
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["message"] == "told *** and ***"
    assert line["nested"] == {"list": ["***"]}
    assert (line["seq"], line["trace"]) == (17000000000, "0123456789abcdef13900001234")
    assert line["place_id"] == "34010400200100001-1-0101"


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=20), max_size=4), st.text(max_size=40))
def test_a_cursor_opens_for_what_it_was_sealed_for_and_nothing_else(position: dict[str, Any], bound_to: str) -> None:
    cursors = Cursors(lambda: "secret")
    sealed = cursors.seal(position, bound_to=bound_to, now=NOW)
    assert sealed is not None
    assert cursors.unseal(sealed, bound_to=bound_to, now=NOW + timedelta(hours=23)) == position
    for other, later in ((bound_to + "x", NOW), (bound_to, NOW + timedelta(hours=25))):
        with pytest.raises(CursorExpired):
            cursors.unseal(sealed, bound_to=other, now=later)
    with pytest.raises(CursorExpired):
        Cursors(lambda: "another").unseal(sealed, bound_to=bound_to, now=NOW)


@settings(derandomize=True, database=None)
@given(st.data())
def test_a_cursor_that_was_changed_anywhere_is_refused(data: st.DataObject) -> None:
    cursors = Cursors(lambda: "secret")
    sealed = cursors.seal({"pk": {"S": "TICKET#1"}}, bound_to="worker-1|mine|post-1", now=NOW) or ""
    place = data.draw(st.integers(0, len(sealed) - 1))
    flipped = sealed[:place] + chr(ord(sealed[place]) ^ 1 << data.draw(st.integers(0, 6))) + sealed[place + 1 :]
    inserted = sealed[:place] + data.draw(st.text(min_size=1, max_size=3)) + sealed[place:]
    for changed in (flipped, inserted, sealed[:place], sealed + "=", data.draw(st.text(max_size=200))):
        with pytest.raises(CursorExpired):
            cursors.unseal(changed, bound_to="worker-1|mine|post-1", now=NOW)


def test_what_a_message_calls_its_fields_does_not_reach_a_log() -> None:
    class Said(BaseModel):
        v: dict[str, float]

    for name in ("张三", "13900001234", "a" * 5000, "Name", ""):
        with pytest.raises(Unreadable) as refused:
            read(Said, json.dumps({"v": {name: "x"}}))
        assert refused.value.field == "v.?"
    with pytest.raises(Unreadable) as refused:
        read(Said, '{"v": {"flow": "x"}}')
    assert refused.value.field == "v.flow"


@pytest.mark.parametrize("code", ["ValidationException", "ThrottlingException", "AccessDeniedException"])
def test_what_the_table_will_never_take(code: str) -> None:
    refused = ClientError({"Error": {"Code": code, "Message": ""}}, "PutItem")
    assert never_fits(PutError("", refused)) is never_fits(refused) is (code == "ValidationException")


@pytest.mark.parametrize("code", ["ValidationError", "ConditionalCheckFailed", "TransactionConflict"])
def test_what_a_transaction_will_never_take(code: str) -> None:
    response = {"Error": {"Code": "TransactionCanceledException", "Message": ""}}
    reasons = [None, CancellationReason(code=code)]
    cancelled = VerboseClientError(response, "TransactWriteItems", {}, cancellation_reasons=reasons)
    assert never_fits(TransactWriteError("", cancelled)) is (code == "ValidationError")


def test_a_command_is_its_key_and_its_content_is_compared() -> None:
    assert command("a", "b", content={"x": 1, "y": 2}) == command("a", "b", content={"y": 2, "x": 1})
    assert command("a", "b").key != command("a\x1fb").key or command("a", "b").key != command("ab").key
    assert command("a", content=1).digest != command("a", content=2).digest


def test_times_sort_as_text_and_days_are_beijings() -> None:
    assert iso(NOW) < iso(NOW + timedelta(milliseconds=1))
    assert beijing_day(NOW.replace(hour=16)) == "20261124"
    assert new_id(NOW) < new_id(NOW + timedelta(milliseconds=1))


def test_who_holds_several_posts_says_which() -> None:
    posts = (Post("a", "grid_worker", PATH), Post("b", "duty_officer", PATH))
    caller = Caller("s", posts)
    assert caller.acting("b").post_id == "b"
    for wrong in (None, "c"):
        with pytest.raises(PostUnclear) as refused:
            caller.acting(wrong)
        assert refused.value.text("zh").isascii() is False
    assert Caller.from_context(caller.to_context()) == caller
