"""The tiling check: every planted fault is found with its place, and nothing else."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, shape

from grid import tiling
from grid.coordinates import DatumRefused, Outline, Position
from grid.domain import Building, Community, Stay
from grid.drawing import drawing
from grid.geojson import SurveyUnreadable, community_in, document_of
from grid.geometry import polygon
from grid.tiling import check
from infra.local.community import Quad
from tests.ground import TODAY, grid, merged_lattice, ring, tiled, voronoi, with_grid
from tests.support import COMMUNITY

CLEAN, QUADS = tiled(10, 10)
Fault = tuple[str, tuple[str, ...], str | None]


def quad(number: int) -> Quad:
    return QUADS[number - 1]


def redrawn(community: Community, number: int, outline: Outline) -> Community:
    return with_grid(community, replace(community.grids[number - 1], outline=outline))


def standing(community: Community, number: int, position: Position) -> Community:
    def moved(one: Building) -> Building:
        return replace(one, position=position) if one.building_id.endswith(f"{number:05}") else one

    return replace(community, buildings=tuple(map(moved, community.buildings)))


def at(number: int, east: float, south: float) -> Position:
    lon, lat = quad(number).at(east, south)
    return Position(lat, lon)


def swapped_outline(ground: Community) -> Community:
    shell = tuple((lat, lon) for lon, lat in quad(5).outline.shell)
    return redrawn(ground, 5, Outline(shell))


def swapped_corner(ground: Community) -> Community:
    first, (lon, lat), *rest = quad(17).outline.shell
    return redrawn(ground, 17, Outline((first, (lat, lon), *rest)))


def swapped_building(ground: Community) -> Community:
    place = at(8, 0.5, 0.5)
    return standing(ground, 8, Position(place.lon, place.lat))


def self_crossing(ground: Community) -> Community:
    return redrawn(ground, 12, Outline(ring(quad(12), (0, 0), (1, 1), (1, 0), (0, 1))))


def gap_with_a_building(ground: Community) -> Community:
    ground = redrawn(ground, 25, Outline(ring(quad(25), (0, 0), (1, 0), (0, 1))))
    return standing(ground, 25, at(25, 0.7, 0.7))


def overlap_with_a_building(ground: Community) -> Community:
    shape = ring(quad(47), (0, 0), (1, 0), (1.2, 0.3), (1.2, 0.7), (1, 1), (0, 1))
    return standing(redrawn(ground, 47, Outline(shape)), 47, at(47, 1.1, 0.5))


def hole(ground: Community) -> Community:
    inner = ring(quad(61), (0.2, 0.2), (0.4, 0.2), (0.4, 0.4), (0.2, 0.4))
    return redrawn(ground, 61, Outline(quad(61).outline.shell, (inner,)))


def outside(ground: Community) -> Community:
    return redrawn(ground, 3, Outline(ring(quad(3), (0, 0), (0.3, -0.2), (0.7, -0.2), (1, 0), (1, 1), (0, 1))))


def building_far_away(ground: Community) -> Community:
    return standing(ground, 90, Position(31.9, 117.3))


def exclusive_grids(ground: Community) -> Community:
    base = ground.grids[72].grid_id
    school = grid(101, quad(73).part(0.2, 0.6).outline, base=base)
    park = grid(102, quad(73).part(0.5, 0.9).outline, base=base)
    mall = grid(
        103, Outline(ring(quad(75), (0.6, 0.2), (1.2, 0.2), (1.2, 0.4), (0.6, 0.4))), base=ground.grids[74].grid_id
    )
    return replace(ground, grids=(*ground.grids, school, park, mall))


def collapsed_outline(ground: Community) -> Community:
    sliver = ring(quad(88), (0, 0), (0.001, 0), (0.001, 0.001))
    line = ring(quad(1), (0, 0), (1, 1), (0, 0))
    ground = replace(ground, grids=(*ground.grids, grid(104, Outline(sliver))))
    return replace(ground, grids=(*ground.grids, grid(105, Outline(line))))


def base_missing(ground: Community) -> Community:
    ended = replace(grid(106, quad(78).outline), valid_to=TODAY)
    stray = grid(107, quad(78).part(0.1, 0.2).outline, base=ended.grid_id)
    unknown = grid(108, quad(78).part(0.3, 0.4).outline, base=f"{COMMUNITY}999")
    return replace(ground, grids=(*ground.grids, ended, stray, unknown))


def buildings_elsewhere(ground: Community) -> Community:
    ended = replace(grid(109, quad(92).outline), valid_to=TODAY)
    stays = {91: ground.grids[93].grid_id, 92: ended.grid_id, 93: f"{COMMUNITY}999"}

    def recorded(one: Building) -> Building:
        grid_id = stays.get(int(one.building_id[12:]))
        return replace(one, stays=(*one.stays, Stay(grid_id, TODAY))) if grid_id else one

    return replace(ground, grids=(*ground.grids, ended), buildings=tuple(map(recorded, ground.buildings)))


def of(kind: str, *grids: int, building: int | None = None) -> Fault:
    ids = tuple(f"{COMMUNITY}{number:03}" for number in grids)
    return kind, ids, f"{COMMUNITY}{building:05}" if building else None


PLANTED: list[tuple[Callable[[Community], Community], list[Fault]]] = [
    (swapped_outline, [of("swapped", 5)]),
    (swapped_corner, [of("swapped", 17)]),
    (swapped_building, [of("swapped", building=8)]),
    (self_crossing, [of("self_crossing", 12)]),
    (gap_with_a_building, [of("gap", 15, 16, 24, 25, 26, 34, 35, 36), of("building_in_none", building=25)]),
    (overlap_with_a_building, [of("overlap", 47, 48), of("building_in_two", 47, 48, building=47)]),
    (hole, [of("hole", 61)]),
    (outside, [of("outside", 3)]),
    (building_far_away, [of("building_in_none", building=90)]),
    (exclusive_grids, [of("overlap", 101, 102), of("outside", 103)]),
    (collapsed_outline, [of("collapsed", 104), of("collapsed", 105)]),
    (base_missing, [of("base_missing", 107, 106), of("base_missing", 108, 999)]),
    (
        buildings_elsewhere,
        [
            of("building_elsewhere", 94, building=91),
            of("building_elsewhere", 109, building=92),
            of("building_elsewhere", 999, building=93),
        ],
    ),
]


def all_planted() -> Community:
    ground = CLEAN
    for plant, _ in PLANTED:
        ground = plant(ground)
    return ground


def found(community: Community) -> list[Fault]:
    return sorted(((f.kind, f.grid_ids, f.building_id) for f in check(community, on=TODAY)), key=str)


def test_a_hundred_sound_grids_have_no_findings() -> None:
    assert len(CLEAN.grids) == 100
    assert check(CLEAN, on=TODAY) == []


@pytest.mark.parametrize(("plant", "faults"), PLANTED, ids=lambda item: getattr(item, "__name__", ""))
def test_each_kind_of_fault_is_found_and_no_other(plant: Callable[[Community], Community], faults: list[Fault]) -> None:
    assert found(plant(CLEAN)) == sorted(faults, key=str)


def test_all_of_them_at_once() -> None:
    faults = sorted((fault for _, faults in PLANTED for fault in faults), key=str)
    assert found(all_planted()) == faults


def test_a_finding_says_where_to_look_and_how_much() -> None:
    (finding,) = check(hole(CLEAN), on=TODAY)
    feature = finding.as_feature()
    assert feature["properties"]["area_m2"] == pytest.approx(0.04 * 246 * 244, rel=0.4)
    look_at = feature["properties"]["look_at"]
    inner = polygon(Outline(ring(quad(61), (0.2, 0.2), (0.4, 0.2), (0.4, 0.4), (0.2, 0.4))))
    assert inner.contains(Point(look_at["lon"], look_at["lat"]))
    assert shape(feature["geometry"]).symmetric_difference(inner).area < 1e-15
    assert json.dumps(feature)


@pytest.mark.parametrize(("metres", "findings"), [(0.003, 0), (0.1, 1)])
def test_less_than_a_square_metre_is_no_finding(metres: float, findings: int) -> None:
    part = metres / 246
    narrower = Outline(ring(quad(34), (0, 0), (1 - part, 0), (1 - part, 1), (0, 1)))
    assert len(check(redrawn(CLEAN, 34, narrower), on=TODAY)) == findings


def test_a_building_on_a_border_is_in_one_grid_by_rule() -> None:
    assert check(standing(CLEAN, 34, at(34, 1, 0)), on=TODAY) == []


def test_a_grid_enclosed_by_another_is_no_hole_and_what_it_leaves_bare_is() -> None:
    enclosing = hole(CLEAN).grids[60]
    enclave = grid(101, Outline(enclosing.outline.holes[0]))
    assert check(with_grid(replace(CLEAN, grids=(*CLEAN.grids, enclave)), enclosing), on=TODAY) == []
    (lon, lat), *_ = enclave.outline.shell
    smaller = replace(enclave, outline=Outline(((lon, lat), *enclave.outline.shell[2:4], (lon, lat))))
    assert found(with_grid(replace(CLEAN, grids=(*CLEAN.grids, smaller)), enclosing)) == [of("hole", 61)]


def test_without_grids_all_is_one_gap() -> None:
    bare = replace(CLEAN, grids=(), buildings=CLEAN.buildings[:1])
    assert found(bare) == [of("building_in_none", building=1), of("gap")]


def test_only_the_grids_of_the_day_count() -> None:
    before = replace(grid(200, CLEAN.outline), valid_to=TODAY)
    ground = replace(CLEAN, grids=(*CLEAN.grids, before))
    assert check(ground, on=TODAY) == []
    assert len(check(ground, on=TODAY - timedelta(days=1))) == 100 + len(CLEAN.buildings)


def test_before_a_split_an_exclusive_grid_is_sound_below_the_base_grid_it_is_hung_below_since() -> None:
    new = replace(grid(201, CLEAN.grids[0].outline), valid_from=TODAY)
    old = replace(CLEAN.grids[0], valid_to=TODAY, successors=(new.grid_id,))
    school = grid(202, quad(1).part(0.1, 0.2).outline, base=new.grid_id)
    ground = with_grid(replace(CLEAN, grids=(*CLEAN.grids, new, school), buildings=()), old)
    assert check(ground, on=TODAY) == check(ground, on=TODAY - timedelta(days=1)) == []


def test_a_community_that_crosses_itself_is_all_there_is_to_say() -> None:
    shell = list(CLEAN.outline.shell)
    shell[3], shell[20] = shell[20], shell[3]
    assert found(replace(CLEAN, outline=Outline(tuple(shell)))) == [of("self_crossing")]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_no_valid_partition_has_findings(seed: int) -> None:
    rng = random.Random(seed)
    assert check(merged_lattice(rng), on=TODAY) == []
    assert check(voronoi(rng, rng.randint(2, 30)), on=TODAY) == []


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_grid_left_out_of_a_partition_is_found_whole(seed: int) -> None:
    rng = random.Random(seed)
    ground = voronoi(rng, rng.randint(3, 30))
    missing = rng.choice(ground.grids)
    findings = check(replace(ground, grids=tuple(one for one in ground.grids if one != missing)), on=TODAY)
    assert sorted(f.kind for f in findings) == ["building_in_none", "gap"]
    (gap,) = (f.place for f in findings if f.kind == "gap")
    assert gap.symmetric_difference(polygon(missing.outline)).area < 1e-12


def test_the_drawing_shows_every_finding() -> None:
    ground = all_planted()
    findings = check(ground, on=TODAY)
    sheet = ElementTree.fromstring(drawing(ground, findings, on=TODAY))
    classes = [element.get("class") for element in sheet.iter()]
    assert classes.count("mark") == len(findings)
    assert classes.count("grid") == len([one for one in ground.grids if one.kind == "base" and one.in_force(TODAY)])
    assert classes.count("building") == 100


@pytest.mark.parametrize("corner", [(31.833, 117.26), (107.26, 31.833), (217.26, 31.833), (117.26, -80.0)])
def test_a_corner_far_off_does_not_stretch_the_sheet(corner: tuple[float, float]) -> None:
    shell = CLEAN.outline.shell
    ground = replace(swapped_outline(CLEAN), outline=Outline((shell[0], corner, *shell[2:])))
    findings = check(ground, on=TODAY)
    view = ElementTree.fromstring(drawing(ground, findings, on=TODAY)).get("viewBox") or ""
    width, height = map(float, view.split()[2:])
    assert 0 < width < 60_000
    assert 0 < height < 60_000


def test_a_swapped_community_is_drawn_as_if_it_were_not() -> None:
    swapped = replace(CLEAN, outline=Outline(tuple((lat, lon) for lon, lat in CLEAN.outline.shell)))
    assert drawing(swapped_outline(swapped), [], on=TODAY) == drawing(CLEAN, [], on=TODAY)


def test_the_command_reads_a_survey_and_writes_findings_and_drawing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    survey, svg = tmp_path / "community.geojson", tmp_path / "findings.svg"
    for ground, code in ((CLEAN, 0), (all_planted(), 1)):
        survey.write_text(json.dumps(document_of(ground)), encoding="utf-8")
        assert tiling.main([str(survey), "--svg", str(svg)]) == code
        written = json.loads(capsys.readouterr().out)
        assert written["type"] == "FeatureCollection"
        assert len(written["features"]) == len(check(ground, on=TODAY))
        assert svg.read_text(encoding="utf-8").startswith("<svg")
    assert tiling.main([str(survey), "--on", "2025-12-31"]) == 1
    assert {f["properties"]["kind"] for f in json.loads(capsys.readouterr().out)["features"]} >= {"gap"}
    with pytest.raises(SystemExit):
        tiling.main([str(survey), "--on", "yesterday"])


def test_a_survey_is_read_as_it_was_written() -> None:
    ended = replace(grid(200, CLEAN.outline), valid_to=TODAY, successors=(CLEAN.grids[0].grid_id,))
    ground = exclusive_grids(replace(hole(CLEAN), grids=(*CLEAN.grids, ended)))
    assert community_in(json.loads(json.dumps(document_of(ground)))) == ground


@pytest.mark.parametrize("datum", ["GCJ-02", None])
def test_a_survey_states_a_datum_that_is_usable(datum: str | None) -> None:
    with pytest.raises(DatumRefused):
        community_in({**document_of(CLEAN), "datum": datum})


@pytest.mark.parametrize(
    ("index", "change"),
    [
        (1, {"geometry": {"type": "Point", "coordinates": [117.0, 31.0]}}),
        (2, {"geometry": {"type": "Polygon", "coordinates": [[[117, 31], [117.1, 31], [117, 31]]]}}),
        (3, {"properties": {"what": "grid"}}),
        (4, {"geometry": None}),
        (5, {"geometry": {"type": "Polygon", "coordinates": [[[117, 31], [float("nan"), 31], [117, 32], [117, 31]]]}}),
        (101, {"geometry": {"type": "Point", "coordinates": [float("inf"), 31.0]}}),
    ],
)
def test_an_unreadable_survey_names_its_feature(index: int, change: dict[str, object]) -> None:
    document = document_of(CLEAN)
    document["features"][index] |= change
    with pytest.raises(SurveyUnreadable) as refused:
        community_in(document)
    assert refused.value.field == f"features.{index}"
    with pytest.raises(SurveyUnreadable):
        community_in({"datum": "WGS-84", "features": document["features"][5:]})
