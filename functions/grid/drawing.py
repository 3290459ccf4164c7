"""A community with the findings of its tiling check, as an SVG to look at. North is up, a metre is a unit."""

from collections.abc import Iterator, Sequence
from datetime import date
from html import escape
from statistics import median
from typing import TYPE_CHECKING

from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from grid.coordinates import Outline, Plane, right_way
from grid.domain import Community, Grid
from grid.geometry import polygon

if TYPE_CHECKING:
    from grid.tiling import Finding

MARGIN_M = 40.0
LINE_M = 24.0
REACH = 0.25
"""Degrees the sheet extends at most from the middle of the outline's corners: one that is far off must not stretch it."""
STYLE = """
 text { font: 16px sans-serif; } .grid { fill: #eef3ea; stroke: #6b7f5e; } .exclusive { fill: #dbe8f5; stroke: #4a6f94; }
 .community { fill: none; stroke: #333; stroke-width: 4; } .building { fill: #555; }
 .finding { fill: #d33; fill-opacity: .45; stroke: #a00; stroke-width: 2; } .mark { fill: none; stroke: #a00; stroke-width: 3; }
"""


class _Sheet:
    """Degrees to the sheet's metres, from its north-west corner."""

    def __init__(self, west: float, south: float, east: float, north: float) -> None:
        self._west, self._north = west, north
        self._scale = Plane((south + north) / 2, (west + east) / 2).metres_a_degree
        self.width, self.height = (east - west) * self._scale[0], (north - south) * self._scale[1]

    def at(self, lon: float, lat: float) -> tuple[float, float]:
        return (lon - self._west) * self._scale[0], (self._north - lat) * self._scale[1]

    def clamped(self, x: float, y: float) -> tuple[float, float]:
        """The nearest point of the sheet, for what lies far outside."""
        return min(max(x, -MARGIN_M / 2), self.width), min(max(y, -MARGIN_M / 2), self.height)

    def path(self, outline: Polygon, css: str) -> str:
        rings = [outline.exterior, *outline.interiors]
        drawn = ("M" + "L".join("{:.1f} {:.1f}".format(*self.at(*point)) for point in ring.coords) for ring in rings)
        return f'<path class="{css}" fill-rule="evenodd" d="{"".join(f"{ring}Z" for ring in drawn)}"/>'


def drawing(community: Community, findings: Sequence["Finding"], *, on: date) -> str:
    """The SVG document; findings are numbered as they are listed below the map."""
    sheet = _Sheet(*_bounds(community.outline.righted))
    grids = sorted((grid for grid in community.grids if grid.in_force(on)), key=lambda grid: grid.rank, reverse=True)
    lines = [line for grid in grids for line in _grid(sheet, grid)]
    lines.append(sheet.path(polygon(community.outline.righted), "community"))
    for building in community.buildings:
        x, y = sheet.at(*right_way(building.position.lon, building.position.lat))
        lines.append(
            f'<circle class="building" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{building.building_id}</title></circle>'
        )
    for number, finding in enumerate(findings, 1):
        lines += _finding(sheet, number, finding)
    height = sheet.height + LINE_M * (len(findings) + 1)
    view = f"{-MARGIN_M:.0f} {-MARGIN_M:.0f} {sheet.width + 2 * MARGIN_M:.0f} {height + 2 * MARGIN_M:.0f}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}">\n<style>{STYLE}</style>'
    return "\n".join([head, *lines, "</svg>", ""])


def _bounds(outline: Outline) -> tuple[float, float, float, float]:
    lons, lats = zip(*outline.shell, strict=True)
    lon, lat = median(lons), median(lats)
    west, south = max(min(lons), lon - REACH), max(min(lats), lat - REACH)
    return west, south, min(max(lons), lon + REACH), min(max(lats), lat + REACH)


def _grid(sheet: _Sheet, grid: Grid) -> Iterator[str]:
    outline = polygon(grid.outline.righted)
    x, y = sheet.at(*_middle(outline))
    yield sheet.path(outline, "exclusive" if grid.kind == "exclusive" else "grid")
    yield f'<text x="{x:.1f}" y="{y:.1f}"><title>{escape(grid.name)}</title>{grid.grid_id[12:]}</text>'


def _finding(sheet: _Sheet, number: int, finding: "Finding") -> Iterator[str]:
    place = finding.place
    for part in place.geoms if isinstance(place, MultiPolygon) else [place]:
        if isinstance(part, Polygon):
            yield sheet.path(part, "finding")
    x, y = sheet.clamped(*sheet.at(*_middle(place)))
    yield f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="14"/><text x="{x + 18:.1f}" y="{y:.1f}">{number}</text>'
    about = [finding.kind, *finding.grid_ids, finding.building_id or ""]
    about += [f"{finding.area_m2:.1f} m²"] if finding.area_m2 is not None else []
    below = sheet.height + LINE_M * (number + 1)
    yield f'<text x="0" y="{below:.1f}">{number}  {escape(" ".join(part for part in about if part))}</text>'


def _middle(place: BaseGeometry) -> tuple[float, float]:
    point = place.representative_point()
    return point.x, point.y
