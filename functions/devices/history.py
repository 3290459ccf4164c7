"""The history of readings: how a message's readings become rows, and what of them counts.

A message's readings are kept together, one row for each Beijing day they fall on, under the newest one's time and sequence:
a message that comes again writes the same rows, and the newest row of a day holds the newest reading.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Protocol

from devices.domain import Reading
from devices.figures import Hours, day_start, hours_of
from devices.state import DeviceState, Told
from linli.clock import BEIJING, beijing_day, iso
from linli.deviceclass import DeviceClass
from linli.devicetime import AHEAD, LATE, trusted

DAY = timedelta(days=1)
NEWEST_LOOKED_AT = 10
ROWS_A_PAGE = 500


@dataclass(frozen=True)
class Kept:
    """The readings of one message that fall on one Beijing day, in order; rows of version 1 have no `expires_at`."""

    device_id: str
    readings: tuple[Reading, ...]
    received_at: datetime
    expires_at: datetime | None

    @property
    def day(self) -> str:
        return beijing_day(self.readings[0].at)

    @property
    def key(self) -> str:
        """The last and the first reading: together they tell the message from any other of the device."""
        return f"{moment(self.readings[-1])}#{moment(self.readings[0])}"

    @property
    def believed(self) -> list[Reading]:
        """The readings trusted in time, without values out of range."""
        return Told(self.device_id, self.readings, self.received_at, "").believed

    @property
    def doubted(self) -> bool:
        """Whether the time of one cannot be trusted; such a row keeps the moment it was first received."""
        first, last = self.readings[0].at, self.readings[-1].at
        return not (trusted(first, received_at=self.received_at) and trusted(last, received_at=self.received_at))


def moment(reading: Reading) -> str:
    """A reading's time and sequence as text that sorts like them."""
    return f"{iso(reading.at)}#{reading.seq:015d}"


def rows_of(told: Told, *, raw_days: int) -> list[Kept]:
    expires_at = told.received_at + raw_days * DAY
    days = groupby(told.readings, key=lambda reading: reading.at.astimezone(BEIJING).date())
    return [Kept(told.thing, tuple(readings), told.received_at, expires_at) for _, readings in days]


def newest_believed(kept: Iterable[Kept]) -> tuple[Reading, datetime] | None:
    """The newest reading that says how things are, and when the message with it was received."""
    candidates = [(one.believed[-1], one.received_at) for one in kept if one.believed]
    return max(candidates, key=lambda found: found[0].key, default=None)


class History(Protocol):
    """Where the rows are."""

    def day(
        self, device_id: str, day: str, *, limit: int, newest_first: bool = False, after: str | None = None
    ) -> tuple[list[Kept], str | None]: ...


class Figured(History, Protocol):
    """Where the figures of closed days are, too."""

    def keep_hours(self, device_id: str, day: str, hours: Hours, *, expires_at: datetime) -> None: ...

    def closed_days(self, device_id: str, first: str, last: str, *, limit: int, now: datetime) -> dict[str, Hours]: ...


def newest(
    state: DeviceState, *, history: History, now: datetime, besides: frozenset[str] = frozenset()
) -> tuple[Reading, datetime] | None:
    """The newest believed reading that the state may not know, and when it was received; rows of these keys left out."""
    for day in days_back(state.unread_from, until=min(now, state.unread_to)):
        after: str | None = None
        while True:
            rows, after = history.day(state.device_id, day, limit=NEWEST_LOOKED_AT, newest_first=True, after=after)
            found = newest_believed(row for row in rows if row.key not in besides)
            if found:
                return found
            if after is None:
                break
    return None


def last_heard(state: DeviceState, *, history: History, now: datetime) -> datetime:
    """When the last message of the device was received: every row that may have come since is looked at."""
    days = days_back(state.heard_at - LATE, until=min(now, state.unread_to))
    rows = (row for day in days for row in whole_day(state.device_id, day, history=history))
    return max([state.heard_at, *(row.received_at for row in rows)])


def whole_day(device_id: str, day: str, *, history: History) -> list[Kept]:
    """Every row of a Beijing day."""
    found: list[Kept] = []
    after: str | None = None
    while True:
        rows, after = history.day(device_id, day, limit=ROWS_A_PAGE, after=after)
        found += rows
        if after is None:
            return found


def close_day(device_id: str, day: str, of: DeviceClass, *, store: Figured, now: datetime) -> None:
    """Keep the figures of a day, from the readings there are; counted again when a late one comes."""
    rows = whole_day(device_id, day, history=store)
    hours = hours_of(r for row in rows if row.expires_at is None or row.expires_at > now for r in row.readings)
    if hours:
        store.keep_hours(device_id, day, hours, expires_at=day_start(day) + of.hourly_days * DAY)


def days_back(since: datetime, *, until: datetime) -> Iterator[str]:
    """The Beijing days in which a reading from then on stands that is trusted until the other moment, newest first."""
    last, first = (until + AHEAD).astimezone(BEIJING).date(), since.astimezone(BEIJING).date()
    for back in range((last - first).days + 1):
        yield (last - timedelta(days=back)).strftime("%Y%m%d")
