"""Whether the base grids of a community tile it: `python -m grid.tiling community.geojson [--on yyyy-mm-dd] [--svg FILE]`.

Prints the findings as GeoJSON, each a place a person can look at, and draws them; exit code 1 if there are any.

    swapped             latitude and longitude exchanged, in an outline or a building's position; read the right way from there on
    self_crossing       an outline that is no polygon; nothing is said of gaps and buildings inside its convex hull
    collapsed           an outline with no more area than is tolerated, such as a line
    overlap             two grids of one kind on the same ground
    gap                 ground of the community in no base grid
    hole                a gap inside a single grid
    outside             a grid beyond its community, or an exclusive grid beyond the base grid it lies in
    base_missing        an exclusive grid whose base grid is not in force that day, unknown, or no base grid
    building_in_none    a building in no base grid
    building_in_two     a building inside two base grids; on their border it is in the one the rule in `domain` gives
    building_elsewhere  a building recorded in a grid that is not in force that day, unknown, or does not hold it

Areas of at most 1 m² are no findings: surveys come with two decimals of a metre, and borders drawn twice never agree exactly.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from shapely import Point, Polygon, STRtree
from shapely.geometry.base import BaseGeometry

from grid.coordinates import Outline, Plane, exchanged, right_way
from grid.domain import Building, Community, Grid
from grid.drawing import drawing
from grid.geojson import community_in, feature
from grid.geometry import polygon
from linli.clock import BEIJING, utc_now

TOLERANCE_M2 = 1.0
NEIGHBOUR_M = 0.01
"""Grids this near to a gap are named with it."""

FindingKind = Literal[
    "swapped", "self_crossing", "collapsed", "overlap", "gap", "hole", "outside", "base_missing",
    "building_in_none", "building_in_two", "building_elsewhere",
]  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """What is wrong, and where: `place` in degrees, its area in m² if it has one."""

    kind: FindingKind
    place: BaseGeometry
    grid_ids: tuple[str, ...] = ()
    building_id: str | None = None
    area_m2: float | None = None
    reason: str | None = None

    def as_feature(self) -> dict[str, Any]:
        at = self.place.representative_point()
        said = {
            "kind": self.kind,
            "grid_ids": self.grid_ids,
            "building_id": self.building_id,
            "area_m2": None if self.area_m2 is None else round(self.area_m2, 2),
            "reason": self.reason,
            "look_at": {"lat": round(at.y, 7), "lon": round(at.x, 7)},
        }
        return feature(said, shapely.geometry.mapping(self.place))


def check(community: Community, *, on: date) -> list[Finding]:
    """Every fault of the tiling on that day."""
    return list(_Check(community, on).findings())


class _Check:
    """One community in metres; outlines that are no polygons stand aside."""

    def __init__(self, community: Community, on: date) -> None:
        west, south, east, north = polygon(community.outline.righted).bounds
        self._plane = Plane((south + north) / 2, (west + east) / 2)
        self._community = community
        self._on = on
        self._whole = self._in_metres(polygon(community.outline.righted))
        grids = sorted((grid for grid in community.grids if grid.in_force(on)), key=lambda grid: grid.grid_id)
        self._grids = grids
        outlines = {grid.grid_id: self._in_metres(polygon(grid.outline.righted)) for grid in grids}
        self._sound = {grid_id: outline for grid_id, outline in outlines.items() if outline.is_valid}
        self._unsound = {grid_id: outline for grid_id, outline in outlines.items() if not outline.is_valid}
        self._unknown = shapely.union_all([outline.convex_hull for outline in self._unsound.values()])

    def findings(self) -> Iterator[Finding]:
        yield from self._swapped()
        if not self._whole.is_valid or _collapsed(self._whole):
            yield self._misshapen(self._whole, ())
            return
        for grid_id, outline in self._unsound.items():
            yield self._misshapen(outline, (grid_id,))
        for grid_id, outline in self._sound.items():
            if _collapsed(outline):
                yield self._misshapen(outline, (grid_id,))
        for kind in ("base", "exclusive"):
            yield from self._overlaps([grid for grid in self._grids if grid.kind == kind])
        yield from self._outside()
        yield from self._gaps()
        yield from self._buildings()

    def _swapped(self) -> Iterator[Finding]:
        outlines: list[tuple[tuple[str, ...], Outline]] = [((), self._community.outline)]
        outlines += [((grid.grid_id,), grid.outline) for grid in self._grids]
        for grid_ids, outline in outlines:
            righted = outline.righted
            if righted != outline:
                # The area of what crosses itself as well means nothing.
                area = self._in_metres(polygon(righted)).area
                yield Finding("swapped", polygon(righted), grid_ids, area_m2=area)
        for building in self._community.buildings:
            lon, lat = building.position.lon, building.position.lat
            if exchanged(lon, lat):
                yield Finding("swapped", Point(lat, lon), building_id=building.building_id)

    def _misshapen(self, outline: Polygon, grid_ids: tuple[str, ...]) -> Finding:
        if _collapsed(outline):
            return Finding("collapsed", self._in_degrees(outline.convex_hull), grid_ids, area_m2=outline.area)
        reason = shapely.is_valid_reason(outline).partition("[")[0]
        return Finding("self_crossing", self._in_degrees(outline), grid_ids, reason=reason)

    def _overlaps(self, grids: Sequence[Grid]) -> Iterator[Finding]:
        known = [(grid.grid_id, self._sound[grid.grid_id]) for grid in grids if grid.grid_id in self._sound]
        outlines = np.array([outline for _, outline in known], dtype=object)
        for one, other in STRtree(outlines).query(outlines, predicate="intersects").T.tolist():
            if one < other:
                shared = shapely.intersection(outlines[one], outlines[other])
                yield from self._areas("overlap", [shared], (known[one][0], known[other][0]))

    def _outside(self) -> Iterator[Finding]:
        base = [grid for grid in self._grids if grid.kind == "base"]
        # Before a merge or split the predecessor stands for the base grid that is named since.
        known = {grid.grid_id for grid in base}.union(*(grid.successors for grid in base))
        for grid in self._grids:
            if grid.base_grid_id and grid.base_grid_id not in known:
                place = self._in_degrees({**self._sound, **self._unsound}[grid.grid_id])
                yield Finding("base_missing", place, (grid.grid_id, grid.base_grid_id))
            outline = self._sound.get(grid.grid_id)
            around = self._sound.get(grid.base_grid_id or "", self._whole)
            if outline is not None and grid.base_grid_id not in self._unsound:
                yield from self._areas("outside", [shapely.difference(outline, around)], (grid.grid_id,))

    def _gaps(self) -> Iterator[Finding]:
        base = self._base()
        bare = shapely.difference(self._whole, shapely.union_all([*base.values(), self._unknown]))
        ids, outlines = list(base), list(base.values())
        tree, shells = STRtree(outlines), [Polygon(outline.exterior) for outline in outlines]
        for part in shapely.get_parts(bare):
            around = sorted(ids[index] for index in tree.query(part, predicate="dwithin", distance=NEIGHBOUR_M))
            within = [ids[i] for i, shell in enumerate(shells) if shell.contains(part.representative_point())]
            if within:
                yield from self._areas("hole", [part], tuple(within))
            else:
                yield from self._areas("gap", [part], tuple(around))

    def _buildings(self) -> Iterator[Finding]:
        base = self._base()
        ids, tree = list(base), STRtree(list(base.values()))
        for building in self._community.buildings:
            place = Point(*right_way(building.position.lon, building.position.lat))
            point = self._in_metres(place)
            inside = sorted(ids[index] for index in tree.query(point, predicate="within"))
            touched = tree.query(point, predicate="intersects")
            if len(inside) > 1:
                yield Finding("building_in_two", place, tuple(inside), building.building_id)
            elif not len(touched) and not self._unknown.intersects(point):
                yield Finding("building_in_none", place, (), building.building_id)
            elif not self._stands_where_recorded(building, point):
                grid_id = building.grid_on(self._on)
                yield Finding("building_elsewhere", place, (grid_id,) if grid_id else (), building.building_id)

    def _stands_where_recorded(self, building: Building, point: Point) -> bool:
        grid_id = building.grid_on(self._on) or ""
        outline = self._sound.get(grid_id)
        return grid_id in self._unsound or (outline is not None and outline.dwithin(point, NEIGHBOUR_M))

    def _base(self) -> dict[str, Polygon]:
        kinds = {grid.grid_id: grid.kind for grid in self._grids}
        return {grid_id: outline for grid_id, outline in self._sound.items() if kinds[grid_id] == "base"}

    def _areas(self, kind: FindingKind, found: Iterable[BaseGeometry], grid_ids: tuple[str, ...]) -> Iterator[Finding]:
        """A finding for each part that is larger than the tolerance."""
        for part in shapely.get_parts(list(found)):
            if part.area > TOLERANCE_M2:
                yield Finding(kind, self._in_degrees(part), grid_ids, area_m2=part.area)

    def _in_metres(self, degrees: Any) -> Any:
        scale, origin = np.array(self._plane.metres_a_degree), np.array([self._plane.lon, self._plane.lat])
        return shapely.transform(degrees, lambda points: (points - origin) * scale)

    def _in_degrees(self, metres: Any) -> Any:
        scale, origin = np.array(self._plane.metres_a_degree), np.array([self._plane.lon, self._plane.lat])
        return shapely.transform(metres, lambda points: points / scale + origin)


def _collapsed(outline: Polygon) -> bool:
    # What crosses itself has parts that count against each other: only the hull says how much ground it is about.
    return bool((outline if outline.is_valid else outline.convex_hull).area <= TOLERANCE_M2)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m grid.tiling", description="Check how grids tile a community.")
    parser.add_argument("community", type=Path, help="GeoJSON, see grid/geojson.py")
    parser.add_argument("--svg", type=Path, help="draw the community with its findings here")
    parser.add_argument("--on", type=date.fromisoformat, help="the day, yyyy-mm-dd; today in Beijing if not given")
    options = parser.parse_args(arguments)
    community = community_in(json.loads(options.community.read_text(encoding="utf-8")))
    on = options.on or utc_now().astimezone(BEIJING).date()
    findings = check(community, on=on)
    if options.svg:
        options.svg.write_text(drawing(community, findings, on=on), encoding="utf-8")
    collection = {"type": "FeatureCollection", "features": [finding.as_feature() for finding in findings]}
    sys.stdout.write(json.dumps(collection, ensure_ascii=False, indent=1) + "\n")
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
