"""Ground for tests: communities tiled by known shapes."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import shapely
from shapely import MultiPoint, Polygon

from grid.coordinates import Outline, Position, Ring
from grid.domain import Building, Community, Grid, Roster, Shift, Stay
from infra.local.community import HEIGHT, NORTH, SINCE, WEST, WIDTH, Quad, lattice
from tests.support import COMMUNITY, NOW, PATH

TODAY = date(2026, 11, 23)


def grid(number: int, outline: Outline, *, base: str | None = None) -> Grid:
    kind = "exclusive" if base else "base"
    return Grid(f"{COMMUNITY}{number:03}", f"第{number}网格", PATH, outline, SINCE, kind, base)


def building(number: int, at: tuple[float, float], grid_id: str) -> Building:
    address = f"金寨南路{number}号"
    return Building(f"{COMMUNITY}{number:05}", f"{number}栋", address, Position(at[1], at[0]), (Stay(grid_id, SINCE),))


def tiled(columns: int, rows: int, seed: int = 1) -> tuple[Community, list[Quad]]:
    """A lattice of grids with a building in the middle of each."""
    quads, border = lattice(columns, rows, random.Random(seed))
    grids = [grid(number, quad.outline) for number, quad in enumerate(quads, 1)]
    buildings = [building(n, quad.at(0.5, 0.5), grids[n - 1].grid_id) for n, quad in enumerate(quads, 1)]
    return Community(PATH, Outline(border), tuple(grids), tuple(buildings)), quads


def with_grid(community: Community, changed: Grid) -> Community:
    """The community with this grid in place of the one with its id."""
    grids = tuple(changed if one.grid_id == changed.grid_id else one for one in community.grids)
    return replace(community, grids=grids)


def outlined(polygon: Polygon) -> Outline:
    return Outline(tuple(polygon.exterior.coords), tuple(tuple(ring.coords) for ring in polygon.interiors))


def voronoi(rng: random.Random, count: int) -> Community:
    """A rectangle cut into the cells of random points: borders meet at no common lattice, and not to the last digit."""
    east, south = WEST + 6 * WIDTH, NORTH - 6 * HEIGHT
    area = shapely.box(WEST, south, east, NORTH)
    points = MultiPoint([(rng.uniform(WEST, east), rng.uniform(south, NORTH)) for _ in range(count)])
    cells = [cell.intersection(area) for cell in shapely.voronoi_polygons(points, extend_to=area).geoms]
    return _of_cells(area, cells)


def merged_lattice(rng: random.Random) -> Community:
    """A lattice whose quads are put together at random; now and then a grid encloses another."""
    columns, rows = rng.randint(2, 6), rng.randint(2, 6)
    quads, border = lattice(columns, rows, rng)
    group = list(range(len(quads)))
    for _ in range(rng.randint(0, len(quads))):
        one = rng.randrange(len(quads))
        beside = [one + 1] * (one % columns < columns - 1) + [one + columns] * (one + columns < len(quads))
        if beside:
            joined = group[rng.choice(beside)]
            group = [group[one] if member == joined else member for member in group]
    parts = {number: [quad for quad, member in zip(quads, group, strict=True) if member == number] for number in group}
    cells = [shapely.union_all([Polygon(quad.corners) for quad in part]) for part in parts.values()]
    return _of_cells(Polygon(border), cells)


def _of_cells(area: Polygon, cells: Sequence[Polygon]) -> Community:
    grids = tuple(grid(number, outlined(cell)) for number, cell in enumerate(cells, 1))
    inside = [cell.representative_point() for cell in cells]
    buildings = tuple(building(n, (point.x, point.y), grids[n - 1].grid_id) for n, point in enumerate(inside, 1))
    return Community(PATH, outlined(area), grids, buildings)


def ring(quad: Quad, *parts: tuple[float, float]) -> Ring:
    """A closed ring through these parts of a quad; beyond 0 and 1 it leaves the quad."""
    points = tuple(quad.at(*part) for part in parts)
    return (*points, points[0])


def roster(of: Grid, worker: str = "grid-worker-001") -> Roster:
    """With leave cover for a week from now."""
    cover = Shift("grid-worker-009", NOW, NOW + timedelta(days=7))
    return Roster(of, (cover, Shift(worker, NOW - timedelta(days=300))), "duty-officer-001")
