"""Which grid a point belongs to: the rule of `grid.domain`, on borders, inside exclusive grids and outside."""

import random
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from grid.coordinates import Position
from grid.domain import Community, Grid
from grid.geometry import Locator, polygon
from tests.ground import TODAY, grid, merged_lattice, tiled, voronoi

GROUND, QUADS = tiled(3, 3)
SCHOOL = grid(20, QUADS[4].part(0.3, 0.7).outline, base=GROUND.grids[4].grid_id)
PARK = grid(21, QUADS[4].part(0.5, 0.9).outline, base=GROUND.grids[4].grid_id)
ALL = Locator([PARK, *reversed(GROUND.grids), SCHOOL], on=TODAY)


def at(quad: int, east: float, south: float) -> Position:
    lon, lat = QUADS[quad].at(east, south)
    return Position(lat, lon)


def answer(position: Position, locator: Locator = ALL) -> str | None:
    (found,) = locator.locate([position])
    return found and found.grid_id[12:]


def plainly(position: Position, grids: list[Grid]) -> Grid | None:
    point = shapely.Point(position.lon, position.lat)
    held = [one for one in grids if polygon(one.outline).intersects(point)]
    return min(held, key=lambda one: one.rank, default=None)


def test_inside_a_base_grid() -> None:
    assert [answer(at(number, 0.1, 0.1)) for number in range(9)] == [f"{number:03}" for number in range(1, 10)]


def test_the_lowest_id_has_the_border_and_the_corner() -> None:
    assert answer(at(0, 1, 1)) == "001"
    assert answer(at(4, 1, 1)) == "005"
    assert answer(at(8, 1, 1)) == "009"


def test_an_exclusive_grid_comes_before_its_base_with_its_border() -> None:
    assert answer(at(4, 0.4, 0.4)) == answer(at(4, 0.3, 0.3)) == "020"
    assert answer(at(4, 0.6, 0.6)) == "020"
    assert answer(at(4, 0.8, 0.8)) == "021"


def test_outside_is_nowhere_however_near() -> None:
    assert answer(at(0, -0.0001, -0.0001)) is None
    assert answer(Position(40.0, 116.0)) is None
    assert answer(Position(31.83, 117.26), Locator([], on=TODAY)) is None


def test_the_grids_of_the_day_answer() -> None:
    old, new = replace(GROUND.grids[0], valid_to=TODAY), replace(grid(30, GROUND.grids[0].outline), valid_from=TODAY)
    place = at(0, 0.5, 0.5)
    assert answer(place, Locator([old, new], on=TODAY)) == "030"
    assert answer(place, Locator([old, new], on=TODAY - timedelta(days=1))) == "001"


def _points(community: Community, rng: random.Random) -> list[Position]:
    """Random ones, corners, and such on borders as nearly as numbers allow."""
    west, south, east, north = polygon(community.outline).buffer(0.0005).bounds
    points = [(rng.uniform(west, east), rng.uniform(south, north)) for _ in range(200)]
    for one in community.grids:
        shell = one.outline.shell
        points += shell
        for (lon, lat), (next_lon, next_lat) in pairwise(shell):
            part = rng.random()
            points.append((lon + part * (next_lon - lon), lat + part * (next_lat - lat)))
    return [Position(lat, lon) for lon, lat in points]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_many_at_once_are_answered_as_one_by_one_and_no_point_falls_between_two_grids(seed: int) -> None:
    rng = random.Random(seed)
    community = merged_lattice(rng)
    points = _points(community, rng)
    found = Locator(community.grids, on=TODAY).locate(points)
    assert found == [plainly(point, list(community.grids)) for point in points]
    whole = polygon(community.outline)
    assert [one is not None for one in found] == [whole.intersects(shapely.Point(p.lon, p.lat)) for p in points]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_same_for_borders_that_do_not_agree_to_the_last_digit(seed: int) -> None:
    rng = random.Random(seed)
    community = voronoi(rng, rng.randint(2, 30))
    points = _points(community, rng)
    found = Locator(community.grids, on=TODAY).locate(points)
    assert found == [plainly(point, list(community.grids)) for point in points]
