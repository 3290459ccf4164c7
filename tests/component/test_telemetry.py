"""Telemetry: kept once however it comes, the newest trusted reading read back, thresholds crossed once; fake and real."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pynamodb.attributes import UnicodeAttribute

from devices import on_telemetry
from devices.domain import Device, Reading
from devices.queries import seen_state
from devices.state import SILENCE, WRITTEN_EVERY, DeviceState, Told, hear
from devices.telemetry import keep_telemetry
from devices.telemetry_store import StateRow, TelemetryStore
from linli.clock import beijing_day, iso
from linli.deviceclass import device_class
from linli.errors import StaleVersion, Unavailable
from linli.table import ParkedRow
from tests.fakes_devices import FakeArchive, FakeTelemetryStore, RealStore
from tests.support import CONTEXT, NOW, PLACE, delivery, sqs, table_on_moto

HOUR = timedelta(hours=1)
METER, SMOKE, BAND = (
    Device(f"01ARZ3NDEKTSV4RRFFQ69G5FA{number}", name, f"SN-{number}", PLACE, NOW - 2 * HOUR, "certificate")
    for number, name in enumerate(("water_meter", "smoke_detector", "heart_rate_band"))
)


@pytest.fixture(params=["fake", "real"])
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    with table_on_moto("devices") if request.param == "real" else nullcontext():
        store: Any = RealStore() if request.param == "real" else FakeTelemetryStore()
        for device in (METER, SMOKE, BAND):
            store.add_device(device)
        yield store


def reading(hours: float, seq: int, value: float = 1.5, metric: str = "flow") -> Reading:
    return Reading(NOW + hours * HOUR, seq, {metric: value})


def told(device: Device, *readings: Reading, received: float = 0) -> Told:
    return Told(device.device_id, readings, NOW + received * HOUR, "trace-1")


def keep(store: Any, *messages: Told, archive: FakeArchive | None = None) -> dict[int, Exception]:
    received_at = max(message.received_at for message in messages)
    return keep_telemetry(messages, store=store, archive=archive or FakeArchive(), clock=lambda: received_at)


def seen(store: Any, device: Device, *, now: datetime = NOW) -> Any:
    return seen_state(store.states([device.device_id])[device.device_id], store=store, now=now)


def history(store: Any, device: Device, *days: datetime) -> list[int]:
    found = (store.day(device.device_id, beijing_day(day), limit=500)[0] for day in days)
    return [r.seq for rows in found for row in rows for r in row.readings]


def changes(store: Any) -> list[tuple[str, int, bool]]:
    found = [fact for fact in store.facts if fact.type == "DeviceConditionChanged"]
    return [(fact.data["alarm_type"], fact.aggregate_version, fact.data["active"]) for fact in found]


def test_what_comes_late_early_twice_and_out_of_order_is_kept_once_and_the_newest_trusted_is_the_last(
    store: Any,
) -> None:
    day = told(METER, reading(-2, 1), reading(-1, 2, 2.5), reading(0, 3, 3.5))
    late, early = told(METER, reading(-3, 0, 9.9)), told(METER, reading(48, 4, 7.7))
    years_off, old = told(METER, reading(-24 * 4000, 5)), told(METER, reading(-100, 6))
    assert keep(store, day, late, day, early, years_off, old, day) == {}
    last = seen(store, METER).last
    assert (last.seq, last.values) == (3, {"flow": 3.5})
    assert history(store, METER, NOW - 12 * HOUR, NOW) == [0, 1, 2, 3]
    assert history(store, METER, NOW + 48 * HOUR) == [4]
    assert history(store, METER, NOW - 24 * 4000 * HOUR) == [5]
    assert history(store, METER, NOW - 100 * HOUR) == [6]


def test_a_message_over_midnight_stands_on_both_days_and_again_in_the_same_rows(store: Any) -> None:
    over = told(METER, *(reading(hours, hours + 12) for hours in range(-12, 1)))  # Beijing's midnight is at -9 h
    keep(store, over)
    keep(store, over)
    assert history(store, METER, NOW - 12 * HOUR) == [0, 1, 2]
    assert history(store, METER, NOW) == list(range(3, 13))


def test_a_late_copy_of_a_short_message_does_not_replace_a_long_one(store: Any) -> None:
    one = told(METER, reading(0, 0))
    hours = told(METER, *(reading(number / 60, number) for number in range(9)))
    keep(store, one, hours, one)
    assert sorted(set(history(store, METER, NOW))) == list(range(9))


def test_what_the_clock_says_wrongly_keeps_the_moment_it_was_first_received(store: Any) -> None:
    message = told(METER, reading(-1, 1))
    keep(store, message)
    assert seen(store, METER).last.seq == 1
    keep(store, told(METER, reading(-1, 1), received=30))
    assert seen(store, METER, now=NOW + 30 * HOUR).last.seq == 1


def test_the_row_is_not_written_while_nothing_changes_and_once_a_week_with_a_new_watch(store: Any) -> None:
    keep(store, told(METER, reading(0, 1)))
    first = store.states([METER.device_id])[METER.device_id]
    for hour in range(1, 167):
        keep(store, told(METER, reading(hour, hour + 1), received=hour))
    assert store.states([METER.device_id])[METER.device_id] == first
    assert seen(store, METER, now=NOW + 166 * HOUR).last.seq == 167
    week = WRITTEN_EVERY / HOUR
    keep(store, told(METER, reading(week, 169), received=week))
    after = store.states([METER.device_id])[METER.device_id]
    assert (after.revision, after.watch, after.last.seq) == (2, 3, 169)
    wakes = [fact for fact in store.facts if fact.type == "DeviceWakeWanted"]
    assert [(wake.data["rung"], wake.data["generation"]) for wake in wakes] == [(SILENCE, 2), (SILENCE, 3)]


def test_a_clock_that_is_wrong_all_the_time_still_shows_that_the_device_lives(store: Any) -> None:
    keep(store, told(METER, reading(0, 1)))
    keep(store, told(METER, reading(-24 * 4000, 2), received=1))
    state = store.states([METER.device_id])[METER.device_id]
    assert (state.heard_at, state.last.seq) == (NOW + HOUR, 1)


def test_the_last_state_is_found_though_the_clock_went_wrong_after_it(store: Any) -> None:
    keep(store, told(METER, reading(0, 1)))
    keep(store, told(METER, reading(60, 2), received=60))
    for hours in (100, 150, 160):
        keep(store, told(METER, reading(-24 * 4000 + hours, hours), received=hours))
    assert seen(store, METER, now=NOW + 165 * HOUR).last.seq == 2


def test_a_value_out_of_range_is_kept_flagged_and_believed_by_nobody(store: Any) -> None:
    keep(store, told(SMOKE, reading(0, 1, 50, "battery")))
    mixed = Reading(NOW + HOUR, 2, {"battery": -1, "temperature": 21})
    keep(store, told(SMOKE, mixed, reading(1.1, 3, 101, "battery"), received=1.2))
    last = seen(store, SMOKE, now=NOW + 2 * HOUR).last
    assert (last.seq, last.values) == (2, {"temperature": 21})
    rows, _ = store.day(SMOKE.device_id, beijing_day(NOW), limit=500)
    flagged = {r.seq: (dict(r.values), r.suspect) for row in rows for r in row.readings}
    assert flagged[2] == ({"battery": -1, "temperature": 21}, ("battery",))
    assert flagged[3] == ({"battery": 101}, ("battery",))
    assert changes(store) == []


def test_a_threshold_is_crossed_once_with_hysteresis_and_only_by_what_is_newer(store: Any) -> None:
    for hour, battery in enumerate((50, 14, 20, 13, 26, 24)):
        keep(store, told(SMOKE, reading(hour, hour, battery, "battery"), received=hour))
    assert changes(store) == [("battery_low", 1, True), ("battery_low", 2, False)]
    assert seen(store, SMOKE, now=NOW + 6 * HOUR).conditions == ()
    late = told(SMOKE, reading(4.5, 9, 3, "battery"), received=6)
    again = told(SMOKE, reading(1, 1, 14, "battery"), received=6)
    untrusted = told(SMOKE, reading(-30, 10, 3, "battery"), received=6)
    keep(store, late, again, untrusted)
    assert len(changes(store)) == 2
    keep(store, told(SMOKE, reading(6, 11, 3, "battery"), received=6))
    assert seen(store, SMOKE, now=NOW + 6 * HOUR).conditions == ("battery_low",)


def test_what_came_and_went_within_a_message_is_told_as_one_beginning_and_one_end(store: Any) -> None:
    values = (50, 10, 50, 9, 50)
    keep(store, told(SMOKE, *(reading(n / 60, n, value, "battery") for n, value in enumerate(values))))
    assert changes(store) == [("battery_low", 1, True), ("battery_low", 2, False)]
    times = [fact.data["changed_at"] for fact in store.facts if fact.type == "DeviceConditionChanged"]
    assert [datetime.fromisoformat(at) for at in times] == [NOW + HOUR / 60, NOW + 4 * HOUR / 60]


def test_a_crossing_that_was_committed_but_not_acknowledged_is_not_told_again(store: Any) -> None:
    message = told(SMOKE, reading(0, 1, 10, "battery"))
    keep(store, message)
    keep(store, message)
    assert changes(store) == [("battery_low", 1, True)]


def test_a_crossing_whose_worker_died_after_the_history_is_told_when_the_message_comes_again(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, told(SMOKE, reading(0, 1, 50, "battery")))
    message = told(SMOKE, reading(1, 2, 10, "battery"), received=1)
    with monkeypatch.context() as dying:

        def dies(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        dying.setattr(store, "save", dies)
        with pytest.raises(KeyboardInterrupt):
            keep(store, message)
    assert changes(store) == []
    keep(store, message)
    assert changes(store) == [("battery_low", 1, True)]


def test_a_state_somebody_else_wrote_meanwhile_is_decided_on_anew(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(store, told(SMOKE, reading(0, 1, 50, "battery")))
    save, raced = store.save, []

    def overtaken(state: DeviceState, **more: Any) -> None:
        if not raced:
            raced.append(True)
            keep(store, told(SMOKE, reading(2, 3, 12, "battery"), received=2))
        save(state, **more)

    monkeypatch.setattr(store, "save", overtaken)
    assert keep(store, told(SMOKE, reading(1, 2, 10, "battery"), received=2)) == {}
    assert changes(store) == [("battery_low", 1, True)]
    monkeypatch.setattr(store, "save", lambda *_, **__: (_ for _ in ()).throw(StaleVersion()))
    refused = keep(store, told(SMOKE, reading(3, 4, 90, "battery"), received=3))
    assert [type(error) for error in refused.values()] == [Unavailable]


def test_a_barred_device_is_not_listened_to_and_its_neighbours_are(store: Any) -> None:
    store.bar(METER.device_id, "retired")
    refused = keep(store, told(METER, reading(0, 1)), told(SMOKE, reading(0, 1, 50, "battery")))
    assert {place: (error.field, error.details["reason"]) for place, error in refused.items()} == {  # type: ignore[attr-defined]
        0: ("thing", "retired thing")
    }
    assert history(store, METER, NOW) == []
    assert seen(store, SMOKE).last.seq == 1


def test_sensitive_values_are_not_shown_and_not_archived_and_their_condition_is_told(store: Any) -> None:
    archive = FakeArchive()
    keep(store, told(BAND, reading(0, 1, 150, "heart_rate")), told(METER, reading(0, 1)), archive=archive)
    shown = seen(store, BAND)
    assert (shown.last, shown.hidden, shown.conditions) == (None, True, ())
    assert archive.kept == [("water_meter", METER.device_id)]
    assert "150" not in json.dumps([fact.data for fact in store.facts], default=str)


def test_what_the_archive_does_not_take_is_in_the_history_and_comes_again(store: Any) -> None:
    archive = FakeArchive()
    archive.busy = {METER.device_id}
    message, other = told(METER, reading(0, 1)), told(SMOKE, reading(0, 1, 50, "battery"))
    refused = keep(store, message, other, archive=archive)
    assert [(place, type(error)) for place, error in refused.items()] == [(0, Unavailable)]
    assert history(store, METER, NOW) == [1]
    archive.busy = set()
    assert keep(store, message, archive=archive) == {}
    assert archive.kept == [("smoke_detector", SMOKE.device_id), ("water_meter", METER.device_id)]


MESSAGE = st.tuples(
    st.lists(st.tuples(st.integers(-30, 2), st.sampled_from((5, 20, 40, 150))), min_size=1, max_size=4),
    st.integers(0, 3),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MESSAGE, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_however_messages_come_the_last_state_is_the_newest_that_may_be_believed(messages: Any, chance: Any) -> None:
    """Against the plain definition, over any grouping into batches and any repetition."""
    store = FakeTelemetryStore()
    store.add_device(SMOKE)
    said: dict[int, float] = {}  # the same (t, seq) is the same reading, whichever message it comes in
    for values, _ in messages:
        said |= {t: said.get(t, value) for t, value in values}
    sent = [
        told(SMOKE, *(reading(t, 100 + t, said[t], "battery") for t in dict(values)), received=received)
        for values, received in messages
    ]
    sent.sort(key=lambda message: message.received_at)
    deliveries = [message for message in sent for _ in range(chance.randint(1, 2))]
    while deliveries:
        batch = [deliveries.pop(0) for _ in range(min(len(deliveries), chance.randint(1, 3)))]
        assert keep(store, *batch) == {}
    believed = [
        r
        for m in sent
        for r in m.readings
        if -24 <= (r.at - m.received_at) / HOUR <= 1 / 6 and r.values["battery"] != 150
    ]
    last = seen(store, SMOKE, now=NOW + 4 * HOUR).last
    assert (last and last.at) == max((r.at for r in believed), default=None)
    versions = [version for _, version, _ in changes(store)]
    assert versions == list(range(1, len(versions) + 1))
    assert [active for _, _, active in changes(store)] == [number % 2 == 0 for number in range(len(versions))]


def test_hearing_decides_nothing_when_nothing_is_to_be_written() -> None:
    of = device_class("smoke_detector")
    assert of is not None
    state = DeviceState(SMOKE.device_id, of.name, NOW, reading(0, 1, 50, "battery"), closed_to="20261121", revision=2)
    assert hear(state, [told(SMOKE, reading(1, 2, 49, "battery"), received=1)], of) is None


# The handler


@pytest.fixture
def table() -> Iterator[RealStore]:
    with table_on_moto("devices"):
        store = RealStore()
        for device in (METER, SMOKE):
            store.add_device(device)
        yield store


def parked(store: TelemetryStore) -> list[tuple[str | None, str]]:
    class Parked(ParkedRow):
        Meta = store.table._base.Meta

    return sorted((row.field or "", row.reason) for row in Parked.scan(Parked.pk.startswith("PARKED#")))


def sent(hours: float, seq: int, flow: Any = 1.5) -> dict[str, Any]:
    return {"t": iso(NOW + hours * HOUR), "seq": seq, "v": {"flow": flow}}


def test_telemetry_that_cannot_be_understood_is_parked_with_its_reason(table: RealStore) -> None:
    thing = METER.device_id
    batch = sqs(
        delivery(thing, b"\x00\x01"),
        delivery(thing, {"readings": []}),
        delivery(thing, {"readings": [sent(0, -1)]}),
        delivery(thing, {"readings": [sent(0, 1, "1.5")]}),
        delivery(thing, {"readings": [sent(0, 1, float("nan"))]}),
        delivery(thing, {"readings": [sent(0, 10**20)]}),
        delivery(thing, {"readings": [sent(0, 1), {**sent(0, 1), "v": {"pressure": 1}}]}),
        delivery("stranger", {"readings": [sent(0, 1)]}),
        delivery(thing, {"readings": [sent(0, 5)]}),
    )
    assert on_telemetry.handler(batch, CONTEXT) == {"batchItemFailures": []}
    assert parked(table) == [
        ("", "json_invalid"),
        ("readings", "too_short"),
        ("readings.0.seq", "greater_than_equal"),
        ("readings.0.seq", "less_than"),
        ("readings.0.v.flow", "finite_number"),
        ("readings.0.v.flow", "float_type"),
        ("readings.1.v", "unknown metric"),
        ("thing", "unknown thing"),
    ]
    assert seen(table, METER).last.seq == 5


def test_a_message_no_write_takes_is_found_and_the_others_are_kept(
    table: RealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(kept: Any) -> set[tuple[str, str]]:
        if any(r.seq == 13 for one in kept for r in one.readings):
            raise ValueError("an item of the joint write is refused")
        return TelemetryStore.keep(table, kept)

    monkeypatch.setattr(on_telemetry, "store", table)
    monkeypatch.setattr(table, "keep", picky)
    bodies = [delivery(METER.device_id, {"readings": [sent(-number / 60, number)]}) for number in (3, 13, 1)]
    answer = on_telemetry.handler(sqs(*bodies), CONTEXT)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
    assert history(table, METER, NOW) == [3, 1]
    assert parked(table) == []
    assert on_telemetry.handler(sqs(*bodies, receives=18), CONTEXT) == {"batchItemFailures": []}
    assert parked(table) == [("", "unexpected ValueError")]


def test_while_the_table_is_busy_all_wait_and_nothing_is_parked(
    table: RealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def busy(_: Any) -> dict[str, DeviceState]:
        tries.append(1)
        raise Unavailable()

    monkeypatch.setattr(on_telemetry, "store", table)
    monkeypatch.setattr(table, "states", busy)
    bodies = [delivery(METER.device_id, {"readings": [sent(0, number)]}) for number in range(3)]
    answer = on_telemetry.handler(sqs(*bodies, receives=19), CONTEXT)
    assert [one["itemIdentifier"] for one in answer["batchItemFailures"]] == ["message-0", "message-1", "message-2"]
    assert (tries, parked(table)) == ([1], [])


def test_a_row_the_table_left_unprocessed_is_tried_again_and_then_comes_again(
    table: RealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_telemetry, "store", table)
    monkeypatch.setattr("linli.table.pause", lambda _: None)
    client = table.table._connection.client
    write = client.batch_write_item
    left = []

    def half(RequestItems: dict[str, Any]) -> Any:  # noqa: N803
        ((name, requests),) = RequestItems.items()
        kept = [one for one in requests if not one["PutRequest"]["Item"]["sk"]["S"].startswith(iso(NOW))]
        left.append(len(requests) - len(kept))
        if kept:
            write(RequestItems={name: kept})
        return {"UnprocessedItems": {name: [one for one in requests if one not in kept]} if left[-1] else {}}

    monkeypatch.setattr(client, "batch_write_item", half)
    bodies = [delivery(METER.device_id, {"readings": [sent(number / 60, number)]}) for number in range(3)]
    answer = on_telemetry.handler(sqs(*bodies), CONTEXT)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    assert left == [1] * 8
    assert history(table, METER, NOW) == [1, 2]


def test_a_state_row_of_the_first_version_is_read_and_written_anew(table: RealStore) -> None:
    class OldState(StateRow):
        Meta = StateRow.Meta
        received_at = UnicodeAttribute()

    old = OldState(
        f"THING#{METER.device_id}", "STATE", v=1, at=iso(NOW), seq=7, values={"flow": 2.0}, received_at=iso(NOW)
    )
    table.table.rows(OldState)
    old.save()
    assert seen(table, METER).last.seq == 7
    keep(table, told(METER, reading(1, 8), received=1))
    state = table.states([METER.device_id])[METER.device_id]
    assert (state.revision, state.last.seq if state.last else None, state.watch) == (1, 8, 2)
