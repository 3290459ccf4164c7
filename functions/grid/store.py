"""The grid table.

GRID#grid_id         | G             the grid: name, path
GRID#grid_id         | DUTY          its duty roster, versioned
GRID#grid_id         | DUTY#S#000001 what was done to the roster
PLACE#building_id    | B             a building and the grid it stands in
PLACE#building_id    | R#unit-number a room of it; its grid is its building's (以楼带房)
"""

from collections.abc import Iterable
from datetime import datetime

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute

from grid.domain import Building, Grid, Room, Roster, Shift, split_place_id
from linli.clock import iso
from linli.commands import Command
from linli.errors import PlaceAbsent
from linli.facts import Envelope
from linli.table import Put, Row, Step, Table, TableMeta, TableName


class GridRow(Row):
    class Meta(TableMeta):
        table_name = TableName("GRID_TABLE")

    name = UnicodeAttribute(null=True)
    path = JSONAttribute(null=True)
    grid_id = UnicodeAttribute(null=True)


class RosterRow(GridRow):
    shifts = JSONAttribute()
    duty_officer = UnicodeAttribute()
    deputy_officer = UnicodeAttribute(null=True)
    version = NumberAttribute()


class GridStore:
    def __init__(self) -> None:
        self.table = Table(GridRow)

    def place(self, place_id: str) -> Building | Room:
        """The building or room with this id. Raises PlaceAbsent."""
        building_id, room = split_place_id(place_id)
        wanted = [(f"PLACE#{building_id}", "B"), *([(f"PLACE#{building_id}", f"R#{room}")] if room else [])]
        found = {row.sk: row for row in self.table.rows(GridRow).batch_get(wanted, consistent_read=True)}
        if len(found) != len(wanted):
            raise PlaceAbsent("place_id")
        row = found["B"]
        building = Building(building_id, row.name, row.grid_id, tuple(row.path))
        return Room(place_id, building) if room else building

    def add(self, places: Iterable[Grid | Building | Room]) -> int:
        """Write grids, buildings and rooms, replacing what was there; how many."""
        count = 0
        with self.table.rows(GridRow).batch_write() as batch:
            for place in places:
                batch.save(_row(place))
                count += 1
        return count

    def roster(self, grid: Grid) -> tuple[Roster, int] | None:
        """The grid's roster and its version, None if it has none."""
        row = self.table.get(RosterRow, f"GRID#{grid.grid_id}", "DUTY")
        if row is None:
            return None
        shifts = tuple(
            Shift(s["post_id"], _instant(s["from_at"]), s["to_at"] and _instant(s["to_at"])) for s in row.shifts
        )
        return Roster(grid, shifts, row.duty_officer, row.deputy_officer), int(row.version)

    def save_roster(self, roster: Roster, *, version: int, step: Step, command: Command, fact: Envelope) -> None:
        """The roster's next version (the first, if it is 1). Raises StaleVersion, Repeated."""
        pk = f"GRID#{roster.grid.grid_id}"
        shifts = [
            {"post_id": s.post_id, "from_at": iso(s.from_at), "to_at": iso(s.to_at) if s.to_at else None}
            for s in roster.shifts
        ]
        row = RosterRow(
            pk,
            "DUTY",
            shifts=shifts,
            duty_officer=roster.duty_officer,
            deputy_officer=roster.deputy_officer,
            version=version,
        )
        before = RosterRow.pk.does_not_exist() if version == 1 else RosterRow.version == version - 1
        puts = [Put(row, before), self.table.step_put(pk, version, step, under="DUTY#")]
        self.table.commit(puts, at=step.at, command=command, facts=[fact])


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _row(place: Grid | Building | Room) -> GridRow:
    match place:
        case Grid():
            return GridRow(f"GRID#{place.grid_id}", "G", name=place.name, path=list(place.path))
        case Building():
            pk = f"PLACE#{place.building_id}"
            return GridRow(pk, "B", name=place.name, path=list(place.path), grid_id=place.grid_id)
        case Room():
            building_id, room = split_place_id(place.room_id)
            return GridRow(f"PLACE#{building_id}", f"R#{room}")
