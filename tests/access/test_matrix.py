"""Every route, asked by everybody about everything: what the oracle says and what the functions answer are the same.

What is out of scope is answered as what is not there, byte for byte but for the request id, and writes nothing.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, get_type_hints

import pytest

from linli.access import POLICIES, Actor, Caller
from tests.access.asking import Answer, asked, expected, leaks, nameless
from tests.access.deployment import Deployment, deployed
from tests.access.ground import ABSENT, CHUZHOU, HERE, PRINCIPALS, ROLES, THINGS, WITHOUT_POLICY, Principal, Thing
from tests.access.oracle import ANYBODY, ROWS, SOMEBODY, Row
from tests.access.wiring import operations, routes
from tests.canary import seen_in

SHOWN = 20
ROUTES = sorted(routes())


@pytest.fixture(scope="module", params=["fake", pytest.param("real", marks=pytest.mark.soak)])
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """On the real stores it takes minutes."""
    with deployed(request.param) as running:
        yield running


@pytest.fixture
def consulted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The actions the policies were asked about."""
    asked: list[str] = []
    may = Actor.may

    def noted(self: Actor, action: str, resource: Any) -> bool:
        asked.append(action)
        return may(self, action, resource)

    monkeypatch.setattr(Actor, "may", noted)
    return asked


def test_every_route_has_its_rows_and_every_row_its_route() -> None:
    assert {row.route for row in ROWS} == set(ROUTES)


def test_every_role_of_the_model_asks() -> None:
    from identity.domain import ROLE_LEVELS

    assert set(ROLES) == ROLE_LEVELS.keys()
    assert {one.kind for one in PRINCIPALS} >= {*ROLES, *WITHOUT_POLICY, "resident", "nobody", "reporter"}


def test_a_row_names_an_action_of_the_policies_or_says_why_it_needs_none() -> None:
    schema = (POLICIES / "access.cedarschema").read_text(encoding="utf-8")
    for row in ROWS:
        assert bool(row.action) != bool(row.why), row
        assert row.action is None or re.search(rf"\baction [\w, ]*\b{row.action}\b", schema), row


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_takes_the_caller_unless_everybody_gets_the_same(route: str) -> None:
    import importlib

    module = importlib.import_module(f"{routes()[route]}.api")
    hints = get_type_hints(getattr(module, operations()[route]["operationId"]))
    takes = [hint for hint in hints.values() if hint in (Actor, Caller)]
    same_for_all = all(row.may in (SOMEBODY, ANYBODY) and not row.lists for row in ROWS if row.route == route)
    assert takes or same_for_all


def ask(deployment: Deployment, row: Row, principal: Principal, thing: Thing, **spelt: str) -> Answer:
    headers = {"idempotency-key": f"matrix-{thing.number}"}
    return deployment.ask(row.route, caller=principal.caller, headers=headers, **asked(row, thing, **spelt))


class Inspection:
    """Asks all of one row and keeps what is wrong, each by name."""

    def __init__(self, deployment: Deployment, row: Row, consulted: list[str]) -> None:
        self.deployment, self.row, self.consulted = deployment, row, consulted
        self.context = routes()[row.route]
        self.before = deployment.rows(self.context)
        self.wrong: list[str] = []
        self.counts: Counter[tuple[str, int]] = Counter()

    def run(self) -> None:
        kind = ""
        for principal in PRINCIPALS:
            if principal.kind != kind:
                self.check_nothing_written(kind)
            kind = principal.kind
            absent = ask(self.deployment, self.row, principal, ABSENT)
            for thing in self.things(principal):
                self.ask(principal, thing, absent)
        self.check_nothing_written(kind)

    def things(self, principal: Principal) -> Sequence[Thing]:
        """All, but where nothing of them is asked, or the role gets nothing even at home."""
        if not self.row.named:
            return THINGS[:1]
        return THINGS if principal.kind not in WITHOUT_POLICY else (HERE, CHUZHOU)

    def ask(self, principal: Principal, thing: Thing, absent: Answer) -> None:
        name = f"{self.row} | {principal.name} | {thing.name}"
        wanted = expected(self.row, principal, thing)
        self.consulted.clear()
        answer = ask(self.deployment, self.row, principal, thing)
        self.counts[principal.kind, answer[0]] += 1
        if answer[0] != wanted:
            self.wrong.append(f"{name}: {answer[0]} instead of {wanted}")
        elif wanted == 404 and nameless(answer) != nameless(absent):
            self.wrong.append(f"{name}: told apart from what is not there: {answer[2]} {absent[2]}")
        if self.row.action and wanted in (200, 201, 403) and self.row.action not in self.consulted:
            self.wrong.append(f"{name}: decided without {self.row.action}")
        if self.row.action and wanted == 404 and not self.consulted:
            self.wrong.append(f"{name}: refused without asking the policies")
        self.wrong += [f"{name}: {leak}" for leak in leaks(self.row, principal, thing, answer)]
        if answer[0] < 300 and not self.row.route.startswith("GET"):
            self.deployment.restore(self.context, self.before)

    def check_nothing_written(self, kind: str) -> None:
        after = self.deployment.rows(self.context)
        if after != self.before:
            self.wrong.append(f"{self.row} | {kind}: wrote {sorted(after.keys() ^ self.before.keys()) or 'over a row'}")
            self.deployment.restore(self.context, self.before)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_everybody_is_answered_as_the_oracle_says(
    deployment: Deployment, row: Row, consulted: list[str], record_property: Any
) -> None:
    inspection = Inspection(deployment, row, consulted)
    inspection.run()
    record_property("matrix", (str(row), dict(inspection.counts), len(inspection.wrong)))
    assert not inspection.wrong, "\n".join(inspection.wrong[:SHOWN])


def swapped(value: str) -> Iterator[str]:
    """Other spellings of an id, none of which is the id."""
    wide = value.translate({ord(digit): ord(digit) + 0xFEE0 for digit in "0123456789"})
    yield from (one for one in (value.lower(), wide, value[:-1], f"0{value}") if one != value)
    yield from (f"{value}%20", f"{value} ", f"%20{value}", f"{value}%00", f"{value}%2F", f"{value}.", f"{value};x")
    yield from (
        "..",
        f"..%2F{value}",
        f"{value}/..",
        f"../{value}",
        f"%2e%2e%2f{value}",
        f"x%2F..%2F{value}",
        f"./{value}",
    )


SWAPPED = {
    "ticket_id", "accepted_id", "verifying_id", "device_id", "room_id", "building_id", "grid_id", "community", "county", "city"
}  # fmt: skip
SPELT = [(row, name) for row in ROWS if row.action for name in sorted(row.named & SWAPPED)]


@pytest.mark.parametrize(("row", "name"), SPELT, ids=str)
def test_another_spelling_of_an_id_leads_nowhere_for_anybody(deployment: Deployment, row: Row, name: str) -> None:
    before = deployment.rows(routes()[row.route])
    beside = "{" in row.route and f"{{{name}}}" not in [*row.path.values(), *re.findall(r"{\w+}", row.route)]
    wrong = []
    for principal in PRINCIPALS:
        if principal.caller is None or not principal.caller.subject.endswith((HERE.community, HERE.grid_id, "3411")):
            continue
        for spelling in swapped(HERE.names[name]):
            status, _, body = ask(deployment, row, principal, HERE, **{name: spelling})
            # Who may not do this to what the path names is told so before what else they ask is looked at.
            refused = (403, 404, 422) if beside and expected(row, principal, HERE) == 403 else (404, 422)
            if status not in refused or HERE.names["address"] in body or seen_in(body):
                wrong.append(f"{row} | {principal.name} | {spelling!r}: {status}")
    assert not wrong, "\n".join(wrong[:SHOWN])
    assert deployment.rows(routes()[row.route]) == before


@pytest.mark.parametrize("hole", ["everybody", "like codes"])
def test_a_hole_in_the_policies_is_found(
    deployment: Deployment, consulted: list[str], monkeypatch: pytest.MonkeyPatch, hole: str
) -> None:
    """The first lets all in, the second compares prefixes without their zeros, as if 341000 were 341."""
    may = Actor.may

    def holed(self: Actor, action: str, resource: Any) -> bool:
        area = self.post.area.rstrip("0") if self.post else "-"
        alike = [*resource.within, self.post.area] if self.post and resource.within[-1].startswith(area) else []
        return hole == "everybody" or may(self, action, replace(resource, within=alike or resource.within))

    monkeypatch.setattr(Actor, "may", holed)
    row = next(row for row in ROWS if row.route == "GET /v1/devices/{device_id}")
    inspection = Inspection(deployment, row, consulted)
    inspection.run()
    assert f"{row} | duty_officer of 341000 | Chuzhou: 200 instead of 404" in inspection.wrong


def test_the_rows_together_let_in_and_refuse() -> None:
    """An oracle that refuses everybody, or nobody, would prove nothing."""
    for row in ROWS:
        answers = {expected(row, principal, thing) for principal in PRINCIPALS for thing in THINGS}
        assert min(answers) < 300, row
        assert row.may in (SOMEBODY, ANYBODY) or {401, 404} <= answers or {401, 403} <= answers, row


def test_nobody_without_a_policy_is_let_in_to_anything_of_a_place() -> None:
    for principal in PRINCIPALS:
        if principal.kind in WITHOUT_POLICY:
            let_in = {row.route for row in ROWS for thing in THINGS if expected(row, principal, thing) < 300}
            assert let_in <= {row.route for row in ROWS if row.why}
