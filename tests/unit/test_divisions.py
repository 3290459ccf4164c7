"""The division registry, on the real books: every known trap of the data is one test."""

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.domain import (
    CUTS,
    DEFAULT_BOOK,
    BadCode,
    Division,
    PaddedCode,
    UnfitArea,
    UnknownBook,
    area_path,
    check_role_area,
    division_code,
    known_book,
    split_area,
    township_kind,
)
from identity.load import load_divisions, mca_rows, nbs_rows
from tests.fakes_identity import FakeDivisions
from tests.support import SEED

NBS = nbs_rows(SEED / "anhui-divisions.csv")
MCA = mca_rows(SEED / "anhui-township-crosswalk.csv", NBS)
BY_CODE = {row.code: row for row in NBS}


def level(number: int) -> list[Division]:
    return [row for row in NBS if row.level == number]


def test_the_book_is_whole() -> None:
    assert Counter(row.level for row in NBS) == {1: 1, 2: 16, 3: 119, 4: 1685, 5: 18334}
    assert {row.valid_from for row in NBS} == {date(2023, 6, 30)}
    assert all(row.valid_to is None and row.successors == () for row in NBS)


def test_every_parent_is_in_the_book_and_one_level_up() -> None:
    for row in NBS:
        if row.parent is not None:
            assert BY_CODE[row.parent].level == row.level - 1
            assert row.path == (*BY_CODE[row.parent].path, row.code)


def test_development_zones_are_no_administrative_counties() -> None:
    zones = [row for row in level(3) if row.kind == "dev_zone"]
    assert len(zones) == 15
    assert {row.standing for row in zones} == {"statistical"}
    assert len([row for row in level(3) if row.standing == "regular"]) == 104


def test_the_kind_of_a_community_is_its_codes_not_its_names() -> None:
    misnamed = [
        row
        for row in level(5)
        if row.kind in {"residents", "quasi_residents"} and row.name.endswith(("村民委员会", "村委会"))
    ]
    assert len(misnamed) == 193
    assert all(int(row.code[-3:]) < 200 for row in misnamed)


def test_kinds_follow_the_code_ranges() -> None:
    ranges = {"residents": (1, 199), "village": (200, 399), "quasi_residents": (400, 499), "quasi_village": (500, 599)}
    for row in level(5):
        low, high = ranges[row.kind]
        assert low <= int(row.code[-3:]) <= high
    assert all(row.kind == township_kind(row.code) for row in level(4))


def test_virtual_communities_have_no_residents() -> None:
    virtual = [row for row in level(5) if row.standing == "virtual"]
    assert len(virtual) == 71
    assert {row.code for row in virtual} == {row.code for row in level(5) if "虚拟" in row.name}


def test_two_townships_are_fictitious() -> None:
    fictitious = [row for row in level(4) if row.standing == "fictitious"]
    assert [row.name for row in fictitious] == ["郊区直辖村级区划", "徽州区直辖村级区划"]
    assert {row.kind for row in fictitious} == {"town"}


def test_names_repeat_but_not_inside_a_parent() -> None:
    assert len({row.name for row in level(5)}) == 14_341
    assert Counter(row.name for row in level(5))["街道居委会"] == 30
    assert max(Counter((row.parent, row.name) for row in NBS).values()) == 1


def test_no_parent_has_more_than_44_children() -> None:
    assert max(Counter(row.parent for row in NBS).values()) == 44


def test_a_town_may_be_called_so_twice() -> None:
    assert len([row for row in level(4) if row.name.endswith("镇镇")]) == 10
    assert BY_CODE["341503108"].name == "固镇镇"


def test_unbalanced_brackets_are_kept() -> None:
    assert BY_CODE["340303402019"].name == "虎山院社区居委会（筹备组））"


def test_the_two_books_give_390_codes_to_different_places() -> None:
    mca = {row.code: row for row in MCA if row.level == 4}
    shared = {row.code for row in level(4)} & mca.keys()
    assert len(mca) == 1534
    assert len([code for code in shared if BY_CODE[code].name != mca[code].name]) == 390
    assert BY_CODE["340103009"].name == "三孝口街道"
    assert mca["340103009"].name == "亳州路街道"


def test_the_mca_book_has_its_upper_levels_and_no_development_zones() -> None:
    by_code = {row.code: row for row in MCA}
    assert {row.book for row in MCA} == {"mca-2026"}
    assert all(row.parent in by_code for row in MCA if row.parent)
    assert not [row for row in MCA if row.kind == "dev_zone"]


def test_both_books_live_side_by_side() -> None:
    store = FakeDivisions()
    load_divisions(store, [*NBS, *MCA], workers=1)
    nbs, mca = store.division(DEFAULT_BOOK, "340103009"), store.division("mca-2026", "340103009")
    assert nbs and mca and nbs.name != mca.name


def test_a_zero_stripped_is_another_city() -> None:
    assert BY_CODE["3410"].name == "黄山市"
    assert BY_CODE["341102"].path == ("34", "3411", "341102")
    assert "3410" not in BY_CODE["341102"].path
    assert BY_CODE["341002"].path == ("34", "3410", "341002")
    assert "3410".rstrip("0") == BY_CODE["341102"].code[:3]  # what comparing prefixes would fall for


@pytest.mark.parametrize(
    ("padded", "canonical"),
    [
        ("341000", "3410"),
        ("340000", "34"),
        ("3400", "34"),
        ("340102000000", "340102"),
        ("340102001000", "340102001"),
        ("341000000000", "3410"),
        ("340000000000", "34"),
        ("340102000", "340102"),
    ],
)
def test_a_padded_code_is_refused_with_its_right_spelling(padded: str, canonical: str) -> None:
    with pytest.raises(PaddedCode) as refused:
        division_code(padded)
    assert refused.value.details == {"canonical": canonical}
    assert canonical in refused.value.text("zh")
    assert canonical in refused.value.text("en")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "341",
        "34010",
        "3401020",
        "34010200100",
        "3401020010011",
        "３４",
        "３４０１０２",
        "34 ",
        "34\n",
        "3a",
        "-4",
        "..",
        "٣٤",
    ],
)
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(BadCode):
        division_code(text)


def test_every_code_of_the_book_is_spelt_right() -> None:
    assert all(division_code(row.code) == row.code for row in NBS)


@given(st.sampled_from(NBS))
def test_padding_always_comes_back_to_the_same_code(row: Division) -> None:
    for cut in CUTS[row.level :]:
        with pytest.raises(PaddedCode) as refused:
            division_code(row.code.ljust(cut, "0"))
        assert refused.value.details == {"canonical": row.code}


@given(st.text(max_size=15))
def test_any_text_is_answered(text: str) -> None:
    with suppress(BadCode, PaddedCode):
        assert division_code(text) == text


def test_an_unknown_book_is_refused_by_name() -> None:
    assert known_book("mca-2026") == "mca-2026"
    with pytest.raises(UnknownBook) as refused:
        known_book("nbs-1999")
    assert DEFAULT_BOOK in refused.value.text("zh")


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": 4},
        {"level": 0},
        {"level": 6},
        {"parent": "340103"},
        {"parent": None},
        {"code": "３４０１０２"},
    ],
)
def test_a_row_that_contradicts_itself_is_found(wrong: dict[str, object]) -> None:
    assert BY_CODE["340102"].problem() is None
    assert replace(BY_CODE["340102"], **wrong).problem()


def test_an_ended_division_keeps_its_place_and_names_its_successors() -> None:
    ended = replace(BY_CODE["340102001"], valid_to=date(2024, 1, 1), successors=("nbs-2024#340102099",))
    assert ended.path == BY_CODE["340102001"].path
    assert ended.problem() is None


def test_an_area_is_a_division_or_a_grid_of_a_community() -> None:
    community = BY_CODE["340104002003"]
    assert split_area("340104002003") == ("340104002003", None)
    assert split_area("340104002003007") == ("340104002003", "340104002003007")
    assert area_path(community, None) == ("34", "3401", "340104", "340104002", "340104002003")
    assert area_path(community, "340104002003007")[-2:] == ("340104002003", "340104002003007")
    for wrong in ("34010400200300", "３４０１０４００２００３００７", "3401040020030071"):
        with pytest.raises(BadCode):
            split_area(wrong)


@pytest.mark.parametrize(
    ("role", "levels"), [("grid_worker", {6}), ("duty_officer", {3, 4, 5}), ("administrator", {1, 2, 3, 4, 5})]
)
def test_a_role_sits_at_its_levels_only(role: str, levels: set[int]) -> None:
    path = (*BY_CODE["340104002003"].path, "340104002003001")
    for depth in range(1, 7):
        if depth in levels:
            check_role_area(role, path[:depth])  # type: ignore[arg-type]
        else:
            with pytest.raises(UnfitArea):
                check_role_area(role, path[:depth])  # type: ignore[arg-type]
