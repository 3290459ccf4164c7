"""The grid store in memory, held to the same tests as the real one."""

from collections.abc import Sequence
from datetime import datetime

from grid.coordinates import Position
from grid.domain import Building, Grid, Room, Roster, split_address, split_place_id
from linli.commands import Command
from linli.errors import PlaceAbsent, StaleVersion
from linli.facts import Envelope
from linli.table import Step


class FakeGridStore:
    def __init__(self) -> None:
        self.grids: dict[str, Grid] = {}
        self.buildings: dict[str, Building] = {}
        self.rooms: dict[str, Room] = {}
        self.rosters: dict[str, Roster] = {}
        self.versions: dict[str, int] = {}
        self.facts: list[Envelope] = []
        self.devices: dict[str, tuple[int, str | None]] = {}
        self.loads: dict[str, tuple[str, Sequence[str]]] = {}

    def __contains__(self, place_id: str) -> bool:
        return place_id in self.grids or place_id in self.buildings or place_id in self.rooms

    def building(self, place_id: str) -> Building:
        building_id, room = split_place_id(place_id)
        if building_id not in self or (room and place_id not in self):
            raise PlaceAbsent("place_id")
        return self.buildings[building_id]

    def grid(self, grid_id: str) -> tuple[Grid, Roster | None]:
        if grid_id not in self.grids:
            raise PlaceAbsent("place_id")
        return self.grids[grid_id], self.rosters.get(grid_id)

    def grids_near(self, position: Position) -> list[Grid]:
        return [grid for grid in self.grids.values() if position.cell in grid.outline.cells()]

    def building_at(self, community: str, address: str) -> str | None:
        at = (b for b in self.buildings.values() if b.building_id[:12] == community)
        return next((b.building_id for b in at if split_address(b.address)[0] == address), None)

    def put_device(self, device_id: str, place_id: str | None, *, version: int) -> bool:
        if device_id in self.devices and self.devices[device_id][0] >= version:
            return False
        self.devices[device_id] = version, place_id
        return True

    def device_place(self, device_id: str) -> str | None:
        return self.devices[device_id][1] if device_id in self.devices else None

    def fingerprint(self, community: str) -> str | None:
        return self.loads[community][0] if community in self.loads else None

    def loaded_grids(self, community: str) -> Sequence[str]:
        return self.loads[community][1] if community in self.loads else ()

    def mark_loaded(
        self, community: str, fingerprint: str, count: int, at: datetime, *, grid_ids: Sequence[str]
    ) -> None:
        self.loads[community] = fingerprint, grid_ids

    def add(self, places: Sequence[Grid | Building | Room]) -> int:
        rows = 0
        for place in places:
            match place:
                case Grid():
                    self.grids[place.grid_id] = place
                    rows += 1 + len(list(place.outline.cells()))
                case Building():
                    self.buildings[place.building_id] = place
                    rows += 2
                case Room():
                    self.rooms[place.room_id] = place
                    rows += 1
        return rows

    def roster(self, grid: Grid) -> tuple[Roster, int] | None:
        known = self.rosters.get(grid.grid_id)
        return (known, self.versions[grid.grid_id]) if known else None

    def save_roster(self, roster: Roster, *, version: int, step: Step, command: Command, fact: Envelope) -> None:
        grid_id = roster.grid.grid_id
        if version != self.versions.get(grid_id, 0) + 1:
            raise StaleVersion("expected_version")
        self.rosters[grid_id] = roster
        self.versions[grid_id] = version
        self.facts.append(fact)
