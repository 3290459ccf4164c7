"""Stores in memory: the same ports as the real ones, held to the same tests."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from alarms.domain import Alarm, KnownDevice, Terms
from linli.clock import iso
from linli.commands import Command, CommandLog, Repeated
from linli.errors import KeyReused, StaleVersion
from linli.facts import Envelope
from linli.sealed import SealBroken, SealUnavailable, Spot
from linli.table import Step
from tickets.domain import Roster, State, Ticket, TicketAbsent
from tickets.store import HeardSensor, Summary, Told


class FakeTable(CommandLog):
    """The commands carried out and the facts in the outbox."""

    def __init__(self) -> None:
        self.commands: dict[str, Command] = {}
        self.outbox: list[Envelope] = []

    def recall(self, command: Command) -> dict[str, str] | None:
        known = self.commands.get(command.key)
        if known and known.digest != command.digest:
            raise KeyReused("Idempotency-Key")
        return known.result if known else None

    def commit(self, command: Command, facts: Iterable[Envelope], *, stale: bool) -> None:
        if command.key in self.commands:
            raise Repeated()
        if stale:
            raise StaleVersion("expected_version")
        self.commands[command.key] = command
        self.outbox.extend(facts)


class FakeSeals:
    """Opens only where it sealed; `down` while there is no key."""

    def __init__(self) -> None:
        self.down = False

    def seal(self, text: str, spot: Spot, *, county: str, at: datetime) -> bytes:
        self._check()
        return spot.bound + b"\0" + text.encode()[::-1]

    def open(self, envelope: bytes, spot: Spot) -> str:
        self._check()
        bound, _, sealed = envelope.partition(b"\0")
        if bound != spot.bound:
            raise SealBroken()
        return sealed[::-1].decode()

    def _check(self) -> None:
        if self.down:
            raise SealUnavailable()


class FakeTicketStore:
    def __init__(self) -> None:
        self.table = FakeTable()
        self.tickets: dict[str, Ticket] = {}
        self.steps: dict[str, list[Step]] = {}
        self.texts: dict[str, bytes] = {}
        self.sensors: dict[str, HeardSensor] = {}
        self.rosters: dict[str, tuple[int, Roster]] = {}

    def __contains__(self, ticket_id: str) -> bool:
        return ticket_id in self.tickets

    def ticket(self, ticket_id: str) -> Ticket:
        if ticket_id not in self.tickets:
            raise TicketAbsent("ticket_id")
        return self.tickets[ticket_id]

    def told(self, ticket_id: str) -> Told:
        return Told(self.steps.get(ticket_id, []), self.texts.get(ticket_id))

    def timeline(self, ticket_id: str) -> list[Step]:
        return self.told(ticket_id).steps

    def save(
        self,
        ticket: Ticket,
        *,
        step: Step,
        command: Command,
        facts: Iterable[Envelope],
        heard: HeardSensor | None = None,
        text: bytes | None = None,
    ) -> None:
        known = self.tickets.get(ticket.ticket_id)
        stale = ticket.version != (known.version + 1 if known else 1) or (heard is not None and self._stale(heard))
        self.table.commit(command, facts, stale=stale)
        self.tickets[ticket.ticket_id] = ticket
        self.steps.setdefault(ticket.ticket_id, []).append(step)
        if heard:
            self._keep(heard)
        if text:
            self.texts[ticket.ticket_id] = text

    def sensor(self, aggregate_id: str) -> HeardSensor | None:
        return self.sensors.get(aggregate_id)

    def save_sensor(self, heard: HeardSensor, *, at: datetime, command: Command) -> None:
        self.table.commit(command, [], stale=self._stale(heard))
        self._keep(heard)

    def roster(self, grid_id: str) -> Roster | None:
        known = self.rosters.get(grid_id)
        return known[1] if known else None

    def save_roster(self, grid_id: str, roster: Roster, *, version: int, at: datetime) -> bool:
        if grid_id in self.rosters and self.rosters[grid_id][0] >= version:
            return False
        self.rosters[grid_id] = (version, roster)
        return True

    def waiting_for_post(self, post_id: str, *, limit: int, after: Any) -> tuple[list[Summary], Any]:
        found = [t for t in self.tickets.values() if t.holder == post_id]
        return self._page(sorted(found, key=_due), limit, after)

    def open_in_grid(self, grid_id: str, *, limit: int, after: Any) -> tuple[list[Summary], Any]:
        found = [t for t in self.tickets.values() if t.place.grid_id == grid_id and t.state is not State.CLOSED]
        return self._page(sorted(found, key=_due), limit, after)

    def reported_by(self, subject: str, *, limit: int, after: Any) -> tuple[list[Summary], Any]:
        found = [t for t in self.tickets.values() if t.reporter == subject]
        return self._page(sorted(found, key=lambda t: (iso(t.opened_at), t.ticket_id), reverse=True), limit, after)

    def _page(self, found: list[Ticket], limit: int, after: Any) -> tuple[list[Summary], Any]:
        start = after["start"] if after else 0
        page = [
            Summary(t.ticket_id, t.kind, t.category, t.state, t.severity, t.opened_at, t.due_at, t.version)
            for t in found[start : start + limit]
        ]
        return page, {"start": start + limit} if start + limit <= len(found) else None

    def _stale(self, heard: HeardSensor) -> bool:
        known = self.sensors.get(heard.sensor.aggregate_id)
        return heard.revision != (known.revision if known else 0)

    def _keep(self, heard: HeardSensor) -> None:
        self.sensors[heard.sensor.aggregate_id] = replace(heard, revision=heard.revision + 1)


class FakeAlarmStore:
    def __init__(self) -> None:
        self.table = FakeTable()
        self.devices: dict[str, KnownDevice] = {}
        self.alarms: dict[tuple[str, str], Alarm] = {}
        self.steps: dict[tuple[str, str], list[Step]] = {}

    def remember(self, device: KnownDevice) -> bool:
        known = self.devices.get(device.device_id)
        if known and known.version >= device.version:
            return False
        self.devices[device.device_id] = device
        return True

    def device(self, device_id: str) -> KnownDevice | None:
        return self.devices.get(device_id)

    def alarm(self, device: KnownDevice, terms: Terms) -> Alarm:
        never = Alarm(device.device_id, terms.alarm_type, terms.severity, device.place)
        return self.alarms.get((device.device_id, terms.alarm_type), never)

    def save(self, alarm: Alarm, *, step: Step, command: Command, facts: list[Envelope]) -> None:
        key = alarm.device_id, alarm.alarm_type
        known = self.alarms.get(key)
        self.table.commit(command, facts, stale=alarm.version != (known.version if known else 0) + 1)
        self.alarms[key] = alarm
        self.steps.setdefault(key, []).append(step)

    def history(self, device_id: str, alarm_type: str) -> list[Step]:
        return self.steps.get((device_id, alarm_type), [])


def _due(ticket: Ticket) -> tuple[str, str]:
    return iso(ticket.due_at), ticket.ticket_id
