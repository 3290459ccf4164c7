"""What must last before it is an alarm, and what happens at once; the minute in which a wake is due is sent, not waited for."""

import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from linli.wake import Wake
from tests.e2e.world import World, drained, outbox, take, until
from timers.domain import SHARDS
from timers.store import WakeStore


def wakes(world: World, device_id: str) -> list[dict[str, Any]]:
    """The rows of the on-delays that run at the device."""
    pages = world.database.get_paginator("scan").paginate(TableName="linli-timers", ConsistentRead=True)
    return [item for page in pages for item in page["Items"] if f"#alarms#{device_id}#" in item["sk"]["S"]]


def planned(world: World, device_id: str) -> datetime:
    """When the on-delay is over."""
    (row,) = until("a wake", lambda: wakes(world, device_id))
    return datetime.fromisoformat(row["sk"]["S"].split("#")[1])


def come(world: World, at: datetime) -> None:
    """The first minute at which what is due then is due, as the tick would send it."""
    queues = world.linli.runtime.client("sqs")
    minute = at.replace(second=0, microsecond=0) + timedelta(minutes=1)
    body = json.dumps({"minute": minute.isoformat(), "shards": list(range(SHARDS))})
    queues.send_message(QueueUrl=queues.get_queue_url(QueueName="linli-timers-minutes")["QueueUrl"], MessageBody=body)


def test_a_door_held_open_is_a_ticket_once_it_lasted(world: World) -> None:
    device_id = world.register("door_sensor")
    with world.device(device_id) as door:
        message = door.event("open", "active")
        due = planned(world, device_id)
        assert (
            timedelta(0) <= due - datetime.fromisoformat(message["at"]) - timedelta(minutes=10) < timedelta(minutes=1)
        )
        come(world, due - timedelta(minutes=3))
        drained(world)
        assert world.tickets_of(device_id) == []
        come(world, due)
        ticket = world.ticket_of(device_id)
        assert (ticket["category"], ticket["severity"], ticket["sensor_active"]) == ("open", "warning", True)
        door.event("open", "clear")
        path = f"/v1/tickets/{ticket['ticket_id']}"
        until("the door to close", lambda: not world.officer.get(path).body["sensor_active"])
    until("the wake to be answered", lambda: not wakes(world, device_id))
    assert world.history(device_id) == ["pending", "raised", "cleared"]


def test_a_door_closed_in_time_is_none(world: World) -> None:
    device_id = world.register("door_sensor")
    with world.device(device_id) as door:
        door.event("open", "active")
        door.event("open", "clear")
    due = planned(world, device_id)
    until("the end of it", lambda: len(world.history(device_id)) == 2)
    come(world, due)
    until("the wake to be answered", lambda: not wakes(world, device_id))
    drained(world)
    assert world.history(device_id) == ["pending", "ended"]
    assert world.tickets_of(device_id) == outbox(world, "alarms") == []


def test_a_call_for_help_is_a_ticket_that_can_be_closed(world: World) -> None:
    device_id = world.register("sos_button")
    with world.device(device_id) as button:
        press = button.event("sos", "active")
        button.publish_event(press)
        ticket = world.ticket_of(device_id)
    path = f"/v1/tickets/{ticket['ticket_id']}"
    until("the end of it", lambda: not world.officer.get(path).body["sensor_active"])
    ticket = take(world.worker, world.officer.get(path).body, "accept").body
    ticket = take(world.worker, ticket, "handle", note="已上门，老人平安").body
    assert (ticket["severity"], ticket["state"]) == ("critical", "verifying")
    assert take(world.officer, ticket, "verify").body["state"] == "closed"
    drained(world)
    assert world.history(device_id) == ["passed"]
    assert len(world.tickets_of(device_id)) <= 1


def test_every_minute_a_tick_drains_what_is_due(world: World) -> None:
    """The schedule itself, without anybody's help: it comes once a minute."""
    nobody = f"nobody-{secrets.token_hex(6)}"
    wake = Wake("alarms", f"{nobody}#open", 100, 1, datetime.now(UTC), "warning")
    store = WakeStore(world.database, "linli-timers")
    store.add([wake], now=wake.fire_at - timedelta(minutes=1))
    assert wakes(world, nobody)
    until("a tick", lambda: not wakes(world, nobody), patience=180)
