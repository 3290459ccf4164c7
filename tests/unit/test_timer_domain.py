"""Wake rows: their keys, the minute they stand under, and the order in which they are taken up."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linli.deadline import Pause, start, suspend
from linli.workcalendar import Unit, national
from timers.domain import CAUGHT_UP, LOOKED_BACK, MINUTE, SHARDS, Wake, bucket, looked_at, next_wake, partition

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
WAKE = Wake("tickets", "T1", 50, 3, NOW, "major")
TEXT = st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=40)
INSTANTS = st.datetimes(datetime(2022, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))
WAKES = st.builds(
    Wake,
    st.sampled_from(["tickets", "applications"]),
    TEXT,
    st.sampled_from([50, 80, 100, 150]),
    st.integers(1, 10**6),
    INSTANTS.map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)),
    st.sampled_from(["critical", "major", "minor", "warning", None]),
)


@given(WAKES)
def test_the_key_says_everything(wake: Wake) -> None:
    assert Wake.parse(wake.sort_key) == wake
    assert 0 <= wake.shard < SHARDS


@given(WAKES, WAKES)
def test_keys_sort_by_severity_then_time(one: Wake, other: Wake) -> None:
    order = ["critical", "major", "minor", "warning", None]
    wanted = sorted([one, other], key=lambda w: (order.index(w.severity), w.fire_at))
    assert [w.fire_at for w in sorted([one, other], key=lambda w: w.sort_key)] == [w.fire_at for w in wanted]


@given(WAKES, INSTANTS)
def test_a_row_stands_under_the_first_minute_at_which_it_is_due_and_none_that_is_over(
    wake: Wake, now: datetime
) -> None:
    minute = bucket(wake, now=now)
    assert (minute.second, minute.microsecond) == (0, 0)
    assert wake.fire_at <= minute
    assert now - timedelta(minutes=1) < minute
    assert minute < max(wake.fire_at, now) + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("seconds", "late", "minute"),
    [(0, 0, "0930"), (0.001, 0, "0931"), (59.999, 0, "0931"), (0, 300, "0935"), (0, 301, "0935")],
)
def test_the_minute_of_a_row(seconds: float, late: float, minute: str) -> None:
    wake = replace(WAKE, fire_at=NOW + timedelta(seconds=seconds))
    now = NOW + timedelta(seconds=late)
    assert f"{bucket(wake, now=now):%H%M}" == minute


def test_the_due_minute_and_the_three_before_are_looked_at() -> None:
    looked = [partition(minute, 7) for minute in looked_at(NOW + timedelta(seconds=5), None)[0]]
    assert looked == [f"W#20261123{minute}#07" for minute in ("0927", "0928", "0929", "0930")]


@given(st.lists(st.integers(1, 400), min_size=1, max_size=12))
def test_every_minute_is_looked_at_and_the_mark_passes_none_that_may_still_hold_rows(gaps: list[int]) -> None:
    minute, mark = NOW, None
    first, seen = NOW - LOOKED_BACK * MINUTE, set()
    for gap in gaps:
        minutes, after = looked_at(minute, mark)
        assert len(minutes) == len(set(minutes)) <= CAUGHT_UP + LOOKED_BACK + 1
        assert minutes == sorted(minutes)
        seen |= set(minutes)
        assert {first + n * MINUTE for n in range((after - first) // MINUTE)} <= seen
        assert mark is None or after >= mark
        assert after <= minute - (LOOKED_BACK - 1) * MINUTE
        mark = after
        minute += gap * MINUTE


@pytest.mark.parametrize("key", ["", "0#x", "0#2026-11-23#t#T1#50#1", "9#2026-11-23T09:30:00.000Z#t#T1#50#1", "M"])
def test_a_key_of_another_form_is_refused(key: str) -> None:
    with pytest.raises(ValueError):
        Wake.parse(key)


def test_only_a_clock_that_runs_wants_a_row() -> None:
    deadline = start(timedelta(hours=1), Unit.NATURAL, national(), at=NOW)
    wanted = next_wake(deadline, owner="tickets", ref="T1", severity="major")
    assert wanted == Wake("tickets", "T1", 50, 1, NOW + timedelta(minutes=30), "major")
    still = suspend(deadline, Pause.DEFERRED, national(), by="officer", at=NOW)
    assert next_wake(still, owner="tickets", ref="T1", severity="major") is None
