"""Single faults in calm weather: poison in a batch, a busy table, other versions, one community a hundred times as loud."""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from botocore.awsrequest import AWSPreparedRequest

from linli.clock import iso, new_id
from tests.faults.gate import Died, Weather
from tests.faults.operations import CONTEXTS
from tests.faults.people import EVENTS, TELEMETRY, Community, People
from tests.faults.world import Queue, Violation, World
from tests.support import NOW, ROOT, delivery

SAMPLES = ROOT / "events" / "samples"
LOUD = 100
FAR = timedelta(days=1000)


def poison(world: World) -> People:
    """F6, F7: nine of ten are done, the tenth is parked; a busy table gives all ten back, however often they were tried."""
    people = People(world)
    detector, meter = _registered(people, "smoke_detector"), _registered(people, "water_meter")
    other = _registered(people, "smoke_detector")
    for queue in _read_queues(world):
        for busy in (False, True):
            _fill(people, queue, detector, meter, other)
            bad = f"not json, for {queue.function.dotted}, {busy}"
            people.ledger.unreadable.append(bad.encode())
            world.deliver(queue.function.dotted, bad)
            world.random.shuffle(queue.waiting)
            _all_or_nine(world, queue, busy=busy)
        print(f"{queue.function.dotted}: 9 of 10 done, 1 parked; table busy: 10 of 10 given back", flush=True)
    _poison_in_the_stream(people)
    return people


def _all_or_nine(world: World, queue: Queue, *, busy: bool) -> None:
    batch = queue.waiting
    if len(batch) != 10:
        raise Violation(f"{len(batch)} messages in the batch")
    if busy:
        for message in batch:
            message.receives = queue.receives
        with world.weather(Weather(throttle=1.0)), suppress(Died):  # out of time, all ten are given back as well
            # A message that is known to be unreadable cannot be parked in a busy table either.
            if (left := len(world.hand_over(queue, batch))) != len(batch):
                raise Violation(f"{queue.function.dotted}: busy, but {len(batch) - left} messages count as done")
    if world.hand_over(queue, batch):
        raise Violation(f"{queue.function.dotted}: the table answers, but not every message is done")
    queue.waiting = []


def _poison_in_the_stream(people: People) -> None:
    """An outbox row nobody can read waits for a person; the rows around it are published."""
    world = people.world
    row = {"pk": {"S": "OUT#3"}, "sk": {"S": new_id(world.now)}, "fact": {"S": "{"}}
    people.report()
    world.operator.put("tickets", row)
    people.report()
    world.relay()
    world.now += timedelta(minutes=15)
    people.report()
    world.operator.new_outbox_rows("tickets")
    world.now += timedelta(minutes=30)  # more than two watches can be apart
    world.sweep()
    left = [one["sk"] for one in world.operator.outbox("tickets")]
    if left != [row["sk"]]:
        raise Violation(f"an unreadable outbox row, and {len(left)} are left")
    world.operator.delete("tickets", row)
    world.drain()


def versions(world: World) -> People:
    """F14: fields nobody knows change nothing, a version nobody knows is parked with its reason."""
    people = People(world)
    detector, meter = _registered(people, "smoke_detector"), _registered(people, "water_meter")
    other = _registered(people, "smoke_detector")
    names = sorted({fact.rpartition("/")[2] for queue in _read_queues(world) for fact in queue.facts})
    for number, name in enumerate(names, 1):
        fact = _sample(name, number=number, device=other)
        _taken(world, [_newer(fact)], more=True)
        _taken(world, [fact], more=False)
        _publish(world, [{**_sample(name, number=100 + number, device=other), "version": 2}])
        waiting = [one.body.encode() for queue in _read_queues(world) for one in queue.waiting]
        if not waiting:
            raise Violation(f"{name}: version 2 reaches nobody")
        people.ledger.unreadable += waiting
        world.drain()
        print(f"{name}: unknown fields taken, version 2 parked by {len(waiting)} subscribers", flush=True)
    for dotted, thing, name in ((EVENTS, detector, "mqtt-event-v1"), (TELEMETRY, meter, "mqtt-telemetry-v1")):
        message = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
        before = _rows(world)
        world.deliver(dotted, delivery(thing, _newer(message)))
        world.drain()
        if _rows(world) <= before:
            raise Violation(f"{name} with unknown fields left no trace")
    return people


def _taken(world: World, facts: list[dict[str, Any]], *, more: bool) -> None:
    before = _rows(world)
    _publish(world, facts)
    world.drain()
    if (_rows(world) > before) != more:
        raise Violation(f"{facts[0]['type']}: {before} rows before, {_rows(world)} after; new ones expected: {more}")


def hot(world: World) -> People:
    """F13: what one laptop can show: a quiet community's requests and rows are its own, whatever a loud one does."""
    people = People(world)
    people.second_taps = 0
    loud, quiet = Community.number(1), Community.number(2)
    for community in (loud, quiet):
        world.places[community.place.building_id or ""] = community.place
        people.roster(1, community)
    _life(people, quiet)  # the month's data key of the county is made and opened
    world.drain()
    alone = _watched(world, lambda: _life(people, quiet))
    noise = _watched(world, lambda: [_life(people, loud) for _ in range(LOUD)])
    beside = _watched(world, lambda: _life(people, quiet))
    if alone.requests != beside.requests:
        raise Violation(
            f"a report and its first step take {alone.requests} requests alone, {beside.requests} beside a loud one"
        )
    shared = {key for key in noise.keys.keys() & beside.keys.keys() if not key.startswith("OUT#")}
    if shared:
        raise Violation(f"the quiet and the loud community write the same rows: {sorted(shared)[:5]}")
    writes = sum(noise.keys.values())
    outbox = max(count for key, count in noise.keys.items() if key.startswith("OUT#"))
    index = max(count for key, count in noise.keys.items() if key.startswith("index "))
    print(f"a report and its first step: {beside.requests} requests, alone and beside {LOUD} of another community")
    print(
        f"of {writes} writes one outbox partition took {outbox / writes:.1%}, one index partition {index / writes:.1%}"
    )
    world.drain()
    return people


@dataclass
class _Watch:
    """Requests of functions, and how often each partition was written."""

    requests: int = 0
    keys: Counter[str] = field(default_factory=Counter)

    def see(self, operation: str, request: AWSPreparedRequest) -> None:
        self.requests += 1
        if operation == "TransactWriteItems":
            for item in json.loads(request.body or "{}")["TransactItems"]:
                row = item["Put"]["Item"]
                self.keys[row["pk"]["S"]] += 1
                self.keys.update(
                    f"index {name} {row[name]['S']}" for name in ("post", "grid", "reporter") if name in row
                )


def _watched(world: World, act: Callable[[], object]) -> _Watch:
    watch = _Watch()
    world.gate.seen = watch.see
    act()
    world.gate.seen = lambda *_: None
    return watch


def _life(people: People, community: Community) -> None:
    ticket_id = people.report(community)
    people.take_next_step(str(ticket_id), community)


def _read_queues(world: World) -> list[Queue]:
    """Those this suite has messages for."""
    known = {
        f"linli.{_sample(path.stem.rpartition('-')[0], number=0)['context']}/{path.stem.rpartition('-')[0]}"
        for path in SAMPLES.glob("[A-Z]*-v1.json")
    }
    return [
        queue for queue in world.queues.values() if queue.facts & known or queue.function.dotted in (EVENTS, TELEMETRY)
    ]


def _fill(people: People, queue: Queue, detector: str, meter: str, other: str) -> None:
    """Nine good messages wait on the queue, and on no other one; conditions are those of the other device."""
    world = people.world
    world.drain()
    for number in range(9):
        world.now += timedelta(seconds=1)
        at = world.now.replace(microsecond=0)
        if queue.function.dotted == EVENTS:
            people.event(detector, at=at, active=number % 2 == 0)
        elif queue.function.dotted == TELEMETRY:
            people.telemetry(meter, [at])
    if queue.facts:
        name = min(queue.facts).rpartition("/")[2]
        _publish(world, [_sample(name, number=world.random.getrandbits(40), device=other) for _ in range(9)])
    world.now += timedelta(hours=11)
    for other in world.queues.values():
        if other is not queue:
            other.waiting = [] if other.facts & queue.facts else other.waiting


def _publish(world: World, facts: list[dict[str, Any]]) -> None:
    for fact in facts:
        world.operator.put_fact("grid", "OUT#0", {**fact, "event_id": new_id(world.now)})
    world.relay()


def _sample(name: str, *, number: int, device: str = "") -> dict[str, Any]:
    """The recorded fact, of another aggregate; a condition is one of this device, a wake is not due yet."""
    fact: dict[str, Any] = json.loads((SAMPLES / f"{name}-v1.json").read_text(encoding="utf-8"))
    data = fact["data"]
    for one in ("alarm_id", "device_id", "grid_id", "ref"):
        if one in data:
            data[one] = f"{one}-{number}"
    if "fire_at" in data:
        data["fire_at"] = iso(NOW + FAR)
    if name == "DeviceConditionChanged":
        return {**fact, "data": {**data, "device_id": device}, "aggregate_version": number}
    return {**fact, "aggregate_id": f"aggregate-{number}#smoke", "aggregate_version": 1}


def _newer(value: Any) -> Any:
    """As a later version might say it: with a field more wherever there is an object."""
    if isinstance(value, dict):
        known = {name: one if name == "v" else _newer(one) for name, one in value.items()}
        return {**known, "added_later": {"x": 1}}
    return [_newer(one) for one in value] if isinstance(value, list) else value


def _rows(world: World) -> int:
    return sum(len(world.operator.rows(context)) for context in CONTEXTS)


def _registered(people: People, device_class: str) -> str:
    device_id = people.register(device_class)
    assert device_id
    people.world.drain()
    return device_id
