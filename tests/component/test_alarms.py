"""Device events: one alarm for each device and type, each message once, what cannot be understood parked."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alarms import on_device_changed, on_device_event
from alarms.commands import hear
from alarms.domain import KnownDevice, Outcome, event_said, event_terms
from alarms.events import AlarmCleared, AlarmRaised
from alarms.store import AlarmStore
from devices.domain import LifeState
from devices.events import DeviceChanged, DeviceRegistered
from linli.clock import iso
from linli.facts import Place, envelope
from linli.table import ParkedRow
from tests.fakes import FakeAlarmStore
from tests.support import CONTEXT, NOW, PLACE, delivery, on_bus, sqs, table_on_moto

DEVICE = KnownDevice("device-1", "smoke_detector", PLACE)
TERMS = event_terms("smoke_detector", "smoke")


@pytest.fixture(params=["fake", "real"])
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "fake":
        yield FakeAlarmStore()
    else:
        with table_on_moto("alarms"):
            yield AlarmStore()


@pytest.fixture
def table() -> Iterator[AlarmStore]:
    with table_on_moto("alarms"):
        yield AlarmStore()


def take(store: Any, seq: int, *, active: bool) -> Outcome | None:
    event = event_said(NOW + timedelta(seconds=seq), seq, active=active, received_at=NOW)
    taken = hear(DEVICE, TERMS, event, correlation_id=f"trace-{seq}", store=store, clock=lambda: NOW)
    return taken and taken[1]


def smoke(number: int, state: str = "active", **changed: Any) -> dict[str, Any]:
    return {"at": iso(NOW + timedelta(seconds=number)), "seq": number, "event": "smoke", "state": state, **changed}


def parked(store: AlarmStore) -> list[Any]:
    class Parked(ParkedRow):
        Meta = on_device_event.store.table._base.Meta

    return list(Parked.scan(Parked.pk.startswith("PARKED#")))


def test_every_message_is_kept_once_and_the_alarm_moves_once(store: Any) -> None:
    outcomes = [take(store, 1, active=True), take(store, 2, active=True), take(store, 3, active=False)]
    assert outcomes == [Outcome.RAISED, Outcome.REPEATED, Outcome.CLEARED]
    assert [take(store, seq, active=seq < 3) for seq in (3, 1, 2)] == [None, None, None]
    alarm = store.alarm(DEVICE, TERMS)
    assert (alarm.version, alarm.active, alarm.occurrences) == (3, False, 2)
    history = [(s.action, s.state) for s in store.history("device-1", "smoke")]
    assert history == [("raised", "active"), ("repeated", "active"), ("cleared", "cleared")]


def test_a_change_of_state_is_a_fact_and_nothing_else_is() -> None:
    store = FakeAlarmStore()
    for seq, active in ((1, True), (2, True), (3, False), (4, False)):
        take(store, seq, active=active)
    raised, cleared = store.table.outbox
    assert (raised.type, raised.aggregate_id, raised.aggregate_version) == ("AlarmRaised", "device-1#smoke", 1)
    assert (cleared.type, cleared.aggregate_version) == ("AlarmCleared", 2)
    assert raised.correlation_id == cleared.correlation_id == "trace-1"
    assert AlarmRaised.model_validate(raised.data).alarm_id == AlarmCleared.model_validate(cleared.data).alarm_id


def test_an_alarm_whose_end_came_first_is_told_with_its_end() -> None:
    store = FakeAlarmStore()
    take(store, 9, active=False)
    take(store, 5, active=True)
    raised, cleared = store.table.outbox
    assert [(f.type, f.aggregate_version) for f in (raised, cleared)] == [("AlarmRaised", 1), ("AlarmCleared", 2)]
    assert raised.data["alarm_id"] == cleared.data["alarm_id"]


def test_the_same_moment_with_another_state_is_parked_not_swallowed(table: AlarmStore) -> None:
    table.remember(DEVICE)
    batch = sqs(delivery("device-1", smoke(1)), delivery("device-1", smoke(1, state="clear")))
    assert on_device_event.handler(batch, CONTEXT) == {"batchItemFailures": []}
    assert [row.reason for row in parked(table)] == ["idempotency-key-reused"]


def test_a_batch_takes_what_it_can_and_parks_what_it_cannot_read(table: AlarmStore) -> None:
    table.remember(DEVICE)
    batch = sqs(
        delivery("device-1", smoke(1)),
        delivery("device-1", b"\xff\xfe not json"),
        delivery("device-1", smoke(2, seq="2")),
        delivery("device-1", smoke(3, event="fall")),
        delivery("device-1", smoke(4, state="burning")),
        delivery("device-1", smoke(5, at="yesterday")),
        delivery("device-1", smoke(5, at=1)),
        delivery("device-1", smoke(5, at="2026-11-23T09:00:00")),
        delivery("device-1", b'{"at": NaN}'),
        delivery("device-1", b"[" * 100_000),
        delivery("device-1", smoke(6, division="999999999999", vendor={"rssi": -60})),
        "not a delivery",
    )
    assert on_device_event.handler(batch, CONTEXT) == {"batchItemFailures": []}
    assert [s.action for s in table.history("device-1", "smoke")] == ["raised", "repeated"]
    reasons = sorted((row.field or "", row.reason) for row in parked(table))
    assert reasons == [
        ("", "json_invalid"),
        ("", "json_invalid"),
        ("", "json_invalid"),
        ("at", "datetime_parsing"),
        ("at", "datetime_type"),
        ("at", "datetime_type"),
        ("at", "timezone_aware"),
        ("event", "unknown event for this device class"),
        ("seq", "int_type"),
        ("state", "literal_error"),
    ]
    assert table.alarm(DEVICE, TERMS).place == PLACE


def test_an_unknown_thing_is_tried_again_and_parked_at_the_last_receive(table: AlarmStore) -> None:
    batch = sqs(delivery("stranger", smoke(1)))
    assert on_device_event.handler(batch, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    assert parked(table) == []
    last = sqs(delivery("stranger", smoke(1)), receives=18)
    assert on_device_event.handler(last, CONTEXT) == {"batchItemFailures": []}
    (row,) = parked(table)
    assert (row.reason, row.field, row.source) == ("unknown-thing", "thing", "device_events")
    assert row.size == len(json.loads(json.dumps(last["Records"][0]["body"])))


def test_the_registrys_word_is_remembered_and_an_unknown_version_is_parked(table: AlarmStore) -> None:
    fact = envelope(
        DeviceRegistered(device_id="device-1", device_class="smoke_detector", place=PLACE),
        aggregate_id="device-1",
        aggregate_version=1,
        at=NOW,
        correlation_id="r-1",
    )
    newer = fact.model_copy(update={"version": 2, "aggregate_id": "device-2"})
    assert on_device_changed.handler(sqs(on_bus(fact), on_bus(newer)), CONTEXT) == {"batchItemFailures": []}
    assert table.device("device-1") == DEVICE
    (row,) = parked(table)
    assert row.reason == "DeviceRegistered v2"


def test_the_newest_word_of_the_registry_counts(store: Any) -> None:
    assert store.remember(replace(DEVICE, state="revoked", version=3))
    assert not store.remember(replace(DEVICE, version=2))
    assert store.device("device-1").state == "revoked"
    assert store.remember(replace(DEVICE, version=4))
    assert store.device("device-1").state == "in_service"


def test_a_withdrawn_devices_events_are_parked_and_a_moved_ones_alarm_has_the_new_place(table: AlarmStore) -> None:
    def changed(version: int, state: LifeState, place: Place) -> str:
        fact = DeviceChanged(device_id="device-1", device_class="smoke_detector", place=place, state=state)
        return on_bus(envelope(fact, aggregate_id="device-1", aggregate_version=version, at=NOW, correlation_id="r-1"))

    elsewhere = Place(path=PLACE.path, grid_id=f"{PLACE.community}002")
    table.remember(DEVICE)
    on_device_changed.handler(
        sqs(changed(3, LifeState.IN_SERVICE, elsewhere), changed(2, LifeState.REVOKED, PLACE)), CONTEXT
    )
    on_device_event.handler(sqs(delivery("device-1", smoke(1))), CONTEXT)
    (said,) = [row.fact for row in table.table._outbox.scan(table.table._outbox.pk.startswith("OUT#"))]
    assert (said["type"], said["data"]["place"]["grid_id"]) == ("AlarmRaised", elsewhere.grid_id)
    for version, state in ((4, LifeState.REVOKED), (5, LifeState.RETIRED)):
        on_device_changed.handler(sqs(changed(version, state, elsewhere)), CONTEXT)
        batch = sqs(delivery("device-1", smoke(version)))
        batch["Records"][0]["messageId"] = f"message-{version}"
        on_device_event.handler(batch, CONTEXT)
    assert {(row.field, row.reason) for row in parked(table)} == {
        ("thing", "device revoked"),
        ("thing", "device retired"),
    }


def test_what_alarms_when_its_device_is_retired_ends_once(table: AlarmStore) -> None:
    fact = DeviceChanged(device_id="device-1", device_class="smoke_detector", place=PLACE, state=LifeState.RETIRED)
    retired = on_bus(envelope(fact, aggregate_id="device-1", aggregate_version=2, at=NOW, correlation_id="r-1"))
    table.remember(DEVICE)
    take(table, 300, active=True)
    for _ in range(2):
        assert on_device_changed.handler(sqs(retired), CONTEXT) == {"batchItemFailures": []}
    assert not table.alarm(DEVICE, TERMS).active
    assert [step.action for step in table.history("device-1", "smoke")] == ["raised", "cleared"]
