"""What the stores promise, held by the fake and by DynamoDB rows alike."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from identity.domain import DEFAULT_BOOK, Account, Author, Division, Filling, Holding, Post
from identity.load import MCA_BOOK, load_divisions, mca_rows
from linli.commands import Repeated, command
from linli.errors import KeyReused, StaleVersion
from tests.fakes_identity import anhui, stores
from tests.support import NOW, SEED

ROWS = anhui("340104002", "3410")
BY = Author("admin-1", "administrator-34", "request-1")
PATH = ("34", "3401", "340104", "340104002")


@pytest.fixture(params=["fake", "real"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    with stores(request.param) as both:
        yield both


@pytest.fixture
def divisions(pair: tuple[Any, Any]) -> Any:
    return pair[0]


@pytest.fixture
def accounts(pair: tuple[Any, Any]) -> Any:
    return pair[1]


def post(**changed: Any) -> Post:
    return Post(**{
        "post_id": "duty-1", "role": "duty_officer", "book": DEFAULT_BOOK, "path": PATH, "holder": "staff-1",
        "valid_from": NOW, **changed,
    })  # fmt: skip


def fill(accounts: Any, wanted: Post, *, at: Any = NOW, **options: Any) -> Filling:
    before = accounts.post(wanted.post_id)
    wanted = before.filled_anew(wanted) if before else wanted
    filling = Filling(wanted, before, accounts.account(wanted.holder), BY, at)
    accounts.fill_post(filling, **options)
    return filling


def test_a_division_comes_back_as_it_went_in(divisions: Any) -> None:
    ended = replace(ROWS[-1], valid_to=date(2024, 1, 1), successors=("nbs-2024#341099",))
    divisions.write([ROWS[0], ended])
    assert divisions.division(DEFAULT_BOOK, "34") == ROWS[0]
    assert divisions.division(DEFAULT_BOOK, ended.code) == ended
    assert divisions.division(MCA_BOOK, "34") is None
    assert divisions.division(DEFAULT_BOOK, "35") is None


def test_children_and_ancestors(divisions: Any) -> None:
    load_divisions(divisions, ROWS, workers=1)
    wanted = [row for row in ROWS if row.parent == "340104002"]
    assert divisions.children(DEFAULT_BOOK, "340104002") == wanted
    assert [row.code for row in divisions.children(DEFAULT_BOOK, "34")] == ["3401", "3410"]
    assert divisions.children(DEFAULT_BOOK, wanted[0].code) == []
    assert divisions.children(MCA_BOOK, "340104002") == []
    above = divisions.divisions(DEFAULT_BOOK, wanted[0].path[:-1])
    assert [row.code for row in above] == list(PATH)
    assert divisions.divisions(DEFAULT_BOOK, []) == []
    assert divisions.divisions(DEFAULT_BOOK, ["35", "99"]) == []


def test_two_books_do_not_mix(divisions: Any) -> None:
    mca = [row for row in mca_rows(SEED / "anhui-township-crosswalk.csv", anhui()) if row.code.startswith("340104")]
    nbs = [row for row in ROWS if row.level <= 4]
    load_divisions(divisions, [*nbs, *mca], workers=1)
    assert {row.book for row in divisions.children(MCA_BOOK, "340104")} == {MCA_BOOK}
    assert {row.book for row in divisions.children(DEFAULT_BOOK, "340104")} == {DEFAULT_BOOK}


def test_loading_twice_writes_once_and_a_changed_book_again(divisions: Any) -> None:
    seen: list[tuple[int, int]] = []
    count = len(ROWS)
    assert load_divisions(divisions, ROWS, workers=1, progress=lambda *step: seen.append(step)) == count
    assert seen[0] == (25, count)
    assert seen[-1] == (count, count)
    assert load_divisions(divisions, reversed(ROWS), workers=1) == 0
    changed = [replace(row, name="新名") if row.code == "3410" else row for row in ROWS]
    assert load_divisions(divisions, changed, workers=1) == count
    found = divisions.division(DEFAULT_BOOK, "3410")
    assert found and found.name == "新名"


def test_an_interrupted_load_is_run_again(divisions: Any) -> None:
    class Cut(Exception):
        pass

    def interrupt(done: int, total: int) -> None:
        if done >= 50:
            raise Cut()

    with pytest.raises(Cut):
        load_divisions(divisions, ROWS, workers=1, progress=interrupt)
    assert divisions.fingerprint(DEFAULT_BOOK) is None
    assert load_divisions(divisions, ROWS, workers=1) == len(ROWS)
    assert all(divisions.division(DEFAULT_BOOK, row.code) == row for row in (ROWS[0], ROWS[40], ROWS[-1]))


def test_a_filled_post_is_its_holders(accounts: Any) -> None:
    assert accounts.account("staff-1") is None
    fill(accounts, post(valid_to=NOW + timedelta(days=1)))
    assert accounts.post("duty-1") == post(valid_to=NOW + timedelta(days=1))
    held = Holding("duty-1", "duty_officer", PATH, NOW, NOW + timedelta(days=1))
    assert accounts.account("staff-1") == Account("staff-1", "staff", holdings=(held,))
    [step] = accounts.steps("POST#duty-1")
    assert (step.action, step.subject, step.post, step.at) == ("filled", "admin-1", "administrator-34", NOW)
    assert step.correlation_id == "request-1"


def test_a_new_holder_relieves_the_former(accounts: Any) -> None:
    fill(accounts, post())
    later = NOW + timedelta(hours=1)
    fill(accounts, post(holder="staff-2", valid_from=later), at=later)
    assert [held.valid_to for held in accounts.account("staff-1").holdings] == [later]
    assert accounts.account("staff-1").posts_at(later) == ()
    assert [held.post_id for held in accounts.account("staff-2").posts_at(later)] == ["duty-1"]
    assert accounts.post("duty-1").version == 2
    assert len(accounts.steps("POST#duty-1")) == 2


def test_the_same_holder_again_is_a_new_term(accounts: Any) -> None:
    fill(accounts, post(valid_to=NOW + timedelta(days=1)))
    later = NOW + timedelta(hours=1)
    fill(accounts, post(valid_from=later), at=later)
    assert [held.valid_to for held in accounts.account("staff-1").holdings] == [None]


def test_posts_add_up_and_timelines_are_not_read_as_posts(accounts: Any) -> None:
    for number in range(3):
        fill(accounts, post(post_id=f"duty-{number}"))
    assert [held.post_id for held in accounts.account("staff-1").holdings] == ["duty-0", "duty-1", "duty-2"]
    home = Account("resident-1", "resident", home=(*PATH, "340104002003"))
    accounts.save_resident(home, None, by=BY, at=NOW, command=command("register", "a", "k1"))
    assert accounts.account("resident-1") == home
    assert [step.action for step in accounts.steps("SUB#resident-1")] == ["registered"]


def test_a_post_that_changed_meanwhile_is_not_overwritten(accounts: Any) -> None:
    stale = Filling(post(), None, None, BY, NOW)
    fill(accounts, post())
    with pytest.raises(StaleVersion):
        accounts.fill_post(stale)
    with pytest.raises(StaleVersion):
        accounts.fill_post(Filling(post(holder="staff-2"), None, None, BY, NOW))
    assert accounts.post("duty-1").holder == "staff-1"
    assert accounts.account("staff-2") is None


def test_an_account_that_changed_meanwhile_is_not_overwritten(accounts: Any) -> None:
    first = Account("resident-1", "resident", home=(*PATH, "340104002003"))
    accounts.save_resident(first, None, by=BY, at=NOW, command=command("register", "a", "k1"))
    with pytest.raises(StaleVersion):
        accounts.save_resident(first, None, by=BY, at=NOW, command=command("register", "a", "k2"))
    with pytest.raises(StaleVersion):
        accounts.fill_post(Filling(post(holder="resident-1"), None, None, BY, NOW))
    assert accounts.post("duty-1") is None


def test_there_is_one_first_administrator(accounts: Any) -> None:
    assert accounts.first_administrator() is None
    fill(accounts, post(post_id="administrator-34", role="administrator", path=("34",)), first=True)
    assert accounts.first_administrator() == "administrator-34"
    with pytest.raises(StaleVersion):
        fill(accounts, post(post_id="administrator-35", role="administrator", path=("34",)), first=True)
    assert accounts.post("administrator-35") is None


def test_a_command_is_carried_out_once(accounts: Any) -> None:
    asked = command("appoint", "admin-1", "key-00001", content="a").with_result(post_id="duty-1")

    def act() -> dict[str, str]:
        fill(accounts, post(), command=asked)
        return asked.result

    assert accounts.once(asked, act) == {"post_id": "duty-1"}
    assert accounts.once(asked, act) == {"post_id": "duty-1"}
    assert len(accounts.steps("POST#duty-1")) == 1
    with pytest.raises(KeyReused):
        accounts.once(command("appoint", "admin-1", "key-00001", content="b"), act)
    with pytest.raises(Repeated):
        fill(accounts, post(post_id="duty-2"), command=asked)
    assert accounts.post("duty-2") is None


@pytest.mark.parametrize(
    ("account", "count"),
    [
        (Account("s", "staff", holdings=(Holding("p", "duty_officer", PATH, NOW),)), 1),
        (Account("s", "staff", holdings=(Holding("p", "duty_officer", PATH, NOW, NOW),)), 0),
        (Account("s", "staff", holdings=(Holding("p", "duty_officer", PATH, NOW, NOW + timedelta(seconds=1)),)), 1),
        (Account("s", "staff", holdings=(Holding("p", "duty_officer", PATH, NOW + timedelta(seconds=1)),)), 0),
        (Account("s", "staff", disabled=True, holdings=(Holding("p", "duty_officer", PATH, NOW),)), 0),
        (Account("s", "resident", holdings=(Holding("p", "duty_officer", PATH, NOW),)), 0),
    ],
)
def test_posts_count_inside_their_validity(account: Account, count: int) -> None:
    assert len(account.posts_at(NOW)) == count


def test_the_seed_is_what_the_tests_think(divisions: Any) -> None:
    assert all(isinstance(row, Division) for row in ROWS)
    assert len(ROWS) > 700
