"""Delays and their end in bad weather: minutes tick and are missed, workers and owners die, each alarm is raised once.

Not shown here: a watch that is minutes slow. `timers` looks back at three minutes, so it must be right to about that.
"""

import importlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from io import BytesIO
from typing import Any

from linli.clock import iso
from tests.faults.gate import CALM, STORM, Died
from tests.faults.people import EVENTS, People
from tests.faults.world import Violation, World
from tests.support import delivery

TICK, WORKER = "timers.tick.handler", "timers.on_minute.handler"
EVERY = timedelta(minutes=4)
"""The minutes between are missed, and made good."""
STORMY, CALM_AGAIN = 6, 8
"""Ticks; what a stream lost is swept up after ten minutes, and a fact takes up to five to come."""


class Schedule:
    """The scheduler, the queue of minutes and Lambda's invocations, in the world's process."""

    def __init__(self, world: World) -> None:
        self._world = world
        importlib.import_module("timers.tick").queues = self  # type: ignore[attr-defined]
        importlib.import_module("timers.on_minute").functions = self  # type: ignore[attr-defined]

    def tick(self) -> None:
        with suppress(Died):
            self._world.invoke(self._world.functions[TICK], {"time": iso(self._world.now)})

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803 - boto3's names
        self._world.deliver(WORKER, MessageBody)

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - boto3's names
        try:
            said = self._world.invoke(self._world.functions[FunctionName], json.loads(Payload))
        except (Died, Exception):  # noqa: BLE001 as Lambda does
            return {"FunctionError": "Unhandled", "Payload": BytesIO(b"{}")}
        return {"Payload": BytesIO(json.dumps(said).encode())}


def minutes(world: World) -> People:
    people = People(world)
    people.roster(1)
    world.latest = 300
    devices = [str(people.register("smoke_detector")) for _ in range(6)]
    world.drain()
    schedule = Schedule(world)
    for number in range(STORMY + CALM_AGAIN):
        with world.weather(STORM if number < STORMY else CALM):
            if number < len(devices):
                _taken_off(world, devices[number])
            _four_minutes(world, schedule)
    world.drain()
    _dead_minutes_are_told(world)
    if found := list(_each_raised_once(world, devices)):
        raise Violation("\n".join(found))
    return people


def _taken_off(world: World, device_id: str) -> None:
    at = world.now.replace(microsecond=0)
    body = delivery(device_id, {"at": iso(at), "seq": 1, "event": "tamper", "state": "active"}, at=at)
    for _ in range(2):
        world.deliver(EVENTS, body)


def _four_minutes(world: World, schedule: Schedule) -> None:
    end = world.now + EVERY
    schedule.tick()
    for _ in range(4):
        world.relay(losing=world.gate.weather.throttle)
        world.work()
    with world.weather(CALM):
        world.sweep()
    world.now = world.ticked_to = max(world.now, end)


def _dead_minutes_are_told(world: World) -> None:
    """A minute that failed twice waits for the operator; the next ones have made it good."""
    dead = world.queues[WORKER].dead
    dead[:] = [message for message in dead if '"minute"' not in message.body]


def _each_raised_once(world: World, devices: list[str]) -> Iterator[str]:
    facts = list(world.published.values())
    raised = Counter(fact["data"]["device_id"] for fact in facts if fact["type"] == "AlarmRaised")
    tickets = Counter(row["device_id"]["S"] for row in world.operator.rows("tickets", "TICKET#") if "device_id" in row)
    for device_id in devices:
        if (raised[device_id], tickets[device_id]) != (1, 1):
            yield f"device {device_id}: raised {raised[device_id]} times, {tickets[device_id]} tickets"
