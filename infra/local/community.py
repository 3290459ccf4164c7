"""The demonstration community: a real code (金寨南路社区, Hefei) and a ground that is synthetic, the same for the same seed.

Twenty base grids and two exclusive ones, buildings, rooms with 5,000 households, duty rosters with leave cover. Nobody and
nothing in it exists: no boundary of the real community is published with clear rights, so the polygons, addresses and
counts are invented, in roughly the right place. `python -m infra.local.community` prints it as GeoJSON.
"""

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from grid.coordinates import Outline, Position, Ring
from grid.domain import Building, Community, Grid, GridKind, Room, Roster, Shift, Stay
from grid.geojson import document_of

CODE = "340104002001"
PATH = ("34", "3401", "340104", "340104002", CODE)
SEED = 20260101
SINCE = date(2026, 1, 1)
ON_DUTY_SINCE = datetime(2026, 1, 1, tzinfo=UTC)
OFFICER = "duty-officer-001"
DEPUTY = "duty-officer-002"
HOUSEHOLDS = 5_000
COLUMNS, ROWS = 5, 4
WEST, NORTH = 117.2600, 31.8330
WIDTH, HEIGHT = 0.0026, 0.0022
"""Degrees of one grid of the lattice: some 246 by 244 m."""
JITTER = 0.2
"""How far a corner strays, as a part of the lattice: below a quarter every grid stays convex."""
SHOWN_GRIDS = 2
"""The first grids, where the demonstration plays: two buildings each, and their workers take no leave."""
EXCLUSIVE = ((8, "学校"), (13, "公园"))
"""Base grid an exclusive grid lies in, by number, and what it is."""
ROOMS_A_GRID = 270

Corner = tuple[float, float]


@dataclass(frozen=True)
class Ground:
    community: Community
    rooms: tuple[Room, ...]
    rosters: tuple[Roster, ...]


@dataclass(frozen=True)
class Quad:
    """Corners of a grid: north-west, north-east, south-east, south-west."""

    corners: tuple[Corner, Corner, Corner, Corner]

    def at(self, east: float, south: float) -> Corner:
        """The point at these parts of the way across; a lattice inside maps to straight lines."""
        (a, b, c, d) = self.corners
        weights = (1 - east) * (1 - south), east * (1 - south), east * south, (1 - east) * south
        lon, lat = (sum(w * corner[axis] for w, corner in zip(weights, (a, b, c, d), strict=True)) for axis in (0, 1))
        return round(lon, 7), round(lat, 7)

    def part(self, low: float, high: float) -> "Quad":
        return Quad((self.at(low, low), self.at(high, low), self.at(high, high), self.at(low, high)))

    @property
    def outline(self) -> Outline:
        return Outline((*self.corners, self.corners[0]))


def lattice(columns: int, rows: int, rng: random.Random) -> tuple[list[Quad], Ring]:
    """Quads that tile an area row by row from the north-west, as grids are numbered (DB6101/T 3185-2024), and its border."""

    def corner(column: int, row: int) -> Corner:
        lon = WEST + WIDTH * (column + rng.uniform(-JITTER, JITTER))
        lat = NORTH - HEIGHT * (row + rng.uniform(-JITTER, JITTER))
        return round(lon, 7), round(lat, 7)

    at = [[corner(column, row) for column in range(columns + 1)] for row in range(rows + 1)]
    quads = [
        Quad((at[row][column], at[row][column + 1], at[row + 1][column + 1], at[row + 1][column]))
        for row in range(rows)
        for column in range(columns)
    ]
    east = [line[-1] for line in at[1:]]
    west = [line[0] for line in reversed(at[:-1])]
    return quads, (*at[0], *east, *reversed(at[-1][:-1]), *west)


def demonstration(seed: int = SEED) -> Ground:
    """Everything of the community; the same seed gives the same."""
    rng = random.Random(seed)
    quads, border = lattice(COLUMNS, ROWS, rng)
    grids = [_grid(number, f"第{number}网格", quad) for number, quad in enumerate(quads, 1)]
    buildings: list[Building] = []
    rooms: list[Room] = []
    for number, quad in enumerate(quads, 1):
        for building, unit_rooms in _homes(number, quad, len(buildings), rng):
            buildings.append(building)
            rooms += unit_rooms
    for number, (base, name) in enumerate(EXCLUSIVE, len(quads) + 1):
        quad = quads[base - 1].part(0.4, 0.6)
        grids.append(_grid(number, f"专属网格·{name}", quad, base=grids[base - 1].grid_id))
        buildings.append(_building(len(buildings) + 1, number, quad.at(0.5, 0.5), f"{name}1栋"))
    shown = {
        f"{building.building_id}-1-0{floor}0{door}"
        for building in buildings[:4]
        for floor in (1, 2, 3)
        for door in (1, 2)
    }
    others = [room.room_id for room in rooms if room.room_id not in shown]
    lived_in = shown | set(rng.sample(others, HOUSEHOLDS - len(shown)))
    community = Community(PATH, Outline(border), tuple(grids), tuple(buildings))
    counted = tuple(Room(room.room_id, int(room.room_id in lived_in)) for room in rooms)
    return Ground(community, counted, tuple(_rosters(grids, rng)))


def _grid(number: int, name: str, quad: Quad, *, base: str | None = None) -> Grid:
    kind: GridKind = "exclusive" if base else "base"
    return Grid(f"{CODE}{number:03}", name, PATH, quad.outline, SINCE, kind, base)


def _building(number: int, grid: int, at: Corner, name: str) -> Building:
    lon, lat = at
    address = f"金寨南路{100 + 2 * grid}号{number}栋"
    return Building(f"{CODE}{number:05}", name, address, Position(lat, lon), (Stay(f"{CODE}{grid:03}", SINCE),))


def _homes(number: int, quad: Quad, before: int, rng: random.Random) -> list[tuple[Building, list[Room]]]:
    """The residential buildings of a grid along its north and south sides, with their rooms."""
    count = 2 if number <= SHOWN_GRIDS else rng.randint(3, 6)
    homes = []
    for index in range(count):
        at = quad.at((index + 0.5 + rng.uniform(-0.2, 0.2)) / count, (0.15, 0.85)[index % 2])
        building = _building(before + index + 1, number, at, f"{before + index + 1}栋")
        units = rng.choice((2, 3, 4))
        floors = math.ceil(ROOMS_A_GRID / (count * units * 2))
        ids = [
            f"{building.building_id}-{unit}-{floor:02}{door:02}"
            for unit in range(1, units + 1)
            for floor in range(1, floors + 1)
            for door in (1, 2)
        ]
        homes.append((building, [Room(room_id) for room_id in ids]))
    return homes


def _rosters(grids: Sequence[Grid], rng: random.Random) -> list[Roster]:
    """A worker for each grid; on their leave the next grid's worker covers, and takes theirs at another time."""
    rosters = []
    for index, grid in enumerate(grids):
        worker = Shift(f"grid-worker-{index + 1:03}", ON_DUTY_SINCE)
        shifts = [worker]
        if index >= SHOWN_GRIDS:
            begin = ON_DUTY_SINCE + timedelta(days=14 * index + rng.randrange(4))
            cover = SHOWN_GRIDS + (index - SHOWN_GRIDS + 1) % (len(grids) - SHOWN_GRIDS) + 1
            shifts.insert(0, Shift(f"grid-worker-{cover:03}", begin, begin + timedelta(days=rng.randint(5, 10))))
        rosters.append(Roster(grid, tuple(shifts), OFFICER, DEPUTY))
    return rosters


if __name__ == "__main__":
    print(json.dumps(document_of(demonstration().community), ensure_ascii=False, indent=1))
