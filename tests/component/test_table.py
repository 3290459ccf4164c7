"""The one transaction under faults: conflicts, a busy table, an acknowledgement that never came."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from pynamodb.exceptions import CancellationReason, TransactWriteError, VerboseClientError
from pynamodb.transactions import TransactWrite

from linli import table as kernel
from linli.commands import ANSWER_KEPT, ATTEMPTS, Repeated, command
from linli.errors import KeyReused, StaleVersion, Unavailable
from linli.table import THROTTLED_AGAIN, Parked, Put, Step, Table, passes
from tests.support import NOW, table_on_moto
from tickets.store import SensorRow, TicketsRow

ASKED = command("who", "what", "key-0001", content=1).with_result(ticket_id="T1")


@pytest.fixture
def table() -> Iterator[Table]:
    with table_on_moto("tickets"):
        yield Table(TicketsRow, clock=lambda: NOW)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "pause", lambda _: None)


def put(condition: Any = None) -> Put:
    return Put(SensorRow("SENSOR#x", "S", revision=1, version=1, active=True), condition)


def fails(monkeypatch: pytest.MonkeyPatch, times: int, error: Exception, *, after_commit: bool = False) -> list[str]:
    """Let so many commits fail; returns the request tokens seen."""
    tokens: list[str] = []
    commit = TransactWrite._commit

    def failing(self: TransactWrite) -> None:
        tokens.append(str(self._client_request_token))
        if len(tokens) <= times:
            if after_commit:
                commit(self)
            raise error
        if not after_commit:  # moto does not know that a token that comes again was carried out
            commit(self)

    monkeypatch.setattr(TransactWrite, "_commit", failing)
    return tokens


def cancelled(*codes: str | None) -> TransactWriteError:
    reasons = [CancellationReason(code=code) if code else None for code in codes]
    response = {"Error": {"Code": "TransactionCanceledException", "Message": ""}}
    return TransactWriteError("", VerboseClientError(response, "TransactWriteItems", {}, cancellation_reasons=reasons))


def test_a_command_is_carried_out_once_and_told_its_result(table: Table) -> None:
    table.commit([put()], at=NOW, command=ASKED)
    assert table.recall(ASKED) == {"ticket_id": "T1"}
    with pytest.raises(Repeated):
        table.commit([put()], at=NOW, command=ASKED)
    with pytest.raises(KeyReused):
        table.recall(command("who", "what", "key-0001", content=2))


def test_all_or_nothing(table: Table) -> None:
    step = table.step_put("TICKET#1", 1, Step("open", NOW, "s", "c"))
    with pytest.raises(StaleVersion):
        table.commit([step, put(SensorRow.revision == 7)], at=NOW, command=ASKED)
    assert table.recall(ASKED) is None
    assert table.steps("TICKET#1") == []


@pytest.mark.parametrize(("code", "times"), [("TransactionConflict", 3), ("ThrottlingError", THROTTLED_AGAIN)])
def test_what_passes_is_tried_again_under_the_same_token(
    table: Table, monkeypatch: pytest.MonkeyPatch, code: str, times: int
) -> None:
    tokens = fails(monkeypatch, times, cancelled(None, code))
    table.commit([put()], at=NOW, command=ASKED)
    assert len(tokens) == times + 1
    assert len(set(tokens)) == 1
    assert table.recall(ASKED) == {"ticket_id": "T1"}


def test_an_acknowledgement_that_never_came_is_no_second_commit(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = TransactWriteError("", ReadTimeoutError(endpoint_url="x"))
    tokens = fails(monkeypatch, 1, lost, after_commit=True)
    with pytest.raises(Unavailable):
        table.commit([put()], at=NOW, command=ASKED)
    assert len(tokens) == 1, "the client has sent it again already"
    monkeypatch.undo()
    with pytest.raises(Repeated):
        table.commit([put()], at=NOW, command=ASKED)
    assert table.recall(ASKED) == {"ticket_id": "T1"}


@pytest.mark.parametrize("deleted", [True, False])
def test_an_answer_that_has_expired_is_none_whether_or_not_the_table_deleted_it(table: Table, deleted: bool) -> None:
    table.commit([put()], at=NOW - ANSWER_KEPT + timedelta(seconds=1), command=ASKED)
    assert table.recall(ASKED) == {"ticket_id": "T1"}
    later = Table(TicketsRow, clock=lambda: NOW + timedelta(seconds=1))
    if deleted:
        for row in table._command.query(f"CMD#{ASKED.key}"):
            row.delete()
    assert later.recall(ASKED) is None
    assert later.recall(command("who", "what", "key-0001", content=2)) is None
    again = ASKED.with_result(ticket_id="T2")
    later.commit(
        [Put(SensorRow("SENSOR#y", "S", revision=1, version=1, active=True))], at=NOW + ANSWER_KEPT, command=again
    )
    assert later.recall(ASKED) == {"ticket_id": "T2"}


@pytest.mark.parametrize(
    ("status", "code", "waits"),
    [(503, "Whatever", True), (400, "ThrottlingException", True), (400, "ValidationException", False)],
)
def test_a_service_that_has_a_fault_of_its_own_is_waited_for(status: int, code: str, waits: bool) -> None:
    said: Any = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert passes(ClientError(said, "CreateThing")) is waits


@pytest.mark.parametrize(
    ("code", "sent"), [("TransactionConflict", ATTEMPTS), ("ThrottlingError", 1 + THROTTLED_AGAIN)]
)
def test_a_table_that_stays_busy_is_unavailable(
    table: Table, monkeypatch: pytest.MonkeyPatch, code: str, sent: int
) -> None:
    tokens = fails(monkeypatch, 100, cancelled(None, code))
    with pytest.raises(Unavailable):
        table.commit([put()], at=NOW, command=ASKED)
    assert len(tokens) == sent


def test_a_request_that_is_wrong_is_not_tried_again(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = fails(monkeypatch, 100, cancelled(None, "ValidationError"))
    with pytest.raises(TransactWriteError):
        table.commit([put()], at=NOW, command=ASKED)
    assert len(tokens) == 1


def test_parked_twice_is_one_row_and_keeps_the_whole_payload(table: Table) -> None:
    payload = b"x" * 200_000
    for later in (0, 1):
        table.park(Parked("source", "reason", None, payload, "message-1"), at=NOW + timedelta(seconds=later))
    (row,) = table._parked.query("PARKED#20261123")
    assert (row.size, len(row.payload)) == (200_000, 266_668)
