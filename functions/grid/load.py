"""Load a community's ground: grids, buildings, rooms and duty rosters, once for each content."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Protocol

from grid.commands import Rosters, set_roster
from grid.domain import Building, Community, Grid, Room, Roster, split_address
from linli.clock import Clock, utc_now

BATCH = 100
"""Places one thread writes at a time."""


class Store(Rosters, Protocol):
    def fingerprint(self, community: str) -> str | None: ...
    def add(self, places: Sequence[Grid | Building | Room]) -> int: ...
    def mark_loaded(self, community: str, fingerprint: str, count: int, at: datetime) -> None: ...


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

    Rows are put and never removed: what is no longer there ends, it is not forgotten. The fingerprint is written last:
    an interrupted load is simply run again. Raises ValueError for what contradicts itself.
    """
    _check(community)
    places = [*community.grids, *community.buildings, *rooms]
    fingerprint = hashlib.sha256(repr((places, rosters)).encode()).hexdigest()
    if store.fingerprint(community.code) == fingerprint:
        return 0
    batches = [places[start : start + BATCH] for start in range(0, len(places), BATCH)]
    with ThreadPoolExecutor(workers) as pool:
        written = sum(pool.map(store.add, batches))
    set_anew = (set_roster(r, subject="load", correlation_id="load", store=store, clock=clock) for r in rosters)
    written += sum(set_anew)
    store.mark_loaded(community.code, fingerprint, written, clock())
    return written


def _check(community: Community) -> None:
    for grid in community.grids:
        if problem := grid.problem():
            raise ValueError(f"grid {grid.grid_id}: {problem}")
    known: dict[str, str] = {}
    for building in community.buildings:
        address, _ = split_address(building.address)
        other = known.setdefault(address, building.building_id)
        if other != building.building_id:
            raise ValueError(f"building {building.building_id} has the address of {other}")
