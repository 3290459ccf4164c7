"""Tickets 1 → 2: texts and notes of before go under seal, under the data key of the month they were written in."""

from datetime import datetime

from linli.migration import Beyond
from linli.versions import Item, upcast
from tickets.domain import Ticket, TicketAbsent
from tickets.sealing import Seals, seal_note, seal_text
from tickets.store import TextRow, TicketStore, ticket_key
from tickets.versions import UPCASTS, kind_of


class TicketsPlan:
    """Rows of one ticket stand together in a walk, so the ticket of the row before is kept."""

    upcasts = UPCASTS

    def __init__(self, store: TicketStore, seals: Seals) -> None:
        self._store = store
        self._seals = seals
        self._last: Ticket | None = None

    def kind_of(self, item: Item) -> str | None:
        return kind_of(item)

    def rewritten(self, item: Item) -> list[Item]:
        """Raises SealUnavailable; Beyond for a step whose ticket is not there (`make reconcile` tells more)."""
        kind = kind_of(item) or ""
        row = upcast(kind, item, UPCASTS)
        if kind == "ticket" and "text" in row:
            return self._without_text(row)
        if kind == "step" and "note" in row:
            return [self._with_sealed_note(row)]
        return [row]

    def _without_text(self, row: Item) -> list[Item]:
        ticket = self._ticket(row)
        said = row.pop("text")["S"]
        envelope = seal_text(ticket, said, at=ticket.opened_at, seals=self._seals)
        return [row, TextRow(ticket_key(ticket.ticket_id), "TEXT", sealed=envelope).serialize()]

    def _with_sealed_note(self, row: Item) -> Item:
        number = int(row["sk"]["S"].removeprefix("S#"))
        at = datetime.fromisoformat(row["at"]["S"])
        said = row.pop("note")["S"]
        envelope = seal_note(self._ticket(row), number, said, at=at, seals=self._seals)
        return {**row, "sealed": {"B": envelope}}

    def _ticket(self, row: Item) -> Ticket:
        ticket_id = row["pk"]["S"].removeprefix("TICKET#")
        if self._last is None or self._last.ticket_id != ticket_id:
            try:
                self._last = self._store.ticket(ticket_id)
            except TicketAbsent as error:
                raise Beyond from error
        return self._last
