"""Load a community's ground: grids, buildings, rooms and duty rosters, once for each content."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from typing import Protocol

from grid.commands import Rosters, set_roster
from grid.coordinates import in_china
from grid.domain import BUILDING_ID, ROOM_ID, Building, Community, Grid, Room, Roster, address_fits, split_address
from linli.clock import BEIJING, Clock, utc_now
from linli.errors import PlaceAbsent

BATCH = 100
"""Places one thread writes at a time."""
CELLS = 10_000
"""More than any grid reaches into: a corner is wrong then, and each cell would be a row."""
UNFINISHED = "unfinished"


class Store(Rosters, Protocol):
    def grid(self, grid_id: str) -> tuple[Grid, Roster | None]: ...
    def fingerprint(self, community: str) -> str | None: ...
    def loaded_grids(self, community: str) -> Sequence[str]: ...
    def add(self, places: Sequence[Grid | Building | Room]) -> int: ...
    def mark_loaded(
        self, community: str, fingerprint: str, count: int, at: datetime, *, grid_ids: Sequence[str]
    ) -> None: ...


def load_community(
    store: Store,
    community: Community,
    rooms: Sequence[Room],
    rosters: Sequence[Roster],
    *,
    workers: int = 8,
    clock: Clock = utc_now,
) -> int:
    """How many rows were written: none if the community is loaded with this content already.

    Grids, buildings and rooms become as the survey says; none is removed, and a grid in force that the survey leaves out
    is refused: it has to be given with its end. A roster is set only where its grid has none, commands change it from
    there on. The fingerprint is written last: an interrupted load is simply run again. Raises ValueError for what
    contradicts itself or the store.
    """
    if problem := next(_problems(community, rooms, rosters), None):
        raise ValueError(problem)
    places = [*community.grids, *community.buildings, *rooms]
    fingerprint = hashlib.sha256(repr((places, rosters)).encode()).hexdigest()
    if store.fingerprint(community.code) == fingerprint:
        return 0
    surveyed = {grid.grid_id for grid in community.grids}
    loaded = set(store.loaded_grids(community.code))
    _check_none_dropped(store, loaded - surveyed, clock().astimezone(BEIJING).date())
    known = sorted(loaded | surveyed)
    # The ids go first: what an interrupted load has put is in force, whatever is loaded next.
    store.mark_loaded(community.code, UNFINISHED, 0, clock(), grid_ids=known)
    batches = [places[start : start + BATCH] for start in range(0, len(places), BATCH)]
    with ThreadPoolExecutor(workers) as pool:
        written = sum(pool.map(store.add, batches))
    first = [roster for roster in rosters if store.roster(roster.grid) is None]
    written += sum(set_roster(r, subject="load", correlation_id="load", store=store, clock=clock) for r in first)
    store.mark_loaded(community.code, fingerprint, written, clock(), grid_ids=known)
    return written


def _check_none_dropped(store: Store, dropped: Iterable[str], today: date) -> None:
    for grid_id in sorted(dropped):
        try:
            valid_to = store.grid(grid_id)[0].valid_to
        except PlaceAbsent:
            continue  # an interrupted load did not come to it
        if valid_to is None or today < valid_to:
            raise ValueError(f"grid {grid_id} is in force and not in the survey: give it with its valid_to")


def _problems(community: Community, rooms: Sequence[Room], rosters: Sequence[Roster]) -> Iterator[str]:
    grids = {grid.grid_id: grid for grid in community.grids}
    buildings = {building.building_id for building in community.buildings}
    yield from _twice("grid", (grid.grid_id for grid in community.grids))
    yield from _twice("building", (building.building_id for building in community.buildings))
    yield from _twice("room", (room.room_id for room in rooms))
    yield from _twice("roster", (roster.grid.grid_id for roster in rosters))
    for grid in community.grids:
        if problem := _grid_problem(grid, community, grids):
            yield f"grid {grid.grid_id}: {problem}"
    addresses: dict[str, str] = {}
    for building in community.buildings:
        if problem := _building_problem(building, community, grids, addresses):
            yield f"building {building.building_id}: {problem}"
    for room in rooms:
        match = ROOM_ID.fullmatch(room.room_id)
        if not match or match[1] not in buildings:
            yield f"room {room.room_id} is in no building of the survey"
    for roster in rosters:
        if roster.grid.grid_id not in grids:
            yield f"the roster of grid {roster.grid.grid_id} is of no grid of the survey"


def _twice(what: str, ids: Iterable[str]) -> Iterator[str]:
    return (f"{what} {one} is there {count} times" for one, count in Counter(ids).items() if count > 1)


def _grid_problem(grid: Grid, community: Community, grids: dict[str, Grid]) -> str | None:
    if grid.path != community.path:
        return f"its path is not that of community {community.code}"
    if problem := grid.problem():
        return problem
    base = grids.get(grid.base_grid_id or "")
    if grid.base_grid_id and (base is None or base.kind != "base"):
        return f"{grid.base_grid_id} is no base grid of the survey"
    if not grid.outline.in_china:
        return "its outline leaves China: are latitude and longitude exchanged?"
    if (count := grid.outline.cell_count) > CELLS:
        return f"its outline reaches into {count} cells, more than {CELLS}"
    return None


def _building_problem(
    building: Building, community: Community, grids: dict[str, Grid], addresses: dict[str, str]
) -> str | None:
    if not BUILDING_ID.fullmatch(building.building_id) or building.building_id[:12] != community.code:
        return f"its id is not of community {community.code}"
    if unknown := [stay.grid_id for stay in building.stays if stay.grid_id not in grids]:
        return f"it stays in {unknown[0]}, which is no grid of the survey"
    if not in_china(building.position.lon, building.position.lat):
        return "its position is not in China: are latitude and longitude exchanged?"
    address, _ = split_address(building.address)
    if not address_fits(address):
        return "its address is empty or too long"
    other = addresses.setdefault(address, building.building_id)
    return f"it has the address of {other}" if other != building.building_id else None
