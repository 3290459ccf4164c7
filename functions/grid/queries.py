"""Where something is: a point, a room, a building, a grid, an address or a device, with who is on duty there."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from grid.coordinates import Position
from grid.domain import GRID_ID, Building, Duty, Grid, Roster, address_fits, split_address
from linli.clock import BEIJING
from linli.errors import PlaceAbsent


class PointOutside(PlaceAbsent):
    code = "point-in-no-grid"
    zh = "该坐标不在您可查看的任何网格内"
    en = "the point is in none of the grids you may see"


@dataclass(frozen=True)
class Located:
    grid: Grid
    duty: Duty
    building: Building | None = None
    room_id: str | None = None

    @property
    def place_id(self) -> str:
        """The smallest place that is known."""
        return self.room_id or (self.building.building_id if self.building else self.grid.grid_id)

    @property
    def name(self) -> str:
        return self.building.name if self.building else self.grid.name


class Store(Protocol):
    def building(self, place_id: str) -> Building: ...
    def grid(self, grid_id: str) -> tuple[Grid, Roster | None]: ...
    def grids_near(self, position: Position) -> list[Grid]: ...
    def building_at(self, community: str, address: str) -> str | None: ...
    def device_place(self, device_id: str) -> str | None: ...


def place_by_id(place_id: str, *, at: datetime, store: Store) -> Located:
    """A grid, a building or a room, as it stood at the moment. Raises PlaceAbsent."""
    if GRID_ID.fullmatch(place_id):
        return _in_grid(place_id, at, store)
    building = store.building(place_id)
    room_id = None if place_id == building.building_id else place_id
    grid_id = building.grid_on(_day(at))
    if grid_id is None:
        raise PlaceAbsent("place_id")
    return _in_grid(grid_id, at, store, building, room_id)


def place_at(position: Position, *, at: datetime, store: Store) -> Located:
    """The grid that holds a point. Raises PointOutside."""
    from grid.geometry import Locator  # slow to import, and other questions need no shapely

    (grid,) = Locator(store.grids_near(position), on=_day(at)).locate([position])
    if grid is None:
        raise PointOutside("lat")
    return _in_grid(grid.grid_id, at, store)


def place_of_address(community: str, address: str, *, at: datetime, store: Store) -> Located:
    """The building or room with a standard address, which counts only within a community. Raises PlaceAbsent."""
    spelt, room = split_address(address)
    building_id = store.building_at(community, spelt) if address_fits(spelt) else None
    if building_id is None:
        raise PlaceAbsent("address")
    found = _known(f"{building_id}-{room}" if room else building_id, "address", at, store)
    if found.building is None or split_address(found.building.address)[0] != spelt:
        raise PlaceAbsent("address")
    return found


def place_of_device(device_id: str, *, at: datetime, store: Store) -> Located:
    """The building or room a device was registered at, in the grid that has become of its grid. Raises PlaceAbsent."""
    place_id = store.device_place(device_id)
    if place_id is None:
        raise PlaceAbsent("device_id")
    return _known(place_id, "device_id", at, store)


def _known(place_id: str, field: str, at: datetime, store: Store) -> Located:
    try:
        return place_by_id(place_id, at=at, store=store)
    except PlaceAbsent as error:
        raise PlaceAbsent(field) from error


def _in_grid(
    grid_id: str, at: datetime, store: Store, building: Building | None = None, room_id: str | None = None
) -> Located:
    grid, roster = store.grid(grid_id)
    if not grid.in_force(_day(at)):
        raise PlaceAbsent("place_id")
    return Located(grid, roster.at(at) if roster else Duty(), building, room_id)


def _day(at: datetime) -> date:
    return at.astimezone(BEIJING).date()
