"""The clock: hand calculations across holidays and make-up days, and what the ledger may and may not do."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from linli.clock import BEIJING
from linli.deadline import (
    ACTIONS,
    RUNGS,
    AlreadyBreached,
    ApprovalMissing,
    ClockForbids,
    Deadline,
    EarlierThanLedger,
    Going,
    NobodyNamed,
    Pause,
    PauseUnknown,
    extend,
    replan,
    resume,
    start,
    stop,
    suspend,
    transfer,
    wake,
)
from linli.workcalendar import DAY, Calendar, Unit, YearUnknown, national

CALENDAR = national()
HOUR = timedelta(hours=1)


def beijing(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BEIJING)


def days(count: int, at: str) -> Deadline:
    return start(count * DAY, Unit.WORKING_DAYS, CALENDAR, at=beijing(at))


def hours(count: float, at: str) -> Deadline:
    return start(count * HOUR, Unit.WORKING_HOURS, CALENDAR, at=beijing(at))


def climbed(deadline: Deadline, calendar: Calendar = CALENDAR) -> list[str]:
    """When each rung comes, in Beijing, if every wake row is taken in time."""
    moments = []
    while deadline.next_rung_at:
        at = deadline.next_rung_at
        deadline, rung = wake(deadline, deadline.generation, calendar, at=at)
        assert rung is not None
        moments.append(f"{at.astimezone(BEIJING):%m-%d %H:%M}")
    assert deadline.rungs == RUNGS
    return moments


def paused(deadline: Deadline, since: str, until: str) -> Deadline:
    still = suspend(deadline, Pause.HEARING, CALENDAR, by="officer", at=beijing(since))
    return resume(still, CALENDAR, by="officer", at=beijing(until))


def test_twenty_working_days_across_national_day_2025() -> None:
    # Holiday 1-8 October; worked instead: Sunday 28 September, Saturday 11 October.
    # Friday 19 September is not counted.
    # 22-26 September 1-5 · Sunday 28 6 · 29, 30 7, 8 · Thursday 9 October 9 · 10 10 · Saturday 11 11
    # 13-17 12-16 · 20-23 17-20. After it: 24 21 · 27-31 22-26 · 3-6 November 27-30.
    deadline = days(20, "2025-09-19T10:00")
    assert deadline.due_at == beijing("2025-10-23T17:30")
    # 50 % = day 10, 80 % = day 16, 150 % = day 30.
    assert climbed(deadline) == ["10-10 17:30", "10-17 17:30", "10-23 17:30", "11-06 17:30"]


def test_ten_working_days_across_mid_autumn_and_national_day_2026() -> None:
    # Off: 25-27 September, 1-7 October; worked instead: Sunday 20 September, Saturday 10 October.
    # Thursday 24 September is not counted.
    # 28-30 September 1-3 · 8, 9 October 4, 5 · Saturday 10 6 · 12-15 7-10. After it: 16 11 · 19-22 12-15.
    deadline = days(10, "2026-09-24T16:00")
    assert deadline.due_at == beijing("2026-10-15T17:30")
    assert climbed(deadline) == ["10-09 17:30", "10-13 17:30", "10-15 17:30", "10-22 17:30"]


def test_four_working_hours_across_national_day_2026() -> None:
    # Wednesday 30 September 16:30-17:30 is 1 hour; Thursday 8 October 8:00-11:00 is 3.
    # 50 % = 2 h, 80 % = 3 h 12 min, 150 % = 6 h: 1 + 4 until noon + 1 from 14:00.
    deadline = hours(4, "2026-09-30T16:30")
    assert deadline.due_at == beijing("2026-10-08T11:00")
    assert climbed(deadline) == ["10-08 09:00", "10-08 10:12", "10-08 11:00", "10-08 15:00"]


def test_working_hours_on_a_make_up_saturday() -> None:
    # Friday 10 October 2025 17:00-17:30 is half an hour, Saturday 11 (make-up) is 7.5 hours: due when it closes.
    assert hours(8, "2025-10-10T17:00").due_at == beijing("2025-10-11T17:30")


def test_a_share_of_a_working_day_is_that_share_of_its_hours() -> None:
    # From Thursday 9 October 2025: Friday 10 1, Saturday 11 (make-up) 2, Monday 13 3, 14 4, 15 5.
    # 50 % = 1.5 days: 3 h 45 min of Saturday; 80 % = 2.4: 3 h of Monday; 150 % = 4.5: 3 h 45 min of the 15th.
    assert climbed(days(3, "2025-10-09T08:30")) == ["10-11 11:45", "10-13 11:00", "10-13 17:30", "10-15 11:45"]


def test_a_rung_never_comes_before_the_clock_runs_again() -> None:
    # The clock of above, suspended on Saturday from 9:00 to 15:00: 1.5 days are over as soon as it runs.
    deadline = paused(days(3, "2025-10-09T08:30"), "2025-10-11T09:00", "2025-10-11T15:00")
    assert climbed(deadline)[0] == "10-11 15:00"


def test_a_hearing_across_national_day_2025_is_not_counted() -> None:
    # From Friday 19 September: 22-25 are 1-4. Suspended on the 26th before closing, resumed on Thursday 9 October,
    # which counts: 9-11 5-7 · 13-17 8-12 · 20-24 13-17 · 27-29 18-20.
    deadline = paused(days(20, "2025-09-19T10:00"), "2025-09-26T10:00", "2025-10-09T09:00")
    assert deadline.due_at == beijing("2025-10-29T17:30")


def test_a_suspension_within_one_day_or_over_a_holiday_saves_no_working_day() -> None:
    deadline = days(5, "2025-09-29T10:00")
    assert paused(deadline, "2025-09-30T09:00", "2025-09-30T15:00").due_at == deadline.due_at
    assert paused(deadline, "2025-09-30T18:00", "2025-10-09T08:00").due_at == deadline.due_at


def test_the_day_a_term_begins_is_not_counted_even_if_it_was_suspended_on_it() -> None:
    deadline = paused(days(1, "2026-11-23T09:00"), "2026-11-23T09:30", "2026-11-23T10:00")
    assert deadline.due_at == beijing("2026-11-24T17:30")


def test_natural_time_knows_no_holidays() -> None:
    deadline = start(HOUR, Unit.NATURAL, CALENDAR, at=beijing("2026-10-01T23:30"))
    assert deadline.due_at == beijing("2026-10-02T00:30")
    assert climbed(deadline) == ["10-02 00:00", "10-02 00:18", "10-02 00:30", "10-02 01:00"]


def test_suspended_it_is_not_due_and_wakes_nobody() -> None:
    still = suspend(
        hours(4, "2026-11-23T08:00"), Pause.DEFERRED, CALENDAR, by="officer", at=beijing("2026-11-23T09:00")
    )
    assert (still.due_at, still.next_rung_at, still.consumed) == (None, None, HOUR)
    assert not still.breached(beijing("2027-11-23T09:00"))


def test_a_pause_after_a_breach_does_not_unbreach_but_delays_the_last_rung() -> None:
    deadline = hours(2, "2026-11-23T08:00")
    due_at = deadline.due_at
    assert due_at == beijing("2026-11-23T10:00")
    still = suspend(deadline, Pause.TESTING, CALENDAR, by="officer", at=beijing("2026-11-23T10:30"))
    again = resume(still, CALENDAR, by="officer", at=beijing("2026-11-24T08:00"))
    for after in (still, again, replan(again, CALENDAR, at=beijing("2026-11-24T09:00"))):
        assert after.due_at == due_at
        assert after.breached(beijing("2026-11-24T09:00"))
    assert climbed(again)[-1] == "11-24 08:30"


def woken(deadline: Deadline, at: str) -> Deadline:
    """After every rung that is due by then."""
    while deadline.next_rung_at and deadline.next_rung_at <= beijing(at):
        deadline, rung = wake(deadline, deadline.generation, CALENDAR, at=beijing(at))
        assert rung
    return deadline


def test_a_breach_that_was_told_is_not_undone_by_an_earlier_date() -> None:
    deadline = woken(hours(2, "2026-11-23T08:00"), "2026-11-23T10:00")
    assert deadline.rungs == (50, 80, 100)
    still = suspend(deadline, Pause.TESTING, CALENDAR, by="officer", at=beijing("2026-11-23T09:59:59"))
    again = resume(still, CALENDAR, by="officer", at=beijing("2026-11-23T11:00"))
    for after in (still, again):
        assert after.due_at == deadline.due_at
        assert after.breached(beijing("2026-11-23T11:00"))
        assert after.rungs == (50, 80, 100)
        with pytest.raises(AlreadyBreached):
            extended(after, HOUR, "2026-11-23T11:00")
    with pytest.raises(AlreadyBreached):
        extended(deadline, HOUR, "2026-11-23T09:59:59")


def test_rungs_reached_before_a_suspension_come_during_it() -> None:
    deadline = woken(hours(2, "2026-11-23T08:00"), "2026-11-23T09:00")
    at = "2026-11-23T10:00:20"
    still = suspend(deadline, Pause.TESTING, CALENDAR, by="officer", at=beijing(at))
    assert (still.next_rung_at, still.rungs) == (beijing(at), (50,))
    after = woken(still, at)
    assert (after.next_rung_at, after.rungs, after.due_at) == (None, (50, 80, 100), deadline.due_at)
    early = suspend(deadline, Pause.TESTING, CALENDAR, by="officer", at=beijing("2026-11-23T09:20"))
    assert early.next_rung_at is None


def test_a_share_of_a_day_reached_before_a_suspension_comes_during_it() -> None:
    # 1.5 days are over on Saturday 11 October at 11:45 (see above); the day itself is not used up.
    deadline = days(3, "2025-10-09T08:30")
    for at, rungs in (("2025-10-11T11:44", ()), ("2025-10-11T11:45", (50,))):
        still = suspend(deadline, Pause.TESTING, CALENDAR, by="officer", at=beijing(at))
        assert woken(still, at).rungs == rungs
        assert still.consumed == DAY


def test_after_the_stop_not_even_a_rung_reached_before_comes() -> None:
    at = beijing("2026-11-23T10:30")
    done = stop(hours(2, "2026-11-23T08:00"), by="worker", at=at)
    assert done.next_rung_at is None
    assert wake(done, done.generation, CALENDAR, at=at) == (done, None)
    assert done.breached(at)


def test_somebody_is_named_and_the_reason_is_one_of_the_list() -> None:
    deadline, at = hours(2, "2026-11-23T08:00"), beijing("2026-11-23T09:00")
    still = suspend(deadline, "hearing", CALENDAR, by="officer", at=at)  # type: ignore[arg-type]
    assert still.ledger[-1].reason is Pause.HEARING
    with pytest.raises(PauseUnknown) as refused:
        suspend(deadline, "lunch", CALENDAR, by="officer", at=at)  # type: ignore[arg-type]
    assert refused.value.field == "reason"
    unnamed: list[Callable[[], Deadline]] = [
        lambda: suspend(deadline, Pause.HEARING, CALENDAR, by=" ", at=at),
        lambda: resume(still, CALENDAR, by="", at=at),
        lambda: transfer(deadline, "post-2", by="", at=at),
        lambda: transfer(deadline, " ", by="officer", at=at),
        lambda: stop(deadline, by="", at=at),
    ]
    for nobody in unnamed:
        with pytest.raises(NobodyNamed):
            nobody()


def test_a_breached_term_cannot_be_extended() -> None:
    deadline = hours(2, "2026-11-23T08:00")
    with pytest.raises(AlreadyBreached):
        extended(deadline, HOUR, "2026-11-23T10:00")
    assert extended(deadline, HOUR, "2026-11-23T09:59").due_at == beijing("2026-11-23T11:00")


def extended(
    deadline: Deadline, extra: timedelta, at: str, approved_by: str = "director", reason: str = "案情复杂"
) -> Deadline:
    return extend(deadline, extra, CALENDAR, approved_by=approved_by, reason=reason, at=beijing(at))


def test_an_extension_needs_who_approved_it_why_and_how_much() -> None:
    deadline = days(20, "2025-09-19T10:00")
    at = "2025-10-17T18:00"
    for bad in ({"approved_by": " "}, {"reason": ""}):
        with pytest.raises(ApprovalMissing):
            extended(deadline, 10 * DAY, at, **bad)
    for extra in (timedelta(0), -DAY, HOUR):
        with pytest.raises(ApprovalMissing):
            extended(deadline, extra, at)
    # 行政许可法 Art 42: ten more working days, 30 altogether: see the 30th of the hand calculation above.
    longer = extended(deadline, 10 * DAY, at)
    assert longer.due_at == beijing("2025-11-06T17:30")
    assert (longer.ledger[-1].by, longer.ledger[-1].extra_seconds) == ("director", 10 * 86400)


def test_rungs_an_extension_moved_away_come_again() -> None:
    deadline = days(20, "2025-09-19T10:00")
    for moment in ("2025-10-10T17:30", "2025-10-17T17:30"):
        deadline, rung = wake(deadline, deadline.generation, CALENDAR, at=beijing(moment))
        assert rung
    assert deadline.rungs == (50, 80)
    # Day 16 of now 30: 50 % (day 15) stays reached, 80 % is day 24.
    longer = extended(deadline, 10 * DAY, "2025-10-17T18:00")
    assert longer.rungs == (50,)
    assert longer.next_rung_at == beijing("2025-10-29T17:30")


def test_a_transfer_changes_the_holder_and_nothing_of_the_time() -> None:
    deadline = hours(4, "2026-11-23T08:00")
    after = transfer(deadline, "post-2", by="officer", at=beijing("2026-11-23T09:00"))
    assert replace(after, ledger=()) == deadline
    assert (after.ledger[0].to, after.ledger[0].by) == ("post-2", "officer")


def test_done_it_wakes_nobody_and_is_judged_by_when_it_was_done() -> None:
    deadline = hours(2, "2026-11-23T08:00")
    in_time = stop(deadline, by="worker", at=beijing("2026-11-23T09:00"))
    just = stop(deadline, by="worker", at=beijing("2026-11-23T10:00"))
    late = stop(deadline, by="worker", at=beijing("2026-11-23T10:00:01"))
    tomorrow = beijing("2026-11-24T09:00")
    assert [d.breached(tomorrow) for d in (in_time, just, late)] == [False, False, True]
    assert wake(in_time, deadline.generation, CALENDAR, at=tomorrow) == (in_time, None)
    assert replan(in_time, CALENDAR, at=tomorrow) is in_time


def act(deadline: Deadline, action: str, at: datetime) -> Deadline:
    todo: dict[str, Any] = {
        "suspend": lambda: suspend(deadline, Pause.HEARING, CALENDAR, by="o", at=at),
        "resume": lambda: resume(deadline, CALENDAR, by="o", at=at),
        "extend": lambda: extend(deadline, HOUR, CALENDAR, approved_by="o", reason="r", at=at),
        "transfer": lambda: transfer(deadline, "p", by="o", at=at),
        "stop": lambda: stop(deadline, by="o", at=at),
    }
    done: Deadline = todo[action]()
    return done


@pytest.mark.parametrize("going", list(Going))
@pytest.mark.parametrize("action", list(ACTIONS))
def test_what_the_table_does_not_allow_is_refused(going: Going, action: str) -> None:
    at = beijing("2026-11-23T08:30")
    deadline = hours(4, "2026-11-23T08:00")
    deadline = {"running": deadline, "suspended": act(deadline, "suspend", at), "stopped": act(deadline, "stop", at)}[
        going
    ]
    if going in ACTIONS[action]:
        assert act(deadline, action, at).going is ACTIONS[action][going]
        with pytest.raises(EarlierThanLedger):
            act(deadline, action, beijing("2026-11-23T07:59"))
    else:
        with pytest.raises(ClockForbids):
            act(deadline, action, at)


def test_a_wake_row_counts_once_in_time_and_in_its_generation() -> None:
    deadline = hours(2, "2026-11-23T08:00")
    at = beijing("2026-11-23T09:00")
    assert wake(deadline, deadline.generation, CALENDAR, at=at - timedelta(seconds=1)) == (deadline, None)
    after, rung = wake(deadline, deadline.generation, CALENDAR, at=at)
    assert rung == 50
    assert wake(after, deadline.generation, CALENDAR, at=at) == (after, None)
    still = act(deadline, "suspend", at)
    assert wake(still, deadline.generation, CALENDAR, at=at) == (still, None)


def test_after_an_outage_the_rungs_come_one_by_one() -> None:
    deadline = hours(2, "2026-11-23T08:00")
    at = beijing("2026-11-23T12:00")
    reached = []
    for _ in RUNGS:
        asked = deadline.generation
        deadline, rung = wake(deadline, asked, CALENDAR, at=at)
        assert wake(deadline, asked, CALENDAR, at=at) == (deadline, None)
        reached.append(rung)
    assert reached == list(RUNGS)
    assert deadline.next_rung_at is None


def test_a_term_due_in_a_year_not_known_is_refused_and_a_rung_beyond_it_is_looked_at_again() -> None:
    with pytest.raises(YearUnknown):
        days(20, "2026-12-04T10:00")
    deadline = days(20, "2026-12-03T10:00")
    assert deadline.due_at == beijing("2026-12-31T17:30")
    for moment in ("2026-12-17T17:30", "2026-12-25T17:30", "2026-12-31T17:30"):
        deadline, rung = wake(deadline, deadline.generation, CALENDAR, at=beijing(moment))
        assert rung
    new_year = beijing("2027-01-01T00:00")
    assert (deadline.next_rung, deadline.next_rung_at) == (150, new_year)
    looked, rung = wake(deadline, deadline.generation, CALENDAR, at=new_year)
    assert (rung, looked.next_rung_at, looked.generation) == (None, new_year + DAY, deadline.generation + 1)
    # As soon as the calendar is there the next look plans the rung: ten working days from 4 January 2027, if
    # 1 January alone were off.
    known = replace(CALENDAR, version="2027", years=CALENDAR.years | {2027}, off=CALENDAR.off | {date(2027, 1, 1)})
    planned, rung = wake(looked, looked.generation, known, at=new_year + DAY)
    assert (rung, planned.next_rung_at, planned.calendar) == (None, beijing("2027-01-15T17:30"), "2027")


def test_a_calendar_that_changes_moves_what_is_ahead_only() -> None:
    deadline = days(2, "2026-11-23T10:00")
    typhoon = replace(CALENDAR, version="local", off=CALENDAR.off | {date(2026, 11, 24)})
    assert replan(deadline, typhoon, at=beijing("2026-11-23T18:00")).due_at == beijing("2026-11-26T17:30")
    assert replan(deadline, typhoon, at=beijing("2026-11-26T09:00")).due_at == deadline.due_at


def test_it_is_stored_as_json_and_read_back_the_same() -> None:
    deadline = paused(hours(4, "2026-11-23T08:00:00.123456"), "2026-11-23T09:00:01.5", "2026-11-23T10:00")
    deadline = extended(
        transfer(deadline, "post-2", by="officer", at=beijing("2026-11-23T10:30")), HOUR, "2026-11-23T11:00"
    )
    for state in (deadline, act(deadline, "suspend", beijing("2026-11-23T11:10")), days(3, "2026-11-23T08:00")):
        item = json.loads(json.dumps(state.to_item()))
        assert Deadline.from_item(item) == state
        assert item["v"] == 1
    with pytest.raises(ValueError, match="version 2"):
        Deadline.from_item(deadline.to_item() | {"v": 2})


@pytest.mark.parametrize(("budget", "unit"), [(timedelta(0), Unit.NATURAL), (HOUR, Unit.WORKING_DAYS)])
def test_a_budget_is_above_zero_and_working_days_are_whole(budget: timedelta, unit: Unit) -> None:
    with pytest.raises(ValueError, match="budget"):
        start(budget, unit, CALENDAR, at=beijing("2026-11-23T08:00"))
