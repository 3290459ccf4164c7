"""Batches from a queue: each message is handled, retried or parked with its reason; none is lost, none stops the others."""

import json
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.exceptions import BotoCoreError
from pydantic import ValidationError
from pynamodb.exceptions import PynamoDBException

from linli.clock import Clock
from linli.errors import LinliError, Unavailable, Unreadable
from linli.facts import Envelope
from linli.table import BUSY, Parked, Table

RECEIVES = 5
"""How often a message that fails for no known reason is tried; the queue's own limit stands above it."""


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

    Unreadable parks at once; what passes (a busy table) is left to the queue; anything else is retried and parked at
    the fifth receive.
    """

    def one(record: SQSRecord) -> None:
        try:
            handle(record.body)
        except Exception as error:  # the one place that catches everything
            reason, field = _reason(error)
            last = int(record.attributes.approximate_receive_count) >= RECEIVES and not _passes(error)
            log.warning("message refused", message_id=record.message_id, source=source, reason=reason, field=field)
            if not (last or isinstance(error, Unreadable | ValidationError)):
                raise
            parked = Parked(source, reason, field, record.body.encode(), record.message_id)
            table.park(parked, at=clock())

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    answer = process_partial_response(event=event, record_handler=one, processor=processor, context=context)
    return dict(answer)


def envelope_of(body: str, **versions: int) -> Envelope:
    """The fact in an EventBridge message; Unreadable if its type or major version is not among `versions`."""
    fact = Envelope.model_validate(json.loads(body)["detail"])
    if versions.get(fact.type) != fact.version:
        raise Unreadable("version", reason=f"{fact.type} v{fact.version}")
    return fact


def _passes(error: Exception) -> bool:
    """Whether waiting is all it takes."""
    if isinstance(error, PynamoDBException):
        return error.cause_response_code in BUSY or error.cause_response_code is None
    return isinstance(error, Unavailable | BotoCoreError)


def _reason(error: Exception) -> tuple[str, str | None]:
    """A reason without any of the message's values in it."""
    if isinstance(error, LinliError):
        return str(error.details.get("reason", error.code)), error.field
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_context=False)[0]
        return first["type"], ".".join(map(str, first["loc"])) or None
    return f"unexpected {type(error).__name__}", None
