"""The ground everything stands on: grids, buildings, rooms, and who is on duty.

Glossary (domain terms of office, GB/T 34300-2017, GB/T 39609-2020):

    网格 grid              the smallest unit of community governance; belongs to exactly one community
    楼栋 building          以楼带房: a building leads to its rooms
    房屋 room              a household's room, addressed by unit and number inside its building
    值班表 duty roster      who is on duty for a grid, and which duty officer verifies
    网格员 grid worker      on duty in a grid
    值班长 duty officer     verifies what the grid worker handled

Identifiers: a grid is its community's 12 digits and 3 of its own; a building its community's 12 and 5 of its own
(00001-99999); a room is its building, `-`, unit, `-`, number, as in 34010400200300012-2-0501.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from linli.errors import PlaceAbsent

GRID_ID = re.compile(r"[0-9]{15}")
BUILDING_ID = re.compile(r"[0-9]{17}")
ROOM_ID = re.compile(r"([0-9]{17})-([0-9]{1,3}-[0-9]{3,5})")


@dataclass(frozen=True)
class Grid:
    grid_id: str
    name: str
    path: tuple[str, ...]
    """Division codes from province to community."""


@dataclass(frozen=True)
class Building:
    building_id: str
    name: str
    grid_id: str
    path: tuple[str, ...]


@dataclass(frozen=True)
class Room:
    room_id: str
    building: Building


@dataclass(frozen=True)
class Shift:
    """A post's time on duty, from `from_at` until before `to_at`, without end if there is none."""

    post_id: str
    from_at: datetime
    to_at: datetime | None = None


@dataclass(frozen=True)
class Roster:
    """The duty roster of one grid; leave cover stands before the shift it covers, the first that is on duty counts."""

    grid: Grid
    shifts: tuple[Shift, ...]
    duty_officer: str
    deputy_officer: str | None = None
    """Verifies what the duty officer handled themself."""


def split_place_id(place_id: str) -> tuple[str, str | None]:
    """Building id and the room's part of the id (None for a building). Raises PlaceAbsent."""
    if BUILDING_ID.fullmatch(place_id):
        return place_id, None
    if match := ROOM_ID.fullmatch(place_id):
        return match[1], match[2]
    raise PlaceAbsent("place_id")
