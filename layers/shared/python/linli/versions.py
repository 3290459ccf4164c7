"""Versions of rows: a row says in `v` how it was written; an older one is brought up when it is read.

A context's registry is a table: (kind of row, version it has) → the function that makes the next version of it. The kind is
the row class's name. What the functions cannot do without a key or another row is left to `make migrate`
(`migration.py`); until then the store reads both shapes.
"""

from collections.abc import Callable, Mapping
from typing import Any

Item = dict[str, Any]
"""A row as DynamoDB gives it: name → {type: value}."""
Upcasts = Mapping[tuple[str, int], Callable[[Item], Item]]


def current(kind: str, upcasts: Upcasts) -> int:
    """The version rows of this kind are written with today."""
    return 1 + max((before for name, before in upcasts if name == kind), default=0)


def version_of(item: Item) -> int:
    return int(item["v"]["N"]) if "v" in item else 1


def upcast(kind: str, item: Item, upcasts: Upcasts) -> Item:
    """The row in today's version; one that is newer, written by a later release, is left as it is."""
    while (kind, version_of(item)) in upcasts:
        before = version_of(item)
        item = {**upcasts[kind, before](item), "v": {"N": str(before + 1)}}
    return item
