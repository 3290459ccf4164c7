"""Rewriting a table's old rows: in segments, beside live writes, stopped and gone on with at any time.

    MIGRATION | 07    how far segment 7 is: the key to go on after, what was counted; gone when a whole walk is done

A row is rewritten on condition that it is still what was read (`v`, and the count of its writes where it keeps one). One
that was written meanwhile is left to the next walk; who runs it walks again until nothing old is left.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from botocore.exceptions import ClientError

from linli.versions import Item, Upcasts, current, version_of

SEGMENTS = 16
PAGE = 100
COUNTED = ("v", "version", "revision")
"""What tells that a row was written since; every row that changes keeps one of the last two, and none ever loses it."""
UNCHANGED = (
    "attribute_exists(pk) AND (#v = :v OR attribute_not_exists(#v))"
    " AND (#version = :version OR attribute_not_exists(#version))"
    " AND (#revision = :revision OR attribute_not_exists(#revision))"
)
ABSENT = {"NULL": True}
"""Stands for a count the row did not keep: equal to none that it may keep by now."""


class Beyond(Exception):
    """An old row cannot be brought up to today: what it belongs to is not there."""


class Plan(Protocol):
    """What a context knows of its old rows."""

    upcasts: Upcasts

    def kind_of(self, item: Item) -> str | None: ...

    def rewritten(self, item: Item) -> list[Item]:
        """What stands in place of an old row: itself in today's version first, then rows that come of it. Raises Beyond."""


@dataclass(frozen=True)
class Counts:
    """`read` rows of which `old` were of an older version; of these `rewritten`, `changed` by somebody else meanwhile, and
    `beyond` what can be done: left as they are.
    """

    read: int = 0
    old: int = 0
    rewritten: int = 0
    changed: int = 0
    beyond: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


class Walk:
    """One walk over a table; `pace` is told how many rows a page had, and waits; `name` is told each row that is beyond it."""

    def __init__(
        self, dynamodb: Any, table: str, plan: Plan, *, pace: Callable[[int], None], name: Callable[[Item], None]
    ) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._plan = plan
        self._pace = pace
        self._name = name

    def look(self) -> Counts:
        """What a walk would find, with nothing written."""
        total = Counts()
        for segment in range(SEGMENTS):
            after: Item | None = None
            while True:
                items, after = self._page(segment, after)
                total += Counts(read=len(items), old=sum(map(self._is_old, items)))
                if after is None:
                    break
        return total

    def run(self) -> Counts:
        """Go on where the last walk stopped, to the end; what both counted."""
        total = Counts()
        for segment in range(SEGMENTS):
            total += self._walk(segment)
        for segment in range(SEGMENTS):
            self._dynamodb.delete_item(TableName=self._table, Key=_position(segment))
        return total

    def _walk(self, segment: int) -> Counts:
        after, counts, done = self._stored(segment)
        while not done:
            items, after = self._page(segment, after)
            for item in items:
                counts = self._take(item, counts)
            counts = replace(counts, read=counts.read + len(items))
            done = after is None
            self._store(segment, after, counts, done=done)
        return counts

    def _page(self, segment: int, after: Item | None) -> tuple[list[Item], Item | None]:
        start = {"ExclusiveStartKey": after} if after else {}
        answer = self._dynamodb.scan(
            TableName=self._table, Segment=segment, TotalSegments=SEGMENTS, Limit=PAGE, ConsistentRead=True, **start
        )
        self._pace(len(answer["Items"]))
        return answer["Items"], answer.get("LastEvaluatedKey")

    def _is_old(self, item: Item) -> bool:
        kind = self._plan.kind_of(item)
        return kind is not None and version_of(item) < current(kind, self._plan.upcasts)

    def _take(self, item: Item, counts: Counts) -> Counts:
        if not self._is_old(item):
            return counts
        try:
            rows = self._plan.rewritten(item)
        except Beyond:
            self._name(item)
            return counts + Counts(old=1, beyond=1)
        written = self._write(item, rows)
        return counts + Counts(old=1, rewritten=int(written), changed=int(not written))

    def _write(self, old: Item, rows: list[Item]) -> bool:
        """All rows if the old one still stands as it was read; whether it did."""
        first, *others = ({"Put": {"TableName": self._table, "Item": row}} for row in rows)
        first["Put"] |= _unchanged(old)
        try:
            self._dynamodb.transact_write_items(TransactItems=[first, *others])
        except ClientError as error:
            reasons = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
            if "ConditionalCheckFailed" in reasons or "TransactionConflict" in reasons:
                return False
            raise
        return True

    def _stored(self, segment: int) -> tuple[Item | None, Counts, bool]:
        answer = self._dynamodb.get_item(TableName=self._table, Key=_position(segment), ConsistentRead=True)
        kept = answer.get("Item")
        if kept is None:
            return None, Counts(), False
        counts = Counts(*(int(kept[name]["N"]) for name in asdict(Counts())))
        return kept["after"]["M"] or None, counts, kept["done"]["BOOL"]

    def _store(self, segment: int, after: Item | None, counts: Counts, *, done: bool) -> None:
        counted = {name: {"N": str(number)} for name, number in asdict(counts).items()}
        position = {**_position(segment), "after": {"M": after or {}}, "done": {"BOOL": done}, "v": {"N": "1"}}
        self._dynamodb.put_item(TableName=self._table, Item={**position, **counted})


def _position(segment: int) -> Item:
    return {"pk": {"S": "MIGRATION"}, "sk": {"S": f"{segment:02}"}}


def _unchanged(old: Item) -> dict[str, Any]:
    """The condition that a row is as it was read."""
    return {
        "ConditionExpression": UNCHANGED,
        "ExpressionAttributeNames": {"#v": "v", "#version": "version", "#revision": "revision"},
        "ExpressionAttributeValues": {f":{name}": old.get(name, ABSENT) for name in COUNTED},
    }
