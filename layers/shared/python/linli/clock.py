"""Time and identifiers, always passed in, never read at import."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

from ulid import ULID

Clock = Callable[[], datetime]

BEIJING = timezone(timedelta(hours=8), "Asia/Shanghai")


def utc_now() -> datetime:
    return datetime.now(UTC)


def new_id(at: datetime) -> str:
    """A ULID: 26 characters of Crockford's base 32 that sort by `at`."""
    return str(ULID.from_datetime(at))


def iso(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds; fixed width, so text order is time order."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def beijing_day(at: datetime) -> str:
    """The Beijing calendar day, `yyyymmdd`."""
    return at.astimezone(BEIJING).strftime("%Y%m%d")
