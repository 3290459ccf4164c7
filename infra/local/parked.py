"""Parked messages as an operator meets them: counted, explained, and put back on the queue they came from.

A message is sent first and marked afterwards: whoever is interrupted in between sends it again, and commands and
telemetry keys know what they have seen. One that fails again is parked again, under the id of its new delivery.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from linli.clock import iso

BATCH = 10
BATCH_BYTES = 256 * 1024
"""What one SendMessageBatch takes, in messages and together in bytes."""
SUMMARY = "sk, #source, #reason, #field, parked_at, sha256, #size, replayed_at, replayed_by"
FACTS = {
    "ConditionChanged": ("DeviceConditionChanged",),
    "DeviceRegistered": ("DeviceRegistered", "DeviceChanged"),
    "WakeWanted": ("AlarmWakeWanted", "DeviceWakeWanted"),
}
"""What is heard on the queue of a source that is not the one fact of its name."""
PAGES = {"minutes": "functions/timers/messages.py", "presence": "events/samples/mqtt-presence-v1.json"}
"""Who speaks is not a device."""
NAMES = {"#source": "source", "#reason": "reason", "#field": "field", "#size": "size"}


@dataclass(frozen=True)
class Message:
    """A parked message; `payload` is there if it was asked for, and cut where it was larger than what is kept."""

    context: str
    day: str
    message_id: str
    source: str
    reason: str
    field: str | None
    parked_at: str
    sha256: str
    size: int
    replayed_at: str | None
    replayed_by: str | None
    payload: bytes | None

    @property
    def body(self) -> str | None:
        """What stood on the queue; None if it is not here whole."""
        if self.payload is None or len(self.payload) < self.size:
            return None
        return self.payload.decode()


@dataclass(frozen=True)
class Wanted:
    """Which messages are meant; what is None is not asked about."""

    source: str | None = None
    reason: str | None = None
    message_ids: frozenset[str] | None = None

    def means(self, message: Message) -> bool:
        return (
            self.source in (None, message.source)
            and self.reason in (None, message.reason)
            and (self.message_ids is None or message.message_id in self.message_ids)
        )


@dataclass
class Replayed:
    """`sent` went back to their queue; `later` (parked meanwhile), `cut` and `refused` did not, and stay as they are."""

    sent: int = 0
    already: int = 0
    later: int = 0
    cut: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def queue_name(prefix: str, context: str, source: str) -> str:
    """The queue a `source` of `consume` is read from: of a rule by its name, of facts with `on-` before it."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", source).replace("_", "-").lower()
    return f"{prefix}-{context}-{'on-' if source[0].isupper() else ''}{words}"


def contracts(source: str) -> list[str]:
    """The pages that say what such a message must look like."""
    if source[0].isupper():
        return [f"events/schemas/{fact}-v1.json" for fact in FACTS.get(source, (source,))]
    return [PAGES.get(source, "docs/device.md")]


class ParkedMessages:
    """The parked rows of one context's table, `PARKED#yyyymmdd | message id`."""

    def __init__(self, context: str, table: str, dynamodb: Any) -> None:
        self.context = context
        self._table = table
        self._dynamodb = dynamodb

    def on(self, day: str) -> Iterator[Message]:
        """A Beijing day's messages, without their payload."""
        yield from self._query(day, ProjectionExpression=SUMMARY, ExpressionAttributeNames=NAMES)

    def whole(self, day: str) -> Iterator[Message]:
        """A Beijing day's messages with their payload."""
        yield from self._query(day)

    def find(self, message_id: str, days: Iterable[str]) -> Message | None:
        for day in days:
            key = _key(day, message_id)
            row = self._dynamodb.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
            if row:
                return self._message(day, row)
        return None

    def mark(self, messages: list[Message], *, at: datetime, by: str) -> None:
        """Remember who put them back on the queue; one that somebody else marked meanwhile keeps their mark."""
        updates = [{"Update": self._update(one, at=at, by=by)} for one in messages]
        try:
            self._dynamodb.transact_write_items(TransactItems=updates)
        except self._dynamodb.exceptions.TransactionCanceledException:
            for one in messages:
                self._mark_alone(one, at=at, by=by)

    def _mark_alone(self, message: Message, *, at: datetime, by: str) -> None:
        try:
            self._dynamodb.update_item(**self._update(message, at=at, by=by))
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

    def _update(self, message: Message, *, at: datetime, by: str) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "Key": _key(message.day, message.message_id),
            "UpdateExpression": "SET replayed_at = :at, replayed_by = :by",
            "ConditionExpression": "attribute_exists(pk) AND attribute_not_exists(replayed_at)",
            "ExpressionAttributeValues": {":at": {"S": iso(at)}, ":by": {"S": by}},
        }

    def _query(self, day: str, **more: Any) -> Iterator[Message]:
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"PARKED#{day}"}},
            ConsistentRead=True,
            **more,
        )
        for page in pages:
            for row in page["Items"]:
                yield self._message(day, row)

    def _message(self, day: str, row: dict[str, Any]) -> Message:
        said = {name: next(iter(value.values())) for name, value in row.items()}
        return Message(
            context=self.context,
            day=day,
            message_id=said["sk"],
            source=said["source"],
            reason=said["reason"],
            field=said.get("field"),
            parked_at=said["parked_at"],
            sha256=said["sha256"],
            size=int(said["size"]),
            replayed_at=said.get("replayed_at"),
            replayed_by=said.get("replayed_by"),
            payload=base64.b64decode(said["payload"]) if "payload" in said else None,
        )


def replay(
    parked: ParkedMessages, day: str, wanted: Wanted, *, queues: "Queues", at: datetime, by: str, dry_run: bool = False
) -> Replayed:
    """Put a day's messages back on their queues and mark them.

    What is parked while this runs is left alone, or a message that fails again would be replayed for ever.
    """
    done = Replayed()
    waiting: dict[str, list[Message]] = {}
    for message in parked.whole(day):
        if not wanted.means(message):
            continue
        if message.replayed_at:
            done.already += 1
        elif message.parked_at >= iso(at):
            done.later += 1
        elif message.body is None:
            done.cut.append(message.message_id)
        elif dry_run:
            done.sent += 1
        else:
            batch = waiting.setdefault(message.source, [])
            batch.append(message)
            if len(batch) == BATCH:
                _send(parked, waiting.pop(message.source), queues, done, at=at, by=by)
    for batch in waiting.values():
        _send(parked, batch, queues, done, at=at, by=by)
    return done


def _send(
    parked: ParkedMessages, batch: list[Message], queues: "Queues", done: Replayed, *, at: datetime, by: str
) -> None:
    bodies = [one.body or "" for one in batch]
    refused = queues.send(queues.named(parked.context, batch[0].source), bodies)
    sent = [one for place, one in enumerate(batch) if place not in refused]
    done.refused += [batch[place].message_id for place in sorted(refused)]
    done.sent += len(sent)
    if sent:
        parked.mark(sent, at=at, by=by)


class Queues:
    """The queues of one deployment."""

    def __init__(self, prefix: str, sqs: Any) -> None:
        self.prefix = prefix
        self.sqs = sqs
        self._urls: dict[str, str] = {}

    def named(self, context: str, source: str) -> str:
        return self.url(queue_name(self.prefix, context, source))

    def url(self, name: str) -> str:
        if name not in self._urls:
            self._urls[name] = str(self.sqs.get_queue_url(QueueName=name)["QueueUrl"])
        return self._urls[name]

    def send(self, url: str, bodies: list[str]) -> set[int]:
        """Send at most ten, in as many requests as their size asks for; the places of those the queue did not take."""
        refused: set[int] = set()
        entries: list[dict[str, str]] = []
        size = 0
        for place, body in enumerate(bodies):
            length = len(body.encode())
            if entries and size + length > BATCH_BYTES:
                refused |= self._send(url, entries)
                entries, size = [], 0
            entries.append({"Id": str(place), "MessageBody": body})
            size += length
        return refused | self._send(url, entries)

    def _send(self, url: str, entries: list[dict[str, str]]) -> set[int]:
        answer = self.sqs.send_message_batch(QueueUrl=url, Entries=entries)
        return {int(one["Id"]) for one in answer.get("Failed", [])}


def _key(day: str, message_id: str) -> dict[str, dict[str, str]]:
    return {"pk": {"S": f"PARKED#{day}"}, "sk": {"S": message_id}}
