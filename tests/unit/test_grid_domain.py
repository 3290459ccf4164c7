"""Grids in time: in force, merged, split; rosters, addresses, and coordinates that say what they are."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from grid.coordinates import Datum, DatumRefused, OutOfRange, Plane, Position, exchanged, position
from grid.domain import Building, Grid, Reorganisation, ReorganisationUnfit, address_fits, reorganise, split_address
from grid.geometry import Locator, grid_around
from infra.local.community import SINCE
from tests.ground import TODAY, grid, roster, tiled
from tests.support import COMMUNITY, NOW, PATH

GROUND, QUADS = tiled(2, 2)
A, B, C, D = GROUND.grids
YESTERDAY = TODAY - timedelta(days=1)


def begun(number: int, of: Grid) -> Grid:
    return replace(grid(number, of.outline), valid_from=TODAY)


def into(
    new: Sequence[Grid], old: Sequence[Grid], buildings: Sequence[Building] = (), exclusive: Sequence[Grid] = ()
) -> Reorganisation:
    locator = Locator(new, on=TODAY)
    return reorganise(
        old, new, buildings, exclusive, on=TODAY,
        grid_at=lambda at: locator.locate([at])[0], grid_around=lambda outline: grid_around(outline, new),
    )  # fmt: skip


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
    new = begun(5, replace(A, outline=GROUND.outline))
    done = into([new], [A, B], GROUND.buildings)
    assert done.begun == (new,)
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
    done = into([east, west], [whole], buildings)
    assert [one.grid_on(TODAY) for one in done.moved] == [west.grid_id, east.grid_id]
    with pytest.raises(ReorganisationUnfit) as refused:
        into([begun(7, C), begun(8, D)], [whole], buildings)
    assert GROUND.buildings[0].building_id in str(refused.value)


def test_an_exclusive_grid_is_hung_below_the_new_base_grid_that_holds_it() -> None:
    school = grid(9, QUADS[0].part(0.4, 0.6).outline, base=A.grid_id)
    closed, elsewhere = replace(school, valid_to=TODAY), replace(school, base_grid_id=B.grid_id)
    west, east = begun(5, A), begun(6, B)
    done = into([east, west], [A], exclusive=[school, closed, elsewhere])
    assert done.rehung == (replace(school, base_grid_id=west.grid_id),)
    with pytest.raises(ReorganisationUnfit) as refused:
        into([east], [A], exclusive=[school])
    assert school.grid_id in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([A, B], [begun(5, A), begun(6, B)]),
        ([A], [replace(A, valid_from=TODAY)]),
        ([A], [replace(begun(5, A), valid_from=YESTERDAY)]),
        ([replace(A, valid_to=YESTERDAY)], [begun(5, A)]),
        ([replace(A, valid_to=TODAY + timedelta(days=9))], [begun(5, A)]),
        ([A], [replace(begun(5, A), valid_to=TODAY + timedelta(days=9))]),
        ([A, replace(B, path=(*PATH[:-1], "340104002002"))], [begun(5, A)]),
        ([replace(A, valid_from=TODAY)], [begun(5, A)]),
        ([A], [replace(begun(5, A), kind="exclusive", base_grid_id=B.grid_id)]),
    ],
)
def test_what_is_neither_a_merge_nor_a_split_is_refused(old: list[Grid], new: list[Grid]) -> None:
    with pytest.raises(ReorganisationUnfit):
        into(new, old)


def test_leave_cover_is_on_duty_until_the_worker_is_back() -> None:
    duty = roster(A)
    assert duty.at(NOW - timedelta(seconds=1)).post_id == "grid-worker-001"
    assert duty.at(NOW).post_id == duty.at(NOW + timedelta(days=7, seconds=-1)).post_id == "grid-worker-009"
    assert duty.at(NOW + timedelta(days=7)).post_id == "grid-worker-001"
    assert replace(duty, deputy_officer="duty-officer-002").at(NOW).deputy_officer == "duty-officer-002"
    before_all = duty.at(NOW - timedelta(days=999))
    assert before_all.post_id == before_all.duty_officer == "duty-officer-001"


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("金寨南路102号1栋", ("金寨南路102号1栋", None)),
        ("金寨南路102号1栋2单元0501室", ("金寨南路102号1栋", "2-0501")),
        (" 金寨南路１０２号 1栋 ２单元0501 ", ("金寨南路102号1栋", "2-0501")),
        ("金寨南路102号1栋01单元0501", ("金寨南路102号1栋", "1-0501")),
        ("金寨南路102号1栋010单元0501", ("金寨南路102号1栋", "10-0501")),
        ("金寨南路102号1栋0000单元0501", ("金寨南路102号1栋", "0-0501")),
        ("2单元0501室", ("2单元0501室", None)),
    ],
)
def test_an_address_has_one_spelling(address: str, parts: tuple[str, str | None]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize("address", [" ", "\u3000", "号" * 342, "\ufdfa" * 60])
def test_an_address_that_cannot_be_a_key_does_not_fit(address: str) -> None:
    assert not address_fits(split_address(address)[0])


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
