"""Wake rows: under which minute a wake stands, and which minutes are looked at. What a wake is: `linli.wake`.

Only the next rung of a clock has a row, of the clock's generation; a row of an older generation is stale, and its owner
says so. Nothing is ever cancelled here.
"""

import zlib
from datetime import UTC, datetime, timedelta

from linli.wake import Wake

MINUTE = timedelta(minutes=1)
LOOKED_BACK = 3
"""Minutes before the due one that are looked at again: for rows written while their minute was being drained."""
CAUGHT_UP = 60
"""Minutes before those that one drain makes good at most."""
SHARDS = 16
"""A partition takes 1,000 writes a second, so a minute's rows can be deleted at 16,000 a second."""


def shard_of(wake: Wake) -> int:
    """By owner and item, so that an item's wakes stand in one partition a minute."""
    return zlib.crc32(f"{wake.owner}#{wake.ref}".encode()) % SHARDS


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
