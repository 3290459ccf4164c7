"""Places, on the fake store and on DynamoDB rows alike; the API over the real one."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from grid import api, on_device_changed
from grid.commands import set_roster
from grid.coordinates import Outline, Position
from grid.domain import Community, Grid, Room, Roster, Stay, reorganise
from grid.geometry import grid_around
from grid.load import load_community
from grid.queries import PointOutside, place_at, place_by_id, place_of_address, place_of_device
from grid.store import GridStore
from linli.access import Caller, Post
from linli.errors import PlaceAbsent
from linli.facts import Envelope, Place, envelope
from linli.table import ParkedRow
from tests.fakes_grid import FakeGridStore
from tests.ground import TODAY, grid, roster, tiled
from tests.support import COMMUNITY, CONTEXT, NOW, OFFICER, PATH, RESIDENT, WORKER, on_bus, request, sqs, table_on_moto

TILED, QUADS = tiled(2, 2)
A, B, C, D = TILED.grids
SCHOOL = grid(5, QUADS[0].part(0.1, 0.3).outline, base=A.grid_id)
GROUND = replace(TILED, grids=(*TILED.grids, SCHOOL))
HOME = GROUND.buildings[0]
ROOM = Room(f"{HOME.building_id}-1-0101")
ROSTERS = [roster(A), roster(B, "grid-worker-002")]
LATER = NOW + timedelta(days=8)


@pytest.fixture(params=["fake", "real"])
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "fake":
        yield _loaded(FakeGridStore())
    else:
        with table_on_moto("grid"):
            yield _loaded(GridStore())


def _loaded(store: Any) -> Any:
    assert load(store) > 0
    store.put_device("device-1", ROOM.room_id, version=1)
    return store


def load(store: Any, ground: Community = GROUND) -> int:
    return load_community(store, ground, [ROOM], ROSTERS, workers=1, clock=lambda: NOW)


def at(quad: int, east: float, south: float) -> Position:
    lon, lat = QUADS[quad].at(east, south)
    return Position(lat, lon)


def anew(store: Any, wanted: Roster) -> bool:
    return set_roster(wanted, subject="test", correlation_id="test", store=store, clock=lambda: NOW)


def reorganised(store: Any) -> Grid:
    """A and B become one today."""
    new = replace(grid(6, A.outline), valid_from=TODAY)
    done = reorganise(
        [A, B], [new], GROUND.buildings, [SCHOOL], on=TODAY,
        grid_at=lambda _: new, grid_around=lambda outline: grid_around(outline, [new]),
    )  # fmt: skip
    store.add([*done.ended, *done.begun, *done.moved, *done.rehung])
    assert anew(store, roster(new, "grid-worker-003"))
    return new


def test_a_room_a_building_and_a_grid_lead_to_the_people_on_duty(store: Any) -> None:
    for place_id, name in ((ROOM.room_id, HOME.name), (HOME.building_id, HOME.name), (A.grid_id, A.name)):
        found = place_by_id(place_id, at=NOW, store=store)
        assert (found.place_id, found.name, found.grid) == (place_id, name, A)
        assert (found.duty.post_id, found.duty.duty_officer) == ("grid-worker-009", "duty-officer-001")
    assert place_by_id(A.grid_id, at=LATER, store=store).duty.post_id == "grid-worker-001"
    assert place_by_id(C.grid_id, at=NOW, store=store).duty.post_id is None


@pytest.mark.parametrize(
    "place_id",
    [f"{COMMUNITY}099", f"{COMMUNITY}00099", f"{HOME.building_id}-1-0999", f"{COMMUNITY}00099-1-0101", "", "１" * 17],
)
def test_a_place_that_is_not_there_is_absent(store: Any, place_id: str) -> None:
    with pytest.raises(PlaceAbsent):
        place_by_id(place_id, at=NOW, store=store)


def test_before_its_grid_began_a_building_is_nowhere(store: Any) -> None:
    for place_id in (HOME.building_id, A.grid_id):
        with pytest.raises(PlaceAbsent):
            place_by_id(place_id, at=NOW - timedelta(days=400), store=store)


def test_a_point_leads_to_its_grid(store: Any) -> None:
    assert place_at(at(1, 0.7, 0.7), at=NOW, store=store).grid == B
    assert place_at(at(0, 0.2, 0.2), at=NOW, store=store).grid == SCHOOL
    assert place_at(at(0, 1, 1), at=NOW, store=store).grid == A
    for outside in (at(0, -0.01, -0.01), Position(40.0, 116.0)):
        with pytest.raises(PointOutside) as refused:
            place_at(outside, at=NOW, store=store)
        assert refused.value.field == "lat"


def test_an_address_leads_to_its_building_or_room_within_its_community(store: Any) -> None:
    found = place_of_address(COMMUNITY, "金寨南路 １号", at=NOW, store=store)
    assert (found.place_id, found.room_id) == (HOME.building_id, None)
    for room in ("金寨南路1号1单元0101室", "金寨南路1号01单元0101室"):
        assert place_of_address(COMMUNITY, room, at=NOW, store=store).room_id == ROOM.room_id
    for community, address in (
        (COMMUNITY, "金寨南路99号"),
        (COMMUNITY, "金寨南路1号1单元0999室"),
        (COMMUNITY, " "),
        (COMMUNITY, "\u3000"),
        (COMMUNITY, "\ufdfa" * 200),
        ("340104002002", "金寨南路1号"),
    ):
        with pytest.raises(PlaceAbsent) as refused:
            place_of_address(community, address, at=NOW, store=store)
        assert refused.value.field == "address"


def test_an_address_that_a_building_no_longer_has_leads_nowhere(store: Any) -> None:
    store.add([replace(HOME, address="金寨南路7号")])
    with pytest.raises(PlaceAbsent):
        place_of_address(COMMUNITY, "金寨南路1号", at=NOW, store=store)
    assert place_of_address(COMMUNITY, "金寨南路7号", at=NOW, store=store).building is not None


def test_a_device_leads_to_its_place(store: Any) -> None:
    assert place_of_device("device-1", at=NOW, store=store).room_id == ROOM.room_id
    store.put_device("device-2", f"{COMMUNITY}00099", version=1)
    for device_id in ("device-2", "device-3"):
        with pytest.raises(PlaceAbsent) as refused:
            place_of_device(device_id, at=NOW, store=store)
        assert refused.value.field == "device_id"


def test_the_newest_word_says_where_a_device_is_and_a_retired_one_is_nowhere(store: Any) -> None:
    assert store.put_device("device-1", HOME.building_id, version=3)
    assert not store.put_device("device-1", ROOM.room_id, version=2)
    assert store.device_place("device-1") == HOME.building_id
    assert store.put_device("device-1", None, version=4)
    with pytest.raises(PlaceAbsent):
        place_of_device("device-1", at=NOW, store=store)


def test_after_a_merge_today_has_the_new_grid_and_yesterday_the_old(store: Any) -> None:
    new = reorganised(store)
    yesterday = NOW - timedelta(days=1)
    for ask in (
        lambda when: place_by_id(ROOM.room_id, at=when, store=store),
        lambda when: place_of_device("device-1", at=when, store=store),
        lambda when: place_at(at(0, 0.7, 0.7), at=when, store=store),
    ):
        assert (ask(yesterday).grid.grid_id, ask(NOW).grid) == (A.grid_id, new)
    with pytest.raises(PlaceAbsent):
        place_by_id(A.grid_id, at=NOW, store=store)
    assert store.grid(A.grid_id)[0].successors == (new.grid_id,)
    assert place_at(at(0, 0.2, 0.2), at=NOW, store=store).grid == replace(SCHOOL, base_grid_id=new.grid_id)


def test_loading_the_same_again_writes_nothing(store: Any) -> None:
    assert load(store) == 0
    renamed = replace(GROUND, buildings=(replace(HOME, name="教学楼"), *GROUND.buildings[1:]))
    assert load(store, renamed) > 0
    assert place_by_id(HOME.building_id, at=NOW, store=store).name == "教学楼"


def test_ground_that_contradicts_itself_is_not_loaded(store: Any) -> None:
    twice = replace(GROUND, buildings=(*GROUND.buildings, replace(HOME, building_id=f"{COMMUNITY}00077")))
    stray = replace(GROUND, grids=(*GROUND.grids, replace(A, kind="exclusive")))
    for wrong in (twice, stray):
        with pytest.raises(ValueError, match=COMMUNITY):
            load(store, wrong)
    with pytest.raises(PlaceAbsent):
        place_by_id(f"{COMMUNITY}00077", at=NOW, store=store)


def with_grid(changed: Grid) -> Community:
    return replace(GROUND, grids=(*GROUND.grids[:3], changed, SCHOOL))


def with_home(**changed: Any) -> Community:
    return replace(GROUND, buildings=(replace(HOME, **changed), *GROUND.buildings[1:]))


(WEST, NORTH), *_ = D.outline.shell
SWAPPED_CORNER = Outline((D.outline.shell[0], (NORTH, WEST), *D.outline.shell[2:]))
FAR_CORNER = Outline((D.outline.shell[0], (WEST + 1.5, NORTH + 1.5), *D.outline.shell[2:]))
OTHER = "340104002002"


@pytest.mark.parametrize(
    ("ground", "problem"),
    [
        (with_grid(replace(D, outline=SWAPPED_CORNER)), f"grid {D.grid_id}: its outline leaves China"),
        (with_grid(replace(D, outline=FAR_CORNER)), f"grid {D.grid_id}: its outline reaches into [0-9]{{5}} cells"),
        (with_grid(replace(D, path=(*PATH[:-1], OTHER))), f"grid {D.grid_id}: its path"),
        (with_grid(replace(D, grid_id=f"{OTHER}004")), f"grid {OTHER}004: its id"),
        (with_grid(A), f"grid {A.grid_id} is there 2 times"),
        (replace(GROUND, grids=(B, C, D, SCHOOL)), f"grid {SCHOOL.grid_id}: {A.grid_id} is no base grid"),
        (replace(GROUND, buildings=(HOME, *GROUND.buildings)), f"building {HOME.building_id} is there 2 times"),
        (with_home(building_id=f"{OTHER}00001"), f"building {OTHER}00001: its id"),
        (with_home(position=Position(WEST, NORTH)), f"building {HOME.building_id}: its position"),
        (
            with_home(stays=(Stay(f"{COMMUNITY}099", TODAY),)),
            f"building {HOME.building_id}: it stays in {COMMUNITY}099",
        ),
        (with_home(address="\u3000"), f"building {HOME.building_id}: its address"),
        (replace(GROUND, buildings=GROUND.buildings[1:]), f"room {ROOM.room_id} is in no building"),
        (replace(GROUND, grids=GROUND.grids[1:], buildings=()), f"grid {SCHOOL.grid_id}"),
    ],
)
def test_a_survey_that_cannot_be_trusted_is_not_loaded(ground: Community, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        load(FakeGridStore(), ground)


def test_rooms_twice_and_rosters_of_other_grids_are_not_loaded() -> None:
    stranger = roster(grid(99, A.outline))
    for rooms, rosters, problem in (([ROOM, ROOM], [], ROOM.room_id), ([ROOM], [stranger], "roster")):
        with pytest.raises(ValueError, match=problem):
            load_community(FakeGridStore(), GROUND, rooms, rosters, clock=lambda: NOW)


def test_a_second_load_leaves_a_roster_as_people_changed_it(store: Any) -> None:
    assert anew(store, roster(A, "grid-worker-004"))
    assert load(store, with_home(name="教学楼")) > 0
    assert place_by_id(A.grid_id, at=LATER, store=store).duty.post_id == "grid-worker-004"


def test_a_grid_in_force_cannot_be_left_out_but_given_with_its_end(store: Any) -> None:
    without = replace(GROUND, grids=GROUND.grids[:4])
    with pytest.raises(ValueError, match=f"grid {SCHOOL.grid_id} is in force"):
        load(store, without)
    ended = replace(GROUND, grids=(*GROUND.grids[:4], replace(SCHOOL, valid_to=TODAY)))
    assert load(store, ended) > 0
    assert place_at(at(0, 0.2, 0.2), at=NOW, store=store).grid == A
    assert load(store, without) > 0


def test_a_load_that_was_interrupted_is_run_again(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(places: Any) -> int:
        raise OSError

    more = replace(GROUND, grids=(*GROUND.grids, grid(7, QUADS[1].part(0.1, 0.3).outline, base=B.grid_id)))
    with monkeypatch.context() as interrupted, pytest.raises(OSError):
        interrupted.setattr(store, "add", broken)
        load(store, more)
    assert load(store) > 0
    assert load(store, more) > 0


def test_a_roster_that_did_not_change_is_not_said_again(store: Any) -> None:
    assert not anew(store, roster(A))
    assert anew(store, roster(A, "grid-worker-004"))
    assert place_by_id(A.grid_id, at=LATER, store=store).duty.post_id == "grid-worker-004"


@pytest.fixture
def rows() -> Iterator[GridStore]:
    with table_on_moto("grid"):
        yield _loaded(GridStore())


def test_rosters_are_published_once(rows: GridStore) -> None:
    load(rows)
    outbox = rows.table._outbox
    facts = [Envelope.model_validate(row.fact) for row in outbox.scan(outbox.pk.startswith("OUT#"))]
    assert sorted(fact.aggregate_id for fact in facts) == [A.grid_id, B.grid_id]
    assert {(fact.type, fact.aggregate_version) for fact in facts} == {("DutyRosterChanged", 1)}


def _registered(device_id: str, **place: Any) -> str:
    from devices.events import DeviceRegistered

    where = Place(path=PATH, grid_id=A.grid_id, **place)
    fact = DeviceRegistered(device_id=device_id, device_class="smoke_detector", place=where)
    return on_bus(envelope(fact, aggregate_id=device_id, aggregate_version=1, at=NOW, correlation_id="trace-1"))


def test_a_registered_device_is_remembered_and_one_without_a_building_parked(rows: GridStore) -> None:
    class Parked(ParkedRow):
        Meta = rows.table._base.Meta

    room = _registered("device-7", building_id=HOME.building_id, room_id=ROOM.room_id)
    hall = _registered("device-8", building_id=HOME.building_id)
    answer = on_device_changed.handler(sqs(room, _registered("device-9"), hall, room), CONTEXT)
    assert answer == {"batchItemFailures": []}
    assert [rows.device_place(f"device-{number}") for number in (7, 8, 9)] == [ROOM.room_id, HOME.building_id, None]
    assert [row.field for row in Parked.scan(Parked.pk.startswith("PARKED#"))] == ["place.building_id"]


def test_a_moved_device_is_found_where_it_now_is_whatever_comes_last(rows: GridStore) -> None:
    from devices.domain import LifeState
    from devices.events import DeviceChanged

    def changed(version: int, state: LifeState, **place: Any) -> str:
        where = Place(path=PATH, grid_id=A.grid_id, building_id=HOME.building_id, **place)
        fact = DeviceChanged(device_id="device-7", device_class="smoke_detector", place=where, state=state)
        return on_bus(envelope(fact, aggregate_id="device-7", aggregate_version=version, at=NOW, correlation_id="t"))

    moved, before = (
        changed(2, LifeState.REVOKED, room_id=ROOM.room_id),
        _registered("device-7", building_id=HOME.building_id),
    )
    on_device_changed.handler(sqs(moved, before), CONTEXT)
    assert rows.device_place("device-7") == ROOM.room_id
    on_device_changed.handler(sqs(changed(3, LifeState.RETIRED), moved), CONTEXT)
    assert rows.device_place("device-7") is None


def ask(caller: Caller, path: str = "", **query: str) -> tuple[int, dict[str, Any]]:
    answer = api.handler(request("GET", f"/v1/grid/places{path}", caller, query=query or None), CONTEXT)
    return answer["statusCode"], json.loads(answer["body"])


def point(quad: int, east: float, south: float) -> dict[str, str]:
    place = at(quad, east, south)
    return {"lat": str(place.lat), "lon": str(place.lon), "datum": "CGCS2000"}


ADDRESS = {"community": COMMUNITY, "address": "金寨南路1号"}


def test_the_api_answers_with_grid_place_and_duty(rows: GridStore) -> None:
    for answer in (ask(WORKER, f"/{HOME.building_id}"), ask(RESIDENT, **ADDRESS)):
        status, body = answer
        assert (status, body["place_id"], body["name"]) == (200, HOME.building_id, HOME.name)
        assert body["place"] == {"path": list(PATH), "grid_id": A.grid_id, "building_id": HOME.building_id}
        assert body["grid"] == {"grid_id": A.grid_id, "name": A.name, "kind": "base"}
        assert body["duty"]["duty_officer"] == "duty-officer-001"
    status, body = ask(OFFICER, **point(0, 0.2, 0.2))
    assert (status, body["place_id"]) == (200, SCHOOL.grid_id)
    assert body["grid"]["base_grid_id"] == A.grid_id
    assert body["duty"] == {}
    assert ask(WORKER, **point(0, 0.2, 0.2))[1]["place_id"] == SCHOOL.grid_id
    for staff in (OFFICER, WORKER):
        assert ask(staff, device_id="device-1")[1]["place"]["room_id"] == ROOM.room_id


def test_a_resident_cannot_locate_a_device_not_even_at_home(rows: GridStore) -> None:
    assert ask(RESIDENT, f"/{ROOM.room_id}")[0] == 200
    status, body = ask(RESIDENT, device_id="device-1")
    assert (status, body) == ask(RESIDENT, device_id="device-99")
    assert status == 404


@pytest.mark.parametrize(
    "caller",
    [
        Caller("worker-2", (Post("grid-worker-002", "grid_worker", (*PATH, B.grid_id)),)),
        Caller("resident-2", home="340104002002"),
        Caller("nobody"),
    ],
)
def test_out_of_scope_is_answered_as_absent(rows: GridStore, caller: Caller) -> None:
    pairs = [
        (ask(caller, f"/{HOME.building_id}"), ask(caller, f"/{COMMUNITY}00099")),
        (ask(caller, **point(0, 0.7, 0.7)), ask(caller, **point(0, -1, -1))),
        (ask(caller, **ADDRESS), ask(caller, **(ADDRESS | {"address": "金寨南路99号"}))),
        (ask(caller, f"/{SCHOOL.grid_id}"), ask(caller, f"/{COMMUNITY}099")),
        (ask(caller, device_id="device-1"), ask(caller, device_id="device-99")),
    ]
    for refused, absent in pairs:
        assert refused == absent
        assert refused[0] == 404


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ({"lat": "31.83", "lon": "117.26"}, "datum-refused", "datum"),
        ({"lat": "31.83", "lon": "117.26", "datum": "GCJ-02"}, "datum-refused", "datum"),
        ({"lat": "117.26", "lon": "31.83", "datum": "WGS-84"}, "coordinates-out-of-range", "lat"),
        ({"lat": "nan", "lon": "117.26", "datum": "WGS-84"}, "coordinates-out-of-range", "lat"),
        ({"lat": "north", "lon": "117.26", "datum": "WGS-84"}, "invalid-request", "lat"),
        ({"lat": "31.83", "datum": "WGS-84"}, "place-question-unclear", None),
        ({"address": "金寨南路1号"}, "place-question-unclear", None),
        ({"device_id": "device-1", "address": "金寨南路1号"}, "place-question-unclear", None),
        ({}, "place-question-unclear", None),
        ({"place_id": HOME.building_id}, "invalid-request", "place_id"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(
    rows: GridStore, query: dict[str, str], code: str, field: str | None
) -> None:
    status, body = ask(OFFICER, **query)
    assert (status, body["code"], body.get("field")) == (422, code, field)
