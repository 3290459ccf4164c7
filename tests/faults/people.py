"""Those who use the world: devices, residents, staff. They repeat what was not answered, as their apps do."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from linli.access import Caller, Post
from linli.clock import iso, new_id
from linli.commands import command
from linli.facts import Place
from tests.faults.gate import CALM
from tests.faults.world import Answer, Violation, World
from tests.support import COMMUNITY, GRID, PATH, delivery

EVENTS = "alarms.on_device_event.handler"
TELEMETRY = "devices.on_telemetry.handler"
PATIENCE = 6
"""How often a client repeats a command that was not answered."""


@dataclass(frozen=True)
class Community:
    """A community of one grid and one building, with its people."""

    place: Place
    resident: Caller
    worker: Caller
    officer: Caller

    @classmethod
    def number(cls, number: int) -> "Community":
        code = f"{COMMUNITY[:-3]}{number:03d}"
        path = (*PATH[:-1], code)
        grid = f"{code}001"
        return cls(
            place=Place(path=path, grid_id=grid, building_id=f"{code}00001"),
            resident=Caller(f"resident-{number}", home=code),
            worker=Caller(f"worker-{number}", (Post(f"grid-worker-{number}", "grid_worker", (*path, grid)),)),
            officer=Caller(f"officer-{number}", (Post(f"duty-officer-{number}", "duty_officer", path),)),
        )


HOME = Community.number(1)
assert HOME.place.grid_id == GRID


@dataclass(frozen=True)
class Said:
    """An event or a reading as it was delivered at least once."""

    at: datetime
    seq: int
    received_at: datetime
    value: Any

    @property
    def trusted(self) -> bool:
        """The promise, told again: a day late is a buffer, ten minutes ahead is a wrong clock."""
        return self.received_at - timedelta(days=1) <= self.at <= self.received_at + timedelta(minutes=10)


@dataclass
class Ledger:
    """What was promised to whom; the stores are compared with it."""

    devices: dict[str, str] = field(default_factory=dict)
    """Device id → serial."""
    events: dict[str, list[Said]] = field(default_factory=dict)
    readings: dict[str, list[Said]] = field(default_factory=dict)
    reports: dict[str, str | None] = field(default_factory=dict)
    """Command → ticket id; None where the client gave up without an answer."""
    steps: dict[str, bool | None] = field(default_factory=dict)
    """Command → whether the step was accepted; None where the client gave up."""
    rosters: dict[str, int] = field(default_factory=dict)
    unreadable: list[bytes] = field(default_factory=list)


class People:
    def __init__(self, world: World) -> None:
        self.world = world
        self.ledger = Ledger()
        self.second_taps = 0.3
        self._seq: dict[str, int] = {}
        world.places[HOME.place.building_id or ""] = HOME.place

    # Commands

    def new_key(self) -> str:
        return f"key-{self.world.random.getrandbits(64):016x}"

    def command(self, context: str, path: str, caller: Caller, body: dict[str, Any], *, key: str) -> Answer | None:
        """Sent with one key until it is answered; None if that takes too long."""
        for _ in range(PATIENCE):
            answer = self.world.call(context, "POST", path, caller, body=body, key=key)
            if answer and answer.status == 503 and "Retry-After" not in answer.headers:
                raise Violation("503 without Retry-After")
            if answer and answer.status == 500:
                raise Violation(f"500 from POST {path}: {answer.body}")
            if answer and answer.status < 500:
                return self._repeated(answer, context, path, caller, body, key)
            self.world.now += timedelta(seconds=self.world.random.randint(2, 20))
        return None

    def _repeated(
        self, first: Answer, context: str, path: str, caller: Caller, body: dict[str, Any], key: str
    ) -> Answer:
        """A second tap: if it is answered, then as the first one was."""
        if first.status != 201 or self.world.random.random() < 1 - self.second_taps:
            return first
        again = self.world.call(context, "POST", path, caller, body=body, key=key)
        if again and again.status != 503:
            shown = {name: value for name, value in first.body.items() if name != "credentials"}
            if (again.status, again.body) != (201, shown):
                raise Violation(f"POST {path} repeated with its key: {again.status}, another body")
        return first

    def register(self, device_class: str) -> str | None:
        serial = f"S{self.world.random.getrandbits(48):012x}"
        body = {"device_class": device_class, "serial": serial, "place_id": HOME.place.building_id}
        answer = self.command("devices", "/v1/devices", HOME.officer, body, key=self.new_key())
        if answer is None:
            return None
        self._expect(answer, 201)
        device_id = str(answer.body["device"]["device_id"])
        self.ledger.devices[device_id] = serial
        return device_id

    def report(self, community: Community = HOME) -> str | None:
        key = self.new_key()
        body = {"category": "repair", "text": f"synthetic {key}", "place_id": community.place.building_id}
        answer = self.command("tickets", "/v1/tickets", community.resident, body, key=key)
        if answer:
            self._expect(answer, 201)
        ticket_id = answer and str(answer.body["ticket_id"])
        self.ledger.reports[command(community.resident.subject, "open_ticket", key).key] = ticket_id
        return ticket_id

    def read(self, context: str, path: str, caller: Caller) -> dict[str, Any] | None:
        answer = self.world.call(context, "GET", path, caller)
        if answer and answer.status != 503:
            self._expect(answer, 200)
            return answer.body
        return None

    def take_next_step(self, ticket_id: str, community: Community = HOME) -> None:
        """The step the ticket's state asks for, by whom it asks."""
        path = f"/v1/tickets/{ticket_id}"
        ticket = self.read("tickets", path, community.officer)
        by_state = {
            "received": ("accept", community.worker),
            "dispatched": ("accept", community.worker),
            "in_work": ("handle", community.worker),
            "verifying": ("verify", community.officer),
        }
        if ticket is None or ticket["state"] not in by_state:
            return
        step, caller = by_state[ticket["state"]]
        key = self.new_key()
        body = {"step": step, "expected_version": ticket["version"], "note": f"synthetic {key}"}
        answer = self.command("tickets", f"{path}/steps", caller, body, key=key)
        if answer and answer.status not in (201, 409):
            raise Violation(f"{step} was answered {answer.status}: {answer.body}")
        accepted = answer and answer.status == 201
        self.ledger.steps[command(caller.subject, "step_ticket", ticket_id, key).key] = accepted

    # Devices

    def event(self, device_id: str, *, at: datetime, active: bool) -> None:
        """The device publishes once or, having heard no acknowledgement, again."""
        message = {"at": iso(at), "seq": self._next(device_id), "event": "smoke"}
        message["state"] = "active" if active else "clear"
        self._publish(EVENTS, device_id, message, self.ledger.events, [Said(at, message["seq"], at, active)])

    def telemetry(self, device_id: str, times: list[datetime]) -> None:
        readings = [{"t": iso(at), "seq": self._next(device_id), "v": {"flow": self._flow()}} for at in times]
        said = [Said(at, r["seq"], at, r["v"]) for at, r in zip(times, readings, strict=True)]
        self._publish(TELEMETRY, device_id, {"readings": readings}, self.ledger.readings, said)

    def _publish(
        self, dotted: str, device_id: str, message: object, heard: dict[str, list[Said]], said: list[Said]
    ) -> None:
        random = self.world.random
        for copy in range(1 if self.world.gate.weather is CALM else random.choice([1, 1, 1, 2, 5])):
            received = self.world.now + timedelta(seconds=copy * random.randint(1, 90))
            received = received.replace(microsecond=received.microsecond // 1000 * 1000)
            delay = received - self.world.now + timedelta(seconds=random.choice([0, 1, 60, 36000]) * random.random())
            self.world.deliver(dotted, delivery(device_id, message, at=received, trace=f"t-{copy}"), delay=delay)
            heard.setdefault(device_id, []).extend(Said(s.at, s.seq, received, s.value) for s in said)

    def junk(self, device_id: str) -> None:
        """What nobody can read, on any queue."""
        random = self.world.random
        dotted = random.choice(list(self.world.queues))
        body = random.choice(
            [
                "not json",
                "{}",
                "[]",
                delivery(device_id, random.randbytes(20)),
                delivery(device_id, {"at": "now", "seq": -1, "event": "smoke", "state": "active"}),
                delivery(device_id, {"readings": []}),
                '{"source": "linli.x", "detail-type": "AlarmRaised", "detail": {"event_id": "x"}}',
            ]
        )
        self.ledger.unreadable.append(body.encode())
        self.world.deliver(dotted, body)

    def roster(self, version: int, community: Community = HOME) -> None:
        """`grid` publishes a roster: its row lies in the outbox."""
        random = self.world.random
        grid_id, at = community.place.grid_id, self.world.now
        officer = community.officer.posts[0].post_id
        fact = {
            "event_id": new_id(at),
            "type": "DutyRosterChanged",
            "version": 1,
            "context": "grid",
            "aggregate_id": grid_id,
            "aggregate_version": version,
            "occurred_at": iso(at),
            "correlation_id": f"roster-{version}",
            "data": {
                "grid_id": grid_id,
                "shifts": [
                    {
                        "post_id": community.worker.posts[0].post_id,
                        "from_at": iso(at - timedelta(days=version)),
                        "to_at": None,
                    }
                ],
                "duty_officer": officer,
            },
        }
        self.world.operator.put_fact("grid", f"OUT#{random.randrange(8)}", fact)
        self.ledger.rosters[grid_id] = max(version, self.ledger.rosters.get(grid_id, 0))

    def _next(self, device_id: str) -> int:
        self._seq[device_id] = self._seq.get(device_id, 0) + 1
        return self._seq[device_id]

    def _flow(self) -> float:
        return round(self.world.random.random(), 3)

    def _expect(self, answer: Answer, status: int) -> None:
        if answer.status != status:
            raise Violation(f"answered {answer.status}, not {status}: {answer.body}")
