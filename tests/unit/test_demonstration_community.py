"""The demonstration community: the same for the same seed, whole, and with somebody on duty everywhere every day."""

from collections import Counter
from datetime import timedelta

from grid.domain import BUILDING_ID, GRID_ID, ROOM_ID, split_address
from grid.geometry import Locator
from grid.tiling import check
from infra.local.community import CODE, HOUSEHOLDS, ON_DUTY_SINCE, SINCE, demonstration
from infra.local.seed import BUILDINGS, DEVICES, GRIDS, STAFF
from tests.ground import TODAY

MADE = demonstration()
GROUND = MADE.community


def test_the_same_seed_makes_the_same_and_another_another() -> None:
    assert demonstration() == MADE
    assert demonstration(7) != MADE
    assert sum(room.households for room in demonstration(7).rooms) == HOUSEHOLDS


def test_its_size() -> None:
    assert Counter(grid.kind for grid in GROUND.grids) == {"base": 20, "exclusive": 2}
    assert sum(room.households for room in MADE.rooms) == 5_000
    a_grid = Counter[str]()
    home = {building.building_id: building.grid_on(TODAY) for building in GROUND.buildings}
    for room in MADE.rooms:
        a_grid[home[room.room_id[:17]] or ""] += room.households
    assert len(a_grid) == 20
    assert 200 <= min(a_grid.values()) <= max(a_grid.values()) <= 300


def test_identifiers_and_addresses_are_sound_and_unique() -> None:
    assert all(grid.problem() is None and GRID_ID.fullmatch(grid.grid_id) for grid in GROUND.grids)
    ids = [building.building_id for building in GROUND.buildings]
    assert ids == [f"{CODE}{number:05}" for number in range(1, len(ids) + 1)]
    assert all(BUILDING_ID.fullmatch(building_id) for building_id in ids)
    rooms = {room.room_id for room in MADE.rooms}
    assert len(rooms) == len(MADE.rooms)
    assert all(ROOM_ID.fullmatch(room) and room[:17] in ids for room in rooms)
    assert len({split_address(building.address) for building in GROUND.buildings}) == len(ids)


def test_what_the_demonstration_relies_on() -> None:
    lived_in = {room.room_id for room in MADE.rooms if room.households}
    stays = {building.building_id: building.grid_on(SINCE) for building in GROUND.buildings}
    assert [stays[building_id] for building_id in BUILDINGS] == [GRIDS[0], GRIDS[0], GRIDS[1], GRIDS[1]]
    assert {f"{BUILDINGS[0]}-1-{number}" for number in ("0101", "0102", "0201")} <= lived_in
    assert {place_id for _, _, place_id in DEVICES.values()} <= lived_in
    first = {roster.grid.grid_id: roster for roster in MADE.rosters}
    for worker in STAFF[:2]:
        assert [shift.post_id for shift in first[worker.area or ""].shifts] == [worker.post_id]


def test_the_grids_tile_it_and_every_building_stands_where_it_is_said_to() -> None:
    assert check(GROUND, on=TODAY) == []
    located = Locator(GROUND.grids, on=TODAY).locate([building.position for building in GROUND.buildings])
    assert [grid and grid.grid_id for grid in located] == [building.grid_on(TODAY) for building in GROUND.buildings]


def test_leave_is_covered_by_somebody_who_is_not_on_leave() -> None:
    covered = Counter[str]()
    for day in range(0, 730):
        moment = ON_DUTY_SINCE + timedelta(days=day, hours=4)
        on_duty = {roster.shifts[-1].post_id: roster.at(moment).post_id for roster in MADE.rosters}
        away = {worker for worker, instead in on_duty.items() if instead != worker}
        assert away.isdisjoint(on_duty.values())
        covered.update(away)
    assert len(covered) == 20
    assert all(5 <= days <= 10 for days in covered.values())
