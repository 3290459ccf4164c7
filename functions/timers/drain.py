"""Drain a due minute: the most severe first over all shards, each clock asked once, its row deleted afterwards.

Exactly once lies with the owner: it climbs a rung on condition that the generation is still the one in the row, in the
transaction that changes its item. Here no row is lost: the row of the clock's next rung is written before the old one
is deleted, so a worker that dies anywhere leaves rows that the next one takes up; asked again, the owner says where its
clock stands.

- A row that is not answered is left. Before its minute falls out of those looked at again it is moved to the minute that
  runs, so a busy owner, or an item that fails, is asked every minute and holds up nobody else.
- A mark for each shard tells the oldest minute that has not had its last look: minutes in which no worker ran are made
  good, at most 60 in one drain. It moves when a drain has come to its end; one that goes back only costs reading.
- A row nobody can read is left where it is and logged, four times; it then waits for a person.

What is not seen here: an item committed whose first row was never written. Its owner writes that row from its outbox.

In an account the minute comes from the schedule's event, not from the worker's watch, so a late event drains its own.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from typing import Protocol

from aws_lambda_powertools import Logger

from linli.clock import Clock
from linli.errors import Unavailable
from linli.wake import Answer, Wake
from timers.domain import LOOKED_BACK, looked_at, partition

BATCH = 25
"""As many as one write takes."""

Row = tuple[str, str]
"""Sort key and partition key, in this order because the sort key is the order of the work."""


class Owner(Protocol):
    """A context with clocks in its items."""

    def wake(self, wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
        """Climb each rung whose generation is still the clock's, and say of each where the clock stands now.

        A wake it could not look at is not answered. Raises Unavailable if it can look at none; if it raises anything
        else it is asked for each wake alone.
        """


class Wakes(Protocol):
    """Where the rows are; everything raises Unavailable."""

    @property
    def requests(self) -> int: ...

    def add(self, wakes: Iterable[Wake], *, now: datetime) -> None: ...

    def page(self, partition_key: str, after: str | None) -> tuple[list[Row], str | None]: ...

    def remove(self, rows: Iterable[Row]) -> None: ...

    def mark(self, shard: int) -> datetime | None: ...

    def set_marks(self, marks: Mapping[int, datetime]) -> None: ...


@dataclass(frozen=True)
class Drained:
    """`left` are the rows not answered; `requests` the store's and one for each time an owner was asked."""

    answered: int = 0
    left: int = 0
    requests: int = 0


def drain(
    minute: datetime, shards: Iterable[int], *, owners: Mapping[str, Owner], store: Wakes, clock: Clock, log: Logger
) -> Drained:
    """Take up what is due in these shards: in the minute, in the three before, in those missed. Raises Unavailable."""
    before = store.requests
    partitions: list[str] = []
    leaving: set[str] = set()
    marks: dict[int, datetime] = {}
    for shard in shards:
        mark = store.mark(shard)
        minutes, after = looked_at(minute, mark)
        keys = [partition(looked, shard) for looked in minutes]
        partitions += keys
        leaving |= set(keys[:-LOOKED_BACK])
        if after != mark:
            marks[shard] = after
    answered = left = asked = 0
    for rows in _batches(heapq.merge(*(_rows(store, key) for key in partitions))):
        at = max(clock(), minute)  # a watch that is slow must not make a due clock look early
        batch = _read(rows, log)
        then: dict[Wake, Wake | None] = {}
        for owner, wakes in _by_owner(batch).items():
            answers, times = _ask(owners.get(owner), wakes, at, log)
            asked += times
            then |= {answer.wake: answer.then for answer in answers if not _same(answer)}
        moved = {row: wake for row, wake in batch.items() if wake not in then and row[1] in leaving}
        store.add([*filter(None, then.values()), *moved.values()], now=at)
        store.remove(row for row, wake in batch.items() if wake in then or row in moved)
        done = sum(wake in then for wake in batch.values())
        answered += done
        left += len(rows) - done
    store.set_marks(marks)
    return Drained(answered, left, store.requests - before + asked)


def _rows(store: Wakes, partition_key: str) -> Iterator[Row]:
    """A partition's rows, read page by page as they are wanted."""
    after: str | None = None
    while True:
        rows, after = store.page(partition_key, after)
        yield from rows
        if after is None:
            return


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """As many as one write takes, never of two severities."""
    for _, same in groupby(rows, key=lambda row: row[0].split("#", 1)[0]):
        while batch := list(islice(same, BATCH)):
            yield batch


def _read(rows: list[Row], log: Logger) -> dict[Row, Wake]:
    wakes = {}
    for row in rows:
        try:
            wakes[row] = Wake.parse(row[0])
        except ValueError:
            log.error("wake row unreadable", partition=row[1])
    return wakes


def _by_owner(batch: Mapping[Row, Wake]) -> dict[str, list[Wake]]:
    owners: dict[str, list[Wake]] = {}
    for wake in dict.fromkeys(batch.values()):
        owners.setdefault(wake.owner, []).append(wake)
    return owners


def _ask(owner: Owner | None, wakes: list[Wake], at: datetime, log: Logger) -> tuple[Sequence[Answer], int]:
    """What the owner answers, and how often it was asked; nothing from one that is busy, or that is not there."""
    if owner is None:
        return (), 0
    try:
        return owner.wake(wakes, at=at), 1
    except Unavailable:
        return (), 1
    except Exception as error:  # noqa: BLE001 one item must not stop the clocks of all the others
        if len(wakes) == 1:
            wake = wakes[0]
            log.error("wake failed", owner=wake.owner, ref=wake.ref, rung=wake.rung, reason=type(error).__name__)
            return (), 1
    alone = [_ask(owner, [wake], at, log) for wake in wakes]
    return [answer for answers, _ in alone for answer in answers], 1 + sum(times for _, times in alone)


def _same(answer: Answer) -> bool:
    """Not yet: deleting the wake's row would delete what the clock wants."""
    return answer.then is not None and answer.then.sort_key == answer.wake.sort_key
