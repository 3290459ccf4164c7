"""The clock against counting: minute by minute and day by day, written naively, from the published list of days."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from linli.clock import BEIJING
from linli.deadline import (
    RUNGS,
    AlreadyBreached,
    ClockForbids,
    Deadline,
    Going,
    Pause,
    extend,
    resume,
    start,
    suspend,
    wake,
)
from linli.errors import LinliError
from linli.workcalendar import DAY, Calendar, Local, Unit, YearUnknown, national
from tests.support import SEED

CALENDAR = national()
MINUTE = timedelta(minutes=1)
LAST = datetime(2026, 12, 31, 23, 59, tzinfo=BEIJING)

with (SEED / "cn-workdays-2022-2026.csv").open(encoding="utf-8") as file:
    WORKED = {date.fromisoformat(row["date"]) for row in csv.DictReader(file) if row["is_workday"] == "1"}

# Around New Year, the Spring Festival, 1 May, Dragon Boat, 国庆: where holidays and make-up days are thick.
SEASONS = [
    date(2022, 1, 25),
    date(2023, 1, 18),
    date(2024, 2, 2),
    date(2025, 4, 24),
    date(2025, 9, 24),
    date(2026, 9, 16),
]
CLOCK_TIMES = st.sampled_from([8 * 60, 12 * 60, 14 * 60, 17 * 60 + 30]) | st.integers(0, 1439)
STARTS = st.builds(
    lambda day, days, minutes: datetime(day.year, day.month, day.day, tzinfo=BEIJING) + days * DAY + minutes * MINUTE,
    st.sampled_from(SEASONS),
    st.integers(0, 12),
    CLOCK_TIMES,
)
GAPS = st.tuples(st.sampled_from([0, 0, 0, 1, 2, 4]), CLOCK_TIMES)
"""So many days on, then to this time of day, office hours' ends above all."""
Move = tuple[tuple[int, int], str, int]
MOVES = st.lists(st.tuples(GAPS, st.sampled_from(["suspend", "resume", "extend"]), st.integers(1, 3)), max_size=8)


@dataclass
class Count:
    """What a clerk does with a sheet of paper: walk from minute to minute and tick off what counts."""

    unit: Unit
    budget: int
    started_at: datetime
    running: bool = True
    used: int = 0
    ticks: dict[int, datetime] = field(default_factory=dict)
    """When the nth was ticked off."""

    def tick(self, now: datetime) -> None:
        """The minute that ends at `now` has passed."""
        if self.running and self._counts(now):
            self.used += 1
            self.ticks.setdefault(self.used, now)

    @property
    def due_at(self) -> datetime | None:
        return self.ticks.get(self.budget)

    def _counts(self, now: datetime) -> bool:
        if self.unit is Unit.NATURAL:
            return True
        if self.unit is Unit.WORKING_DAYS:
            return (now.hour, now.minute) == (17, 30) and now.date() in WORKED and now.date() > self.started_at.date()
        minute = now - MINUTE
        return (8 <= minute.hour < 12 or (14, 0) <= (minute.hour, minute.minute) < (17, 30)) and minute.date() in WORKED


def minutes(since: datetime, until: datetime) -> Iterator[datetime]:
    while since < until:
        since += MINUTE
        yield since


def later(at: datetime, gap: tuple[int, int]) -> datetime:
    """The time of day in the gap, so many days on, or the day after if that is over."""
    moment = at.replace(hour=0, minute=0) + gap[0] * DAY + gap[1] * MINUTE
    return moment if moment >= at else moment + DAY


def amount(unit: Unit, count: int) -> timedelta:
    return timedelta(days=count) if unit is Unit.WORKING_DAYS else timedelta(minutes=count)


def moved(deadline: Deadline, count: Count, move: str, size: int, at: datetime) -> Deadline:
    """Both do it, or both refuse."""
    allowed = {"suspend": count.running, "resume": not count.running, "extend": count.due_at is None}[move]
    more = size if count.unit is Unit.WORKING_DAYS else size * 60
    try:
        if move == "suspend":
            after = suspend(deadline, Pause.HEARING, CALENDAR, by="o", at=at)
        elif move == "resume":
            after = resume(deadline, CALENDAR, by="o", at=at)
        else:
            after = extend(deadline, amount(count.unit, more), CALENDAR, approved_by="o", reason="r", at=at)
    except (ClockForbids, AlreadyBreached):
        assert not allowed
        return deadline
    assert allowed
    if move == "extend":
        count.budget += more
    else:
        count.running = move == "resume"
    return after


def compared(unit: Unit, budget: int, at: datetime, moves: list[Move]) -> None:
    deadline = start(amount(unit, budget), unit, CALENDAR, at=at)
    count = Count(unit, budget, at)
    for gap, move, size in moves:
        for now in minutes(at, later(at, gap)):
            count.tick(now)
        at = later(at, gap)
        assert deadline.breached(at) == (count.due_at is not None)
        deadline = moved(deadline, count, move, size, at)
    if not count.running and count.due_at is None:
        assert deadline.due_at is None
        # Nobody took the rungs up: what was reached before it was suspended still wants to be looked at.
        reached = count.used * 100 >= count.budget * RUNGS[0]
        assert (deadline.next_rung_at is not None) == reached or unit is Unit.WORKING_DAYS
        return
    for now in minutes(at, LAST):
        if count.due_at:
            break
        count.tick(now)
    assert deadline.due_at == count.due_at
    assert deadline.breached(at) == (count.due_at is not None and count.due_at <= at)


@settings(max_examples=300, deadline=None)
@given(STARTS, st.integers(1, 30), MOVES)
def test_working_hours_are_what_counting_minutes_gives(at: datetime, hours: int, moves: list[Move]) -> None:
    compared(Unit.WORKING_HOURS, hours * 60, at, moves)


@settings(max_examples=300, deadline=None)
@given(STARTS, st.integers(1, 12), MOVES)
def test_working_days_are_what_counting_closings_gives(at: datetime, days: int, moves: list[Move]) -> None:
    compared(Unit.WORKING_DAYS, days, at, moves)


@settings(max_examples=100, deadline=None)
@given(STARTS, st.integers(1, 100), MOVES)
def test_natural_time_is_what_counting_minutes_gives(at: datetime, hours: int, moves: list[Move]) -> None:
    compared(Unit.NATURAL, hours * 60, at, moves)


@settings(max_examples=100, deadline=None)
@given(STARTS, st.sampled_from([Unit.WORKING_HOURS, Unit.WORKING_DAYS, Unit.NATURAL]), st.integers(1, 5), GAPS, GAPS)
def test_each_rung_comes_once_in_order_at_its_share(
    at: datetime, unit: Unit, size: int, gap: tuple[int, int], pause: tuple[int, int]
) -> None:
    """Suspended once somewhere; shares are whole units here, because counting knows no halves of a day."""
    budget = size * (10 if unit is Unit.WORKING_DAYS else 60)
    deadline = start(amount(unit, budget), unit, CALENDAR, at=at)
    count = Count(unit, budget, at)
    since = later(at, gap)
    until = later(since, pause)
    reached: dict[int, datetime] = {}
    for now in minutes(at, LAST):
        if now == since + MINUTE and count.running:
            count.running, deadline = False, suspend(deadline, Pause.DEFERRED, CALENDAR, by="o", at=since)
        if now == until + MINUTE and not count.running:
            count.running, deadline = True, resume(deadline, CALENDAR, by="o", at=until)
        count.tick(now)
        while deadline.next_rung_at and deadline.next_rung_at <= now:
            deadline, rung = wake(deadline, deadline.generation, CALENDAR, at=now)
            assert rung
            assert rung not in reached
            reached[rung] = now
        if len(reached) == len(RUNGS):
            break
    assert reached == {rung: count.ticks[budget * rung // 100] for rung in reached}
    assert list(reached) == list(RUNGS[: len(reached)])
    assert len(reached) == len(RUNGS) or at > datetime(2026, 9, 1, tzinfo=BEIJING)


LOCAL = CALENDAR.localised(
    ("34",), {("34",): Local("1", hours=((time(9), time(17)),), off=frozenset({date(2026, 9, 18)}))}
)
STEPS = st.lists(
    st.tuples(
        st.timedeltas(timedelta(0), 3 * DAY),
        st.sampled_from(["wake", "wake", "wake", "suspend", "resume", "extend"]),
        st.timedeltas(timedelta(0), timedelta(minutes=2)),
    ),
    max_size=30,
)
"""So much later, this is done, and dated back by so much."""


@settings(max_examples=300, deadline=None)
@given(STARTS, st.sampled_from(list(Unit)), st.integers(1, 8), STEPS, st.sampled_from([CALENDAR, LOCAL]))
def test_rungs_come_in_order_once_a_plan_and_a_breach_stays(
    at: datetime, unit: Unit, size: int, steps: list[tuple[timedelta, str, timedelta]], calendar: Calendar
) -> None:
    deadline = start(amount(unit, size if unit is Unit.WORKING_DAYS else size * 60), unit, calendar, at=at)
    breached, came = False, list[int]()
    for gap, step, back in steps:
        at += gap
        before = deadline
        if step == "wake":
            deadline, rung = wake(before, before.generation, calendar, at=at)
            came += [rung] if rung else []
        else:
            deadline = tried(before, step, calendar, at - back)
        assert list(deadline.rungs) == list(RUNGS[: len(deadline.rungs)])
        assert deadline is before or deadline.generation == before.generation + 1
        if deadline.budget != before.budget:
            assert not breached or back
            came = came[: len(deadline.rungs)]
        # Each rung that came is in it, and came once since the plan was last made larger.
        assert came == list(deadline.rungs)
        if 100 in before.rungs or (breached and not back):
            assert deadline.breached(at)
            assert deadline.due_at == before.due_at
        breached = deadline.breached(at)
        if deadline.going is Going.SUSPENDED and deadline.next_rung_at:
            # What is due while it stands still fires; it is never merely planned again.
            assert wake(deadline, deadline.generation, calendar, at=at)[1] == deadline.next_rung


def tried(deadline: Deadline, step: str, calendar: Calendar, at: datetime) -> Deadline:
    """The same if it is refused."""
    more = amount(deadline.unit, 1 if deadline.unit is Unit.WORKING_DAYS else 60)
    try:
        if step == "suspend":
            return suspend(deadline, Pause.HEARING, calendar, by="o", at=at)
        if step == "resume":
            return resume(deadline, calendar, by="o", at=at)
        return extend(deadline, more, calendar, approved_by="o", reason="r", at=at)
    except LinliError as refusal:
        assert not isinstance(refusal, YearUnknown) or at > datetime(2026, 9, 1, tzinfo=BEIJING)
        return deadline
