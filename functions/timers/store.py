"""The timers table.

    W#yyyymmddHHMM#shard | rank#fire_at#owner#ref#rung#generation    one clock's next rung
    MARK#shard           | M                                         the oldest minute that has not had its last look

Partition: the minute (UTC) at which the row is due, and one of 16 shards by owner and item. Which rows are due in this
minute? Those of its partitions, and nothing that is due later is read to know it. Sort key: severity first, so that one
query a page gives them in the order of the work (ADR 0010). The key says everything: a row written twice is one row.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, TypeVar

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from linli.aws import PATIENCE
from linli.clock import iso
from linli.commands import ATTEMPTS, pause
from linli.errors import Unavailable
from linli.table import Row as KernelRow
from linli.table import TableMeta, TableName, passes
from linli.wake import Wake
from timers.domain import bucket, partition, shard_of
from timers.drain import Row

PAGE = 500
BATCH = 25
"""As many as one write takes."""
SCHEMA = {"N": "1"}

Written = TypeVar("Written")


class TimersRow(KernelRow):
    """The base of the kernel's rows in this table; the rows of timers hold nothing but their keys."""

    class Meta(TableMeta):
        table_name = TableName("TIMERS_TABLE")


class WakeStore:
    """`requests` counts the calls made; what the client repeats by itself is not in it."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self.requests = 0

    def add(self, wakes: Iterable[Wake], *, now: datetime) -> None:
        """Write the rows; one that is overdue goes to the minute that runs. Raises Unavailable."""
        rows = ((wake.sort_key, partition(bucket(wake, now=now), shard_of(wake))) for wake in wakes)
        self._write(rows, lambda row: {"PutRequest": {"Item": {**_key(row), "v": SCHEMA}}})

    def page(self, partition_key: str, after: str | None) -> tuple[list[Row], str | None]:
        """At most 500 rows in order, and the sort key to go on after (None at the end). Raises Unavailable."""
        start = {"ExclusiveStartKey": _key((after, partition_key))} if after else {}
        answer = self._call(
            "query",
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": partition_key}},
            ConsistentRead=True,
            Limit=PAGE,
            **start,
        )
        rows = [(item["sk"]["S"], partition_key) for item in answer["Items"]]
        last = answer.get("LastEvaluatedKey")
        return rows, last["sk"]["S"] if last else None

    def remove(self, rows: Iterable[Row]) -> None:
        """Delete the rows; one that is gone stays gone. Raises Unavailable."""
        self._write(rows, lambda row: {"DeleteRequest": {"Key": _key(row)}})

    def mark(self, shard: int) -> datetime | None:
        """The oldest minute that has not had its last look; None before the first drain. Raises Unavailable."""
        answer = self._call("get_item", TableName=self._table, Key=_key(_mark(shard)), ConsistentRead=True)
        return datetime.fromisoformat(answer["Item"]["minute"]["S"]) if "Item" in answer else None

    def set_marks(self, marks: Mapping[int, datetime]) -> None:
        """Raises Unavailable."""

        def put(one: tuple[int, datetime]) -> dict[str, Any]:
            shard, minute = one
            return {"PutRequest": {"Item": {**_key(_mark(shard)), "minute": {"S": iso(minute)}, "v": SCHEMA}}}

        self._write(marks.items(), put)

    def _write(self, rows: Iterable[Written], request: Callable[[Written], dict[str, Any]]) -> None:
        remaining = iter(rows)
        # One call takes no row twice.
        while batch := [request(row) for row in dict.fromkeys(islice(remaining, BATCH))]:
            for attempt in range(ATTEMPTS):
                answer = self._call("batch_write_item", RequestItems={self._table: batch})
                batch = answer.get("UnprocessedItems", {}).get(self._table, [])
                if not batch:
                    break
                pause(attempt)
            else:
                raise Unavailable()

    def _call(self, operation: str, **request: Any) -> Any:
        self.requests += 1
        try:
            return getattr(self._dynamodb, operation)(**request)
        except (BotoCoreError, ClientError) as error:
            if passes(error):
                raise Unavailable() from error
            raise


@cache
def wake_store() -> WakeStore:
    """The function's own, opened when it is first needed."""
    return WakeStore(boto3.client("dynamodb", config=PATIENCE), os.environ["TIMERS_TABLE"])


def _mark(shard: int) -> Row:
    return "M", f"MARK#{shard:02d}"


def _key(row: Row) -> dict[str, dict[str, str]]:
    sort_key, partition_key = row
    return {"pk": {"S": partition_key}, "sk": {"S": sort_key}}
