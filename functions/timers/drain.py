"""Drain a due minute: the most severe first over all shards, each clock asked once, its row deleted afterwards.

Exactly once lies with the owner: it climbs a rung on condition that the generation is still the one in the row, in the
transaction that changes its item. Here no row is lost: the row of the clock's next rung is written before the old one
is deleted, so a worker that dies anywhere leaves rows that the next one takes up; asked again, the owner says where its
clock stands.

- A row that is not answered is left. Before its minute falls out of those looked at again it is moved to the minute that
  runs, so a busy owner, or an item that fails, is asked every minute and holds up nobody else.
- Where an owner fails its wakes are asked in halves, down to the item that makes it fail. One that is busy, or fails
  again and again, is asked no more in this drain.
- A mark for each shard tells the oldest minute that has not had its last look: minutes in which no worker ran are made
  good, at most 60 in one drain. It moves when a drain has come to its end; one that goes back only costs reading.
- A row nobody can read is left where it is and logged, four times; it then waits for a person.

What is not seen here: an item committed whose first row was never written. Its owner's outbox brings that row.

In an account the minute comes from the schedule's event, not from the worker's watch, so a late event drains its own.
"""

import heapq
from collections import Counter
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

ASKED = 100
"""Wakes an owner is asked for at once; as many items as it can read in one request."""
FAILURES = 500
"""How often an owner may fail in one drain: some seventy items in which it fails, far apart, or all of 250."""

Row = tuple[str, str]
"""Sort key and partition key, in this order because the sort key is the order of the work."""


class OwnerFailed(Exception):
    """Asked, the owner came to no answer that can be read: the fault of one of the items, or its own."""


class Owner(Protocol):
    """A context with clocks in its items."""

    def wake(self, wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
        """Climb each rung whose generation is still the clock's, and say of each where the clock stands now.

        A wake it could not look at is not answered. Raises Unavailable if it cannot be asked now, OwnerFailed.
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
    """`left` are the rows not answered; `requests` the store's and one for each time an owner was asked.

    `late_seconds` is how long after its due time the oldest row was done with, answered or left. Those that fail by
    themselves are told apart, as `failed`: one that fails for days would hide that all others come in time.
    """

    answered: int = 0
    left: int = 0
    requests: int = 0
    late_seconds: float = 0.0
    failed: int = 0


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
    asking = _Asking(owners, log)
    answered = left = 0
    late = 0.0
    for rows in _batches(heapq.merge(*(_rows(store, key) for key in partitions))):
        at = max(clock(), minute)  # a watch that is slow must not make a due clock look early
        batch = _read(rows, log)
        then = asking.answers(dict.fromkeys(batch.values()), at)
        moved = {row: wake for row, wake in batch.items() if wake not in then and row[1] in leaving}
        store.add([*filter(None, then.values()), *moved.values()], now=at)
        store.remove(row for row, wake in batch.items() if wake in then or row in moved)
        done = sum(wake in then for wake in batch.values())
        answered += done
        left += len(rows) - done
        late = max(late, _late(set(batch.values()) - asking.failed, max(clock(), minute)))
    store.set_marks(marks)
    poison = asking.poison()
    late = max(late, _late(asking.failed - poison, max(clock(), minute)))
    return Drained(answered, left, store.requests - before + asking.times, late, len(poison))


class _Asking:
    """Asks the owners of one drain, each as long as it answers.

    `times` counts how often, `failed` are the wakes that failed alone.
    """

    def __init__(self, owners: Mapping[str, Owner], log: Logger) -> None:
        self.times = 0
        self.failed: set[Wake] = set()
        self._heard: set[str] = set()
        self._owners = dict(owners)
        self._failures: Counter[str] = Counter()
        self._log = log

    def answers(self, wakes: Iterable[Wake], at: datetime) -> dict[Wake, Wake | None]:
        """What each answered wake's clock wants now; one that is not due yet is not answered."""
        owners: dict[str, list[Wake]] = {}
        for wake in wakes:
            owners.setdefault(wake.owner, []).append(wake)
        answers = [answer for owner, asked in owners.items() for answer in self._ask(owner, asked, at)]
        return {answer.wake: answer.then for answer in answers if not _same(answer)}

    def poison(self) -> set[Wake]:
        """What fails by itself; where an owner answers for none of several, it is the owner that fails."""
        several = Counter(wake.owner for wake in self.failed)
        return {wake for wake in self.failed if wake.owner in self._heard or several[wake.owner] == 1}

    def _ask(self, name: str, wakes: list[Wake], at: datetime) -> list[Answer]:
        if name not in self._owners:
            return []
        self.times += 1
        try:
            answers = list(self._owners[name].wake(wakes, at=at))
            self._heard.add(name)
            return answers
        except Unavailable as error:
            self._leave(name, "owner unavailable", error.__cause__ or error)
            return []
        except OwnerFailed as error:
            if len(wakes) == 1:
                self.failed.add(wakes[0])
                self._log.error("wake failed", owner=name, ref=wakes[0].ref, rung=wakes[0].rung, reason=str(error))
            self._failures[name] += 1
            if self._failures[name] == FAILURES:
                self._leave(name, "owner fails", error)
        half = len(wakes) // 2
        return [answer for part in (wakes[:half], wakes[half:]) if half for answer in self._ask(name, part, at)]

    def _leave(self, name: str, what: str, error: BaseException) -> None:
        self._log.error(what, owner=name, reason=type(error).__name__)
        self._owners.pop(name)


def _late(wakes: Iterable[Wake], at: datetime) -> float:
    """Seconds since the oldest of them was due."""
    return max(((at - wake.fire_at).total_seconds() for wake in wakes), default=0.0)


def _rows(store: Wakes, partition_key: str) -> Iterator[Row]:
    """A partition's rows, read page by page as they are wanted."""
    after: str | None = None
    while True:
        rows, after = store.page(partition_key, after)
        yield from rows
        if after is None:
            return


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """As many as an owner is asked for at once, never of two severities."""
    for _, same in groupby(rows, key=lambda row: row[0].split("#", 1)[0]):
        while batch := list(islice(same, ASKED)):
            yield batch


def _read(rows: list[Row], log: Logger) -> dict[Row, Wake]:
    wakes = {}
    for row in rows:
        try:
            wakes[row] = Wake.parse(row[0])
        except ValueError:
            log.error("wake row unreadable", partition=row[1])
    return wakes


def _same(answer: Answer) -> bool:
    """Not yet: deleting the wake's row would delete what the clock wants."""
    return answer.then is not None and answer.then.sort_key == answer.wake.sort_key
