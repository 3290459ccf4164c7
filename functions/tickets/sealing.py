"""What people write in tickets is about persons (class L3): it is kept under seal, and opened only where it is shown."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from linli.sealed import Spot
from linli.table import step_key
from tickets.domain import Ticket
from tickets.store import Told, ticket_key


class Seals(Protocol):
    """Raises SealUnavailable, SealBroken."""

    def seal(self, text: str, spot: Spot, *, county: str, at: datetime) -> bytes: ...

    def open(self, envelope: bytes, spot: Spot) -> str: ...


@dataclass(frozen=True)
class Shown:
    """A ticket's text and its steps' notes, opened; a note stands where its step does in the timeline."""

    text: str | None
    notes: tuple[str | None, ...]


def seal_text(ticket: Ticket, text: str, *, at: datetime, seals: Seals) -> bytes:
    return seals.seal(text, _text_at(ticket.ticket_id), county=ticket.place.county, at=at)


def seal_note(ticket: Ticket, number: int, note: str, *, at: datetime, seals: Seals) -> bytes:
    """The note of the ticket's step with this number, which is the version the step led to."""
    return seals.seal(note, _note_at(ticket.ticket_id, number), county=ticket.place.county, at=at)


def opened(ticket: Ticket, told: Told, *, seals: Seals) -> Shown:
    notes = (
        seals.open(step.sealed, _note_at(ticket.ticket_id, number)) if step.sealed else step.note
        for number, step in enumerate(told.steps, 1)
    )
    text = seals.open(told.text, _text_at(ticket.ticket_id)) if told.text else ticket.unsealed
    return Shown(text, tuple(notes))


def _text_at(ticket_id: str) -> Spot:
    return Spot("tickets", ticket_key(ticket_id), "TEXT", "sealed")


def _note_at(ticket_id: str, number: int) -> Spot:
    return Spot("tickets", ticket_key(ticket_id), step_key(number), "sealed")
