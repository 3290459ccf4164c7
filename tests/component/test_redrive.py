"""Parked messages and dead letters, as the operator lists, explains and puts them back."""

import base64
import importlib
import json
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest

from alarms import on_device_event
from alarms.domain import KnownDevice
from devices import on_presence
from infra.local import redrive
from infra.local.parked import BATCH_BYTES, ParkedMessages, Queues, Wanted, queue_name, replay
from infra.local.redrive import Deployment, parser
from linli.clock import beijing_day, iso, utc_now
from linli.table import PAYLOAD_KEPT, Parked
from tests.support import CONTEXT, NOW, PLACE, ROOT, delivery, sqs, table_on_moto

DAY = beijing_day(NOW)
LATER = NOW + timedelta(hours=1)
CANARY = "居民甲 13900001234"
CONTEXTS = ("alarms", "devices", "timers")
QUEUES = [
    "linli-alarms-device-events", "linli-alarms-device-events-dead", "linli-alarms-on-device-registered",
    "linli-devices-telemetry", "linli-devices-telemetry-dead", "linli-relay-dead",
    "linli-alarms-on-condition-changed", "linli-devices-presence", "linli-devices-requests",
    "linli-timers-on-wake-wanted", "linli-timers-minutes",
    "linli-devices-presence-dead", "linli-devices-requests-dead", "linli-timers-minutes-dead",
]  # fmt: skip


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with ExitStack() as stack:
        for context in CONTEXTS:
            stack.enter_context(table_on_moto(context))
        for name in QUEUES:
            boto3.client("sqs").create_queue(QueueName=name)
        client = boto3.client("dynamodb")
        tables = [ParkedMessages(context, f"linli-{context}", client) for context in CONTEXTS]
        yield Deployment(tables, Queues("linli", boto3.client("sqs")), "operator-1", lambda: LATER)


def park(message_id: str, body: str = "{}", *, reason: str = "json_invalid", **more: Any) -> None:
    parked = Parked(more.get("source", "device_events"), reason, more.get("named"), body.encode(), message_id)
    on_device_event.store.table.park(parked, at=more.get("at", NOW))


def run(deployment: Deployment, *arguments: str) -> int:
    options = parser().parse_args(arguments)
    return int(options.run(deployment, options))


def waiting(deployment: Deployment, name: str) -> list[str]:
    """What stands on the queue, taken off it."""
    found: list[str] = []
    while letters := deployment.queues.sqs.receive_message(
        QueueUrl=deployment.queues.url(name), MaxNumberOfMessages=10
    ).get("Messages"):
        found += [one["Body"] for one in letters]
    return found


def marked(deployment: Deployment) -> set[str]:
    return {one.message_id for one in deployment.tables[0].on(DAY) if one.replayed_at}


def test_the_list_counts_by_reason_and_shows_ids_and_no_content(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        park(f"id-{number}", CANARY)
    park("id-x", CANARY, reason="int_type", named="seq")
    park("id-old", CANARY, at=NOW - timedelta(days=20))
    deployment.queues.send(deployment.queues.url("linli-devices-telemetry-dead"), ["x", "y"])
    assert run(deployment, "list") == 0
    said = capsys.readouterr().out
    assert "json_invalid · -" in said
    assert "waiting 5, 已重放 / replayed 0" in said
    assert "int_type · seq" in said
    assert ("id-2" in said, "id-3" in said, "id-old" in said) == (True, False, False)
    assert "2  linli-devices-telemetry-dead" in said
    assert CANARY not in said
    run(deployment, "list", "--ids", "--reason", "json_invalid")
    said = capsys.readouterr().out
    assert ("id-4" in said, "id-x" in said) == (True, False)
    run(deployment, "list", "--context", "devices")
    assert "无 / none" in capsys.readouterr().out


def test_one_is_explained_and_its_content_shown_only_when_asked(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    park("id-1", delivery("device-1", {"owner": CANARY}), reason="missing", named="at")
    assert run(deployment, "explain", "id-1") == 0
    said = capsys.readouterr().out
    for expected in ("device_events", "missing", "at", "docs/device.md", iso(NOW), "linli-alarms-device-events"):
        assert expected in said
    assert json.dumps(CANARY) not in said
    run(deployment, "explain", "id-1", "--show-payload")
    assert json.dumps(CANARY) in capsys.readouterr().out
    assert run(deployment, "explain", "nobody") == 1


def test_a_message_whose_cause_was_mended_has_its_effect_once(deployment: Deployment) -> None:
    message = delivery("device-1", {"at": iso(NOW), "seq": 1, "event": "smoke", "state": "active"})
    assert on_device_event.handler(sqs(message, "garbage", receives=18), CONTEXT) == {"batchItemFailures": []}
    on_device_event.store.remember(KnownDevice("device-1", "smoke_detector", PLACE))  # the cause is mended
    (day,) = {row.pk.removeprefix("PARKED#") for row in parked_row().scan(parked_row().pk.startswith("PARKED#"))}
    at = utc_now() + timedelta(seconds=5)  # the handler parks by the machine's clock
    for expected in ([1, 0], [0, 1]):
        done = replay(
            deployment.tables[0], day, Wanted(reason="unknown-thing"), queues=deployment.queues, at=at, by="op"
        )
        assert [done.sent, done.already] == expected
    taken = waiting(deployment, "linli-alarms-device-events")
    assert taken == [message]
    for _ in range(2):
        assert on_device_event.handler(sqs(*taken), CONTEXT) == {"batchItemFailures": []}
    assert [step.action for step in on_device_event.store.history("device-1", "smoke")] == ["raised"]
    first, second = sorted(deployment.tables[0].on(day), key=lambda one: one.reason)
    assert (first.reason, first.replayed_at) == ("json_invalid", None)
    assert (second.reason, second.replayed_at, second.replayed_by) == ("unknown-thing", iso(at), "op")


def parked_row() -> Any:
    return on_device_event.store.table._parked


@pytest.mark.parametrize(
    ("module", "source", "queue", "page"),
    [
        (
            "alarms.on_condition_changed",
            "ConditionChanged",
            "linli-alarms-on-condition-changed",
            "DeviceConditionChanged-v1",
        ),
        ("alarms.on_device_changed", "DeviceRegistered", "linli-alarms-on-device-registered", "DeviceChanged-v1.json"),
        ("devices.on_telemetry", "telemetry", "linli-devices-telemetry", "docs/device.md"),
        ("devices.on_presence", "presence", "linli-devices-presence", "mqtt-presence-v1.json"),
        ("devices.on_device_request", "requests", "linli-devices-requests", "docs/device.md"),
        ("timers.on_wake_wanted", "WakeWanted", "linli-timers-on-wake-wanted", "AlarmWakeWanted-v1.json"),
        ("timers.on_minute", "minutes", "linli-timers-minutes", "functions/timers/messages.py"),
    ],
)
def test_what_a_function_parked_is_listed_explained_and_goes_back_to_its_own_queue(
    deployment: Deployment, module: str, source: str, queue: str, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = replace(
        deployment, clock=lambda: utc_now() + timedelta(seconds=5)
    )  # the handlers' clock is the machine's
    event = sqs("garbage")
    assert importlib.import_module(module).handler(event, CONTEXT) == {"batchItemFailures": []}
    message_id = event["Records"][0]["messageId"]
    context = queue.split("-")[1]
    assert run(deployment, "list", "--context", context, "--source", source) == 0
    assert message_id in capsys.readouterr().out
    assert run(deployment, "explain", message_id) == 0
    said = capsys.readouterr().out
    assert page in said
    assert queue in said
    assert run(deployment, "replay", "--context", context, "--source", source) == 0
    assert waiting(deployment, queue) == ["garbage"]


def test_a_message_that_fails_again_is_parked_under_its_new_id(deployment: Deployment) -> None:
    park("id-1", "garbage")
    run(deployment, "replay", "id-1")
    (body,) = waiting(deployment, "linli-alarms-device-events")
    event = sqs(body)
    event["Records"][0]["messageId"] = "id-2"
    on_device_event.handler(event, CONTEXT)
    on_device_event.handler(event, CONTEXT)
    rows = {row.sk: row.replayed_at for row in parked_row().scan()}
    assert set(rows) == {"id-1", "id-2"}
    assert (rows["id-1"], rows["id-2"]) == (iso(LATER), None)


def test_a_message_delivered_again_after_its_replay_stays_marked(deployment: Deployment) -> None:
    park("id-1", "garbage")
    run(deployment, "replay", "id-1")
    park("id-1", "garbage", at=NOW + timedelta(minutes=5))
    assert marked(deployment) == {"id-1"}


def test_a_dry_run_counts_and_does_nothing(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    park("id-1", "x")
    assert run(deployment, "replay", "--day", DAY, "--dry-run") == 0
    assert "would be replayed 1" in capsys.readouterr().out
    assert waiting(deployment, "linli-alarms-device-events") == []
    assert marked(deployment) == set()


def test_an_id_nobody_knows_is_said(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    park("id-1", "x")
    assert run(deployment, "replay", "id-1", "id-9") == 1
    assert "not found in these days: 1" in capsys.readouterr().out
    assert marked(deployment) == {"id-1"}


def test_nothing_is_replayed_unless_something_is_named(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    park("id-1", "x")
    assert run(deployment, "replay") == 2
    assert marked(deployment) == set()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["id-1", "id-3"], {"id-1", "id-3"}),
        (["--reason", "int_type"], {"id-2", "id-3"}),
        (["--source", "DeviceRegistered"], {"id-3"}),
        (["--context", "alarms"], {"id-1", "id-2", "id-3"}),
        (["--context", "devices"], set()),
        (["--day", "20260101"], set()),
        (["id-1", "id-2", "--reason", "int_type"], {"id-2"}),
    ],
)
def test_what_is_named_is_replayed_to_its_own_queue(
    deployment: Deployment, arguments: list[str], expected: set[str]
) -> None:
    park("id-1", "one")
    park("id-2", "two", reason="int_type")
    park("id-3", "three", reason="int_type", source="DeviceRegistered")
    named = {one for one in arguments if one.startswith("id-")}
    assert run(deployment, "replay", *arguments) == (1 if named - expected else 0)
    assert marked(deployment) == expected
    events = waiting(deployment, "linli-alarms-device-events")
    assert set(events) == {{"id-1": "one", "id-2": "two"}[one] for one in expected - {"id-3"}}
    assert waiting(deployment, "linli-alarms-on-device-registered") == ["three"] * ("id-3" in expected)


def test_what_was_too_large_to_be_kept_whole_is_said_and_left(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    park("id-1", "x" * (PAYLOAD_KEPT + 1))
    park("id-2", "x" * PAYLOAD_KEPT)
    assert run(deployment, "replay", "--day", DAY) == 1
    assert "too large, cut: id-1" in capsys.readouterr().out
    assert marked(deployment) == {"id-2"}
    assert len(waiting(deployment, "linli-alarms-device-events")) == 1
    run(deployment, "explain", "id-1")
    assert "too large, cut" in capsys.readouterr().out


def test_many_go_in_batches_the_queue_takes(deployment: Deployment) -> None:
    for number in range(25):
        park(f"id-{number:02d}", "x" * (100_000 if number < 7 else 10))
    batches: list[list[int]] = []

    def count(params: dict[str, Any], **_: Any) -> None:
        batches.append([len(one["MessageBody"]) for one in params["Entries"]])

    deployment.queues.sqs.meta.events.register("provide-client-params.sqs.SendMessageBatch", count)
    assert run(deployment, "replay", "--day", DAY) == 0
    assert sum(map(len, batches)) == len(marked(deployment)) == 25
    assert all(len(batch) <= 10 and sum(batch) <= BATCH_BYTES for batch in batches)
    assert len(batches) == 6


def test_what_the_queue_refuses_is_said_and_can_be_tried_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    park("id-1", "x")
    park("id-2", "y")
    with monkeypatch.context() as refusing:
        refusing.setattr(deployment.queues, "send", lambda url, bodies: {1})
        assert run(deployment, "replay", "--day", DAY) == 1
    assert "queue refused: id-2" in capsys.readouterr().out
    assert marked(deployment) == {"id-1"}
    assert run(deployment, "replay", "--day", DAY) == 0
    assert waiting(deployment, "linli-alarms-device-events") == ["y"]


def test_who_is_interrupted_before_the_mark_sends_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    park("id-1", "x")
    with monkeypatch.context() as dying:
        dying.setattr(ParkedMessages, "mark", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(deployment, "replay", "id-1")
    assert run(deployment, "replay", "id-1") == 0
    assert waiting(deployment, "linli-alarms-device-events") == ["x", "x"]
    assert marked(deployment) == {"id-1"}


def test_of_two_operators_at_once_the_first_mark_stays(deployment: Deployment) -> None:
    for number in range(3):
        park(f"id-{number}", "x")
    alarms, *_ = deployment.tables
    first, *others = alarms.on(DAY)
    alarms.mark([first], at=NOW, by="operator-2")
    alarms.mark([first, *others], at=LATER, by="operator-1")
    assert [one.replayed_by for one in alarms.on(DAY)] == ["operator-2", "operator-1", "operator-1"]


def test_what_is_parked_meanwhile_is_left_alone_and_said(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    park("id-1", "x", at=LATER)
    assert run(deployment, "replay", "--day", DAY) == 0
    assert "left alone 1" in capsys.readouterr().out
    assert marked(deployment) == set()


def test_dead_letters_go_back_to_the_queue_they_come_from(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = deployment.queues.url("linli-alarms-device-events-dead")
    for start in (0, 10, 20):
        deployment.queues.send(dead, [f"body-{number}" + "x" * 100_000 for number in range(start, start + 10)])
    assert run(deployment, "dead-letters") == 0
    assert "linli-alarms-device-events-dead: 30 → linli-alarms-device-events" in capsys.readouterr().out
    assert {one.rstrip("x") for one in waiting(deployment, "linli-alarms-device-events")} == {
        f"body-{number}" for number in range(30)
    }
    assert waiting(deployment, "linli-alarms-device-events-dead") == []
    run(deployment, "dead-letters")
    assert "no dead letters" in capsys.readouterr().out


def test_what_a_rule_could_not_deliver_becomes_the_message_it_was(deployment: Deployment) -> None:
    sent = json.loads(delivery("device-1", {"at": iso(NOW), "seq": 1, "event": "smoke", "state": "active"}))
    for topic in ("linli/v1/device-1/events", "$aws/rules/linli_x/linli/v1/device-1/events"):
        report = {
            "ruleName": "linli_device_events",
            "topic": topic,
            "cloudwatchTraceId": "7e146a2c-95b5-6caf-98b9-50e3969734c7",
            "clientId": "device-1",
            "base64OriginalPayload": sent["payload"],
            "failures": [{"failedAction": "SqsAction", "failedResource": "queue", "errorMessage": "denied"}],
        }
        deployment.queues.send(deployment.queues.url("linli-alarms-device-events-dead"), [json.dumps(report)])
    run(deployment, "dead-letters", "linli-alarms-device-events-dead")
    bodies = waiting(deployment, "linli-alarms-device-events")
    on_device_event.store.remember(KnownDevice("device-1", "smoke_detector", PLACE))
    assert on_device_event.handler(sqs(*bodies), CONTEXT) == {"batchItemFailures": []}
    assert [step.action for step in on_device_event.store.history("device-1", "smoke")] == ["raised"]
    assert {json.loads(body)["trace"] for body in bodies} == {"7e146a2c-95b5-6caf-98b9-50e3969734c7"}


def reported(topic: str, payload: bytes) -> str:
    """What IoT Core says of a message that a rule could not put on its queue."""
    return json.dumps(
        {
            "ruleName": "linli_rule",
            "topic": topic,
            "cloudwatchTraceId": "7e146a2c-95b5-6caf-98b9-50e3969734c7",
            "clientId": "N/A",
            "base64OriginalPayload": base64.b64encode(payload).decode(),
            "failures": [{"failedAction": "SqsAction", "failedResource": "queue", "errorMessage": "denied"}],
        }
    )


def dead(deployment: Deployment, name: str, *bodies: str) -> None:
    deployment.queues.send(deployment.queues.url(name), list(bodies))


def test_a_connection_the_rule_could_not_deliver_is_taken_as_one(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {
        "clientId": "dev1", "eventType": "connected", "timestamp": 1795395600000, "versionNumber": 4,
        "ipAddress": "203.0.113.9", "principalIdentifier": "abc", "sessionIdentifier": "def",
    }  # fmt: skip
    report = reported("$aws/events/presence/connected/dev1", json.dumps(said).encode())
    dead(deployment, "linli-devices-presence-dead", report)
    assert run(deployment, "dead-letters", "devices-presence") == 0
    bodies = waiting(deployment, "linli-devices-presence")
    assert [json.loads(body) for body in bodies] == [
        {
            "clientId": "dev1",
            "eventType": "connected",
            "timestamp": 1795395600000,
            "versionNumber": 4,
            "trace": "7e146a2c-95b5-6caf-98b9-50e3969734c7",
        }
    ]
    taken: list[tuple[str, bool, int]] = []
    monkeypatch.setattr(
        on_presence,
        "take_presence",
        lambda thing, presence, **_: taken.append((thing, presence.connected, presence.number)),
    )
    assert on_presence.handler(sqs(*bodies), CONTEXT) == {"batchItemFailures": []}
    assert taken == [("dev1", True, 4)]
    assert waiting(deployment, "linli-devices-presence-dead") == []


SCHEDULED = json.dumps({"source": "aws.events", "detail-type": "Scheduled Event", "time": iso(NOW), "detail": {}})
RECORD = json.dumps({"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}, "requestPayload": {}})
MINUTE = json.dumps({"minute": iso(NOW), "shards": [0, 4]})
ASKED = json.dumps({"payload": "e30=", "thing": "dev1", "principal": "abc", "received_ms": 1, "trace": "t"})


@pytest.mark.parametrize(
    ("queue", "left", "moved", "word"),
    [
        ("devices-requests", [reported("linli/v1/dev1/requests", b"{}")], ASKED, "let the device ask again"),
        ("timers-minutes", [SCHEDULED, RECORD], MINUTE, "a run that failed"),
        ("devices-presence", [reported("$aws/events/presence/connected/dev1", b"\xff")], "[1]", "not what a rule"),
        ("alarms-device-events", [reported("elsewhere", b"{}")], "garbage", "not what a rule"),
    ],
)
def test_a_letter_that_cannot_become_the_message_it_was_stays_and_is_said_to(
    deployment: Deployment, capsys: pytest.CaptureFixture[str], queue: str, left: list[str], moved: str, word: str
) -> None:
    dead(deployment, f"linli-{queue}-dead", *left, moved)
    for expected in (1, 0):
        assert run(deployment, "dead-letters", queue) == 0
        said = capsys.readouterr().out
        assert f"linli-{queue}-dead: {expected} → linli-{queue}" in said
        assert f"{len(left)} 留在原处 / left: " in said
        assert word in said
    assert waiting(deployment, f"linli-{queue}") == [moved]
    assert sorted(waiting(deployment, f"linli-{queue}-dead")) == sorted(left)


@pytest.mark.parametrize("reason", ["json_invalid", "unknown thing", 'it\'s "$HOME" `x` v2', "$(X) a\\b!"])
def test_the_command_the_list_prints_does_what_it_says(
    deployment: Deployment, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    park("id-1", "x", reason=reason)
    park("id-2", "x", reason="int_type")
    run(deployment, "list")
    (command,) = [
        line.strip()
        for line in capsys.readouterr().out.splitlines()
        if "make redrive" in line and "int_type" not in line
    ]
    recipe = subprocess.run(f"{command} -n", shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (line,) = [one for one in recipe.splitlines() if "infra.local.redrive" in one]
    arguments = shlex.split(line.partition("infra.local.redrive")[2])
    assert run(deployment, *arguments) == 0
    assert "would be replayed 1" in capsys.readouterr().out
    assert run(deployment, *[one for one in arguments if one != "--dry-run"]) == 0
    assert marked(deployment) == {"id-1"}


@pytest.mark.parametrize("name", ["linli-relay-dead", "relay", "linli-alarms-device-events", "other-dead"])
def test_a_queue_whose_letters_lead_nowhere_is_left(
    deployment: Deployment, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(deployment, "dead-letters", name) == 1
    run(deployment, "list")
    assert "linli-relay-dead  (无需重投 / kept elsewhere)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "queue"),
    [
        ("device_events", "linli-alarms-device-events"),
        ("telemetry", "linli-alarms-telemetry"),
        ("AlarmRaised", "linli-alarms-on-alarm-raised"),
    ],
)
def test_a_source_names_its_queue(source: str, queue: str) -> None:
    assert queue_name("linli", "alarms", source) == queue


def test_a_deployment_older_than_the_tool_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrive, "account_is_meant", lambda _: False)
    monkeypatch.setattr(redrive, "local_outputs", lambda: {"AlarmsTable": "linli-alarms"})
    with pytest.raises(SystemExit, match="deploy first"):
        redrive.main(["list"])


def test_the_tool_works_on_what_the_deployment_says_of_itself(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = {"AlarmsTable": "linli-alarms", "DevicesTable": "linli-devices", "Prefix": "linli", "Issuer": "x"}
    monkeypatch.setattr(redrive, "account_is_meant", lambda _: False)
    monkeypatch.setattr(redrive, "local_outputs", lambda: outputs)
    park("id-1", "x", at=utc_now() - timedelta(seconds=5))
    assert redrive.main(["replay", "id-1"]) == 0
    (row,) = parked_row().scan()
    assert row.replayed_by == boto3.client("sts").get_caller_identity()["Arn"]
    park("id-2", "x", source="no_such_queue", at=utc_now() - timedelta(seconds=5))
    with pytest.raises(SystemExit, match="run it again"):
        redrive.main(["replay", "id-2"])
