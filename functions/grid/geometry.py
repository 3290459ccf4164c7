"""Points and polygons, by shapely: import this module only where a point is asked for, it costs a cold start 0.1 s."""

from collections.abc import Iterable, Sequence
from datetime import date
from operator import attrgetter

import numpy as np
import shapely
from shapely import Polygon

from grid.coordinates import Outline, Position
from grid.domain import Grid


def polygon(outline: Outline) -> Polygon:
    return Polygon(outline.shell, outline.holes)


def grid_around(outline: Outline, grids: Iterable[Grid]) -> Grid | None:
    """The one of the grids that holds the whole outline, borders included."""
    inner = polygon(outline)
    return next((grid for grid in grids if polygon(grid.outline).covers(inner)), None)


class Locator:
    """Finds the grids of many points at once, among those in force on a day (`domain` has the rule).

    Points are sorted by longitude once, so each grid tests those of its bounding box only. A shapely tree needs point
    objects, and making 100,000 of them takes longer than all the rest.
    """

    def __init__(self, grids: Iterable[Grid], *, on: date) -> None:
        self._grids = sorted((grid for grid in grids if grid.in_force(on)), key=attrgetter("rank"))
        self._polygons = [polygon(grid.outline) for grid in self._grids]
        shapely.prepare(self._polygons)

    def locate(self, positions: Sequence[Position]) -> list[Grid | None]:
        """For each position its grid, None outside of all."""
        lons = np.fromiter(map(attrgetter("lon"), positions), float, len(positions))
        lats = np.fromiter(map(attrgetter("lat"), positions), float, len(positions))
        eastward = np.argsort(lons)
        sorted_lons = lons[eastward]
        found = np.full(len(positions), len(self._grids))
        for index in reversed(range(len(self._grids))):  # so that the first by rank has the last word
            west, south, east, north = self._polygons[index].bounds
            near = eastward[np.searchsorted(sorted_lons, west) : np.searchsorted(sorted_lons, east, "right")]
            near = near[(lats[near] >= south) & (lats[near] <= north)]
            found[near[shapely.intersects_xy(self._polygons[index], lons[near], lats[near])]] = index
        answers = [*self._grids, None]
        return [answers[index] for index in found.tolist()]
