"""Drills: the cause of each alarm of ours is brought about, the function says it, and the alarm as deployed rings.

An alarm is judged as CloudWatch does: its statistic of what a period brought, against its threshold.
"""

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from ulid import ULID

from alarms import on_device_event
from alarms.domain import KnownDevice
from alarms.events import AlarmRaised
from alarms.store import AlarmStore
from devices import count_certificates
from devices.domain import Device
from identity import authorizer
from identity.tokens import Issuer, KeySet, KeysUnreachable, Refused, Verifier
from linli.clock import iso, utc_now
from linli.commands import command
from linli.facts import envelope
from linli.metrics import Metric
from linli.table import Step
from linli.wake import Answer, Wake
from tests.support import CONTEXT, NOW, PLACE, delivery, emitted, on_bus, sqs, table_on_moto, template
from tickets import on_alarm_raised
from timers.domain import SHARDS, bucket
from timers.messages import DueMinute

RESOURCES = template("observability")["Resources"].values()
ALARMS = {
    item["Properties"]["AlarmName"].removeprefix("${Prefix}-"): item["Properties"]
    for item in RESOURCES
    if item["Type"] == "AWS::CloudWatch::Alarm"
}
STATISTICS = {
    "Sum": sum,
    "Maximum": max,
    "Minimum": min,
    "p95": lambda values: statistics.quantiles(values * 2, n=20)[-1],
}


def rings(name: str, values: list[float]) -> bool:
    """Whether a period with these values is a breach of the alarm."""
    alarm = ALARMS[name]
    if not values:
        return alarm["TreatMissingData"] == "breaching" or "InsufficientDataActions" in alarm
    seen = STATISTICS[alarm.get("ExtendedStatistic") or alarm["Statistic"]](values)
    below, above = seen < alarm["Threshold"], seen > alarm["Threshold"]
    return {"GreaterThanThreshold": above, "LessThanThreshold": below}[alarm["ComparisonOperator"]]


def heard(name: str, output: str) -> list[float]:
    """The values of the alarm's metric in what a function printed."""
    alarm = ALARMS[name]
    (context,) = [one["Value"] for one in alarm["Dimensions"]]
    return [
        value
        for space, metric, value, said in emitted(output)
        if (space.replace("Linli/linli", "Linli/${Prefix}"), metric) == (alarm["Namespace"], alarm["MetricName"])
        and said["context"] == context
    ]


@pytest.fixture(autouse=True)
def namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Linli/linli")


@pytest.fixture
def alarms() -> Iterator[AlarmStore]:
    with table_on_moto("alarms"):
        store = AlarmStore()
        store.remember(KnownDevice("device-1", "smoke_detector", PLACE))
        yield store


def smoke(**changed: Any) -> str:
    message = {"at": iso(utc_now()), "seq": 1, "event": "smoke", "state": "active"}
    received_at = changed.pop("received_at", utc_now())
    return delivery("device-1", message | changed, at=received_at)


def test_a_message_nobody_can_read_rings_and_says_where_it_came_from(
    alarms: AlarmStore, capsys: pytest.CaptureFixture[str]
) -> None:
    person = "13900001234"
    on_device_event.handler(sqs("not json", smoke(event=person), smoke(state="maybe"), smoke()), CONTEXT)
    output = capsys.readouterr().out
    values = heard("parked-messages-alarms", output)
    assert (values, rings("parked-messages-alarms", values)) == ([1, 1, 1], True)
    lines = [said for _, metric, _, said in emitted(output) if metric == Metric.PARKED]
    assert lines == [{"context": "alarms", "source": "device_events", "reason": "unreadable"}] * 3
    assert person not in json.dumps(lines)


def test_readable_messages_ring_nothing(alarms: AlarmStore, capsys: pytest.CaptureFixture[str]) -> None:
    on_device_event.handler(sqs(smoke()), CONTEXT)
    values = heard("parked-messages-alarms", capsys.readouterr().out)
    assert (values, rings("parked-messages-alarms", values)) == ([], False)


@pytest.mark.parametrize(("waited", "slow"), [(1, False), (11, True)])
def test_a_detectors_message_that_waited_makes_the_first_half_slow(
    alarms: AlarmStore, capsys: pytest.CaptureFixture[str], waited: int, slow: bool
) -> None:
    on_device_event.handler(sqs(smoke(received_at=utc_now() - timedelta(seconds=waited))), CONTEXT)
    values = heard("ticket-p95-alarm", capsys.readouterr().out)
    assert [value >= waited for value in values] == [True]
    assert rings("ticket-p95-alarm", values) is slow


def test_only_what_raises_an_alarm_is_timed(alarms: AlarmStore, capsys: pytest.CaptureFixture[str]) -> None:
    on_device_event.handler(sqs(smoke()), CONTEXT)
    on_device_event.handler(sqs(smoke(), smoke(seq=2), smoke(seq=3, state="clear")), CONTEXT)
    assert len(heard("ticket-p95-alarm", capsys.readouterr().out)) == 1


def raised(at: datetime) -> str:
    fact = AlarmRaised(
        alarm_id="alarm-1", device_id="device-1", alarm_type="smoke", severity="critical", place=PLACE, raised_at=at
    )
    return on_bus(envelope(fact, aggregate_id="device-1#smoke", aggregate_version=1, at=at, correlation_id="trace-1"))


@pytest.mark.parametrize(("waited", "slow"), [(1, False), (11, True)])
def test_a_fact_that_waited_makes_the_second_half_slow_and_a_repetition_is_not_timed(
    capsys: pytest.CaptureFixture[str], waited: int, slow: bool
) -> None:
    with table_on_moto("tickets"):
        body = raised(utc_now() - timedelta(seconds=waited))
        on_alarm_raised.handler(sqs(body, body), CONTEXT)
    values = heard("ticket-p95-ticket", capsys.readouterr().out)
    assert [value >= waited for value in values] == [True]
    assert rings("ticket-p95-ticket", values) is slow


class Bus:
    """Accepts everything, or cannot be reached."""

    def __init__(self, *, reachable: bool) -> None:
        self._reachable = reachable

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        if not self._reachable:
            raise EndpointConnectionError(endpoint_url="x")
        return {"Entries": [{"EventId": "1"} for _ in Entries]}


@pytest.fixture
def outbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("BUS_NAME", "linli")
    monkeypatch.setenv("OUTBOX_TABLES", "linli-tickets")
    with table_on_moto("tickets"):
        yield boto3.client("dynamodb")


def sweep_outbox(dynamodb: Any, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    from relay import sweep  # its clients want a region, which the table's fixture sets

    monkeypatch.setattr(sweep, "dynamodb", dynamodb)
    monkeypatch.setattr(sweep, "events", bus)
    sweep.handler({}, CONTEXT)


def write(dynamodb: Any, *, ages: list[int]) -> None:
    for number, age in enumerate(ages):
        event_id = str(ULID.from_datetime(datetime.now(UTC) - timedelta(seconds=age)))
        fact = json.dumps({"event_id": event_id, "type": "TicketOpened", "context": "tickets"})
        item = {"pk": {"S": f"OUT#{number % 8}"}, "sk": {"S": event_id}, "fact": {"S": fact}}
        dynamodb.put_item(TableName="linli-tickets", Item=item)


def test_a_bus_that_cannot_be_reached_rings_by_the_age_of_the_oldest_row(
    outbox: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(outbox, ages=[30, 150, 3600])
    sweep_outbox(outbox, Bus(reachable=False), monkeypatch)
    (age,) = heard("outbox-age", capsys.readouterr().out)
    assert 3600 <= age < 3700
    assert rings("outbox-age", [age])


def test_rows_the_stream_missed_are_counted_and_gone_after_one_sweep(
    outbox: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(outbox, ages=[30, 150, 200, 250])
    sweep_outbox(outbox, Bus(reachable=True), monkeypatch)
    first = capsys.readouterr().out
    assert [value for _, metric, value, _ in emitted(first) if metric == Metric.OUTBOX_MISSED] == [3]
    assert rings("outbox-age", heard("outbox-age", first))
    sweep_outbox(outbox, Bus(reachable=True), monkeypatch)
    values = heard("outbox-age", capsys.readouterr().out)
    assert (values, rings("outbox-age", values)) == ([0], False)


def test_a_sweeper_a_clock_or_a_count_that_does_not_run_is_told_and_no_other_silence_is() -> None:
    assert [name for name, alarm in ALARMS.items() if "Metrics" not in alarm and rings(name, [])] == [
        "outbox-age",
        "timers-late",
        "certificates-expiring",
    ]


def unreachable() -> dict[str, Any]:
    raise KeysUnreachable("status 503")


def test_an_issuer_that_is_down_rings_while_the_keys_at_hand_are_still_good(
    capsys: pytest.CaptureFixture[str],
) -> None:
    public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    answers = [{"keys": [{**RSAAlgorithm.to_jwk(public, as_dict=True), "kid": "k1"}]}]
    now = [NOW]
    keys = KeySet(lambda: answers.pop() if answers else unreachable(), algorithm="RS256", clock=lambda: now[0])
    keys.key("k1")
    assert heard("authorizer-errors-issuer", capsys.readouterr().out) == []
    now[0] += timedelta(hours=2)
    keys.key("k1")
    output = capsys.readouterr().out
    values = heard("authorizer-errors-issuer", output)
    assert (values, rings("authorizer-errors-issuer", values)) == ([1], True)
    assert [said["reason"] for *_, said in emitted(output)] == ["status 503"]


def test_a_bad_token_is_counted_apart_and_rings_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = KeySet(lambda: {"keys": []}, algorithm="RS256", clock=utc_now)
    monkeypatch.setattr(authorizer, "verifier", lambda: Verifier(Issuer("https://i", "a", "RS256"), keys))
    authorizer.handler({"headers": {"authorization": "Bearer x.y.z"}}, CONTEXT)
    output = capsys.readouterr().out
    assert [(metric, said["reason"]) for _, metric, _, said in emitted(output)] == [("TokensRefused", "malformed")]
    assert not rings("authorizer-errors-issuer", heard("authorizer-errors-issuer", output))


def test_a_refusal_by_the_key_set_is_no_failure_of_the_issuer(capsys: pytest.CaptureFixture[str]) -> None:
    keys = KeySet(lambda: {"keys": []}, algorithm="RS256", clock=lambda: NOW)
    with pytest.raises(Refused):
        keys.key("invented")
    assert emitted(capsys.readouterr().out) == []


@pytest.mark.parametrize(("ends_in", "counted"), [(31, False), (29, True), (-40, True)])
def test_a_certificate_its_device_let_come_to_its_end_rings(
    capsys: pytest.CaptureFixture[str], ends_in: int, counted: bool
) -> None:
    device = Device("device-1", "smoke_detector", "SN-1", PLACE, NOW, "certificate-1")
    with table_on_moto("devices"):
        for number, days in enumerate((ends_in, 700)):
            one = replace(device, device_id=f"device-{number}", serial=f"SN-{number}")
            one = replace(one, certificate_expires_at=utc_now() + timedelta(days=days))
            done = Step("register", NOW, "officer-1", "r")
            count_certificates.store.add(one, step=done, command=command("register", one.device_id), facts=[])
        count_certificates.handler({}, CONTEXT)
    values = heard("certificates-expiring", capsys.readouterr().out)
    assert (values, rings("certificates-expiring", values)) == ([int(counted)], counted)


@pytest.mark.parametrize(("behind", "late"), [(timedelta(), False), (timedelta(minutes=5), True)])
def test_wakes_that_were_carried_out_late_ring(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], behind: timedelta, late: bool
) -> None:
    class Owner:
        def wake(self, wakes: Sequence[Wake], *, at: datetime) -> list[Answer]:
            return [Answer(one, None) for one in wakes]

    monkeypatch.setenv("AWS_DEFAULT_REGION", "cn-north-1")
    monkeypatch.setenv("WAKE_OWNERS", "alarms=linli-alarms-on-wake")
    with table_on_moto("timers"):
        from timers import on_minute  # its clients want a region

        monkeypatch.setattr(on_minute, "invoked_owners", lambda *_: {"alarms": Owner()})
        due = utc_now() - behind
        on_minute.wake_store.cache_clear()
        wake = Wake("alarms", "device-1#open", 100, 3, due, "warning")
        on_minute.wake_store().add([wake], now=due)
        body = DueMinute(minute=bucket(wake, now=due), shards=list(range(SHARDS))).model_dump_json()
        on_minute.handler(sqs(body), CONTEXT)
    (seconds,) = heard("timers-late", capsys.readouterr().out)
    assert rings("timers-late", [seconds]) is late
    assert seconds >= behind.total_seconds()
