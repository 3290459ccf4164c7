"""Wake rows: their keys, the minute they stand under, and the order in which they are taken up."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linli.wake import Wake
from tests.unit.test_wake import INSTANTS, WAKES
from timers.domain import CAUGHT_UP, LOOKED_BACK, MINUTE, SHARDS, bucket, looked_at, partition, shard_of

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
WAKE = Wake("tickets", "T1", 50, 3, NOW, "major")


@given(WAKES)
def test_every_wake_has_its_shard(wake: Wake) -> None:
    assert 0 <= shard_of(wake) < SHARDS
    assert shard_of(replace(wake, generation=wake.generation + 1, rung=150)) == shard_of(wake)


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
