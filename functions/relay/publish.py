"""From the outboxes to the bus: the only publisher. A row is deleted after the bus has accepted it.

A row that is published twice (the relay died in between) carries the same `event_id`; consumers know commands they did.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ulid import ULID

from linli.log import logger
from linli.table import passes

BATCH = 10
"""PutEvents takes ten entries."""
OLD = timedelta(minutes=2)
"""A row this old was missed by the stream and is sent by the sweeper."""
SHARDS = 8

log = logger("relay")


@dataclass(frozen=True)
class Outboxed:
    """An outbox row: its table, its key, and the fact as JSON text."""

    table: str
    pk: str
    sk: str
    fact: str


def publish(rows: Iterable[Outboxed], *, events: Any, dynamodb: Any) -> int:
    """Send the rows to the bus and delete those it accepted; how many. The rest stays for the sweeper.

    Where a batch fails its rows are sent one by one, so that one the bus chokes on does not hold up the others; where
    the bus is busy or cannot be reached nothing more is tried now. A row nobody can read waits for a person.
    """
    sent = 0
    waiting = _readable(rows)
    while batch := list(islice(waiting, BATCH)):
        try:
            sent += _send(batch, events=events, dynamodb=dynamodb)
        except (BotoCoreError, ClientError) as error:
            log.warning("a batch failed", rows=len(batch), error=type(error).__name__)
            if passes(error):
                break
            sent += sum(_send_alone(row, events=events, dynamodb=dynamodb) for row in batch)
    return sent


def _send(batch: list[Outboxed], *, events: Any, dynamodb: Any) -> int:
    answer = events.put_events(Entries=[_entry(row) for row in batch])
    sent = 0
    for row, result in zip(batch, answer["Entries"], strict=True):
        if "EventId" in result:
            dynamodb.delete_item(TableName=row.table, Key={"pk": {"S": row.pk}, "sk": {"S": row.sk}})
            sent += 1
        else:
            log.warning("the bus refused a fact", table=row.table, event_id=row.sk, reason=result["ErrorCode"])
    return sent


def _send_alone(row: Outboxed, *, events: Any, dynamodb: Any) -> int:
    try:
        return _send([row], events=events, dynamodb=dynamodb)
    except (BotoCoreError, ClientError) as error:
        log.warning("a fact failed", table=row.table, event_id=row.sk, error=type(error).__name__)
        return 0


def _readable(rows: Iterable[Outboxed]) -> Iterator[Outboxed]:
    for row in rows:
        try:
            _entry(row)
        except (ValueError, KeyError, TypeError):
            log.error("outbox row unreadable", table=row.table, event_id=row.sk)
        else:
            yield row


def missed(tables: Iterable[str], *, dynamodb: Any, now: datetime) -> Iterable[Outboxed]:
    """Every outbox row older than two minutes, oldest first in each shard; a table that is busy is left for now."""
    horizon = str(ULID.from_datetime(now - OLD))
    for table in tables:
        try:
            for shard in range(SHARDS):
                yield from _older(horizon, table, f"OUT#{shard}", dynamodb=dynamodb)
        except (BotoCoreError, ClientError) as error:
            if not passes(error):
                raise
            log.warning("an outbox is busy", table=table, error=type(error).__name__)


def _older(horizon: str, table: str, pk: str, *, dynamodb: Any) -> Iterator[Outboxed]:
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="pk = :pk AND sk < :horizon",
        ExpressionAttributeValues={":pk": {"S": pk}, ":horizon": {"S": horizon}},
        ConsistentRead=True,
    )
    for page in pages:
        for item in page["Items"]:
            yield Outboxed(table, pk, item["sk"]["S"], item.get("fact", {}).get("S", ""))


class Counted:
    """Rows on their way through: how many there were, and the oldest one's event id, whose beginning is its time."""

    def __init__(self, rows: Iterable[Outboxed]) -> None:
        self._rows = rows
        self.rows = 0
        self.oldest: str | None = None

    def __iter__(self) -> Iterator[Outboxed]:
        for row in self._rows:
            self.rows += 1
            self.oldest = min(self.oldest or row.sk, row.sk)
            yield row

    def age(self, now: datetime) -> timedelta:
        """Of the oldest row; none if there was no row."""
        return now - ULID.from_str(self.oldest).datetime if self.oldest else timedelta()


def _entry(row: Outboxed) -> dict[str, str]:
    fact = json.loads(row.fact)
    return {
        "EventBusName": os.environ["BUS_NAME"],
        "Source": f"linli.{fact['context']}",
        "DetailType": fact["type"],
        "Detail": row.fact,
    }
