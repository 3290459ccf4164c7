"""The tickets table as `make reconcile` needs it: rows that may be missing, and single rows put back."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from linli.facts import Envelope
from linli.table import CommandRow, Put, Step, step_of
from linli.versions import Item
from tickets.domain import Ticket, TicketAbsent
from tickets.store import HeardSensor, SensorRow, TicketRow, TicketStore, sensor_put, ticket_key, ticket_row


class MendingStore(TicketStore):
    """What is written is written only where the row is as it was seen. Raises StaleVersion."""

    def __init__(self) -> None:
        super().__init__()
        self._command = self.table.bind(CommandRow)

    def find(self, ticket_id: str) -> Ticket | None:
        try:
            return self.ticket(ticket_id)
        except TicketAbsent:
            return None

    def numbered_steps(self, ticket_id: str) -> dict[int, Step]:
        rows = self.table.rows(self.table.step)
        found = rows.query(ticket_key(ticket_id), rows.sk.startswith("S#"), consistent_read=True)
        return {int(row.sk.removeprefix("S#")): step_of(row) for row in found}

    def put_step(self, ticket_id: str, number: int, step: Step) -> None:
        self.table.commit([self.table.step_put(ticket_key(ticket_id), number, step)], at=step.at)

    def put_ticket(self, ticket: Ticket, *, before: int, fact: Envelope, at: datetime) -> None:
        """The ticket instead of its version `before`, its steps being there."""
        self.table.commit([Put(ticket_row(ticket), TicketRow.version == before)], at=at, facts=[fact])

    def put_sensor(self, heard: HeardSensor, *, at: datetime) -> None:
        self.table.commit([sensor_put(heard)], at=at)

    def forget_sensor(self, aggregate_id: str) -> None:
        """So that its alarm, told again, opens a ticket."""
        self.table.rows(SensorRow)(f"SENSOR#{aggregate_id}", "S").delete()

    def forget(self, command_keys: Iterable[str]) -> None:
        """So that the command, given again, is carried out."""
        for key in command_keys:
            self.table.rows(self._command)(f"CMD#{key}", "C").delete()

    def knows(self, command_key: str) -> bool:
        return self.table.get(self._command, f"CMD#{command_key}", "C") is not None


def result_of(item: Item) -> dict[str, str]:
    """What a command's row says a repetition is told."""
    return dict(json.loads(item["result"]["S"]))


def fact_of(item: Item) -> dict[str, Any]:
    """The fact of an outbox row."""
    return dict(json.loads(item["fact"]["S"]))
