"""A few days of one community, drawn from a seed: who does what when, what breaks when."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from linli.clock import iso
from tests.faults.gate import STORM
from tests.faults.people import EVENTS, People
from tests.faults.world import World
from tests.support import delivery

LENGTH = timedelta(days=2)
Action = Callable[[], object]


@dataclass(frozen=True)
class Moment:
    after: timedelta
    act: Action


def play(world: World) -> People:
    """Everything happens in the storm; then the weather is calm and what waits is drained."""
    people = People(world)
    random = world.random
    start = world.now
    with world.weather(STORM):
        devices = [people.register("smoke_detector") for _ in range(random.randint(1, 2))]
        meters = [people.register("water_meter")]
        known = [one for one in devices if one], [one for one in meters if one]
        for moment in sorted(_moments(people, *known, random), key=lambda moment: moment.after):
            world.now = max(world.now, start + moment.after)
            moment.act()
            _meanwhile(world)
    redrive(world)
    world.drain(between=lambda: redrive(world))
    return people


def _moments(people: People, detectors: list[str], meters: list[str], random: Random) -> list[Moment]:
    def sometime() -> timedelta:
        return LENGTH * random.random()

    moments = [Moment(sometime(), people.report) for _ in range(random.randint(2, 4))]
    moments += [Moment(sometime(), lambda: _staff(people)) for _ in range(random.randint(8, 14))]
    moments += [Moment(sometime(), lambda n=n: people.roster(n)) for n in random.sample(range(1, 5), 3)]
    for detector in detectors:
        moments += [Moment(sometime(), lambda d=detector: _detector(people, d)) for _ in range(random.randint(4, 9))]
        moments += [Moment(sometime(), lambda d=detector: people.junk(d)) for _ in range(2)]
        moments += [Moment(sometime(), lambda d=detector: _contradiction(people, d))]
    for meter in meters:
        moments += [Moment(sometime(), lambda m=meter: _meter(people, m)) for _ in range(random.randint(5, 9))]
    if random.random() < 0.4:
        moments += _outage(people.world, random)
    return moments


def _outage(world: World, random: Random) -> list[Moment]:
    """The relay is down for a day and more: what the streams had is gone."""
    begin = timedelta(hours=20) * random.random()

    def down() -> None:
        world.relay_up = False

    def up() -> None:
        world.relay()  # the streams' day is over: these records reach nobody
        world.relay_up = True

    return [Moment(begin, down), Moment(begin + timedelta(hours=25), up)]


def _meanwhile(world: World) -> None:
    random = world.random
    if random.random() < 0.5:
        world.relay(losing=0.1)
    if random.random() < 0.1:
        world.sweep()
    if random.random() < 0.8:
        world.work()


def _staff(people: People) -> None:
    tickets = sorted(
        {fact["aggregate_id"] for fact in people.world.published.values() if fact["type"] == "TicketOpened"}
    )
    if tickets:
        people.take_next_step(people.world.random.choice(tickets))


def _detector(people: People, device_id: str) -> None:
    """Its clock is right, its message was buffered, or its clock is years off."""
    random = people.world.random
    wrong = random.choice([0, 0, 0, 0, -3600, -40 * 3600, 300, 900, -7 * 365 * 86400, 20 * 365 * 86400])
    at = people.world.now + timedelta(seconds=wrong * random.random())
    people.event(device_id, at=at.replace(microsecond=0), active=random.random() < 0.6)


def _contradiction(people: People, device_id: str) -> None:
    """A device that says the opposite under a time and a counter it used before."""
    spoken = people.ledger.events.get(device_id)
    if not spoken:
        return
    said = people.world.random.choice(spoken)
    state = "clear" if said.value else "active"
    message = {"at": iso(said.at), "seq": said.seq, "event": "smoke", "state": state}
    body = delivery(device_id, message, at=said.received_at)
    people.ledger.unreadable.append(body.encode())
    people.world.deliver(EVENTS, body, delay=timedelta(days=14))


def _meter(people: People, device_id: str) -> None:
    random = people.world.random
    wrong = random.choice([0, 0, 0, -7200, -30 * 3600, 300, 1200, -9 * 365 * 86400, 30 * 365 * 86400])
    first = (people.world.now + timedelta(seconds=wrong * random.random())).replace(microsecond=0)
    people.telemetry(device_id, [first - timedelta(minutes=n) for n in range(random.randint(1, 6))])


def redrive(world: World) -> None:
    """The operator's work: what was parked because its thing was not known yet goes back to its queue."""
    for row in world.operator.rows("alarms", "PARKED#"):
        if row["reason"]["S"] == "unknown-thing":
            world.deliver(EVENTS, base64.b64decode(row["payload"]["S"]).decode())
            world.operator.delete("alarms", row)
