"""Grids in time: in force, merged, split; rosters, addresses, and coordinates that say what they are."""

from dataclasses import replace
from datetime import timedelta

import pytest

from grid.coordinates import Datum, DatumRefused, OutOfRange, Plane, Position, exchanged, position
from grid.domain import Grid, ReorganisationUnfit, heirs, reorganise, split_address
from grid.geometry import Locator
from infra.local.community import SINCE
from tests.ground import TODAY, grid, roster, tiled
from tests.support import COMMUNITY, NOW

GROUND, QUADS = tiled(2, 2)
A, B, C, D = GROUND.grids
YESTERDAY = TODAY - timedelta(days=1)


def begun(number: int, of: Grid) -> Grid:
    return replace(grid(number, of.outline), valid_from=TODAY)


def merge(*old: Grid, into: Grid) -> tuple[Grid, ...]:
    done = reorganise(old, [into], GROUND.buildings, on=TODAY, grid_at=lambda _: into)
    assert done.begun == (into,)
    return done.ended


def test_a_grid_is_in_force_from_its_first_day_to_before_its_last() -> None:
    ended = replace(A, valid_to=TODAY)
    assert [ended.in_force(day) for day in (SINCE - timedelta(days=1), SINCE, YESTERDAY, TODAY)] == [
        False, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"grid_id": "340104002002001"}, "id"),
        ({"kind": "exclusive"}, "base grid"),
        ({"base_grid_id": A.grid_id}, "base grid"),
        ({"valid_to": SINCE}, "ends before"),
        ({"successors": (B.grid_id,)}, "no end"),
    ],
)
def test_a_grid_that_contradicts_itself(changed: dict[str, object], problem: str) -> None:
    assert A.problem() is None
    assert problem in (replace(A, **changed).problem() or "")  # type: ignore[arg-type]


def test_an_exclusive_grid_hangs_below_its_base_grid() -> None:
    school = grid(9, QUADS[0].part(0.4, 0.6).outline, base=A.grid_id)
    assert school.ancestors == ("34", "3401", "340104", "340104002", COMMUNITY, A.grid_id)
    assert min(school, A, key=lambda one: one.rank) is school


def test_a_merge_ends_the_old_grids_and_moves_their_buildings() -> None:
    new = begun(5, A)
    done = reorganise([A, B], [new], GROUND.buildings, on=TODAY, grid_at=lambda _: new)
    assert [(old.valid_to, old.successors) for old in done.ended] == [(TODAY, (new.grid_id,))] * 2
    assert [one.building_id[-1] for one in done.moved] == ["1", "2"]
    assert [(one.grid_on(YESTERDAY), one.grid_on(TODAY)) for one in done.moved] == [
        (A.grid_id, new.grid_id),
        (B.grid_id, new.grid_id),
    ]


def test_a_split_asks_for_each_building_where_it_stands() -> None:
    east, west = begun(5, B), begun(6, A)
    whole = replace(A, outline=GROUND.outline)
    buildings = [replace(one, stays=(replace(one.stays[0], grid_id=A.grid_id),)) for one in GROUND.buildings[:2]]
    locator = Locator([east, west], on=TODAY)
    done = reorganise([whole], [east, west], buildings, on=TODAY, grid_at=lambda at: locator.locate([at])[0])
    assert [one.grid_on(TODAY) for one in done.moved] == [west.grid_id, east.grid_id]
    with pytest.raises(ReorganisationUnfit) as refused:
        reorganise([whole], [east, west], GROUND.buildings, on=TODAY, grid_at=lambda _: None)
    assert GROUND.buildings[0].building_id in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([A, B], [begun(5, A), begun(6, B)]),
        ([A], [replace(A, valid_from=TODAY)]),
        ([A], [replace(begun(5, A), valid_from=YESTERDAY)]),
        ([replace(A, valid_to=YESTERDAY)], [begun(5, A)]),
        ([replace(A, valid_from=TODAY)], [begun(5, A)]),
        ([A], [replace(begun(5, A), kind="exclusive", base_grid_id=B.grid_id)]),
    ],
)
def test_what_is_neither_a_merge_nor_a_split_is_refused(old: list[Grid], new: list[Grid]) -> None:
    with pytest.raises(ReorganisationUnfit):
        reorganise(old, new, [], on=TODAY, grid_at=lambda _: new[0])


def test_successors_lead_to_what_a_grid_has_become() -> None:
    merged = begun(5, A)
    a, b = merge(A, B, into=merged)
    later = TODAY + timedelta(days=30)
    parts = [replace(begun(number, A), valid_from=later) for number in (6, 7)]
    (ended,) = reorganise([merged], parts, [], on=later, grid_at=lambda _: None).ended
    known = {one.grid_id: one for one in (a, b, ended, *parts)}
    assert heirs(a, YESTERDAY, known.__getitem__) == (a,)
    assert heirs(a, TODAY, known.__getitem__) == heirs(b, TODAY, known.__getitem__) == (ended,)
    assert heirs(b, later, known.__getitem__) == tuple(parts)


def test_leave_cover_is_on_duty_until_the_worker_is_back() -> None:
    duty = roster(A)
    assert duty.at(NOW - timedelta(seconds=1)).post_id == "grid-worker-001"
    assert duty.at(NOW).post_id == duty.at(NOW + timedelta(days=7, seconds=-1)).post_id == "grid-worker-009"
    assert duty.at(NOW + timedelta(days=7)).post_id == "grid-worker-001"
    before_all = duty.at(NOW - timedelta(days=999))
    assert before_all.post_id == before_all.duty_officer == "duty-officer-001"


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("金寨南路102号1栋", ("金寨南路102号1栋", None)),
        ("金寨南路102号1栋2单元0501室", ("金寨南路102号1栋", "2-0501")),
        (" 金寨南路１０２号 1栋 ２单元0501 ", ("金寨南路102号1栋", "2-0501")),
        ("2单元0501室", ("2单元0501室", None)),
    ],
)
def test_an_address_has_one_spelling(address: str, parts: tuple[str, str | None]) -> None:
    assert split_address(address) == parts


def test_a_position_says_its_datum() -> None:
    assert position(31.83, 117.26, "WGS-84") == Position(31.83, 117.26)
    assert position(31.83, 117.26, "CGCS2000") == Position(31.83, 117.26, Datum.CGCS2000)
    for datum in ("GCJ-02", "BD-09", "wgs84", "", None):
        with pytest.raises(DatumRefused) as refused:
            position(31.83, 117.26, datum)
        assert refused.value.field == "datum"
    assert "GCJ-02" in refused.value.text("zh")


@pytest.mark.parametrize(
    ("lat", "lon", "field"),
    [(117.26, 31.83, "lat"), (31.83, 31.83, "lon"), (0, 117.26, "lat"), (float("nan"), 117.26, "lat")],
)
def test_what_is_not_in_china_names_the_coordinate(lat: float, lon: float, field: str) -> None:
    with pytest.raises(OutOfRange) as refused:
        position(lat, lon, "WGS-84")
    assert refused.value.field == field


def test_an_exchange_shows_wherever_in_the_country() -> None:
    corners = [(73.7, 39.5), (135.0, 48.4), (109.5, 18.2), (112.3, 3.9), (121.5, 53.5)]
    assert [exchanged(lon, lat) for lon, lat in corners] == [False] * 5
    assert [exchanged(lat, lon) for lon, lat in corners] == [True] * 5


@pytest.mark.parametrize(
    ("lat", "east", "north"), [(0, 111_320, 110_574), (30, 96_486, 110_852), (45, 78_847, 111_132)]
)
def test_metres_of_a_degree_are_the_published_ones(lat: float, east: float, north: float) -> None:
    assert Plane(lat, 117).metres_a_degree == pytest.approx((east, north), abs=1)
