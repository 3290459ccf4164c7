"""The grid table.

GRID#grid_id         | G             the grid: name, kind, polygon, time in force, successors
GRID#grid_id         | DUTY          its duty roster, versioned; with G in one query
GRID#grid_id         | H#S#000001    what was done to the roster, sorted behind what is read
PLACE#building_id    | B             a building: address, position, the grids it has stood in
PLACE#building_id    | R#unit-number a room of it; its grid is its building's (以楼带房)
CELL#lat#lon         | grid_id       a grid that may reach into the hundredth of a degree south-west of which (lat, lon) is
ADDRESS#community    | address       the building with that standard address; never a room's, which would lead to people
DEVICE#device_id     | D             the building or room a device is at, none once it is retired; `version` is the device's
LOAD#community       | L             fingerprint of the ground a community was loaded from, and the ids of all grids loaded so far

CELL, ADDRESS and DEVICE rows only point: the row they lead to decides, so one left over from before misleads nobody.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, cast

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute

from grid.coordinates import Datum, Outline, Position
from grid.domain import Building, Grid, GridKind, Room, Roster, Shift, Stay, split_address, split_place_id
from linli.clock import iso
from linli.commands import Command
from linli.errors import PlaceAbsent
from linli.facts import Envelope
from linli.table import Put, Row, Step, Table, TableMeta, TableName


class GridRow(Row):
    class Meta(TableMeta):
        table_name = TableName("GRID_TABLE")


class GroundRow(GridRow):
    """`GRID#id | G` and `GRID#id | DUTY`: one class, so that one query reads both."""

    name = UnicodeAttribute(null=True)
    path = JSONAttribute(null=True)
    kind = UnicodeAttribute(null=True)
    outline = JSONAttribute(null=True)
    valid_from = UnicodeAttribute(null=True)
    valid_to = UnicodeAttribute(null=True)
    base_grid_id = UnicodeAttribute(null=True)
    successors = JSONAttribute(null=True)
    shifts = JSONAttribute(null=True)
    duty_officer = UnicodeAttribute(null=True)
    deputy_officer = UnicodeAttribute(null=True)
    version = NumberAttribute(null=True)


class PlaceRow(GridRow):
    """`PLACE#building | B` and its rooms, `R#unit-number`."""

    name = UnicodeAttribute(null=True)
    address = UnicodeAttribute(null=True)
    position = JSONAttribute(null=True)
    stays = JSONAttribute(null=True)
    households = NumberAttribute(null=True)


class PointerRow(GridRow):
    """`CELL`, `ADDRESS` and `DEVICE`: the id of what is meant, where the sort key does not say it."""

    place_id = UnicodeAttribute(null=True)
    version = NumberAttribute(null=True)


class LoadRow(GridRow):
    fingerprint = UnicodeAttribute()
    row_count = NumberAttribute()
    loaded_at = UnicodeAttribute()
    grid_ids = JSONAttribute(null=True)


class GridStore:
    def __init__(self) -> None:
        self.table = Table(GridRow)

    def building(self, place_id: str) -> Building:
        """The building with this id, or that of the room with this id. Raises PlaceAbsent."""
        building_id, room = split_place_id(place_id)
        pk = f"PLACE#{building_id}"
        wanted = [(pk, "B"), *([(pk, f"R#{room}")] if room else [])]
        found = {row.sk: row for row in self.table.rows(PlaceRow).batch_get(wanted, consistent_read=True)}
        if len(found) != len(wanted):
            raise PlaceAbsent("place_id")
        return _building(found["B"])

    def grid(self, grid_id: str) -> tuple[Grid, Roster | None]:
        """The grid and its duty roster. Raises PlaceAbsent."""
        query = self.table.rows(GroundRow).query(f"GRID#{grid_id}", GroundRow.sk < "H", consistent_read=True)
        rows = {row.sk: row for row in query}
        if "G" not in rows:
            raise PlaceAbsent("place_id")
        grid = _grid(rows["G"])
        return grid, _roster(grid, rows["DUTY"]) if "DUTY" in rows else None

    def grids_near(self, position: Position) -> list[Grid]:
        """The grids, of any time, whose bounding box may hold the position."""
        cell = self.table.rows(PointerRow).query(f"CELL#{position.cell}")
        keys = [(f"GRID#{row.sk}", "G") for row in cell]
        return [_grid(row) for row in self.table.rows(GroundRow).batch_get(keys)] if keys else []

    def building_at(self, community: str, address: str) -> str | None:
        """The id of the building with this standard address in the community."""
        row = self.table.get(PointerRow, f"ADDRESS#{community}", address)
        return row.place_id if row else None

    def put_device(self, device_id: str, place_id: str | None, *, version: int) -> bool:
        """Where the device is as of its `version`; whether that was newer than what was known."""
        row = self.table.rows(PointerRow)(f"DEVICE#{device_id}", "D", place_id=place_id, version=version)
        return self.table.save_if(row, PointerRow.version.does_not_exist() | (PointerRow.version < version))

    def device_place(self, device_id: str) -> str | None:
        """The id of the place a device is at."""
        row = self.table.get(PointerRow, f"DEVICE#{device_id}", "D")
        return row.place_id if row else None

    def fingerprint(self, community: str) -> str | None:
        row = self.table.get(LoadRow, f"LOAD#{community}", "L")
        return row.fingerprint if row else None

    def loaded_grids(self, community: str) -> Sequence[str]:
        """The ids of all grids any survey of the community brought."""
        row = self.table.get(LoadRow, f"LOAD#{community}", "L")
        return tuple(row.grid_ids or ()) if row else ()

    def mark_loaded(
        self, community: str, fingerprint: str, count: int, at: datetime, *, grid_ids: Sequence[str]
    ) -> None:
        row = self.table.rows(LoadRow)(
            f"LOAD#{community}",
            "L",
            fingerprint=fingerprint,
            row_count=count,
            loaded_at=iso(at),
            grid_ids=list(grid_ids),
        )
        row.save()

    def add(self, places: Sequence[Grid | Building | Room]) -> int:
        """Put grids, buildings and rooms whatever was there, with the rows that lead to them; how many rows."""
        rows = [row for place in places for row in _rows(place)]
        with self.table.rows(GridRow).batch_write() as batch:
            for row in rows:
                batch.save(row)
        return len(rows)

    def roster(self, grid: Grid) -> tuple[Roster, int] | None:
        """The grid's roster and its version, None if it has none."""
        row = self.table.get(GroundRow, f"GRID#{grid.grid_id}", "DUTY")
        return (_roster(grid, row), int(row.version)) if row else None

    def save_roster(self, roster: Roster, *, version: int, step: Step, command: Command, fact: Envelope) -> None:
        """The roster's next version (the first, if it is 1). Raises StaleVersion, Repeated."""
        pk = f"GRID#{roster.grid.grid_id}"
        shifts = [
            {"post_id": s.post_id, "from_at": iso(s.from_at), "to_at": iso(s.to_at) if s.to_at else None}
            for s in roster.shifts
        ]
        row = GroundRow(
            pk,
            "DUTY",
            shifts=shifts,
            duty_officer=roster.duty_officer,
            deputy_officer=roster.deputy_officer,
            version=version,
        )
        before = GroundRow.pk.does_not_exist() if version == 1 else GroundRow.version == version - 1
        puts = [Put(row, before), self.table.step_put(pk, version, step, under="H#")]
        self.table.commit(puts, at=step.at, command=command, facts=[fact])


def _rows(place: Grid | Building | Room) -> list[GridRow]:
    match place:
        case Grid():
            return [_grid_row(place), *(PointerRow(f"CELL#{c}", place.grid_id) for c in place.outline.cells())]
        case Building():
            address, _ = split_address(place.address)
            pointer = PointerRow(f"ADDRESS#{place.building_id[:12]}", address, place_id=place.building_id)
            return [_building_row(place), pointer]
        case Room():
            building_id, room = split_place_id(place.room_id)
            return [PlaceRow(f"PLACE#{building_id}", f"R#{room}", households=place.households)]


def _grid_row(grid: Grid) -> GroundRow:
    return GroundRow(
        f"GRID#{grid.grid_id}",
        "G",
        name=grid.name,
        path=list(grid.path),
        kind=grid.kind,
        outline={"datum": grid.outline.datum, "shell": grid.outline.shell, "holes": grid.outline.holes},
        valid_from=grid.valid_from.isoformat(),
        valid_to=grid.valid_to.isoformat() if grid.valid_to else None,
        base_grid_id=grid.base_grid_id,
        successors=list(grid.successors),
    )


def _grid(row: GroundRow) -> Grid:
    outline: dict[str, Any] = row.outline
    return Grid(
        grid_id=row.pk.removeprefix("GRID#"),
        name=row.name,
        path=tuple(row.path),
        outline=Outline(_ring(outline["shell"]), tuple(map(_ring, outline["holes"])), Datum(outline["datum"])),
        valid_from=date.fromisoformat(row.valid_from),
        kind=cast(GridKind, row.kind),
        base_grid_id=row.base_grid_id,
        valid_to=date.fromisoformat(row.valid_to) if row.valid_to else None,
        successors=tuple(row.successors),
    )


def _ring(positions: list[list[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((lon, lat) for lon, lat in positions)


def _building_row(building: Building) -> PlaceRow:
    place = building.position
    return PlaceRow(
        f"PLACE#{building.building_id}",
        "B",
        name=building.name,
        address=building.address,
        position={"lat": place.lat, "lon": place.lon, "datum": place.datum},
        stays=[{"grid_id": stay.grid_id, "since": stay.since.isoformat()} for stay in building.stays],
    )


def _building(row: PlaceRow) -> Building:
    position: dict[str, Any] = row.position
    return Building(
        building_id=row.pk.removeprefix("PLACE#"),
        name=row.name,
        address=row.address,
        position=Position(position["lat"], position["lon"], Datum(position["datum"])),
        stays=tuple(Stay(stay["grid_id"], date.fromisoformat(stay["since"])) for stay in row.stays),
    )


def _roster(grid: Grid, row: GroundRow) -> Roster:
    shifts = tuple(
        Shift(s["post_id"], datetime.fromisoformat(s["from_at"]), s["to_at"] and datetime.fromisoformat(s["to_at"]))
        for s in row.shifts
    )
    return Roster(grid, shifts, row.duty_officer, row.deputy_officer)
