"""Down-sampled readings: what an hour and a day of a metric came to, without values out of range. Beijing hours and days.

Glossary: 小时值 hourly figure; 日值 daily figure; 封日 closing a day (its hourly figures are kept longer than its readings).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from devices.domain import Reading
from linli.clock import BEIJING, beijing_day

DAY = timedelta(days=1)
GRACE = timedelta(hours=48)
"""After its end a day waits this long for late readings before it is closed."""


@dataclass(frozen=True)
class Figures:
    """Of the values of one metric; `last` is the newest by the device's time and sequence."""

    n: int
    minimum: float
    maximum: float
    total: float
    last: float

    @property
    def mean(self) -> float:
        return self.total / self.n

    def then(self, later: "Figures") -> "Figures":
        return Figures(
            self.n + later.n,
            min(self.minimum, later.minimum),
            max(self.maximum, later.maximum),
            self.total + later.total,
            later.last,
        )


Hours = Mapping[str, Mapping[int, Figures]]
"""By metric, then by hour of the Beijing day."""


def hours_of(readings: Iterable[Reading]) -> Hours:
    """The figures of a day's readings, each reading counted once however often it was told."""
    once = {reading.key: reading for reading in readings}
    hours: dict[str, dict[int, Figures]] = {}
    for key in sorted(once):
        reading = once[key].without_suspects()
        hour = reading.at.astimezone(BEIJING).hour
        for metric, value in reading.values.items():
            of_metric = hours.setdefault(metric, {})
            here = Figures(1, value, value, value, value)
            of_metric[hour] = of_metric[hour].then(here) if hour in of_metric else here
    return hours


def of_day(hours: Mapping[int, Figures]) -> Figures | None:
    """The day's figures from its hours'."""
    whole: Figures | None = None
    for hour in sorted(hours):
        whole = whole.then(hours[hour]) if whole else hours[hour]
    return whole


def day_start(day: str) -> datetime:
    """The Beijing midnight with which `yyyymmdd` begins."""
    return datetime(int(day[:4]), int(day[4:6]), int(day[6:]), tzinfo=BEIJING)


def closable(day: str, *, now: datetime) -> bool:
    """Whether the day is over and its late readings have had their time."""
    return day_start(day) + DAY + GRACE <= now


def days_to_close(closed_to: str, *, now: datetime) -> list[str]:
    """The days after the one closed last that can be closed now, in order."""
    days: list[str] = []
    day = day_start(closed_to) + DAY
    while closable(beijing_day(day), now=now):
        days.append(beijing_day(day))
        day += DAY
    return days
