"""Batches from a queue: each message is handled, retried or parked with its reason; none is lost, none stops the others."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from pydantic import BaseModel, ValidationError

from linli.clock import Clock
from linli.errors import KeyReused, LinliError, Unreadable
from linli.facts import Envelope
from linli.metrics import Metric, emit
from linli.table import Parked, Table, never_fits, passes

RECEIVES = 15
"""How often a message that fails is tried before it is parked; up to the queue's own limit (20) parking may fail as well."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_REASON_CHARACTERS = 100

Data = TypeVar("Data", bound=BaseModel)
Message = TypeVar("Message")
Result = TypeVar("Result")


def consume(
    event: dict[str, Any],
    context: Any,
    handle: Callable[[str], None],
    *,
    table: Table,
    source: str,
    log: Logger,
    clock: Clock,
) -> dict[str, Any]:
    """Run `handle` on each body.

    What no repetition makes readable, or fit for the table, is parked at once; what passes (a busy table) is left to the
    queue; anything else is tried again and parked just before the queue gives it up.
    """

    refuse = _refusal(table=table, source=source, log=log, clock=clock)

    def one(record: SQSRecord) -> None:
        _, error = _tried(lambda: handle(record.body))
        if error and not refuse(record.raw_event, error):
            raise error

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    answer = process_partial_response(event=event, record_handler=one, processor=processor, context=context)
    return dict(answer)


def consume_together(
    event: dict[str, Any],
    parse: Callable[[str], Message],
    keep: Callable[[Sequence[Message]], Mapping[int, Exception]],
    *,
    table: Table,
    source: str,
    log: Logger,
    clock: Clock,
) -> dict[str, Any]:
    """`parse` each body, then `keep` all that could be read in one go; it says by position what it could not keep.

    What `keep` does is written again when the batch comes again, so it must be the same then. If it fails as a whole each
    message is kept alone, so that the one it fails for is found; while the table is busy all wait for the queue.
    """
    refuse = _refusal(table=table, source=source, log=log, clock=clock)
    failed: dict[int, Exception] = {}
    messages: dict[int, Message] = {}
    for place, record in enumerate(event["Records"]):
        message, error = _tried(lambda body=record["body"]: parse(body))  # type: ignore[misc]
        if error:
            failed[place] = error
        else:
            messages[place] = message
    failed |= _kept(messages, keep)
    again = []
    for place, error in sorted(failed.items()):
        record = event["Records"][place]
        parked, _ = _tried(lambda record=record, error=error: refuse(record, error))  # type: ignore[misc]
        if not parked:
            again.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": again}


def _kept(
    messages: dict[int, Message], keep: Callable[[Sequence[Message]], Mapping[int, Exception]]
) -> dict[int, Exception]:
    """Why each message that was not kept was not."""
    if not messages:
        return {}
    refused, error = _tried(lambda: keep(list(messages.values())))
    if error is None:
        places = list(messages)
        return {places[one]: reason for one, reason in refused.items()}
    if len(messages) == 1 or passes(error):
        return dict.fromkeys(messages, error)
    return {place: reason for one in messages.items() for place, reason in _kept(dict([one]), keep).items()}


def _tried(act: Callable[[], Result]) -> tuple[Result, None] | tuple[Any, Exception]:
    try:
        return act(), None
    except Exception as error:  # the one place that catches everything
        return None, error


def _refusal(*, table: Table, source: str, log: Logger, clock: Clock) -> Callable[[dict[str, Any], Exception], bool]:
    """What becomes of a record that was not handled: whether it is parked now, or the queue is to bring it again."""

    def refuse(record: dict[str, Any], error: Exception) -> bool:
        reason, field = _reason(error)
        log.warning("message refused", message_id=record["messageId"], source=source, reason=reason, field=field)
        given_up = _given_up(error, int(record["attributes"]["ApproximateReceiveCount"]))
        if given_up:
            body = record["body"].encode("utf-8", "surrogatepass")
            table.park(Parked(source, reason, field, body, record["messageId"]), at=clock())
            emit(Metric.PARKED, 1, context=log.service, source=source, reason=_kind(error))
        return given_up

    return refuse


def read_fact(body: str, *kinds: type[Data], version: int) -> tuple[Envelope, Data]:
    """The fact named like one of `kinds` in an EventBridge message; Unreadable if it is none, or of another version."""
    fact = read_envelope(body)
    kind = next((one for one in kinds if (one.__name__, version) == (fact.type, fact.version)), None)
    if kind is None:
        raise Unreadable("version", reason=f"{fact.type} v{fact.version}")
    return fact, read(kind, json.dumps(fact.data))


def read_envelope(body: str) -> Envelope:
    """The fact in an EventBridge message, whichever it is."""
    return read(_OnBus, body).detail


def read(model: type[Data], text: str | bytes) -> Data:
    """What somebody else wrote. Raises Unreadable naming the first field that cannot be used."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise Unreadable(_named(first["loc"]), reason=first["type"]) from error


class _OnBus(BaseModel):
    detail: Envelope


def _named(path: tuple[int | str, ...]) -> str | None:
    """The field as it may stand in a log: a name the sender made up, which could be anything, is `?`."""
    parts = [str(part) if isinstance(part, int) or _NAME.fullmatch(part) else "?" for part in path[:8]]
    return ".".join(parts)[:200] or None


def _given_up(error: Exception, receives: int) -> bool:
    return (
        isinstance(error, Unreadable | KeyReused) or never_fits(error) or (receives >= RECEIVES and not passes(error))
    )


def _kind(error: Exception) -> str:
    """One of a handful of reasons, whatever the message said."""
    return error.code if isinstance(error, LinliError) else "unexpected"


def _reason(error: Exception) -> tuple[str, str | None]:
    """A reason without any of the message's values in it."""
    if isinstance(error, LinliError):
        return str(error.details.get("reason", error.code))[:_REASON_CHARACTERS], error.field
    if never_fits(error):
        return "refused by the table", None
    return f"unexpected {type(error).__name__}", None
