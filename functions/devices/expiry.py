"""Certificates their devices have let come to their end."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from devices.store import DeviceStore

SOON = timedelta(days=30)
"""Devices renew by themselves before this; one that has not is seen to by a person."""
LOOKED_BACK = timedelta(days=366)
"""What ended longer ago was told for a year."""
PAGE = 1000


def certificates_expiring(*, store: DeviceStore, now: datetime) -> int:
    """How many devices in service have a certificate that ends within 30 days or has ended, and no newer one."""
    months = _months(now - LOOKED_BACK, now + SOON)
    return sum(ends_at < now + SOON for month in months for ends_at in _ends(store, month))


def _ends(store: DeviceStore, month: str) -> Iterator[datetime]:
    after = None
    while True:
        found, after = store.ending(month, limit=PAGE, after=after)
        yield from (ends_at for _, ends_at in found)
        if after is None:
            return


def _months(first: datetime, last: datetime) -> list[str]:
    """Every month of UTC from one instant's to another's, `yyyymm`."""
    months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    return [f"{month // 12}{month % 12 + 1:02d}" for month in months]
