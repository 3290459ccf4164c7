"""The life of a ticket from the alarm to its closing: requests, write units, and which partition gets the most of them."""

import json
import random
import secrets
from typing import Any

import boto3

from alarms import on_device_changed, on_device_event
from devices.events import DeviceRegistered
from grid.events import DutyRosterChanged, ShiftData
from linli.access import Caller, Post
from linli.clock import iso, utc_now
from linli.facts import Fact, Place, envelope
from relay.publish import Outboxed, publish
from tests.load.bench.meter import Meter
from tests.support import CONTEXT, delivery, on_bus, request, sqs, template
from tickets import api, on_alarm_cleared, on_alarm_raised, on_duty_roster_changed

TABLES = {"alarms": "linli-alarms", "tickets": "linli-tickets"}
COMMUNITIES = 20
GRIDS = 10
HOT = 100
"""How many times the others' load the hot community has."""
LIVES = 120
CONSUMERS = {"AlarmRaised": on_alarm_raised.handler, "AlarmCleared": on_alarm_cleared.handler}


class Bus:
    """Hands every fact to its subscribers at once."""

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        for entry in Entries:
            if entry["DetailType"] in CONSUMERS:
                body = json.dumps({"detail": json.loads(entry["Detail"])})
                if CONSUMERS[entry["DetailType"]](sqs(body), CONTEXT)["batchItemFailures"]:
                    raise AssertionError(entry)
        return {"Entries": [{"EventId": "1"} for _ in Entries]}


class Town:
    """Communities with grids, each with a worker and a duty officer."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._dynamodb = boto3.client("dynamodb")
        self._devices = 0

    def device_at(self, place: Place) -> str:
        """A detector, with its grid's roster; not part of a ticket's life."""
        shift = {"post_id": f"worker-{place.grid_id}", "from_at": utc_now()}
        roster = DutyRosterChanged(
            grid_id=place.grid_id, shifts=(ShiftData(**shift),), duty_officer=f"officer-{place.path[-1]}"
        )
        self._devices += 1
        device = f"device-{self._devices:06d}"
        registered = DeviceRegistered(device_id=device, device_class="smoke_detector", place=place)
        self._told(on_duty_roster_changed.handler, roster, place.grid_id)
        self._told(on_device_changed.handler, registered, device)
        return device

    def live(self, device: str, place: Place) -> None:
        """One alarm, its ticket taken on, handled, cleared, verified, closed."""
        worker = Caller("worker", (Post(f"worker-{place.grid_id}", "grid_worker", (*place.path, place.grid_id)),))
        officer = Caller("officer", (Post(f"officer-{place.path[-1]}", "duty_officer", place.path),))
        self._device_says(device, "active")
        query = {"of": "grid", "grid_id": place.grid_id, "limit": "1"}
        found = self._asked("GET", "/v1/tickets/work", officer, query=query)["items"][0]
        path = f"/v1/tickets/{found['ticket_id']}/steps"
        self._asked("POST", path, worker, {"step": "accept", "expected_version": 1})
        self._asked("POST", path, worker, {"step": "handle", "expected_version": 2, "note": "现场无明火，已复位。"})
        self._device_says(device, "clear")
        closed = self._asked("POST", path, officer, {"step": "verify", "expected_version": 4})
        self._relay()
        if closed["state"] != "closed":
            raise AssertionError(closed)

    def _device_says(self, device: str, state: str) -> None:
        at = utc_now()
        message = {"at": iso(at), "seq": int(at.timestamp() * 1000), "event": "smoke", "state": state}
        if on_device_event.handler(sqs(delivery(device, message, at=at)), CONTEXT)["batchItemFailures"]:
            raise AssertionError(message)
        self._relay()

    def _told(self, handler: Any, fact: Fact, aggregate_id: str) -> None:
        told = envelope(fact, aggregate_id=aggregate_id, aggregate_version=1, at=utc_now(), correlation_id="bench")
        if handler(sqs(on_bus(told)), CONTEXT)["batchItemFailures"]:
            raise AssertionError(fact)

    def _asked(self, method: str, path: str, caller: Caller, body: Any = None, **more: Any) -> dict[str, Any]:
        headers = {"idempotency-key": secrets.token_hex(8)}
        answer = api.handler(request(method, path, caller, body=body, headers=headers, **more), CONTEXT)
        if answer["statusCode"] not in (200, 201):
            raise AssertionError(answer)
        return dict(json.loads(answer["body"]))

    def _relay(self) -> None:
        """Sends what the streams would bring: the outbox rows, as the meter saw them written."""
        while rows := [
            Outboxed(table, pk, sk, item["fact"]["S"])
            for (table, pk, sk), item in self._meter.items.items()
            if pk.startswith("OUT#")
        ]:
            publish(rows, events=Bus(), dynamodb=self._dynamodb)


def place(community: int, grid: int) -> Place:
    code = f"340104{community:03d}001"
    return Place(path=("34", "3401", "340104", code[:9], code), grid_id=f"{code}{grid:03d}", building_id=f"{code}00001")


def measure() -> list[str]:
    """Lines of the report: a life's requests and units, and the hottest partition with one community at 100 times."""
    rng = random.Random(1)
    weights = [HOT] + [1] * (COMMUNITIES - 1)
    where = [place(one, rng.randrange(GRIDS)) for one in rng.choices(range(COMMUNITIES), weights, k=LIVES)]
    meter = Meter({table: _indexes(context) for context, table in TABLES.items()})
    town = Town(meter)
    devices = [town.device_at(one) for one in where]
    with meter.counting():
        for device, at in zip(devices, where, strict=True):
            town.live(device, at)
    asked = ", ".join(f"{operation} {count / LIVES:.1f}" for operation, count in sorted(meter.requests.items()))
    written = ", ".join(
        f"{name.removeprefix('linli-')} {units / LIVES:.1f}" for name, units in sorted(meter.units.items())
    )
    (hottest, partition), most = meter.by_partition.most_common(1)[0]
    index, at_most = max(
        ((key, units) for key, units in meter.by_partition.items() if "/" in key[0]), key=lambda one: one[1]
    )
    share = HOT / sum(weights)
    return [
        f"| a ticket's life: requests to DynamoDB | {sum(meter.requests.values()) / LIVES:.1f} | {asked} |",
        f"| a ticket's life: write units (goal 130) | {meter.total / LIVES:.1f} | {written} |",
        f"| hottest partition, one community with {share:.0%} of {LIVES} lives | {most / meter.total:.1%} of all units "
        f"| {hottest} {partition} |",
        f"| hottest partition of an index | {at_most / meter.total:.1%} | {index[0]} {index[1]} |",
    ]


def _indexes(context: str) -> list[dict[str, Any]]:
    return list(template(context)["Resources"]["Table"]["Properties"].get("GlobalSecondaryIndexes", []))
