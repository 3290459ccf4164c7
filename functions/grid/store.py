"""The grid table.

GRID#grid_id         | G             the grid: name, path
GRID#grid_id         | DUTY          its duty roster, versioned
PLACE#building_id    | B             a building and the grid it stands in
PLACE#building_id    | R#unit-number a room of it; its grid is its building's (以楼带房)
"""

from collections.abc import Iterable
from datetime import datetime

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute

from grid.domain import Building, Grid, Room, Roster, split_place_id
from grid.events import DutyRosterChanged, ShiftData
from linli.clock import iso
from linli.errors import PlaceAbsent
from linli.facts import envelope
from linli.table import Put, Row, Table, TableName


class GridRow(Row):
    class Meta:
        table_name = TableName("GRID_TABLE")

    name = UnicodeAttribute(null=True)
    path = JSONAttribute(null=True)
    grid_id = UnicodeAttribute(null=True)


class RosterRow(GridRow):
    shifts = JSONAttribute()
    duty_officer = UnicodeAttribute()
    version = NumberAttribute()


class GridStore:
    def __init__(self) -> None:
        self._table = Table(GridRow)

    def place(self, place_id: str) -> Building | Room:
        """The building or room with this id. Raises PlaceAbsent."""
        building_id, room = split_place_id(place_id)
        wanted = [(f"PLACE#{building_id}", "B"), *([(f"PLACE#{building_id}", f"R#{room}")] if room else [])]
        found = {row.sk: row for row in self._table.rows(GridRow).batch_get(wanted, consistent_read=True)}
        if len(found) != len(wanted):
            raise PlaceAbsent("place_id")
        row = found["B"]
        building = Building(building_id, row.name, row.grid_id, tuple(row.path))
        return Room(place_id, building) if room else building

    def add(self, places: Iterable[Grid | Building | Room]) -> int:
        """Write grids, buildings and rooms, replacing what was there; how many."""
        count = 0
        with self._table.rows(GridRow).batch_write() as batch:
            for place in places:
                batch.save(_row(place))
                count += 1
        return count

    def set_roster(self, roster: Roster, *, at: datetime, correlation_id: str) -> bool:
        """Replace the grid's roster and say so; False if it is just the same as before."""
        pk = f"GRID#{roster.grid.grid_id}"
        before = self._table.get(RosterRow, pk, "DUTY")
        shifts = [
            {"post_id": s.post_id, "from_at": iso(s.from_at), "to_at": iso(s.to_at) if s.to_at else None}
            for s in roster.shifts
        ]
        if before and before.shifts == shifts and before.duty_officer == roster.duty_officer:
            return False
        version = int(before.version) + 1 if before else 1
        row = RosterRow(pk, "DUTY", shifts=shifts, duty_officer=roster.duty_officer, version=version)
        condition = RosterRow.version == before.version if before else RosterRow.pk.does_not_exist()
        fact = DutyRosterChanged(
            grid_id=roster.grid.grid_id,
            path=roster.grid.path,
            shifts=tuple(ShiftData(post_id=s.post_id, from_at=s.from_at, to_at=s.to_at) for s in roster.shifts),
            duty_officer=roster.duty_officer,
        )
        said = envelope(
            fact, aggregate_id=roster.grid.grid_id, aggregate_version=version, at=at, correlation_id=correlation_id
        )
        self._table.commit([Put(row, condition)], at=at, facts=[said])
        return True


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
