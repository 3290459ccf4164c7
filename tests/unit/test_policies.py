"""The access policies against an oracle written by hand: role x action x where the thing lies."""

import itertools

import pytest
from cedarpy import PolicySet, Schema, format_policies, validate_policies

from linli import access
from linli.access import POLICIES, Actor, Caller, Post, Resource, entity

POLICY = (POLICIES / "access.cedar").read_text(encoding="utf-8")
SCHEMA = (POLICIES / "access.cedarschema").read_text(encoding="utf-8")

STAFF = ("grid_worker", "duty_officer")
# Which resource an action is about, and which roles have it in their area.
ORACLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "read_ticket": ("Ticket", STAFF),
    "accept_ticket": ("Ticket", STAFF),
    "handle_ticket": ("Ticket", STAFF),
    "verify_ticket": ("Ticket", ("duty_officer",)),
    "open_ticket": ("Place", STAFF),
    "read_place": ("Place", STAFF),
    "list_grid_work": ("Grid", STAFF),
    "register_device": ("Place", ("duty_officer",)),
    "read_device": ("Device", STAFF),
    "issue_credentials": ("Device", ("duty_officer",)),
    "move_device": ("Device", ("duty_officer",)),
    "revoke_device": ("Device", ("duty_officer",)),
    "retire_device": ("Device", ("duty_officer",)),
    "list_grid_devices": ("Grid", STAFF),
    "appoint": ("Appointment", ("administrator",)),
}
ROLES = ("grid_worker", "duty_officer", "administrator")
UNKNOWN = ("", "Administrator", "administrator ", "root", "auditor", "grid_worker|duty_officer")

# Huangshan is 3410, its districts 3410xx; Chuzhou is 3411. A stripped zero would make 341 of 3410.
TUNXI = ("34", "3410", "341002", "341002001", "341002001001")
LANGYA = ("34", "3411", "341102", "341102001", "341102001001")
LUYANG = ("34", "3401", "340103", "340103001", "340103001001")
GRID = "341002001001001"
SIBLINGS = {
    "34": ("35",),
    "3410": ("34", "3411"),
    "341002": ("34", "3410", "341003"),
    "341002001": ("34", "3410", "341002", "341002002"),
    "341002001001": (*TUNXI[:4], "341002001002"),
    GRID: (*TUNXI, "341002001001002"),
}


def places(path: tuple[str, ...]) -> dict[str, tuple[tuple[str, ...], bool]]:
    """Where a thing can lie, seen from an area, and whether that is inside it."""
    province = len(path) == 1
    return {
        "own": (path, True),
        "child": ((*path, "child"), True),
        "grandchild": ((*path, "child", "grandchild"), True),
        "parent": (path[:-1], False),
        "sibling": (SIBLINGS[path[-1]], False),
        "inside the sibling": ((*SIBLINGS[path[-1]], "child"), False),
        "other city": (LUYANG, province),
        "other city with a like code": (LANGYA, province),
        "nowhere": ((), False),
    }


AREAS = [(*TUNXI, GRID)[: depth + 1] for depth in range(6)]
CASES = [
    pytest.param(role, action, path, within, inside, id=f"{role}-{action}-{path[-1]}-{where}")
    for role, action, path in itertools.product((*ROLES, *UNKNOWN), ORACLE, AREAS)
    for where, (within, inside) in places(path).items()
]


def staff(role: str, path: tuple[str, ...], post_id: str = "post-1") -> Actor:
    return Caller("subject-1", (Post(post_id, role, path),)).acting(None)


def resident(home: str | None = TUNXI[-1], subject: str = "resident-1") -> Actor:
    return Caller(subject, home=home).acting(None)


def test_the_policies_fit_their_schema() -> None:
    result = validate_policies(POLICY, SCHEMA)
    assert result.validation_passed, result.errors


def test_every_action_of_the_schema_has_its_oracle() -> None:
    lines = [line for line in SCHEMA.splitlines() if line.startswith("action ")]
    named = {name.strip() for line in lines for name in line.split("appliesTo")[0].removeprefix("action ").split(",")}
    assert named == ORACLE.keys()


def test_every_policy_is_named() -> None:
    assert POLICY.count("@id(") == POLICY.count("permit (") + POLICY.count("forbid (")
    assert format_policies(POLICY)


def test_the_oracle_is_asked_in_full() -> None:
    assert len(CASES) == (len(ROLES) + len(UNKNOWN)) * len(ORACLE) * len(AREAS) * 9


def test_staff_have_their_roles_actions_inside_their_area_and_nothing_else() -> None:
    wrong = []
    for case in CASES:
        role, action, path, within, inside = case.values
        kind, roles = ORACLE[action]
        if staff(role, path).may(action, Resource(kind, "thing-1", within)) != (inside and role in roles):
            wrong.append(case.id)
    assert not wrong


@pytest.mark.parametrize("action", ["accept_ticket", "handle_ticket"])
@pytest.mark.parametrize("role", STAFF)
def test_a_held_ticket_is_its_holders(role: str, action: str) -> None:
    def ticket(holder: str) -> Resource:
        return Resource("Ticket", "ticket-1", (*TUNXI, GRID), {"holder": entity("Post", holder)})

    me = staff(role, TUNXI[:3])
    assert me.may(action, ticket("post-1"))
    assert not me.may(action, ticket("post-2"))
    assert me.may("read_ticket", ticket("post-2"))
    assert not staff(role, LANGYA[:3]).may(action, ticket("post-1"))


def test_a_post_named_like_a_resident_is_not_that_resident() -> None:
    ticket = Resource("Ticket", "ticket-1", TUNXI, {"reporter": entity("Resident", "resident-1")})
    assert resident().may("read_ticket", ticket)
    assert not staff("administrator", TUNXI[:1], post_id="resident-1").may("read_ticket", ticket)
    held = Resource("Ticket", "ticket-1", TUNXI, {"holder": entity("Post", "resident-1")})
    assert not resident().may("read_ticket", held)


@pytest.mark.parametrize("action", ORACLE)
@pytest.mark.parametrize("where", places(TUNXI))
def test_residents_report_at_home_and_nothing_else(action: str, where: str) -> None:
    within, inside = places(TUNXI)[where]
    allowed = inside and action in {"open_ticket", "read_place"}
    assert resident().may(action, Resource(ORACLE[action][0], "thing-1", within)) == allowed


def test_residents_see_what_they_reported_wherever_it_is() -> None:
    for within in (TUNXI, LANGYA):
        mine = Resource("Ticket", "ticket-1", within, {"reporter": entity("Resident", "resident-1")})
        assert resident().may("read_ticket", mine)
        assert not resident(subject="resident-2").may("read_ticket", mine)
        assert not resident(subject="RESIDENT-1").may("read_ticket", mine)
        assert not any(resident().may(action, mine) for action in ("accept_ticket", "handle_ticket", "verify_ticket"))


@pytest.mark.parametrize("action", ORACLE)
def test_without_post_and_home_nothing_is_allowed(action: str) -> None:
    nobody = resident(home=None, subject="nobody")
    assert not nobody.may(action, Resource(ORACLE[action][0], "thing-1", (*TUNXI, GRID)))


@pytest.mark.parametrize("area", ["341", "3410 ", "３４１０", "", "34100", "341000"])
def test_an_area_is_compared_whole(area: str) -> None:
    me = staff("duty_officer", (area,))
    assert not me.may("read_ticket", Resource("Ticket", "ticket-1", (*TUNXI, GRID)))
    assert not me.may("read_ticket", Resource("Ticket", "ticket-1", LANGYA))


@pytest.mark.parametrize(
    "attributes", [{"holder": "post-1"}, {"reporter": 1}, {"unheard_of": True}, {"holder": entity("Area", "34")}]
)
def test_a_resource_the_schema_does_not_know_is_denied(attributes: dict[str, object]) -> None:
    me = staff("duty_officer", TUNXI[:3])
    assert me.may("verify_ticket", Resource("Ticket", "ticket-1", TUNXI))
    assert not me.may("verify_ticket", Resource("Ticket", "ticket-1", TUNXI, attributes))


@pytest.mark.parametrize(
    ("action", "kind"), [("burn_ticket", "Ticket"), ("read_ticket", "Device"), ("appoint", "Oops")]
)
def test_what_the_schema_does_not_know_is_denied(action: str, kind: str) -> None:
    for role in ROLES:
        assert not staff(role, TUNXI[:1]).may(action, Resource(kind, "thing-1", TUNXI))


@pytest.mark.parametrize(
    "broken",
    [
        "forbid (principal, action, resource) when { resource.missing };",
        "forbid (principal, action, resource) when { 9223372036854775807 + 1 > 0 };",
        "permit (principal, action, resource) when { principal.missing };",
    ],
)
def test_an_error_while_deciding_denies(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cedar skips a policy that fails, so a failing forbid would let everybody in."""
    me, ticket = staff("duty_officer", TUNXI[:3]), Resource("Ticket", "ticket-1", TUNXI)
    assert me.may("read_ticket", ticket)
    policies = PolicySet.from_str(f"{POLICY}\n{broken}"), Schema.from_str(SCHEMA)
    monkeypatch.setattr(access, "_policies", lambda: policies)
    assert not me.may("read_ticket", ticket)
