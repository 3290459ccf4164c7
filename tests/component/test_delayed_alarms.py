"""On-delays, momentary events and conditions on the fake store and on DynamoDB rows alike, and through their handlers."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest

from alarms import on_condition_changed, on_device_event, on_wake
from alarms.commands import hear, raise_delayed
from alarms.domain import KnownDevice, Moment, Outcome, Pending, Terms, event_said, event_terms
from alarms.store import AlarmStore
from devices.events import DeviceConditionChanged
from linli.clock import iso
from linli.facts import Envelope, envelope
from linli.wake import Wake
from tests.fakes import FakeAlarmStore
from tests.support import CONTEXT, NOW, PLACE, delivery, on_bus, sqs, table_on_moto

DOOR = KnownDevice("door-1", "door_sensor", PLACE)
BUTTON = KnownDevice("button-1", "sos_button", PLACE)
SMOKE = KnownDevice("smoke-1", "smoke_detector", PLACE)
OPEN = event_terms("door_sensor", "open")
DELAY = OPEN.delay


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
        known = AlarmStore()
        for device in (DOOR, BUTTON, SMOKE):
            known.remember(device)
        yield known


def at(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def facts() -> list[Envelope]:
    """What waits in the outbox, oldest first."""
    items = boto3.client("dynamodb").scan(TableName="linli-alarms")["Items"]
    rows = (item for item in items if item["pk"]["S"].startswith("OUT#"))
    said = (Envelope.model_validate_json(row["fact"]["S"]) for row in rows)
    return sorted(said, key=lambda fact: (fact.aggregate_id, fact.aggregate_version))


def take(store: Any, seconds: int, *, active: bool, terms: Terms = OPEN) -> Outcome | None:
    said = event_said(at(seconds), seconds, active=active, received_at=at(seconds))
    taken = hear(DOOR, terms, said, correlation_id=f"trace-{seconds}", store=store, clock=lambda: at(seconds))
    return taken and taken[1]


def look(store: Any, generation: int, *, when: datetime) -> str | None:
    alarm = raise_delayed(DOOR, OPEN, generation, at=when, store=store, clock=lambda: when)
    return alarm and alarm.state


def test_a_delay_is_kept_with_the_alarm_and_its_wake_raises_it_once(store: Any) -> None:
    assert [take(store, 0, active=True), take(store, 0, active=True)] == [Outcome.PENDING, None]
    alarm = store.alarm(DOOR, OPEN)
    assert (alarm.pending, alarm.generation) == (Pending(Moment(NOW, 0), NOW + DELAY, "trace-0"), 1)
    assert look(store, 1, when=NOW + DELAY - timedelta(seconds=1)) == "pending"
    assert look(store, 1, when=NOW + DELAY) == "active"
    assert look(store, 1, when=NOW + DELAY) is None
    alarm = store.alarm(DOOR, OPEN)
    assert (alarm.version, alarm.pending, alarm.raised_at, alarm.correlation_id) == (2, None, NOW + DELAY, "trace-0")
    assert take(store, 700, active=False) is Outcome.CLEARED
    assert [step.action for step in store.history("door-1", "open")] == ["pending", "raised", "cleared"]
    assert [step.subject for step in store.history("door-1", "open")] == ["device:door-1", "timers", "device:door-1"]


def test_an_end_in_time_and_a_new_delay_make_the_first_wake_stale(store: Any) -> None:
    assert [take(store, 0, active=True), take(store, 9, active=False)] == [Outcome.PENDING, Outcome.ENDED]
    assert (store.alarm(DOOR, OPEN).pending, store.alarm(DOOR, OPEN).quiet) == (None, Moment(at(9), 9))
    assert take(store, 20, active=True) is Outcome.PENDING
    assert look(store, 1, when=at(10_000)) == "pending"
    assert look(store, 2, when=at(10_000)) == "active"


def test_a_row_from_before_there_were_delays_is_read_and_goes_on(table: AlarmStore) -> None:
    row = {
        "pk": {"S": "DEVICE#door-1"},
        "sk": {"S": "A#open"},
        "v": {"N": "1"},
        "version": {"N": "2"},
        "active": {"BOOL": False},
        "alarm_id": {"S": "alarm-1"},
        "occurrences": {"N": "1"},
        "last_at": {"S": iso(at(-50))},
        "last_seq": {"N": "2"},
        "cleared_at": {"S": iso(at(-50))},
        "cleared_seq": {"N": "2"},
        "published": {"N": "2"},
        "correlation_id": {"S": "trace"},
    }
    boto3.client("dynamodb").put_item(TableName="linli-alarms", Item=row)
    alarm = table.alarm(DOOR, OPEN)
    assert (alarm.generation, alarm.pending, alarm.quiet, alarm.raised_at) == (0, None, None, None)
    assert take(table, 0, active=True) is Outcome.PENDING
    assert [fact.aggregate_version for fact in facts()] == [3]


def test_a_delay_is_told_to_timers_and_to_nobody_else(table: AlarmStore) -> None:
    take(table, 0, active=True)
    (fact,) = facts()
    assert (fact.type, fact.context, fact.aggregate_id, fact.aggregate_version) == (
        "AlarmWakeWanted",
        "alarms",
        "door-1#open",
        1,
    )
    assert (fact.correlation_id, fact.data) == (
        "trace-0",
        {"ref": "door-1#open", "rung": 100, "generation": 1, "fire_at": "2026-11-23T01:10:00Z", "severity": "warning"},
    )
    take(table, 9, active=False)
    assert len(facts()) == 1


def woken(*wakes: Wake, when: datetime) -> dict[str, str | None]:
    answer = on_wake.handler({"at": iso(when), "wakes": [wake.sort_key for wake in wakes]}, CONTEXT)
    return {said["wake"]: said["then"] for said in answer["answers"]}


def test_the_owner_answers_not_yet_then_nothing_more(table: AlarmStore) -> None:
    wake = Wake("alarms", "door-1#open", 100, 1, NOW + DELAY, "warning")
    stale = Wake("alarms", "door-1#open", 100, 7, NOW, "warning")
    unknown = [Wake("alarms", ref, 100, 1, NOW, "warning") for ref in ("stranger#open", "door-1#smoke", "smoke-1#x")]
    take(table, 0, active=True)
    early = woken(wake, stale, *unknown, when=NOW + DELAY - timedelta(milliseconds=1))
    assert early == {wake.sort_key: wake.sort_key} | dict.fromkeys([one.sort_key for one in (stale, *unknown)])
    for _ in range(2):
        assert woken(wake, when=NOW + DELAY) == {wake.sort_key: None}
    assert [fact.type for fact in facts()] == ["AlarmWakeWanted", "AlarmRaised"]
    assert facts()[-1].data["raised_at"] == "2026-11-23T01:10:00Z"


def test_each_press_of_a_button_is_raised_and_cleared_at_once_and_the_same_press_once(table: AlarmStore) -> None:
    def press(seq: int) -> str:
        return delivery("button-1", {"at": iso(at(seq)), "seq": seq, "event": "sos", "state": "active"})

    assert on_device_event.handler(sqs(press(1), press(1), press(2)), CONTEXT) == {"batchItemFailures": []}
    assert on_device_event.handler(sqs(press(1)), CONTEXT) == {"batchItemFailures": []}
    told = facts()
    assert [fact.type for fact in told] == ["AlarmRaised", "AlarmCleared"] * 2
    assert [fact.aggregate_version for fact in told] == [1, 2, 3, 4]
    assert len({fact.data["alarm_id"] for fact in told}) == 2
    assert {fact.data["severity"] for fact in told if fact.type == "AlarmRaised"} == {"critical"}
    assert [step.action for step in table.history("button-1", "sos")] == ["passed", "passed"]


def changed(version: int, *, active: bool, alarm_type: str = "battery_low", device_id: str = "smoke-1") -> str:
    fact = DeviceConditionChanged(device_id=device_id, alarm_type=alarm_type, active=active, changed_at=at(version))
    return on_bus(
        envelope(
            fact,
            aggregate_id=f"{device_id}#{alarm_type}",
            aggregate_version=version,
            at=at(version),
            correlation_id=f"trace-{version}",
        )
    )


def parked() -> list[tuple[str, str | None]]:
    items = boto3.client("dynamodb").scan(TableName="linli-alarms")["Items"]
    return [(i["reason"]["S"], i.get("field", {}).get("S")) for i in items if i["pk"]["S"].startswith("PARKED#")]


def test_a_condition_moves_its_alarm_once_a_version_and_by_the_classs_severity(table: AlarmStore) -> None:
    batch = [changed(1, active=True), changed(1, active=True), changed(2, active=False), changed(1, active=True)]
    assert on_condition_changed.handler(sqs(*batch), CONTEXT) == {"batchItemFailures": []}
    assert on_condition_changed.handler(sqs(*batch), CONTEXT) == {"batchItemFailures": []}
    raised, cleared = facts()
    assert (raised.type, raised.data["alarm_type"], raised.data["severity"]) == ("AlarmRaised", "battery_low", "minor")
    assert (cleared.type, cleared.correlation_id) == ("AlarmCleared", "trace-1")
    silent = sqs(changed(1, active=True, alarm_type="silent"))
    assert on_condition_changed.handler(silent, CONTEXT) == {"batchItemFailures": []}
    assert [fact.data["severity"] for fact in facts() if fact.aggregate_id == "smoke-1#silent"] == ["major"]
    assert parked() == []


def test_conditions_that_overtake_each_other_are_one_alarm_with_its_end(table: AlarmStore) -> None:
    order = [changed(version, active=version % 2 == 1) for version in (4, 2, 3, 1)]
    assert on_condition_changed.handler(sqs(*order), CONTEXT) == {"batchItemFailures": []}
    told = [fact.type for fact in facts()]
    assert told[:2] == ["AlarmRaised", "AlarmCleared"]
    assert table.history("smoke-1", "battery_low")[-1].state == "cleared"
    on_condition_changed.handler(sqs(changed(5, active=True)), CONTEXT)
    assert [fact.type for fact in facts()] == [*told, "AlarmRaised"]


def test_a_condition_of_an_unknown_device_waits_and_one_the_class_does_not_have_is_parked(table: AlarmStore) -> None:
    stranger = changed(1, active=True, device_id="stranger")
    batch = sqs(stranger, changed(1, active=True, alarm_type="smoke"), changed(1, active=True, alarm_type="cold"))
    assert on_condition_changed.handler(batch, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    assert parked() == [("unknown condition for this device class", "alarm_type")] * 2
    assert on_condition_changed.handler(sqs(stranger, receives=18), CONTEXT) == {"batchItemFailures": []}
    assert ("unknown-thing", "device_id") in parked()
