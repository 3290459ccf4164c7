"""The ground everything stands on: grids, buildings, rooms, and who is on duty.

Glossary (domain terms of office, GB/T 34300-2017, GB/T 39609-2020, DB6101/T 3185-2024):

    网格 grid              the smallest unit of community governance; belongs to exactly one community
    基础网格 base grid      the base grids of a community tile it without gap or overlap
    专属网格 exclusive grid  a school, park or mall inside a base grid, with people of its own
    楼栋 building          以楼带房: a building leads to its rooms
    房屋 room              a household's room, addressed by unit and number inside its building
    户 household           who lives in a room; a count here
    标准地址 address        街巷院落 and 建筑门楼 name the building, 单元户室 the room in it
    值班表 duty roster      who is on duty for a grid, and which duty officer verifies
    网格员 grid worker      on duty in a grid
    值班长 duty officer     verifies what the grid worker handled

Identifiers: a grid is its community's 12 digits and 3 of its own; a building its community's 12 and 5 of its own
(00001-99999); a room is its building, `-`, unit, `-`, number, as in 34010400200300012-2-0501. None is used twice: what
changes its extent ends and has successors under new ids, so that every day of the past can be counted again.

What a point belongs to: the grids in force that day whose polygon holds it, border included. An exclusive grid comes
before the base grid it lies in; of two base grids that share the border, the one with the lower id. Outside of all of
them it belongs to none and is refused, however near one may be.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from grid.coordinates import Outline, Position
from linli.errors import Conflict, PlaceAbsent

GRID_ID = re.compile(r"[0-9]{15}")
BUILDING_ID = re.compile(r"[0-9]{17}")
ROOM_ID = re.compile(r"([0-9]{17})-((?:0|[1-9][0-9]{0,2})-[0-9]{3,5})")
ADDRESS_BYTES = 1024
"""An address is a sort key, and DynamoDB's are no longer."""
_ROOM_PART = re.compile(r"(?P<building>.+?)0*(?P<unit>[0-9]{1,3})单元(?P<number>[0-9]{3,5})室?")

GridKind = Literal["base", "exclusive"]


class ReorganisationUnfit(Conflict):
    code = "reorganisation-unfit"
    zh = "网格不能这样调整：{reason}"
    en = "grids cannot be reorganised so: {reason}"


@dataclass(frozen=True)
class Grid:
    """In force from `valid_from` to before `valid_to`, both Beijing days."""

    grid_id: str
    name: str
    path: tuple[str, ...]
    """Division codes from province to community."""
    outline: Outline
    valid_from: date
    kind: GridKind = "base"
    base_grid_id: str | None = None
    """The base grid an exclusive grid lies in: its parent in the tree; a base grid's is its community."""
    valid_to: date | None = None
    successors: tuple[str, ...] = ()

    def in_force(self, day: date) -> bool:
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)

    @property
    def ancestors(self) -> tuple[str, ...]:
        """What it lies in, from the province down."""
        return (*self.path, self.base_grid_id) if self.base_grid_id else self.path

    @property
    def rank(self) -> tuple[bool, str]:
        """Of several grids that hold a point the first by rank answers."""
        return self.kind != "exclusive", self.grid_id

    def problem(self) -> str | None:
        """What contradicts itself in it, if anything does."""
        if not GRID_ID.fullmatch(self.grid_id) or self.grid_id[:12] != self.path[-1]:
            return "its id is not its community's"
        if (self.kind == "exclusive") != (self.base_grid_id is not None):
            return "an exclusive grid lies in a base grid, and a base grid in none"
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            return "it ends before it begins"
        return "it has successors but no end" if self.successors and self.valid_to is None else None


@dataclass(frozen=True)
class Stay:
    """The grid a building stands in from a Beijing day on."""

    grid_id: str
    since: date


@dataclass(frozen=True)
class Building:
    building_id: str
    name: str
    address: str
    position: Position
    stays: tuple[Stay, ...]
    """Oldest first."""

    def grid_on(self, day: date) -> str | None:
        return next((stay.grid_id for stay in reversed(self.stays) if stay.since <= day), None)


@dataclass(frozen=True)
class Room:
    room_id: str
    households: int = 1


@dataclass(frozen=True)
class Duty:
    """Who is on duty for a grid at the moment asked about; None where nobody is named."""

    post_id: str | None = None
    duty_officer: str | None = None
    deputy_officer: str | None = None


@dataclass(frozen=True)
class Shift:
    """A post's time on duty, from `from_at` until before `to_at`, without end if there is none."""

    post_id: str
    from_at: datetime
    to_at: datetime | None = None

    def covers(self, moment: datetime) -> bool:
        return self.from_at <= moment and (self.to_at is None or moment < self.to_at)


@dataclass(frozen=True)
class Roster:
    """The duty roster of one grid; leave cover stands before the shift it covers, the first that is on duty counts."""

    grid: Grid
    shifts: tuple[Shift, ...]
    duty_officer: str
    deputy_officer: str | None = None
    """Verifies what the duty officer handled themself."""

    def at(self, moment: datetime) -> Duty:
        on_duty = (shift.post_id for shift in self.shifts if shift.covers(moment))
        return Duty(next(on_duty, self.duty_officer), self.duty_officer, self.deputy_officer)


@dataclass(frozen=True)
class Community:
    """A community's ground, as it is surveyed, checked and loaded."""

    path: tuple[str, ...]
    outline: Outline
    grids: tuple[Grid, ...]
    buildings: tuple[Building, ...]

    @property
    def code(self) -> str:
        return self.path[-1]


@dataclass(frozen=True)
class Reorganisation:
    """A merge or a split: the grids as they end, those that begin, and the buildings that change over.

    Exclusive grids whose base grid ends are `rehung`: they lie in one of the new base grids from now on.
    """

    ended: tuple[Grid, ...]
    begun: tuple[Grid, ...]
    moved: tuple[Building, ...]
    rehung: tuple[Grid, ...]


def reorganise(
    old: Sequence[Grid],
    new: Sequence[Grid],
    buildings: Iterable[Building],
    exclusive: Iterable[Grid],
    *,
    on: date,
    grid_at: Callable[[Position], Grid | None],
    grid_around: Callable[[Outline], Grid | None],
) -> Reorganisation:
    """Merge several grids into one or split one into several, from the day `on`.

    `buildings` and `exclusive` grids are the community's; `grid_at` locates a position among the new grids,
    `grid_around` says which of them holds a whole outline. Raises ReorganisationUnfit.
    """
    if reason := _unfit(old, new, on):
        raise ReorganisationUnfit(reason=reason)
    successors = tuple(sorted(grid.grid_id for grid in new))
    ended = tuple(replace(grid, valid_to=on, successors=successors) for grid in old)
    leaving = {grid.grid_id for grid in old}
    rehung = []
    for grid in exclusive:
        if grid.base_grid_id in leaving and (grid.valid_to is None or on < grid.valid_to):
            base = grid_around(grid.outline)
            if base is None:
                raise ReorganisationUnfit(reason=f"exclusive grid {grid.grid_id} is in none of the new grids")
            rehung.append(replace(grid, base_grid_id=base.grid_id))
    moved = []
    for building in buildings:
        if building.grid_on(on) in leaving:
            home = grid_at(building.position)
            if home is None:
                raise ReorganisationUnfit(reason=f"building {building.building_id} is in none of the new grids")
            moved.append(replace(building, stays=(*building.stays, Stay(home.grid_id, on))))
    return Reorganisation(ended, tuple(new), tuple(moved), tuple(rehung))


def _unfit(old: Sequence[Grid], new: Sequence[Grid], on: date) -> str | None:
    every = (*old, *new)
    if min(len(old), len(new)) != 1 or len({(grid.kind, grid.path) for grid in every}) != 1:
        return "several into one or one into several, all of one kind and community"
    if any(grid.valid_to is not None for grid in every):
        return "a grid has its end already"
    if not all(grid.valid_from < on for grid in old):
        return "a grid to be replaced is not in force"
    if {grid.grid_id for grid in old} & {grid.grid_id for grid in new} or {grid.valid_from for grid in new} != {on}:
        return "new grids have new ids and begin on the day"
    return None


def split_place_id(place_id: str) -> tuple[str, str | None]:
    """Building id and the room's part of the id (None for a building). Raises PlaceAbsent."""
    if BUILDING_ID.fullmatch(place_id):
        return place_id, None
    if match := ROOM_ID.fullmatch(place_id):
        return match[1], match[2]
    raise PlaceAbsent("place_id")


def address_fits(spelt: str) -> bool:
    """Whether a building can be known by it: it is not empty, and not longer than a key may be."""
    return 0 < len(spelt.encode()) <= ADDRESS_BYTES


def split_address(address: str) -> tuple[str, str | None]:
    """A standard address: its building's part, spelt the one way there is, and the room's part of a room id, if any.

    It begins below the community, with street or estate (GB/T 39609-2020). Full-width digits, spaces and zeros
    before the unit's number do not matter. What is left of it may be empty or too long: see `address_fits`.
    """
    spelt = "".join(unicodedata.normalize("NFKC", address).split())
    if match := _ROOM_PART.fullmatch(spelt):
        return match["building"], f"{match['unit']}-{match['number']}"
    return spelt, None
