"""Counts what a run asks of DynamoDB: requests and write units, the units from the sizes of the items, by partition.

The local runtime misreports consumed capacity, so it is counted here (AWS, "DynamoDB read and write capacity"): a write takes a
unit for each kilobyte of the larger of the item before and after, in a transaction two; an index entry that is made, changed
or removed takes a unit for each kilobyte, a changed key two.
"""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from botocore.client import BaseClient

Item = dict[str, dict[str, Any]]
Key = tuple[str, str, str]


class Meter:
    def __init__(self, indexes: dict[str, list[dict[str, Any]]]) -> None:
        """`indexes` by table name, as its template describes them."""
        self._indexes = indexes
        self.items: dict[Key, Item] = {}
        self.requests: Counter[str] = Counter()
        self.units: Counter[str] = Counter()
        self.by_partition: Counter[tuple[str, str]] = Counter()
        """Units by (table or index, partition key)."""

    @property
    def total(self) -> int:
        return sum(self.units.values())

    @contextmanager
    def counting(self) -> Iterator[None]:
        send = BaseClient._make_api_call

        def counted(client: Any, operation: str, asked: dict[str, Any]) -> Any:
            answer = send(client, operation, asked)
            if client.meta.service_model.service_name == "dynamodb":
                self.requests[operation] += 1
                self._count(operation, asked)
            return answer

        with patch.object(BaseClient, "_make_api_call", counted):
            yield

    def _count(self, operation: str, asked: dict[str, Any]) -> None:
        if operation == "TransactWriteItems":
            for one in asked["TransactItems"]:
                self._put(one["Put"]["TableName"], one["Put"]["Item"], times=2)
        elif operation == "PutItem":
            self._put(asked["TableName"], asked["Item"], times=1)
        elif operation == "DeleteItem":
            self._write(asked["TableName"], asked["Key"], None, times=1)
        elif operation == "BatchWriteItem":
            for table, requests in asked["RequestItems"].items():
                for one in requests:
                    if "PutRequest" in one:
                        self._put(table, one["PutRequest"]["Item"], times=1)
                    else:
                        self._write(table, one["DeleteRequest"]["Key"], None, times=1)
        elif operation == "UpdateItem":
            self._updated(asked)

    def _updated(self, asked: dict[str, Any]) -> None:
        """An update's item is not in the request: it counts as what was there, at least one unit."""
        key = _key(asked["TableName"], asked["Key"])
        before = self.items.get(key, asked["Key"])
        self._write(asked["TableName"], asked["Key"], before, times=1)

    def _put(self, table: str, item: Item, *, times: int) -> None:
        self._write(table, item, item, times=times)

    def _write(self, table: str, keyed: Item, after: Item | None, *, times: int) -> None:
        key = _key(table, keyed)
        before = self.items.pop(key, None)
        if after is not None:
            self.items[key] = after
        self._add(table, key[1], times * max(_units(before), _units(after), 1))
        for index in self._indexes.get(table, []):
            self._index(f"{table}/{index['IndexName']}", index, before, after)

    def _index(self, name: str, index: dict[str, Any], before: Item | None, after: Item | None) -> None:
        keys = [one["AttributeName"] for one in index["KeySchema"]]
        shown = {"pk", "sk", *keys, *index["Projection"].get("NonKeyAttributes", [])}
        was, is_now = (_entry(item, keys, shown) for item in (before, after))
        if was == is_now:
            return
        moved = was and is_now and any(was[key] != is_now[key] for key in keys)
        for entry in [was, is_now] if moved else [is_now or was]:
            if entry:
                self._add(name, entry[keys[0]]["S"], max(_units(was), _units(is_now)) if not moved else _units(entry))

    def _add(self, where: str, partition: str, units: int) -> None:
        self.units[where] += units
        self.by_partition[where, partition] += units


def _entry(item: Item | None, keys: list[str], shown: set[str]) -> Item | None:
    if item is None or any(key not in item for key in keys):
        return None
    return {name: value for name, value in item.items() if name in shown}


def _key(table: str, item: Item) -> Key:
    return table, item["pk"]["S"], item["sk"]["S"]


def _units(item: Item | None) -> int:
    return math.ceil(sum(len(name) + _size(value) for name, value in item.items()) / 1024) if item else 0


def _size(value: Any) -> int:
    """Bytes of an attribute as DynamoDB counts them: text in UTF-8, a number about a byte for two digits."""
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content.encode())
    if kind == "N":
        return len(content) // 2 + 2
    if kind == "B":
        return len(content)
    if kind in ("M", "L"):
        inner = content.values() if kind == "M" else content
        names = sum(map(len, content)) if kind == "M" else 0
        return 3 + names + sum(1 + _size(one) for one in inner)
    return 1
