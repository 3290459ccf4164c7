"""Drain a due minute: the most severe first over all shards, each clock asked once, its row deleted afterwards.

Exactly once lies with the owner: it climbs a rung on condition that the generation is still the one in the row, in the
transaction that changes its item. Here nothing is lost: the row of the clock's next rung is written before the old one
is deleted, so a worker that dies anywhere leaves rows that the next one takes up; asked again, the owner says where its
clock stands. What an owner does not answer is left, and whoever called drains the minute again.

In an account the minute comes from the schedule's event, not from the worker's watch, so a late event drains its own.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from typing import Protocol

from linli.clock import Clock
from linli.errors import Unavailable
from timers.domain import Wake, looked_at, partition
from timers.store import BATCH, Row, WakeStore


@dataclass(frozen=True)
class Answer:
    """`then` is the row the clock wants now, always of a later generation than the wake's; None if it wants none."""

    wake: Wake
    then: Wake | None


class Owner(Protocol):
    """A context with clocks in its items."""

    def wake(self, wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
        """Climb each rung whose generation is still the clock's, and say of each where the clock stands now.

        A wake it could not look at is not answered. Raises Unavailable if it can look at none.
        """


@dataclass(frozen=True)
class Drained:
    """`requests` are the store's and one for each time an owner was asked."""

    answered: int = 0
    left: int = 0
    requests: int = 0


def drain(
    minute: datetime, shards: Iterable[int], *, owners: Mapping[str, Owner], store: WakeStore, clock: Clock
) -> Drained:
    """Take up what is due in these shards, in the minute and the three before it. Raises Unavailable."""
    shards = tuple(shards)
    before = store.requests
    partitions = [partition(looked, shard) for looked in looked_at(minute) for shard in shards]
    answered = left = asked = 0
    for batch in _batches(heapq.merge(*(_rows(store, key) for key in partitions))):
        at = max(clock(), minute)  # a watch that is slow must not make a due clock look early
        answers: dict[Wake, Answer] = {}
        for owner, wakes in _by_owner(batch).items():
            asked += owner in owners
            answers |= {answer.wake: answer for answer in _ask(owners.get(owner), wakes, at)}
        store.add((answer.then for answer in answers.values() if answer.then), now=at)
        done = [row for row, wake in batch if wake in answers]
        store.remove(done)
        answered += len(done)
        left += len(batch) - len(done)
    return Drained(answered, left, store.requests - before + asked)


def _rows(store: WakeStore, partition_key: str) -> Iterator[Row]:
    """A partition's rows, read page by page as they are wanted."""
    after: str | None = None
    while True:
        rows, after = store.page(partition_key, after)
        yield from rows
        if after is None:
            return


def _batches(rows: Iterable[Row]) -> Iterator[list[tuple[Row, Wake]]]:
    """As many as one write takes, never of two severities."""
    for _, same in groupby(rows, key=lambda row: row[0].split("#", 1)[0]):
        while batch := [(row, Wake.parse(row[0])) for row in islice(same, BATCH)]:
            yield batch


def _by_owner(batch: list[tuple[Row, Wake]]) -> dict[str, list[Wake]]:
    owners: dict[str, list[Wake]] = {}
    for _, wake in batch:
        owners.setdefault(wake.owner, []).append(wake)
    return owners


def _ask(owner: Owner | None, wakes: list[Wake], at: datetime) -> Sequence[Answer]:
    """No answer from an owner that is busy, or that is not there."""
    if owner is None:
        return ()
    try:
        return owner.wake(wakes, at=at)
    except Unavailable:
        return ()
