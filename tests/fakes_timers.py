"""Wake rows in memory, and owners of clocks: in memory and in a table, both climbing a rung on its generation."""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from linli.deadline import Deadline, wake
from linli.wake import Answer, Wake, next_wake
from linli.workcalendar import national
from timers.domain import bucket, partition, shard_of
from timers.drain import Row
from timers.store import BATCH, PAGE

KEYS: dict[str, Any] = {
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
}


class Crash(BaseException):
    """The process is gone: nothing catches it."""


class Fuse:
    """Counts what is done and dies before the nth thing (never, if it is None)."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.done = 0
        self.dies_at = dies_at

    def __call__(self) -> None:
        if self.done == self.dies_at:
            raise Crash
        self.done += 1


class FusedClient:
    """A client that asks the fuse before each call."""

    def __init__(self, client: Any, fuse: Fuse) -> None:
        self._client = client
        self._fuse = fuse

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            self._fuse()
            return getattr(self._client, name)(**request)

        return call


class FakeWakeStore:
    """Sorted when first read after a write; a page skips what was deleted meanwhile."""

    def __init__(self, fuse: Fuse | None = None) -> None:
        self.requests = 0
        self._fuse = fuse or Fuse()
        self._marks: dict[int, datetime] = {}
        self._rows: dict[str, set[str]] = {}
        self._sorted: dict[str, list[str]] = {}

    def rows(self) -> list[Row]:
        return [(sort_key, key) for key, rows in self._rows.items() for sort_key in sorted(rows)]

    def add(self, wakes: Iterable[Wake], *, now: datetime) -> None:
        def put(wake: Wake) -> None:
            key = partition(bucket(wake, now=now), shard_of(wake))
            self._rows.setdefault(key, set()).add(wake.sort_key)
            self._sorted.pop(key, None)

        self._write(wakes, put)

    def page(self, partition_key: str, after: str | None) -> tuple[list[Row], str | None]:
        self._request()
        rows = self._rows.get(partition_key, set())
        if partition_key not in self._sorted:
            self._sorted[partition_key] = sorted(rows)
        order = self._sorted[partition_key]
        start = bisect_right(order, after) if after else 0
        page = [order[at] for at in range(start, min(start + PAGE, len(order)))]
        last = page[-1] if start + PAGE < len(order) else None
        return [(sort_key, partition_key) for sort_key in page if sort_key in rows], last

    def remove(self, rows: Iterable[Row]) -> None:
        self._write(rows, lambda row: self._rows.get(row[1], set()).discard(row[0]))

    def mark(self, shard: int) -> datetime | None:
        self._request()
        return self._marks.get(shard)

    def set_marks(self, marks: Mapping[int, datetime]) -> None:
        self._write(marks.items(), lambda one: self._marks.update([one]))

    def put_raw(self, partition_key: str, sort_key: str) -> None:
        """A row somebody else wrote."""
        self._rows.setdefault(partition_key, set()).add(sort_key)

    def _write(self, wanted: Iterable[Any], write: Callable[[Any], None]) -> None:
        remaining = iter(wanted)
        while batch := list(islice(remaining, BATCH)):
            self._request()
            for one in batch:
                write(one)

    def _request(self) -> None:
        self._fuse()
        self.requests += 1


class FakeOwner:
    """Items with a clock, in memory: the condition and the change are one step."""

    def __init__(self, name: str, severities: dict[str, str | None], fuse: Fuse | None = None) -> None:
        self.name = name
        self.severities = severities
        self.fuse = fuse or Fuse()
        self.items: dict[str, Deadline] = {}
        self.reached: list[tuple[str, int]] = []

    def hold(self, ref: str, deadline: Deadline) -> Wake | None:
        self.items[ref] = deadline
        return self._wanted(ref, deadline)

    def clock_of(self, ref: str) -> Deadline:
        return self.items[ref]

    def wake(self, wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
        return [Answer(one, self._wanted(one.ref, self._climb(one, at))) for one in wakes]

    def rungs(self) -> list[tuple[str, int]]:
        return self.reached

    def _climb(self, one: Wake, at: datetime) -> Deadline:
        self.fuse()
        before = self.items[one.ref]
        after, rung = wake(before, one.generation, national(), at=at)
        if rung:
            self.reached.append((one.ref, rung))
        self.items[one.ref] = after
        return after

    def _wanted(self, ref: str, deadline: Deadline) -> Wake | None:
        return next_wake(deadline, owner=self.name, ref=ref, severity=self.severities[ref])


class TableOwner(FakeOwner):
    """Items with a clock, in a table: `ITEM#ref | I` on condition of its generation, with the rung's row `R#…` beside it."""

    def __init__(self, name: str, severities: dict[str, str | None], dynamodb: Any, table: str) -> None:
        super().__init__(name, severities)
        self._dynamodb = dynamodb
        self._table = table

    def hold(self, ref: str, deadline: Deadline) -> Wake | None:
        self._dynamodb.put_item(TableName=self._table, Item=_item(ref, deadline))
        return self._wanted(ref, deadline)

    def clock_of(self, ref: str) -> Deadline:
        key = {"pk": {"S": f"ITEM#{ref}"}, "sk": {"S": "I"}}
        item = self._dynamodb.get_item(TableName=self._table, Key=key, ConsistentRead=True)["Item"]
        return Deadline.from_item(json.loads(item["deadline"]["S"]))

    def rungs(self) -> list[tuple[str, int]]:
        rows = (
            row
            for ref in self.severities
            for row in self._dynamodb.query(
                TableName=self._table,
                KeyConditionExpression="pk = :pk AND begins_with(sk, :rung)",
                ExpressionAttributeValues={":pk": {"S": f"ITEM#{ref}"}, ":rung": {"S": "R#"}},
            )["Items"]
        )
        return [(row["pk"]["S"].removeprefix("ITEM#"), int(row["rung"]["N"])) for row in rows]

    def _climb(self, one: Wake, at: datetime) -> Deadline:
        before = self.clock_of(one.ref)
        after, rung = wake(before, one.generation, national(), at=at)
        if after is before:
            return before
        puts = [{"TableName": self._table, "Item": _item(one.ref, after)} | _unchanged(before)]
        if rung:
            row = {"pk": {"S": f"ITEM#{one.ref}"}, "sk": {"S": f"R#{before.generation:06d}"}, "rung": {"N": str(rung)}}
            puts.append({"TableName": self._table, "Item": row})
        try:
            self._dynamodb.transact_write_items(TransactItems=[{"Put": put} for put in puts])
        except ClientError as error:
            if error.response["Error"]["Code"] != "TransactionCanceledException":
                raise
            return self.clock_of(one.ref)
        return after


def _item(ref: str, deadline: Deadline) -> dict[str, Any]:
    text = json.dumps(deadline.to_item())
    generation = {"N": str(deadline.generation)}
    return {"pk": {"S": f"ITEM#{ref}"}, "sk": {"S": "I"}, "deadline": {"S": text}, "generation": generation}


def _unchanged(before: Deadline) -> dict[str, Any]:
    values = {":generation": {"N": str(before.generation)}}
    return {"ConditionExpression": "generation = :generation", "ExpressionAttributeValues": values}
