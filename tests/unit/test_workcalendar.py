"""The calendar: what is shipped is what was published, an unknown year is refused, divisions may differ."""

import csv
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest

from infra.local import workdays
from infra.local.workdays import calendar, missing
from linli.clock import BEIJING
from linli.errors import Conflict, Unavailable
from linli.workcalendar import DAY, WORKDAYS, Local, Unit, YearUnknown, national
from tests.support import PATH, SEED

OFFICIAL = national()
HOUR = timedelta(hours=1)


def beijing(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BEIJING)


def test_what_is_shipped_is_what_the_seed_says() -> None:
    assert WORKDAYS.read_text(encoding="utf-8") == calendar()


@pytest.mark.parametrize(
    "change", [lambda days: days[:-1], lambda days: days[:200] + days[201:], lambda days: days + days[:1]]
)
def test_a_year_without_each_of_its_days_once_is_refused(
    change: Callable[[list[str]], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, *days = (SEED / "cn-workdays-2022-2026.csv").read_text(encoding="utf-8").splitlines()
    monkeypatch.setattr(workdays, "SEED", tmp_path)
    (tmp_path / "cn-workdays-2022-2026.csv").write_text("\n".join([head, *days]), encoding="utf-8")
    assert calendar() == WORKDAYS.read_text(encoding="utf-8")
    (tmp_path / "cn-workdays-2022-2026.csv").write_text("\n".join([head, *change(days)]), encoding="utf-8")
    with pytest.raises(ValueError, match="days of 20"):
        calendar()


def test_every_day_of_five_years_is_as_published() -> None:
    with (SEED / "cn-workdays-2022-2026.csv").open(encoding="utf-8") as file:
        published = {date.fromisoformat(row["date"]): row["is_workday"] == "1" for row in csv.DictReader(file)}
    assert len(published) == (date(2027, 1, 1) - date(2022, 1, 1)).days
    assert {day: OFFICIAL.is_workday(day) for day in published} == published


def test_a_year_not_known_is_refused_except_in_natural_time() -> None:
    at = beijing("2026-12-31T10:00")
    with pytest.raises(YearUnknown) as refused:
        OFFICIAL.advance(Unit.WORKING_DAYS, at, 2 * DAY)
    assert "2027" in refused.value.text("zh")
    assert "2027" in refused.value.text("en")
    assert refused.value.code == "working-year-unknown"
    assert isinstance(refused.value, Conflict)  # not Unavailable: it lasts for weeks
    assert not isinstance(refused.value, Unavailable)
    assert OFFICIAL.advance(Unit.NATURAL, at, 2 * DAY) == at + 2 * DAY
    with pytest.raises(YearUnknown):
        OFFICIAL.is_workday(date(2021, 12, 31))


def test_the_office_closes_on_the_last_day_known() -> None:
    at = beijing("2026-12-31T10:00")
    assert OFFICIAL.advance(Unit.WORKING_HOURS, at, 5.5 * HOUR) == beijing("2026-12-31T17:30")
    with pytest.raises(YearUnknown):
        OFFICIAL.advance(Unit.WORKING_HOURS, at, 6 * HOUR)


@pytest.mark.parametrize(
    ("today", "wanted"),
    [(date(2026, 10, 31), []), (date(2026, 11, 1), [2027]), (date(2027, 1, 1), [2027]), (date(2025, 12, 31), [])],
)
def test_next_year_is_missed_from_november_on(today: date, wanted: list[int]) -> None:
    assert missing(OFFICIAL.years, today) == wanted


def test_a_division_differs_from_what_is_above_it_and_the_nearest_says() -> None:
    local_day, fair = date(2026, 11, 24), date(2026, 11, 28)
    locals_ = {
        PATH[:2]: Local("1", off=frozenset({local_day}), work=frozenset({fair})),
        PATH[:3]: Local("2", hours=((time(9), time(17)),)),
        PATH[:4]: Local("3", work=frozenset({local_day})),
    }
    city, county, township, community = (OFFICIAL.localised(PATH[:depth], locals_) for depth in (2, 3, 4, 5))
    assert [c.is_workday(local_day) for c in (OFFICIAL, city, county, township, community)] == [
        True,
        False,
        False,
        True,
        True,
    ]
    assert [c.is_workday(fair) for c in (OFFICIAL, city, community)] == [False, True, True]
    assert city.hours == OFFICIAL.hours
    assert county.hours == community.hours == ((time(9), time(17)),)
    assert community.version == f"{OFFICIAL.version}+3401:1+340104:2+340104002:3"
    elsewhere = ("34", "3410", "341002")
    assert OFFICIAL.localised(elsewhere, locals_) is OFFICIAL
    # Monday 23rd, 17:00: half an hour that day in the city, none in the county; the 24th is off in both.
    at = beijing("2026-11-23T17:00")
    assert city.advance(Unit.WORKING_HOURS, at, HOUR) == beijing("2026-11-25T08:30")
    assert county.advance(Unit.WORKING_HOURS, at, HOUR) == beijing("2026-11-25T10:00")


def test_a_division_does_not_make_a_year_known() -> None:
    locals_: dict[tuple[str, ...], Local] = {PATH[:1]: Local("1", work=frozenset({date(2027, 1, 4)}))}
    with pytest.raises(YearUnknown):
        OFFICIAL.localised(PATH, locals_).is_workday(date(2027, 1, 4))


def test_a_day_is_a_beijing_day() -> None:
    # 23:30 UTC on Wednesday 30 September is 07:30 on 1 October in Beijing: a holiday.
    at = datetime(2026, 9, 30, 23, 30, tzinfo=UTC)
    assert OFFICIAL.advance(Unit.WORKING_HOURS, at, HOUR) == beijing("2026-10-08T09:00")
