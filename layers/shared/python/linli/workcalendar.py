"""The office's calendar: which days are worked, at which hours, and how time is counted in it.

Glossary: 工作时 working hours; 工作日 working days; 自然时 natural time; 调休 make-up day (a weekend day worked for a day off).

Rules of counting:

- The State Council's yearly notice says which days are holidays and make-up days; `workdays.json` holds the exceptions
  to Monday-Friday. A year it does not hold is refused, never guessed.
- Working days: the day a term begins is not counted (民法典 Art 201, applied to administrative terms (unverified));
  terms of 行政许可法 are working days (Art 82). The term ends when the office closes on its last day (民法典 Art 203).
- A working day is used up when the office closes, if the clock runs then (ours; the law states no smaller unit; what
  this lets through: ADR 0012).
  A share of a day, which only a rung can ask for, is that share of its office hours (ours).
- Hours are counted from the moment itself (民法典 Art 201).
- A day is a Beijing day.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path

from linli.clock import BEIJING
from linli.errors import Conflict

WORKDAYS = Path(__file__).with_name("workdays.json")
DAY = timedelta(days=1)
NOTHING = timedelta(0)

Hours = tuple[tuple[time, time], ...]
"""The day's pattern: when the office opens and closes, in order."""


class Unit(StrEnum):
    WORKING_HOURS = "working_hours"
    WORKING_DAYS = "working_days"
    NATURAL = "natural"


class YearUnknown(Conflict):
    """The calendar of the year is not in the product, for weeks perhaps: repeating soon is no use."""

    code = "working-year-unknown"
    zh = "系统尚无{year}年工作日安排，暂不能计算期限"
    en = "the working days of {year} are not known, so no term can be counted into it"


@dataclass(frozen=True)
class Local:
    """What a division lays down for itself and everything below it; its hours and days stand above its parents'."""

    version: str
    hours: Hours | None = None
    off: frozenset[date] = frozenset()
    work: frozenset[date] = frozenset()


@dataclass(frozen=True)
class Calendar:
    """One version of the calendar. `off` and `work` are the exceptions to Monday-Friday; a day in both is worked.

    Amounts are `timedelta`s of the unit: office time, natural time, or one day for a working day. Instants are aware.
    Raises YearUnknown, except in natural time.
    """

    version: str
    years: frozenset[int]
    off: frozenset[date]
    work: frozenset[date]
    hours: Hours

    def localised(self, path: tuple[str, ...], locals_: Mapping[tuple[str, ...], Local]) -> "Calendar":
        """As it holds in the division at the end of `path`: each level from the province down may differ from the one above."""
        calendar = self
        for depth in range(1, len(path) + 1):
            local = locals_.get(path[:depth])
            if local:
                calendar = replace(
                    calendar,
                    version=f"{calendar.version}+{path[depth - 1]}:{local.version}",
                    off=calendar.off | local.off,
                    work=(calendar.work - local.off) | local.work,
                    hours=local.hours or calendar.hours,
                )
        return calendar

    def is_workday(self, day: date) -> bool:
        if day.year not in self.years:
            raise YearUnknown(year=day.year)
        return day in self.work or (day.weekday() < 5 and day not in self.off)

    def known_until(self, at: datetime) -> datetime:
        """The first instant from `at` on that lies in a year not known."""
        year = at.astimezone(BEIJING).year
        while year in self.years:
            year += 1
        return max(at, datetime(year, 1, 1, tzinfo=BEIJING))

    def elapsed(self, unit: Unit, since: datetime, until: datetime) -> timedelta:
        """How much of the unit lies between the two; working days are whole, one for each closing after `since`."""
        if until <= since:
            return NOTHING
        if unit is Unit.NATURAL:
            return until - since
        passed = NOTHING
        for spans in self._workdays(since, until):
            if unit is Unit.WORKING_DAYS:
                passed += DAY if since < spans[-1][1] <= until else NOTHING
            else:
                passed += sum(
                    (max(NOTHING, min(closes, until) - max(opens, since)) for opens, closes in spans), NOTHING
                )
        return passed

    def advance(self, unit: Unit, since: datetime, amount: timedelta) -> datetime:
        """The first instant by which `amount` (above zero) has passed since `since`, in UTC."""
        if unit is Unit.NATURAL:
            return (since + amount).astimezone(UTC)
        left = amount
        for spans in self._workdays(since):
            if unit is Unit.WORKING_HOURS:
                spans = [(max(opens, since), closes) for opens, closes in spans if closes > since]
                here = _length(spans)
            else:
                here = DAY if spans[-1][1] > since else NOTHING
            if left <= here:
                wanted = left if unit is Unit.WORKING_HOURS else _length(spans) * int(left.total_seconds()) / 86400
                return max(since, _within(spans, wanted)).astimezone(UTC)
            left -= here
        raise AssertionError("the days end with YearUnknown")

    def _workdays(self, since: datetime, until: datetime | None = None) -> Iterator[list[tuple[datetime, datetime]]]:
        """The office hours of each day worked from the day of `since` to that of `until`."""
        day = since.astimezone(BEIJING).date()
        last = until.astimezone(BEIJING).date() if until else date.max
        while day <= last:
            if self.is_workday(day):
                yield [
                    (datetime.combine(day, opens, BEIJING), datetime.combine(day, closes, BEIJING))
                    for opens, closes in self.hours
                ]
            day += DAY


def next_day(at: datetime) -> datetime:
    """The beginning of the next Beijing day."""
    return datetime.combine(at.astimezone(BEIJING).date() + DAY, time(), BEIJING).astimezone(UTC)


@cache
def national() -> Calendar:
    """The State Council's calendar with the product's usual office hours."""
    data = json.loads(WORKDAYS.read_text(encoding="utf-8"))
    days = {
        kind: frozenset(date.fromisoformat(f"{year}-{day}") for year, of in data["years"].items() for day in of[kind])
        for kind in ("off", "work")
    }
    hours = tuple((time.fromisoformat(opens), time.fromisoformat(closes)) for opens, closes in data["hours"])
    return Calendar(data["version"], frozenset(map(int, data["years"])), days["off"], days["work"], hours)


def _length(spans: list[tuple[datetime, datetime]]) -> timedelta:
    return sum((closes - opens for opens, closes in spans), NOTHING)


def _within(spans: list[tuple[datetime, datetime]], wanted: timedelta) -> datetime:
    """The instant by which `wanted` of the spans' time has passed."""
    for opens, closes in spans:
        if wanted <= closes - opens:
            return opens + wanted
        wanted -= closes - opens
    raise AssertionError("more was wanted than the spans hold")
