"""How much CPU time a batch of points takes, against asking shapely point by point in the same run. Run with `-s` to see it."""

import random
import time

import pytest
from shapely import Point

from grid.coordinates import Position
from grid.domain import Community, Grid
from grid.geometry import Locator, polygon
from infra.local.community import demonstration
from tests.ground import TODAY, tiled

POINTS = 100_000


def one_by_one(positions: list[Position], grids: tuple[Grid, ...]) -> list[Grid | None]:
    ranked = [(one, polygon(one.outline)) for one in sorted(grids, key=lambda one: one.rank)]
    found: list[Grid | None] = []
    for position in positions:
        point = Point(position.lon, position.lat)
        found.append(next((one for one, outline in ranked if outline.intersects(point)), None))
    return found


@pytest.mark.parametrize("which", ["demonstration", "hundred grids"])
def test_a_batch_is_located_as_one_by_one_and_faster(which: str) -> None:
    community: Community = demonstration().community if which == "demonstration" else tiled(10, 10)[0]
    west, south, east, north = polygon(community.outline).bounds
    rng = random.Random(1)
    positions = [Position(rng.uniform(south, north), rng.uniform(west, east)) for _ in range(POINTS)]
    started = time.process_time()
    found = Locator(community.grids, on=TODAY).locate(positions)
    batch = time.process_time() - started
    started = time.process_time()
    assert found == one_by_one(positions, community.grids)
    plain = time.process_time() - started
    ratio = f"{plain / batch:.0f} times faster"
    print(
        f"\n{which}: {POINTS:,} points in {len(community.grids)} grids: {batch:.3f} s, plain loop {plain:.2f} s, {ratio}"
    )
