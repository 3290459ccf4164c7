"""A community as a GeoJSON FeatureCollection (RFC 7946), the form in which surveys deliver it and the check reads it.

The collection's own member `datum` states the datum of all its coordinates. Features say by `what` they are:

    community    path
    grid         grid_id, path, name, kind, base_grid_id?, valid_from, valid_to?, successors?    Polygon
    building     building_id, name, address, stays                                          Point
"""

import math
from collections.abc import Iterator
from datetime import date
from typing import Any

from grid.coordinates import Datum, Outline, Position, Ring, datum_named
from grid.domain import Building, Community, Grid, Stay
from linli.errors import Invalid

Document = dict[str, Any]


class SurveyUnreadable(Invalid):
    code = "survey-unreadable"
    zh = "无法读取社区图形文件：{reason}"
    en = "the community's GeoJSON cannot be read: {reason}"


def community_in(document: Document) -> Community:
    """The community a document describes. Raises DatumRefused, SurveyUnreadable naming the feature."""
    datum = datum_named(document.get("datum"))
    grids: list[Grid] = []
    buildings: list[Building] = []
    whole: list[tuple[Document, Outline]] = []
    for number, feature in enumerate(document.get("features", [])):
        try:
            said, geometry = feature["properties"], feature["geometry"]
            match said["what"]:
                case "community":
                    whole.append((said, _outline(geometry, datum)))
                case "grid":
                    grids.append(_grid(said, _outline(geometry, datum)))
                case "building":
                    buildings.append(_building(said, geometry, datum))
        except (KeyError, TypeError, ValueError) as error:
            raise SurveyUnreadable(f"features.{number}", reason=f"{type(error).__name__} {error}") from error
    if len(whole) != 1:
        raise SurveyUnreadable("features", reason=f"{len(whole)} communities")
    ((said, outline),) = whole
    return Community(tuple(said["path"]), outline, tuple(grids), tuple(buildings))


def document_of(community: Community) -> Document:
    features = [
        feature({"what": "community", "path": list(community.path)}, polygon_of(community.outline)),
        *_features_of(community),
    ]
    return {"type": "FeatureCollection", "datum": community.outline.datum, "features": features}


def feature(properties: Document, geometry: Document) -> Document:
    said = {name: value for name, value in properties.items() if value not in (None, ())}
    return {"type": "Feature", "properties": said, "geometry": geometry}


def polygon_of(outline: Outline) -> Document:
    return {"type": "Polygon", "coordinates": [outline.shell, *outline.holes]}


def _features_of(community: Community) -> Iterator[Document]:
    for grid in community.grids:
        said: Document = {
            "what": "grid",
            "grid_id": grid.grid_id,
            "path": list(grid.path),
            "name": grid.name,
            "kind": grid.kind,
            "base_grid_id": grid.base_grid_id,
            "valid_from": grid.valid_from.isoformat(),
            "valid_to": grid.valid_to.isoformat() if grid.valid_to else None,
            "successors": grid.successors,
        }
        yield feature(said, polygon_of(grid.outline))
    for building in community.buildings:
        said = {
            "what": "building",
            "building_id": building.building_id,
            "name": building.name,
            "address": building.address,
            "stays": [{"grid_id": stay.grid_id, "since": stay.since.isoformat()} for stay in building.stays],
        }
        point = {"type": "Point", "coordinates": [building.position.lon, building.position.lat]}
        yield feature(said, point)


def _grid(said: Document, outline: Outline) -> Grid:
    return Grid(
        grid_id=said["grid_id"],
        name=said["name"],
        path=tuple(said["path"]),
        outline=outline,
        valid_from=date.fromisoformat(said["valid_from"]),
        kind=said["kind"],
        base_grid_id=said.get("base_grid_id"),
        valid_to=date.fromisoformat(said["valid_to"]) if "valid_to" in said else None,
        successors=tuple(said.get("successors", ())),
    )


def _building(said: Document, geometry: Document, datum: Datum) -> Building:
    lon, lat = _finite(geometry["coordinates"])
    stays = tuple(Stay(stay["grid_id"], date.fromisoformat(stay["since"])) for stay in said["stays"])
    return Building(said["building_id"], said["name"], said["address"], Position(lat, lon, datum), stays)


def _outline(geometry: Document, datum: Datum) -> Outline:
    if geometry["type"] != "Polygon":
        raise ValueError("a grid is one Polygon")
    shell, *holes = (_ring(ring) for ring in geometry["coordinates"])
    return Outline(shell, tuple(holes), datum)


def _ring(positions: list[list[float]]) -> Ring:
    ring = tuple(map(_finite, positions))
    if len(ring) < 4 or ring[0] != ring[-1]:
        raise ValueError("a ring has four positions or more and ends where it begins (RFC 7946, 3.1.6)")
    return ring


def _finite(position: list[float]) -> tuple[float, float]:
    lon, lat = map(float, position)
    if not (math.isfinite(lon) and math.isfinite(lat)):
        raise ValueError("a coordinate is no finite number")
    return lon, lat
