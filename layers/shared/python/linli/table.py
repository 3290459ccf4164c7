"""One context's table: rows, and the one transaction in which state, timeline, outbox and de-duplication stand or fall.

Kernel rows, in every context's table:

    OUT#0-7         | ulid        a fact to publish; the relay deletes it after the bus has accepted it
    CMD#sha256      | C           a command that was carried out: digest of its content, what a repetition is told
    PARKED#yyyymmdd | message id  a message that could not be understood, with the reason (the day is Beijing's); marked when
                                  an operator has put it back on its queue (`make redrive`)
    <aggregate>     | …S#000007   a step: the timeline and the audit trail of the aggregate
"""

import base64
import hashlib
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar, Self, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from pynamodb.attributes import BinaryAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.connection import Connection
from pynamodb.exceptions import DoesNotExist, PutError, PynamoDBException, TransactWriteError
from pynamodb.expressions.condition import Condition
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite
from ulid import ULID

from linli.aws import CONNECT_SECONDS, READ_SECONDS, SENDS
from linli.clock import Clock, beijing_day, iso, utc_now
from linli.commands import ANSWER_KEPT, ATTEMPTS, Command, CommandLog, Repeated, pause
from linli.errors import KeyReused, StaleVersion, Unavailable
from linli.facts import Envelope
from linli.versions import Upcasts, current, upcast

OUTBOX_SHARDS = 8
THROTTLED_AGAIN = 1
"""How often a transaction cancelled for a throttled partition is tried again: with what the client sends, five retries."""
READ_TOGETHER = 100
WRITTEN_TOGETHER = 25
"""What one BatchGetItem and one BatchWriteItem take."""
PAYLOAD_KEPT = 256 * 1024
"""Bytes of a parked payload that are kept, more than IoT Core lets through; hash and length are always the whole's."""

AnyRow = TypeVar("AnyRow", bound="Row")


class TableName:
    """The table's name, read from the environment when it is first needed, not at import."""

    def __init__(self, variable: str) -> None:
        self.variable = variable

    def __get__(self, instance: object, owner: type) -> str:
        return os.environ[self.variable]


class TableMeta:
    """The base of every row's `Meta`; in seconds, so that a function can still answer when the table does not."""

    connect_timeout_seconds = CONNECT_SECONDS
    read_timeout_seconds = READ_SECONDS
    max_retry_attempts = SENDS - 1


class Row(Model):
    """The base of every row; `v` is the schema version it was written with, `upcasts` its context's registry."""

    upcasts: ClassVar[Upcasts] = {}

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    v = NumberAttribute(default=1)

    @classmethod
    def row_kind(cls) -> str:
        return cls.__name__.removesuffix("Row").lower()

    @classmethod
    def from_raw_data(cls, data: dict[str, Any]) -> Self:
        """A row of an older version reads as one of today's."""
        return super().from_raw_data(upcast(cls.row_kind(), data, cls.upcasts) if cls.upcasts else data)


class StepRow(Row):
    """`note` is plain (class L1 or L2), `sealed` a note under seal (`sealed.py`)."""

    action = UnicodeAttribute()
    at = UnicodeAttribute()
    subject = UnicodeAttribute()
    post = UnicodeAttribute(null=True)
    state = UnicodeAttribute(null=True)
    note = UnicodeAttribute(null=True)
    sealed = BinaryAttribute(legacy_encoding=False, null=True)
    correlation_id = UnicodeAttribute()


class OutboxRow(Row):
    fact = JSONAttribute()


class CommandRow(Row):
    digest = UnicodeAttribute()
    result = JSONAttribute()
    expires_at = NumberAttribute()


class ParkedRow(Row):
    parked_at = UnicodeAttribute()
    source = UnicodeAttribute()
    reason = UnicodeAttribute()
    field = UnicodeAttribute(null=True)
    sha256 = UnicodeAttribute()
    size = NumberAttribute()
    payload = UnicodeAttribute()
    replayed_at = UnicodeAttribute(null=True)
    replayed_by = UnicodeAttribute(null=True)


@dataclass(frozen=True)
class Step:
    """What was done to an aggregate: by whom, in which post, with which state after it; a personal note is `sealed`."""

    action: str
    at: datetime
    subject: str
    correlation_id: str
    post: str | None = None
    state: str | None = None
    note: str | None = None
    sealed: bytes | None = None


@dataclass(frozen=True)
class Parked:
    source: str
    reason: str
    field: str | None
    payload: bytes
    message_id: str


@dataclass(frozen=True)
class Put:
    """A row to write; `condition` repeats the state machine."""

    row: Row
    condition: Condition | None = None


class Table(CommandLog):
    """`base` is the context's row class with its `Meta` and its indexes; every row class of the context derives from it."""

    def __init__(self, base: type[Row], *, clock: Clock = utc_now) -> None:
        self._base = base
        self._clock = clock
        self._outbox = self.bind(OutboxRow)
        self._command = self.bind(CommandRow)
        self._parked = self.bind(ParkedRow)
        self.step = self.bind(StepRow)

    def bind(self, row: type[AnyRow]) -> type[AnyRow]:
        """A kernel row class as a row of this table."""
        kind = row.row_kind()
        version = NumberAttribute(default=current(kind, self._base.upcasts))
        return type(kind.capitalize(), (row, self._base), {"v": version})

    @property
    def _connection(self) -> Connection:
        # Row classes inherit the base's connection: one client a function. PynamoDB has no public way to share it.
        return self._base._get_connection().connection

    def rows(self, row: type[AnyRow]) -> type[AnyRow]:
        """The row class, on the context's one connection."""
        _ = self._connection
        return row

    def get(self, row: type[AnyRow], pk: str, sk: str) -> AnyRow | None:
        """The row, read consistently, or None."""
        try:
            return self.rows(row).get(pk, sk, consistent_read=True)
        except DoesNotExist:
            return None

    def save_if(self, row: Row, condition: Condition) -> bool:
        """Write the row if the condition holds for the one that is there; whether it was written."""
        self.rows(type(row))
        try:
            row.save(condition=condition)
        except PutError as error:
            if condition_failed(error):
                return False
            raise
        return True

    def get_many(self, row: type[AnyRow], keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], AnyRow]:
        """Those of the rows that are there, read consistently, a hundred a request. Raises Unavailable."""
        found: dict[tuple[str, str], AnyRow] = {}
        name = self.rows(row).Meta.table_name
        waiting = iter(dict.fromkeys(keys))
        while wanted := [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in islice(waiting, READ_TOGETHER)]:
            for attempt in range(ATTEMPTS):
                asked = {name: {"Keys": wanted, "ConsistentRead": True}}
                answer = self._connection.client.batch_get_item(RequestItems=asked)
                for item in answer["Responses"].get(name, []):
                    found[item["pk"]["S"], item["sk"]["S"]] = row.from_raw_data(item)
                wanted = answer.get("UnprocessedKeys", {}).get(name, {}).get("Keys", [])
                if not wanted:
                    break
                pause(attempt)
            else:
                raise Unavailable()
        return found

    def put_many(self, rows: Iterable[Row]) -> set[tuple[str, str]]:
        """Write rows that need no condition, 25 a request, of one key the last; the keys the table stayed too busy for."""
        left: set[tuple[str, str]] = set()
        name = self._base.Meta.table_name
        waiting = iter({(row.pk, row.sk): row for row in rows}.values())
        while requests := [{"PutRequest": {"Item": row.serialize()}} for row in islice(waiting, WRITTEN_TOGETHER)]:
            for attempt in range(ATTEMPTS):
                answer = self._connection.client.batch_write_item(RequestItems={name: requests})
                requests = answer.get("UnprocessedItems", {}).get(name, [])
                if not requests:
                    break
                pause(attempt)
            items = (request["PutRequest"]["Item"] for request in requests)
            left |= {(item["pk"]["S"], item["sk"]["S"]) for item in items}
        return left

    def recall(self, command: Command) -> dict[str, str] | None:
        """What the command was answered before, None if it is new; KeyReused if the key came with other content.

        An answer that has expired is none, whether or not the table has deleted it.
        """
        row = self.get(self._command, f"CMD#{command.key}", "C")
        if row is None or row.expires_at <= self._clock().timestamp():
            return None
        if row.digest != command.digest:
            raise KeyReused("Idempotency-Key")
        return dict(row.result)

    def commit(
        self, puts: Iterable[Put], *, at: datetime, command: Command | None = None, facts: Iterable[Envelope] = ()
    ) -> None:
        """All or nothing.

        Raises Repeated if the command was carried out before, StaleVersion if a put's condition does not hold,
        Unavailable if the table stays busy.
        """
        rows = [*([self._command_put(command, at)] if command else []), *puts, *map(self._outbox_put, facts)]
        token = str(ULID())  # the same for every attempt: one that was carried out unheard is not carried out again
        throttled = 0
        for attempt in range(ATTEMPTS):
            try:
                with TransactWrite(connection=self._connection, client_request_token=token) as transaction:
                    for put in rows:
                        transaction.save(put.row, condition=put.condition)
                return
            except TransactWriteError as error:
                throttled += self._passing(error, command) != {"TransactionConflict"}
                if throttled > THROTTLED_AGAIN:
                    break
                pause(attempt)
        raise Unavailable()

    def _passing(self, error: TransactWriteError, command: Command | None) -> set[str]:
        """The reasons for which trying again is right; raises what the error means if there are none.

        A request that was not answered was sent again by the client, under the same token; that is enough.
        """
        codes = [reason.code if reason else None for reason in error.cancellation_reasons]
        if command and codes[:1] == ["ConditionalCheckFailed"]:
            raise Repeated() from error
        if "ConditionalCheckFailed" in codes:
            raise StaleVersion("expected_version") from error
        if passes(error):
            raise Unavailable() from error
        if not RETRIED & set(codes):
            raise error
        return RETRIED & set(codes)

    def park(self, message: Parked, *, at: datetime) -> None:
        """Keep a message that could not be understood; delivered again, it leaves the row as it is."""
        row = self.rows(self._parked)(
            f"PARKED#{beijing_day(at)}",
            message.message_id,
            parked_at=iso(at),
            source=message.source,
            reason=message.reason,
            field=message.field,
            sha256=hashlib.sha256(message.payload).hexdigest(),
            size=len(message.payload),
            payload=base64.b64encode(message.payload[:PAYLOAD_KEPT]).decode(),
        )
        self.save_if(row, self._parked.pk.does_not_exist())

    def step_put(self, pk: str, number: int, step: Step, *, under: str = "") -> Put:
        """The `number`th step (from 1) of the aggregate at `pk`, `under` a prefix where one partition holds several."""
        row = self.step(pk, f"{under}{step_key(number)}", **(asdict(step) | {"at": iso(step.at)}))
        return Put(row, self.step.pk.does_not_exist())

    def steps(self, pk: str, *, under: str = "") -> list[Step]:
        rows = self.rows(self.step).query(pk, self.step.sk.startswith(f"{under}S#"), consistent_read=True)
        return [step_of(row) for row in rows]

    def _command_put(self, command: Command, at: datetime) -> Put:
        row = self._command(
            f"CMD#{command.key}",
            "C",
            digest=command.digest,
            result=command.result,
            expires_at=int((at + ANSWER_KEPT).timestamp()),
        )
        expired = self._command.expires_at <= int(at.timestamp())
        return Put(row, self._command.pk.does_not_exist() | expired)

    def _outbox_put(self, fact: Envelope) -> Put:
        shard = hashlib.sha256(fact.aggregate_id.encode()).digest()[0] % OUTBOX_SHARDS
        return Put(self._outbox(f"OUT#{shard}", fact.event_id, fact=fact.model_dump(mode="json")))


def step_key(number: int) -> str:
    return f"S#{number:06d}"


def step_of(row: StepRow) -> Step:
    at = datetime.fromisoformat(row.at)
    return Step(row.action, at, row.subject, row.correlation_id, row.post, row.state, row.note, row.sealed)


RETRIED = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
"""Reasons of a cancelled transaction that another attempt may not meet."""
BUSY = {
    "InternalServerError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionInProgressException",
}


def never_fits(error: Exception) -> bool:
    """Whether the table can never take it: too large, a key too long, a number of more than 38 digits."""
    if isinstance(error, TransactWriteError):
        codes = {reason.code for reason in error.cancellation_reasons if reason}
        if codes & {"ValidationError", "ItemCollectionSizeLimitExceeded"}:
            return True
    cause = error.cause if isinstance(error, PynamoDBException) else error
    return isinstance(cause, ClientError) and cause.response["Error"]["Code"] == "ValidationException"


def passes(error: Exception) -> bool:
    """Whether waiting is all it takes: something is busy or cannot be reached."""
    cause = error.cause if isinstance(error, PynamoDBException) else error
    if isinstance(cause, ClientError):
        status = cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
        return status >= 500 or cause.response["Error"]["Code"] in BUSY
    return isinstance(cause, BotoCoreError | Unavailable)


def condition_failed(error: PynamoDBException) -> bool:
    """Whether a write was refused by its condition. PynamoDB's own `cause_response_code` fails on a lost connection."""
    cause = error.cause
    return isinstance(cause, ClientError) and cause.response["Error"]["Code"] == "ConditionalCheckFailedException"
