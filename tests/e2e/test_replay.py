"""Messages that were parked, put back on their queue after the cause was mended; and what a queue gave up."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.local.parked import queue_name
from infra.local.redrive import Deployment, deployment_of, parser
from tests.e2e.world import World, drained, until


@pytest.fixture
def deployment(world: World, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in world.linli.runtime.environment().items():
        monkeypatch.setenv(name, value)
    return deployment_of(world.linli.outputs)


def run(deployment: Deployment, *arguments: str) -> int:
    options = parser().parse_args(arguments)
    return int(options.run(deployment, options))


def know_as(world: World, device_id: str, device_class: str) -> None:
    """What `alarms` believes of the device."""
    key = {"pk": {"S": f"DEVICE#{device_id}"}, "sk": {"S": "D"}}
    until("the registry's word", lambda: world.rows("alarms", key["pk"]["S"]))
    world.database.update_item(
        TableName="linli-alarms",
        Key=key,
        UpdateExpression="SET device_class = :c",
        ExpressionAttributeValues={":c": {"S": device_class}},
    )


def parked_since(world: World, before: set[str]) -> list[dict[str, Any]]:
    return [row for row in world.parked("alarms") if row["sk"]["S"] not in before]


def test_a_parked_alarm_becomes_one_ticket_when_its_cause_is_mended(
    world: World, deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    device_id = world.register()
    before = {row["sk"]["S"] for row in world.parked("alarms")}
    know_as(world, device_id, "not_yet_known")
    with world.device(device_id) as detector:
        detector.event("smoke", "active")
        detector.publish_event(b"\xff\xfe\x00 not json")
        until("two parked messages", lambda: len(parked_since(world, before)) == 2)
    ids = {row["reason"]["S"]: row["sk"]["S"] for row in parked_since(world, before)}
    garbage = ids.pop("json_invalid")
    (alarm,) = ids.values()
    run(deployment, "list")
    assert alarm in capsys.readouterr().out
    run(deployment, "explain", alarm)
    assert "docs/device.md" in capsys.readouterr().out
    assert world.tickets_of(device_id) == []

    know_as(world, device_id, "smoke_detector")
    assert run(deployment, "replay", alarm, garbage) == 0
    world.ticket_of(device_id)
    assert run(deployment, "replay", alarm, garbage) == 0
    assert "already replayed before 2" in capsys.readouterr().out
    until("the garbage to be parked again", lambda: len(parked_since(world, before)) == 3)
    drained(world)
    assert world.history(device_id) == ["raised"]
    assert len(world.tickets_of(device_id)) == 1
    marks = {row["sk"]["S"]: "replayed_at" in row for row in parked_since(world, before)}
    assert marks.pop(alarm)
    assert marks.pop(garbage)
    assert list(marks.values()) == [False]


def test_what_a_rule_could_not_deliver_is_put_back(world: World, deployment: Deployment) -> None:
    device_id = world.register()
    message = {"at": datetime.now(UTC).isoformat(), "seq": 1, "event": "smoke", "state": "active"}
    sent = json.dumps(message).encode()
    report = {
        "ruleName": "linli_device_events",
        "topic": f"linli/v1/{device_id}/events",
        "clientId": device_id,
        "base64OriginalPayload": base64.b64encode(sent).decode(),
        "failures": [],
    }
    dead = f"{queue_name(deployment.queues.prefix, 'alarms', 'device_events')}-dead"
    deployment.queues.send(deployment.queues.url(dead), [json.dumps(report)])
    until("the registry's word", lambda: world.rows("alarms", f"DEVICE#{device_id}"))
    assert run(deployment, "dead-letters", dead) == 0
    assert world.ticket_of(device_id)["sensor_active"]
    drained(world)
