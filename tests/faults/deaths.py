"""F8: a function's process dies at each request it makes, before it is sent and after it was answered."""

import os
from collections.abc import Callable
from datetime import datetime, timedelta

from tests.faults.gate import Doom
from tests.faults.people import EVENTS, TELEMETRY, People
from tests.faults.world import RELAY, SWEEP, World

Arm = Callable[[], None]


def deaths(world: World) -> People:
    """Every function of the loop, every point; what was asked for is repeated as queues, streams and people repeat it."""
    people = People(world)
    people.roster(1)
    stage = _Stage(people)
    for name, flow in stage.flows:
        points = sum(_points(world, name, flow, after=after) for after in (False, True))
        print(f"{flow.__name__}: {name} died at {points} points", flush=True)
    return people


def _points(world: World, name: str, flow: Callable[[Arm], None], *, after: bool) -> int:
    """How many points there are: the first run that survives had fewer requests."""
    number = 0
    world.survived = False
    while not world.survived:
        number += 1

        def arm(number: int = number) -> None:
            world.doom = (name, Doom(number, after))

        flow(arm)
        world.drain()
        assert world.doom is None, f"{name} was not called"
    return number - 1


class _Stage:
    """What comes before the function that dies; `arm` marks the moment from which it does."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._world = people.world
        self._detector = self._registered("smoke_detector")
        self._meter = self._registered("water_meter")
        self._active = False
        self._roster = 1
        self.flows: list[tuple[str, Callable[[Arm], None]]] = [
            ("POST tickets.api.handler", self.a_report),
            ("POST tickets.api.handler", self.a_step),
            ("POST devices.api.handler", self.a_registration),
            (EVENTS, self.an_event),
            (TELEMETRY, self.telemetry),
            ("alarms.on_device_changed.handler", self.a_registered_device),
            ("grid.on_device_changed.handler", self.a_registered_device),
            ("timers.on_wake_wanted.handler", self.a_wanted_wake),
            ("tickets.on_duty_roster_changed.handler", self.a_roster),
            ("tickets.on_alarm_raised.handler", self.an_alarm),
            ("tickets.on_alarm_cleared.handler", self.an_alarms_end),
            (RELAY, self.the_relay),
            (SWEEP, self.the_sweeper),
        ]

    def a_report(self, arm: Arm) -> None:
        arm()
        self._people.report()

    def a_step(self, arm: Arm) -> None:
        ticket_id = self._people.report()
        assert ticket_id
        arm()
        self._people.take_next_step(ticket_id)

    def a_registration(self, arm: Arm) -> None:
        arm()
        self._people.register("smoke_detector")

    def an_event(self, arm: Arm) -> None:
        arm()
        self._says(active=not self._active)

    def telemetry(self, arm: Arm) -> None:
        arm()
        self._people.telemetry(self._meter, [self._now(), self._now() - timedelta(minutes=1)])
        self._world.drain()

    def a_registered_device(self, arm: Arm) -> None:
        self._people.register("smoke_detector")
        arm()

    def a_wanted_wake(self, arm: Arm) -> None:
        """A meter is watched for silence from its registration on."""
        self._people.register("water_meter")
        arm()

    def a_roster(self, arm: Arm) -> None:
        self._roster += 1
        self._people.roster(self._roster)
        arm()

    def an_alarm(self, arm: Arm) -> None:
        self._says(active=False)
        arm()
        self._says(active=True)

    def an_alarms_end(self, arm: Arm) -> None:
        self._says(active=True)
        arm()
        self._says(active=False)

    def the_relay(self, arm: Arm) -> None:
        self._people.report()
        arm()

    def the_sweeper(self, arm: Arm) -> None:
        os.environ["OUTBOX_TABLES"] = self._world.operator.table("tickets")  # the others differ in nothing
        self._people.report()
        self._world.operator.new_outbox_rows("tickets")
        self._world.now += timedelta(minutes=15)
        arm()

    def _says(self, *, active: bool) -> None:
        """A second later than whatever it said before, so that the event moves the alarm."""
        self._active = active
        self._world.now += timedelta(seconds=200)
        self._people.event(self._detector, at=self._now(), active=active)
        self._world.drain()

    def _now(self) -> datetime:
        return self._world.now.replace(microsecond=0)

    def _registered(self, device_class: str) -> str:
        device_id = self._people.register(device_class)
        assert device_id
        self._world.drain()
        return device_id
