"""Wakes: their keys, and what an owner answers when it is woken."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from linli.deadline import Pause, start, suspend
from linli.wake import Answer, Wake, answer_wakes, next_wake
from linli.workcalendar import Unit, national

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
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


@given(WAKES, WAKES)
def test_keys_sort_by_severity_then_time(one: Wake, other: Wake) -> None:
    order = ["critical", "major", "minor", "warning", None]
    wanted = sorted([one, other], key=lambda w: (order.index(w.severity), w.fire_at))
    assert [w.fire_at for w in sorted([one, other], key=lambda w: w.sort_key)] == [w.fire_at for w in wanted]


@pytest.mark.parametrize("key", ["", "0#x", "0#2026-11-23#t#T1#50#1", "9#2026-11-23T09:30:00.000Z#t#T1#50#1", "M"])
def test_a_key_of_another_form_is_refused(key: str) -> None:
    with pytest.raises(ValueError):
        Wake.parse(key)


def test_only_a_clock_that_runs_wants_a_wake() -> None:
    deadline = start(timedelta(hours=1), Unit.NATURAL, national(), at=NOW)
    wanted = next_wake(deadline, owner="tickets", ref="T1", severity="major")
    assert wanted == Wake("tickets", "T1", 50, 1, NOW + timedelta(minutes=30), "major")
    still = suspend(deadline, Pause.DEFERRED, national(), by="officer", at=NOW)
    assert next_wake(still, owner="tickets", ref="T1", severity="major") is None


DONE, AGAIN, SKIPPED = (Wake("alarms", ref, 100, 1, NOW, "major") for ref in ("d#done", "d#again", "d#skipped"))
NEXT = Wake("alarms", "d#again", 150, 2, NOW + timedelta(hours=1), "major")


def look(wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
    if at < NOW:
        raise ValueError("too early")
    then = {DONE: None, AGAIN: NEXT}
    return [Answer(wake, then[wake]) for wake in wakes if wake in then]


def test_an_owner_answers_in_keys_and_leaves_out_what_it_could_not_look_at() -> None:
    asked = {"at": "2026-11-23T09:30:00.000Z", "wakes": [wake.sort_key for wake in (DONE, AGAIN, SKIPPED)]}
    assert answer_wakes(asked, look) == {
        "answers": [
            {"wake": DONE.sort_key, "then": None},
            {"wake": AGAIN.sort_key, "then": NEXT.sort_key},
        ]
    }


def test_what_an_owner_cannot_do_or_read_fails_its_invocation() -> None:
    with pytest.raises(ValueError, match="too early"):
        answer_wakes({"at": "2026-11-23T09:29:00.000Z", "wakes": [DONE.sort_key]}, look)
    with pytest.raises(ValueError):
        answer_wakes({"at": "2026-11-23T09:30:00.000Z", "wakes": ["M"]}, look)
    with pytest.raises(ValidationError):
        answer_wakes({"at": "2026-11-23T09:30:00", "wakes": []}, look)
