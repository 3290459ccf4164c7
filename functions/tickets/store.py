"""The tickets table.

    TICKET#ulid        | T           the ticket
    TICKET#ulid        | S#000007    its seventh step: timeline and audit trail; its note is under seal
    TICKET#ulid        | TEXT        what was reported, under seal; written once, read with the steps in one query
    SENSOR#device#type | S           what the detector last said, and the ticket its alarm went to
    ROSTER#grid        | R           the grid's duty roster as `grid` last published it

    index post      open tickets by the post they wait for, by due time       my work
    index grid      open tickets by grid, by due time                         my grid's work
    index reporter  every ticket by who reported it, by time of opening        what I reported

Index keys: `due_key` is due_at#ulid, `created_key` opened_at#ulid. Indexes carry no text and nothing about the reporter
but their subject. Row versions: `versions.py`.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pynamodb.attributes import BinaryAttribute, BooleanAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import GlobalSecondaryIndex, IncludeProjection

from linli.clock import iso
from linli.commands import Command
from linli.errors import StaleVersion
from linli.facts import Envelope, Place
from linli.table import Put, Row, Step, Table, TableMeta, TableName, step_of
from linli.versions import current
from tickets.domain import Roster, Sensor, Shift, State, Ticket, TicketAbsent
from tickets.versions import UPCASTS

SUMMARY = ["kind", "category", "state", "severity", "due_at", "opened_at", "version"]


class PostIndex(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "post"
        projection = IncludeProjection(SUMMARY)

    post = UnicodeAttribute(hash_key=True)
    due_key = UnicodeAttribute(range_key=True)


class GridIndex(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "grid"
        projection = IncludeProjection(SUMMARY)

    grid = UnicodeAttribute(hash_key=True)
    due_key = UnicodeAttribute(range_key=True)


class ReporterIndex(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "reporter"
        projection = IncludeProjection(SUMMARY)

    reporter = UnicodeAttribute(hash_key=True)
    created_key = UnicodeAttribute(range_key=True)


class TicketsRow(Row):
    """The indexes stand here, not with their rows: rows use this class's connection, and it knows only its own indexes."""

    class Meta(TableMeta):
        table_name = TableName("TICKETS_TABLE")

    upcasts = UPCASTS

    by_post = PostIndex()
    by_grid = GridIndex()
    by_reporter = ReporterIndex()


class SummaryRow(TicketsRow):
    """What an index shows of a ticket; PynamoDB takes as long for a row as the row has attributes."""

    kind = UnicodeAttribute()
    category = UnicodeAttribute()
    state = UnicodeAttribute()
    severity = UnicodeAttribute(null=True)
    opened_at = UnicodeAttribute()
    due_at = UnicodeAttribute()
    version = NumberAttribute()


class TicketRow(SummaryRow):
    """A row that has `text` is one of version 1, whoever wrote it."""

    v = NumberAttribute(default=current("ticket", UPCASTS))
    place = JSONAttribute()
    correlation_id = UnicodeAttribute()
    handler = UnicodeAttribute(null=True)
    verifiers = JSONAttribute(default=list)
    handled_by = UnicodeAttribute(null=True)
    device_id = UnicodeAttribute(null=True)
    sensor = JSONAttribute(null=True)
    text = UnicodeAttribute(null=True)
    post = UnicodeAttribute(null=True)
    grid = UnicodeAttribute(null=True)
    reporter = UnicodeAttribute(null=True)
    due_key = UnicodeAttribute(null=True)
    created_key = UnicodeAttribute(null=True)


class TextRow(TicketsRow):
    sealed = BinaryAttribute(legacy_encoding=False)


class SensorRow(TicketsRow):
    revision = NumberAttribute()
    version = NumberAttribute()
    active = BooleanAttribute()
    ticket_id = UnicodeAttribute(null=True)


class RosterRow(TicketsRow):
    version = NumberAttribute()
    shifts = JSONAttribute()
    duty_officer = UnicodeAttribute()
    deputy_officer = UnicodeAttribute(null=True)


@dataclass(frozen=True)
class Summary:
    ticket_id: str
    kind: str
    category: str
    state: State
    severity: str | None
    opened_at: datetime
    due_at: datetime
    version: int


@dataclass(frozen=True)
class Told:
    """A ticket's timeline, and its text under seal."""

    steps: list[Step]
    text: bytes | None


@dataclass(frozen=True)
class HeardSensor:
    """A detector's newest word, and the ticket its alarm went to; `revision` counts the row's writes, 0 before the first."""

    sensor: Sensor
    ticket_id: str | None
    revision: int


class TicketStore:
    def __init__(self) -> None:
        self.table = Table(TicketsRow)

    def ticket(self, ticket_id: str) -> Ticket:
        """Raises TicketAbsent."""
        row = self.table.get(TicketRow, ticket_key(ticket_id), "T")
        if row is None:
            raise TicketAbsent("ticket_id")
        return _ticket(ticket_id, row)

    def told(self, ticket_id: str) -> Told:
        """One query: the steps stand before the ticket, the text behind it."""
        step = self.table.rows(self.table.step)
        rows = list(step.query(ticket_key(ticket_id), step.sk.between("S#", "TEXT"), consistent_read=True))
        text = rows[-1].sealed if rows and rows[-1].sk == "TEXT" else None
        return Told([step_of(row) for row in rows if row.sk.startswith("S#")], text)

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
        """The ticket's next version (the first, if it is 1) with its step, and its text if that is new.

        Raises StaleVersion, Repeated.
        """
        before = TicketRow.pk.does_not_exist() if ticket.version == 1 else TicketRow.version == ticket.version - 1
        puts = [
            Put(ticket_row(ticket), before),
            self.table.step_put(ticket_key(ticket.ticket_id), ticket.version, step),
            *([sensor_put(heard)] if heard else []),
            *([Put(TextRow(ticket_key(ticket.ticket_id), "TEXT", sealed=text))] if text else []),
        ]
        self.table.commit(puts, at=step.at, command=command, facts=facts)

    def sensor(self, aggregate_id: str) -> HeardSensor | None:
        row = self.table.get(SensorRow, f"SENSOR#{aggregate_id}", "S")
        if row is None:
            return None
        return HeardSensor(Sensor(aggregate_id, int(row.version), row.active), row.ticket_id, int(row.revision))

    def save_sensor(self, heard: HeardSensor, *, at: datetime, command: Command) -> None:
        """What a detector said where it changes no ticket. Raises StaleVersion, Repeated."""
        self.table.commit([sensor_put(heard)], at=at, command=command)

    def roster(self, grid_id: str) -> Roster | None:
        """The grid's roster, None if none was published."""
        row = self.table.get(RosterRow, f"ROSTER#{grid_id}", "R")
        if row is None:
            return None
        shifts = tuple(
            Shift(
                s["post_id"],
                datetime.fromisoformat(s["from_at"]),
                datetime.fromisoformat(s["to_at"]) if s["to_at"] else None,
            )
            for s in row.shifts
        )
        return Roster(shifts, row.duty_officer, row.deputy_officer)

    def save_roster(self, grid_id: str, roster: Roster, *, version: int, at: datetime) -> bool:
        """Keep the roster unless a newer one is kept; whether it was."""
        row = RosterRow(
            f"ROSTER#{grid_id}",
            "R",
            version=version,
            duty_officer=roster.duty_officer,
            deputy_officer=roster.deputy_officer,
            shifts=[
                {"post_id": s.post_id, "from_at": iso(s.from_at), "to_at": iso(s.to_at) if s.to_at else None}
                for s in roster.shifts
            ],
        )
        try:
            self.table.commit([Put(row, RosterRow.pk.does_not_exist() | (RosterRow.version < version))], at=at)
        except StaleVersion:
            return False
        return True

    def waiting_for_post(self, post_id: str, *, limit: int, after: Any) -> tuple[list[Summary], Any]:
        return self._page(SummaryRow.by_post.query, post_id, limit=limit, after=after)

    def open_in_grid(self, grid_id: str, *, limit: int, after: Any) -> tuple[list[Summary], Any]:
        return self._page(SummaryRow.by_grid.query, grid_id, limit=limit, after=after)

    def reported_by(self, subject: str, *, limit: int, after: Any) -> tuple[list[Summary], Any]:
        """Newest first."""
        return self._page(SummaryRow.by_reporter.query, subject, limit=limit, after=after, scan_index_forward=False)

    def _page(self, query: Any, key: str, *, limit: int, after: Any, **more: Any) -> tuple[list[Summary], Any]:
        """One index query: a page of summaries and where to go on (None at the end)."""
        self.table.rows(SummaryRow)
        rows = query(key, limit=limit, page_size=limit, last_evaluated_key=after, **more)
        return [_summary(row) for row in rows], rows.last_evaluated_key


def ticket_key(ticket_id: str) -> str:
    return f"TICKET#{ticket_id}"


def _summary(row: SummaryRow) -> Summary:
    return Summary(
        ticket_id=row.pk.removeprefix("TICKET#"),
        kind=row.kind,
        category=row.category,
        state=State(row.state),
        severity=row.severity,
        opened_at=datetime.fromisoformat(row.opened_at),
        due_at=datetime.fromisoformat(row.due_at),
        version=int(row.version),
    )


def _ticket(ticket_id: str, row: TicketRow) -> Ticket:
    return Ticket(
        ticket_id=ticket_id,
        kind=row.kind,
        category=row.category,
        place=Place.model_validate(row.place),
        opened_at=datetime.fromisoformat(row.opened_at),
        due_at=datetime.fromisoformat(row.due_at),
        correlation_id=row.correlation_id,
        state=State(row.state),
        version=int(row.version),
        handler=row.handler,
        verifiers=tuple(row.verifiers),
        handled_by=row.handled_by,
        reporter=row.reporter,
        severity=row.severity,
        device_id=row.device_id,
        sensor=Sensor(**row.sensor) if row.sensor else None,
        unsealed=row.text,
    )


def ticket_row(ticket: Ticket) -> TicketRow:
    opened = ticket.state is not State.CLOSED
    due_at = iso(ticket.due_at)
    opened_at = iso(ticket.opened_at)
    return TicketRow(
        ticket_key(ticket.ticket_id),
        "T",
        v=1 if ticket.unsealed else current("ticket", UPCASTS),
        text=ticket.unsealed,
        kind=ticket.kind,
        category=ticket.category,
        state=ticket.state.value,
        severity=ticket.severity,
        place=ticket.place.model_dump(mode="json"),
        opened_at=opened_at,
        due_at=due_at,
        correlation_id=ticket.correlation_id,
        version=ticket.version,
        handler=ticket.handler,
        verifiers=list(ticket.verifiers),
        handled_by=ticket.handled_by,
        device_id=ticket.device_id,
        sensor=asdict(ticket.sensor) if ticket.sensor else None,
        post=ticket.holder,
        grid=ticket.place.grid_id if opened else None,
        reporter=ticket.reporter,
        due_key=f"{due_at}#{ticket.ticket_id}" if opened else None,
        created_key=f"{opened_at}#{ticket.ticket_id}",
    )


def sensor_put(heard: HeardSensor) -> Put:
    row = SensorRow(
        f"SENSOR#{heard.sensor.aggregate_id}",
        "S",
        revision=heard.revision + 1,
        version=heard.sensor.version,
        active=heard.sensor.active,
        ticket_id=heard.ticket_id,
    )
    return Put(row, SensorRow.revision == heard.revision if heard.revision else SensorRow.pk.does_not_exist())
