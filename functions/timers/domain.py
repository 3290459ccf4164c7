"""Wake rows: when an item's clock is to be looked at next, and in which order those due are.

Glossary:

    督办节点 rung       50, 80, 100 or 150 % of a clock's budget
    唤醒 wake          asks the owner of an item to look at its clock; the clock itself lives in the item
    承办方 owner        the context the item belongs to

Only the next rung of a clock has a row, of the clock's generation; a row of an older generation is stale, and its owner
says so. Nothing is ever cancelled here.
"""

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from linli.clock import iso
from linli.deadline import Deadline

MINUTE = timedelta(minutes=1)
LOOKED_BACK = 3
"""Minutes before the due one that are looked at again: for rows written while their minute was being drained."""
CAUGHT_UP = 60
"""Minutes before those that one drain makes good at most."""
SHARDS = 16
"""A partition takes 1,000 writes a second, so a minute's rows can be deleted at 16,000 a second."""
RANKS = {"critical": 0, "major": 1, "minor": 2, "warning": 3}
UNRANKED = len(RANKS)


@dataclass(frozen=True)
class Wake:
    """`ref` is the item's id with its owner, `rung` in per cent; `severity` None where the item has none."""

    owner: str
    ref: str
    rung: int
    generation: int
    fire_at: datetime
    severity: str | None = None

    @property
    def shard(self) -> int:
        return zlib.crc32(f"{self.owner}#{self.ref}".encode()) % SHARDS

    @property
    def sort_key(self) -> str:
        """severity rank, then time, so that the order of the rows is the order of the work."""
        rank = RANKS.get(self.severity or "", UNRANKED)
        return f"{rank}#{iso(self.fire_at)}#{self.owner}#{self.ref}#{self.rung}#{self.generation}"

    @classmethod
    def parse(cls, sort_key: str) -> "Wake":
        """The wake a sort key tells of; `ref` may hold #. Raises ValueError if it is none."""
        rank, fire_at, owner, rest = sort_key.split("#", 3)
        ref, rung, generation = rest.rsplit("#", 2)
        severity = SEVERITIES.get(rank)
        wake = cls(owner, ref, int(rung), int(generation), datetime.fromisoformat(fire_at), severity)
        if wake.sort_key != sort_key:
            raise ValueError("a sort key of another form")
        return wake


SEVERITIES = {str(rank): severity for severity, rank in RANKS.items()}


def next_wake(deadline: Deadline, *, owner: str, ref: str, severity: str | None) -> Wake | None:
    """The row the clock wants to have; None while it wants none."""
    if deadline.next_rung is None or deadline.next_rung_at is None:
        return None
    return Wake(owner, ref, deadline.next_rung, deadline.generation, deadline.next_rung_at, severity)


def bucket(wake: Wake, *, now: datetime) -> datetime:
    """The first minute at which the wake is due, but no minute that is over: that one may not be looked at again."""
    due_at = max(wake.fire_at, floor(now))
    minute = floor(due_at)
    return minute if minute == due_at else minute + MINUTE


def floor(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def partition(minute: datetime, shard: int) -> str:
    """`W#yyyymmddHHMM#shard`, in UTC."""
    return f"W#{minute.astimezone(UTC):%Y%m%d%H%M}#{shard:02d}"


def looked_at(minute: datetime, mark: datetime | None) -> tuple[list[datetime], datetime]:
    """Up to 60 minutes from the mark on, the three before the due one, the due one; and where the mark then stands.

    The mark is the oldest minute that has not had its last look; None before the first drain.
    """
    window = [floor(minute) - back * MINUTE for back in range(LOOKED_BACK, -1, -1)]
    if mark is None or mark >= window[0]:
        return window, max(mark or window[1], window[1])
    until = min(window[0], mark + CAUGHT_UP * MINUTE)
    missed = [mark + n * MINUTE for n in range((until - mark) // MINUTE)]
    return missed + window, window[1] if until == window[0] else until
