"""How far a device's clock is believed."""

from datetime import datetime, timedelta

LATE = timedelta(hours=24)
AHEAD = timedelta(minutes=10)


def trusted(device_at: datetime, *, received_at: datetime) -> bool:
    """Whether a device's time may order what it says: a day late is a buffer, ten minutes ahead is a wrong clock."""
    return received_at - LATE <= device_at <= received_at + AHEAD
