"""Coordinates: each states its datum, and nothing is converted that no well-kept library converts.

    WGS-84      what satellite receivers give (EPSG 4326)
    CGCS2000    2000 国家大地坐标系, what surveyors deliver (EPSG 4490)
    GCJ-02      火星坐标, what Chinese map services show

CGCS2000 counts as WGS-84. The ellipsoids share their axis, and their flattenings (EPSG 1024: 1/298.257222101, EPSG 7030:
1/298.257223563) put a latitude 0.1 mm apart. The frames drift by the movement of the plates, a few centimetres a year
since CGCS2000's epoch 2000.0: less than a metre, and EPSG gives WGS-84 (ensemble 6326) an accuracy of 2 m.

GCJ-02 is refused. It lies some 560 m off in Hefei, its formula is not published, and the libraries that guess it are
one-person packages; a receiver's own WGS-84 is to be had on every phone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from linli.errors import Invalid

CELLS_A_DEGREE = 100
"""The index of grids by place has cells of a hundredth of a degree, about a square kilometre."""
LATITUDES = (3.0, 54.0)
LONGITUDES = (73.0, 136.0)
"""China's extent with a margin (EPSG 4490: up to 53.56 N, 73.62 to 134.77 E), so that an exchange of the two shows."""

_AXIS_M = 6_378_137.0
_FLATTENING = 1 / 298.257223563


class Datum(StrEnum):
    WGS84 = "WGS-84"
    CGCS2000 = "CGCS2000"


class DatumRefused(Invalid):
    code = "datum-refused"
    zh = "坐标须注明 WGS-84 或 CGCS2000；GCJ-02（火星坐标）等不作换算，请使用接收机的原始坐标"
    en = "state WGS-84 or CGCS2000; GCJ-02 and others are not converted: send what the receiver itself gives"


class OutOfRange(Invalid):
    code = "coordinates-out-of-range"
    zh = "坐标不在中国范围内（纬度 3–54，经度 73–136），请检查经纬度是否写反"
    en = "not in China (latitude 3 to 54, longitude 73 to 136): are latitude and longitude exchanged?"


@dataclass(frozen=True)
class Position:
    lat: float
    lon: float
    datum: Datum = Datum.WGS84

    @property
    def cell(self) -> str:
        return _cell(_index(self.lat), _index(self.lon))


Ring = tuple[tuple[float, float], ...]
"""Longitude and latitude, closed: the last is the first (RFC 7946, 3.1.6)."""


@dataclass(frozen=True)
class Outline:
    """A polygon: its shell, and rings of what is not part of it."""

    shell: Ring
    holes: tuple[Ring, ...] = ()
    datum: Datum = Datum.WGS84

    def cells(self) -> Iterator[str]:
        """The cells the polygon may reach into: those of its bounding box."""
        lons, lats = zip(*self.shell, strict=True)
        for lat in range(_index(min(lats)), _index(max(lats)) + 1):
            for lon in range(_index(min(lons)), _index(max(lons)) + 1):
                yield _cell(lat, lon)

    @property
    def cell_count(self) -> int:
        """How many `cells` gives, without counting them one by one."""
        lons, lats = zip(*self.shell, strict=True)
        return (_index(max(lats)) - _index(min(lats)) + 1) * (_index(max(lons)) - _index(min(lons)) + 1)

    @property
    def in_china(self) -> bool:
        return all(in_china(lon, lat) for ring in (self.shell, *self.holes) for lon, lat in ring)

    @property
    def righted(self) -> "Outline":
        """The outline with every exchanged position put right."""
        shell, *holes = (tuple(right_way(lon, lat) for lon, lat in ring) for ring in (self.shell, *self.holes))
        return Outline(shell, tuple(holes), self.datum)


@dataclass(frozen=True)
class Plane:
    """Metres east and north around a point: a linear map, so what is straight or touches stays so.

    Radii of curvature of the WGS-84 ellipsoid at the point (NGA.STND.0036); five kilometres from it areas are still
    right to one part in a thousand.
    """

    lat: float
    lon: float

    @property
    def metres_a_degree(self) -> tuple[float, float]:
        """Of longitude, of latitude."""
        squared = _FLATTENING * (2 - _FLATTENING)
        width = 1 - squared * math.sin(math.radians(self.lat)) ** 2
        normal = _AXIS_M / math.sqrt(width)
        meridian = normal * (1 - squared) / width
        return math.radians(normal * math.cos(math.radians(self.lat))), math.radians(meridian)


def datum_named(text: str | None, field: str = "datum") -> Datum:
    """Raises DatumRefused for anything but the names of the two."""
    try:
        return Datum(text or "")
    except ValueError as error:
        raise DatumRefused(field) from error


def position(lat: float, lon: float, datum: str | None) -> Position:
    """Raises DatumRefused, or OutOfRange naming the coordinate."""
    known = datum_named(datum)
    if not LATITUDES[0] <= lat <= LATITUDES[1]:
        raise OutOfRange("lat")
    if not LONGITUDES[0] <= lon <= LONGITUDES[1]:
        raise OutOfRange("lon")
    return Position(lat, lon, known)


def exchanged(lon: float, lat: float) -> bool:
    """Whether the two make sense only the other way round."""
    return not in_china(lon, lat) and in_china(lat, lon)


def right_way(lon: float, lat: float) -> tuple[float, float]:
    return (lat, lon) if exchanged(lon, lat) else (lon, lat)


def in_china(lon: float, lat: float) -> bool:
    return LATITUDES[0] <= lat <= LATITUDES[1] and LONGITUDES[0] <= lon <= LONGITUDES[1]


def _index(degrees: float) -> int:
    # Monotone, which is all that matters: a point inside a bounding box is in one of the box's cells.
    return math.floor(degrees * CELLS_A_DEGREE)


def _cell(lat: int, lon: int) -> str:
    return f"{lat}#{lon}"
