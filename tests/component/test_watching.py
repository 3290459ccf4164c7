"""Silence and lost connections: found in time, told once, ended by the next word; no device is left unwatched."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

import pytest

from devices import on_presence, on_wake
from devices.domain import Device, Reading
from devices.history import Kept
from devices.state import CLOSING, OFFLINE, SILENCE, WRITTEN_EVERY, Presence, Told
from devices.telemetry import first_watch, keep_telemetry
from devices.watching import look, take_presence
from linli.clock import iso
from linli.errors import StaleVersion
from linli.wake import Wake
from tests.fakes_devices import FakeArchive, FakeTelemetryStore, RealStore
from tests.support import CONTEXT, NOW, PLACE, sqs, table_on_moto

MINUTE = timedelta(minutes=1)
LIMIT = 45 * MINUTE
LIFT = Device("01ARZ3NDEKTSV4RRFFQ69G5FAW", "lift", "SN-1", PLACE, NOW, "certificate")
METER = Device("01ARZ3NDEKTSV4RRFFQ69G5FAX", "water_meter", "SN-2", PLACE, NOW, "certificate")


@pytest.fixture(params=["fake", "real"])
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    with table_on_moto("devices") if request.param == "real" else nullcontext():
        store: Any = RealStore() if request.param == "real" else FakeTelemetryStore()
        store.add_device(LIFT)
        store.add_device(METER)
        yield store


def say(store: Any, minutes: float, *, clock_off: float = 0, device: Device = LIFT) -> None:
    at = NOW + minutes * MINUTE
    message = Told(device.device_id, [Reading(at + clock_off * MINUTE, int(minutes), {"load": 1.0})], at, "trace-1")
    assert keep_telemetry([message], store=store, archive=FakeArchive(), clock=lambda: at) == {}


def wakes(store: Any, rung: int = SILENCE) -> list[Wake]:
    """The wakes that were asked for, in order."""
    found = [fact.data for fact in store.facts if fact.type == "DeviceWakeWanted" and fact.data["rung"] == rung]
    return [
        Wake("devices", w["ref"], w["rung"], w["generation"], datetime.fromisoformat(w["fire_at"]), w["severity"])
        for w in found
    ]


def asked(store: Any, wake: Wake, minutes: float) -> Wake | None:
    at = NOW + minutes * MINUTE
    (answer,) = look([wake], at=at, store=store, clock=lambda: at)
    assert answer.wake == wake
    return answer.then


def told(store: Any) -> list[tuple[str, int, bool, datetime]]:
    changes = [fact for fact in store.facts if fact.type == "DeviceConditionChanged"]
    return [
        (c.data["alarm_type"], c.aggregate_version, c.data["active"], datetime.fromisoformat(c.data["changed_at"]))
        for c in changes
    ]


def test_a_device_is_watched_from_its_registration_and_missed_if_it_never_speaks(store: Any) -> None:
    (fact,) = first_watch(LIFT, correlation_id="r-1")
    assert (fact.context, fact.aggregate_id, fact.data["fire_at"]) == (
        "devices",
        f"{LIFT.device_id}#0",
        "2026-11-23T01:45:00Z",
    )
    wake = Wake("devices", LIFT.device_id, SILENCE, 1, NOW + LIMIT, "major")
    assert asked(store, wake, 44) == wake
    closing = Wake("devices", LIFT.device_id, CLOSING, 1, NOW + LIMIT + timedelta(days=3), "major")
    assert asked(store, wake, 45) == closing
    assert told(store) == [("silent", 1, True, NOW + LIMIT)]
    assert asked(store, wake, 45) == closing  # the answer was lost, and it is asked again
    assert len(told(store)) == 1


def test_the_newest_message_moves_the_watch_though_the_state_was_not_written(store: Any) -> None:
    for minutes in (0.5, 15.2, 30.9):
        say(store, minutes)
    (wake,) = wakes(store)
    assert (wake.generation, wake.fire_at) == (2, NOW + LIMIT)
    then = asked(store, wake, 45)
    assert then == Wake("devices", LIFT.device_id, SILENCE, 2, NOW + 30 * MINUTE + LIMIT, "major")
    assert asked(store, then, 75)
    assert told(store) == [("silent", 1, True, NOW + 75 * MINUTE)]


def test_what_came_last_counts_though_it_told_of_earlier(store: Any) -> None:
    say(store, 1)
    say(store, 2, clock_off=9)  # the newest by its own time
    say(store, 40, clock_off=-35)
    (wake,) = wakes(store)
    then = asked(store, wake, 46)
    assert then is not None
    assert (
        then.fire_at == NOW + 2 * MINUTE + LIMIT
    )  # by the newest reading; all that came is looked at when that is due
    then = asked(store, then, 47)
    assert then is not None
    assert then.fire_at == NOW + 40 * MINUTE + LIMIT


def test_a_clock_years_off_is_heard_all_the_same(store: Any) -> None:
    say(store, 1)
    say(store, 40, clock_off=-60 * 24 * 4000)
    (wake,) = wakes(store)
    then = asked(store, wake, 46)
    assert then is not None
    assert then.fire_at == NOW + 40 * MINUTE + LIMIT


def test_being_heard_again_ends_the_silence_and_begins_a_new_watch(store: Any) -> None:
    say(store, 1)
    (wake,) = wakes(store)
    closing = asked(store, wake, 46)
    say(store, 90)
    say(store, 91)
    assert told(store) == [("silent", 1, True, NOW + 46 * MINUTE), ("silent", 2, False, NOW + 90 * MINUTE)]
    assert [(w.generation, w.fire_at) for w in wakes(store)] == [(2, NOW + 46 * MINUTE), (3, NOW + 135 * MINUTE)]
    assert closing is not None
    assert asked(store, closing, 60 * 24 * 4) is asked(store, wake, 200) is None  # of the plan before
    assert len(told(store)) == 2


def test_of_two_plans_only_the_newer_goes_on(store: Any) -> None:
    say(store, 0)
    week = WRITTEN_EVERY / MINUTE
    for minutes in range(15, int(week) + 1, 15):
        say(store, minutes)
    old, new = wakes(store)
    assert asked(store, old, week + 1) is None
    then = asked(store, new, week + 1)
    assert then == new


def test_a_message_that_comes_between_the_look_and_the_write_wins(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    say(store, 1)
    (wake,) = wakes(store)
    save, raced = store.save, []

    def overtaken(state: Any, **more: Any) -> None:
        if not raced:
            raced.append(True)
            say(store, 47, clock_off=-60 * 24 * 4000)
        save(state, **more)

    monkeypatch.setattr(store, "save", overtaken)
    assert look([wake], at=NOW + 46 * MINUTE, store=store, clock=lambda: NOW) == []
    assert told(store) == []
    assert asked(store, wake, 47) == Wake("devices", LIFT.device_id, SILENCE, 2, NOW + 92 * MINUTE, "major")


def test_a_wake_whose_device_fails_is_not_answered_and_the_others_are(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(state: Any, **_: Any) -> None:
        raise StaleVersion

    monkeypatch.setattr(store, "save", stale)
    due = Wake("devices", LIFT.device_id, SILENCE, 1, NOW + LIMIT, "major")
    later = Wake("devices", METER.device_id, SILENCE, 1, NOW + 60 * MINUTE, "minor")
    nobody = Wake("devices", "01ARZ3NDEKTSV4RRFFQ69G5FAZ", SILENCE, 1, NOW, None)
    answers = look([due, later, nobody], at=NOW + LIMIT, store=store, clock=lambda: NOW)
    assert [(a.wake, a.then and a.then.fire_at) for a in answers] == [
        (later, NOW + timedelta(hours=25)),
        (nobody, None),
    ]


def test_a_device_that_is_out_of_service_is_no_longer_missed(store: Any) -> None:
    store.bar(LIFT.device_id, "retired")
    assert asked(store, Wake("devices", LIFT.device_id, SILENCE, 1, NOW + LIMIT, "major"), 50) is None
    assert told(store) == []


def connect(store: Any, minutes: float, number: int, *, up: bool, device: Device = LIFT) -> bool:
    at = NOW + minutes * MINUTE
    return take_presence(
        device.device_id, Presence(up, number, at, 0), correlation_id="trace-2", store=store, clock=lambda: at
    )


def test_a_lost_connection_that_does_not_come_back_is_told_and_its_return_too(store: Any) -> None:
    assert connect(store, 0, 0, up=True)
    assert connect(store, 5.5, 0, up=False)
    (wake,) = wakes(store, OFFLINE)
    assert (wake.generation, wake.fire_at) == (1, NOW + 15 * MINUTE)
    assert asked(store, wake, 14) == wake
    assert asked(store, wake, 15) is None
    assert connect(store, 20, 1, up=True)
    assert told(store) == [("offline", 1, True, NOW + 15 * MINUTE), ("offline", 2, False, NOW + 20 * MINUTE)]


def test_a_connection_that_came_back_in_time_is_nothing_to_tell(store: Any) -> None:
    connect(store, 0, 0, up=True)
    connect(store, 5, 0, up=False)
    connect(store, 6, 1, up=True)
    (wake,) = wakes(store, OFFLINE)
    assert asked(store, wake, 15) is None
    connect(store, 14, 1, up=False)
    assert asked(store, wake, 16) is None  # of the disconnection before
    assert told(store) == []


@pytest.mark.parametrize(
    ("first", "second", "connected"),
    [
        ((1, 1, False), (1.01, 0, True), False),  # late: an older connection's beginning
        ((1, 0, False), (0.9, 0, True), False),  # late: the same connection's beginning
        ((1, 2, True), (1.2, 1, False), True),  # taken over: the older session's end comes after
        ((1, 7, False), (90, 0, True), True),  # counted from 0 again after an hour away
        ((90, 0, True), (1, 7, False), True),  # and that the other way round
    ],
)
def test_connections_are_ordered_however_they_come(store: Any, first: Any, second: Any, connected: bool) -> None:
    for minutes, number, up in (first, second):
        connect(store, minutes, number, up=up)
    presence = store.states([LIFT.device_id])[LIFT.device_id].presence
    assert presence.connected is connected
    assert not connect(store, first[0], first[1], up=first[2])  # and again


def test_the_first_message_plans_the_watch_though_the_connection_wrote_the_row_before(store: Any) -> None:
    connect(store, 0, 0, up=True)
    say(store, 1)
    say(store, 2)
    assert [(wake.generation, wake.fire_at) for wake in wakes(store)] == [(2, NOW + MINUTE + LIMIT)]


def test_telemetry_of_a_device_that_is_thought_away_says_that_it_is_not(store: Any) -> None:
    connect(store, 1, 0, up=False)
    (wake,) = wakes(store, OFFLINE)
    asked(store, wake, 11)
    say(store, 12)
    assert [change[:3] for change in told(store)] == [("offline", 1, True), ("offline", 2, False)]


def test_who_need_not_be_connected_and_who_is_nobody_are_left_alone(store: Any) -> None:
    assert not connect(store, 1, 0, up=False, device=METER)
    assert not take_presence("operator", Presence(False, 0, NOW, 0), correlation_id="t", store=store, clock=lambda: NOW)
    assert store.facts == []


def test_the_handlers() -> None:
    with table_on_moto("devices"):
        store = RealStore()
        store.add_device(LIFT)
        body = {"clientId": LIFT.device_id, "eventType": "disconnected", "timestamp": int(NOW.timestamp() * 1000)}
        lifecycle = [{**body, "versionNumber": 3, "trace": "t-1"}, {**body, "trace": "t-2", "eventType": "moved"}]
        answer = on_presence.handler(sqs(*map(json.dumps, lifecycle)), CONTEXT)
        assert answer == {"batchItemFailures": []}
        (wake,) = wakes(store, OFFLINE)
        event = {"at": iso(wake.fire_at), "wakes": [wake.sort_key]}
        assert on_wake.handler(event, CONTEXT) == {"answers": [{"wake": wake.sort_key, "then": None}]}
        assert [change[:3] for change in told(store)] == [("offline", 1, True)]


def test_a_row_is_believed_or_doubted_by_the_moment_it_came() -> None:
    reading = Reading(NOW, 1, {"load": 1.0})
    assert not Kept("d", (reading,), NOW + timedelta(hours=24), None).doubted
    assert Kept("d", (reading,), NOW + timedelta(hours=25), None).doubted
