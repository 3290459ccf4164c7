"""The timers table.

    W#yyyymmddHHMM#shard | rank#fire_at#owner#ref#rung#generation    one clock's next rung

Partition: the minute (UTC) at which the row is due, and one of 16 shards by owner and item. Which rows are due in this
minute? Those of its partitions, and nothing that is due later is read to know it. Sort key: severity first, so that one
query a page gives them in the order of the work (ADR 0010). The key says everything: a row written twice is one row.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import islice
from typing import Any

from linli.commands import ATTEMPTS, pause
from linli.errors import Unavailable
from timers.domain import Wake, bucket, partition

PAGE = 500
BATCH = 25
"""What BatchWriteItem takes."""
SCHEMA = {"N": "1"}

Row = tuple[str, str]
"""Sort key and partition key, in this order because the sort key is the order of the work."""


class WakeStore:
    """`requests` counts the calls made; what the client repeats by itself is not in it."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self.requests = 0

    def add(self, wakes: Iterable[Wake], *, now: datetime) -> None:
        """Write the rows; one that is overdue goes to the minute that runs. Raises Unavailable."""
        rows = ((wake.sort_key, partition(bucket(wake, now=now), wake.shard)) for wake in wakes)
        self._write(rows, lambda row: {"PutRequest": {"Item": {**_key(row), "v": SCHEMA}}})

    def page(self, partition_key: str, after: str | None) -> tuple[list[Row], str | None]:
        """At most 500 rows in order, and the sort key to go on after (None at the end)."""
        self.requests += 1
        start = {"ExclusiveStartKey": _key((after, partition_key))} if after else {}
        answer = self._dynamodb.query(
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

    def _write(self, rows: Iterable[Row], request: Callable[[Row], dict[str, Any]]) -> None:
        remaining = iter(rows)
        # One call takes no row twice.
        while batch := [request(row) for row in dict.fromkeys(islice(remaining, BATCH))]:
            for attempt in range(ATTEMPTS):
                self.requests += 1
                answer = self._dynamodb.batch_write_item(RequestItems={self._table: batch})
                batch = answer.get("UnprocessedItems", {}).get(self._table, [])
                if not batch:
                    break
                pause(attempt)
            else:
                raise Unavailable()


def _key(row: Row) -> dict[str, dict[str, str]]:
    sort_key, partition_key = row
    return {"pk": {"S": partition_key}, "sk": {"S": sort_key}}
