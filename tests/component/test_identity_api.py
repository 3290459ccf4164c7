"""Identity over HTTP, on the fake and on the real store."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from identity import api as module
from identity.domain import DEFAULT_BOOK
from identity.load import load_divisions, mca_rows
from linli.access import Caller, Post
from tests.fakes_identity import administrator, anhui, stores
from tests.support import CONTEXT, NOW, SEED, request, template

ROWS = anhui("340104002", "340103009", "341002001", "341102001")
MCA = [
    row
    for row in mca_rows(SEED / "anhui-township-crosswalk.csv", anhui())
    if row.code in {"34", "3401", "340103", "340103009"}
]
ANYBODY = Caller("somebody")
RESIDENT = Caller("resident-1", home="340104002003")
COMMUNITY = "340104002003"
Call = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(params=["fake", "real"])
def call(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    with stores(request.param) as (divisions, accounts):
        load_divisions(divisions, [*ROWS, *MCA], workers=1)
        monkeypatch.setattr(module, "divisions", divisions)
        monkeypatch.setattr(module, "accounts", accounts)
        monkeypatch.setattr(module, "clock", lambda: NOW)
        yield send


def send(method: str, path: str, caller: Caller | None = ANYBODY, **more: Any) -> tuple[int, dict[str, Any]]:
    answer = module.handler(request(method, path, caller, **more), CONTEXT)
    return answer["statusCode"], json.loads(answer["body"])


def post(path: str, body: object, caller: Caller | None = None, key: str = "key-00001", **headers: str) -> Any:
    headers = {"idempotency-key": key, **headers}
    return send("POST", path, caller or administrator(), body=body, headers=headers)


def appointment(**changed: Any) -> dict[str, Any]:
    return {"post_id": "duty-1", "role": "duty_officer", "area": "340104002", "subject": "staff-1", **changed}


def test_a_division_by_its_code(call: Call) -> None:
    assert call("GET", "/v1/identity/divisions/340104002") == (
        200,
        {
            "book": DEFAULT_BOOK, "code": "340104002", "level": 4, "kind": "subdistrict", "standing": "regular",
            "name": "稻香村街道", "parent": "340104", "valid_from": "2023-06-30", "successors": [],
        },
    )  # fmt: skip


def test_a_code_is_another_place_in_another_book(call: Call) -> None:
    nbs = call("GET", "/v1/identity/divisions/340103009")[1]
    mca = call("GET", "/v1/identity/divisions/340103009", query={"book": "mca-2026"})[1]
    assert (nbs["book"], nbs["name"]) == (DEFAULT_BOOK, "三孝口街道")
    assert (mca["book"], mca["name"]) == ("mca-2026", "亳州路街道")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("349999", 404, "division-not-found"),
        ("35", 404, "division-not-found"),
        ("341000", 422, "division-code-padded"),
        ("340104002000", 422, "division-code-padded"),
        ("３４", 422, "division-code-malformed"),
        ("abc", 422, "division-code-malformed"),
        ("341", 422, "division-code-malformed"),
        ("3" * 60, 422, "division-code-malformed"),
    ],
)
@pytest.mark.parametrize("below", ["", "/children", "/ancestors"])
def test_codes_that_lead_nowhere(call: Call, path: str, status: int, code: str, below: str) -> None:
    got, problem = call("GET", f"/v1/identity/divisions/{path}{below}")
    assert (got, problem["code"], problem["field"]) == (status, code, "code")


@pytest.mark.parametrize("below", ["", "/children", "/ancestors"])
def test_a_code_of_absurd_length_leads_nowhere_either(call: Call, below: str) -> None:
    assert call("GET", f"/v1/identity/divisions/{'3' * 5000}{below}")[0] == 404


def test_the_padded_code_is_told_how_to_write_it_in_the_callers_language(call: Call) -> None:
    assert "3410" in call("GET", "/v1/identity/divisions/341000")[1]["title"]
    english = call("GET", "/v1/identity/divisions/341000", headers={"accept-language": "en"})[1]
    assert english["title"] == "a division code is not padded with zeros: write 3410"


def test_queries_are_checked(call: Call) -> None:
    assert call("GET", "/v1/identity/divisions/34", query={"book": "gb-1999"})[1]["code"] == "division-book-unknown"
    assert call("GET", "/v1/identity/divisions/34", query={"scope": "35"})[0] == 422
    assert call("GET", "/v1/identity/divisions/34/children", query={"name": ""})[0] == 422


def test_children_all_or_by_name(call: Call) -> None:
    status, answer = call("GET", "/v1/identity/divisions/340104002/children")
    assert status == 200
    assert [one["code"] for one in answer["items"]] == [row.code for row in ROWS if row.parent == "340104002"]
    name = answer["items"][0]["name"]
    found = call("GET", "/v1/identity/divisions/340104002/children", query={"name": name})[1]
    assert [one["code"] for one in found["items"]] == [answer["items"][0]["code"]]
    assert call("GET", "/v1/identity/divisions/340104002/children", query={"name": "没有"})[1]["items"] == []
    assert call("GET", f"/v1/identity/divisions/{COMMUNITY}/children")[1]["items"] == []


def test_ancestors_are_the_registrys(call: Call) -> None:
    answer = call("GET", "/v1/identity/divisions/341102/ancestors")[1]
    assert [(one["code"], one["name"]) for one in answer["items"]] == [("34", "安徽省"), ("3411", "滁州市")]
    assert call("GET", "/v1/identity/divisions/341002/ancestors")[1]["items"][1]["code"] == "3410"
    assert call("GET", "/v1/identity/divisions/34/ancestors")[1]["items"] == []
    in_mca = call("GET", "/v1/identity/divisions/340103009/ancestors", query={"book": "mca-2026"})[1]
    assert [one["code"] for one in in_mca["items"]] == ["34", "3401", "340103"]


def test_me_with_and_without_posts(call: Call) -> None:
    assert call("GET", "/v1/identity/me") == (200, {"subject": "somebody", "posts": []})
    assert call("GET", "/v1/identity/me", RESIDENT)[1]["home"] == COMMUNITY
    two = Caller(
        "staff-1", (Post("a-1", "duty_officer", ("34", "3401", "340104")), Post("b-1", "administrator", ("34",)))
    )
    assert [one["post_id"] for one in call("GET", "/v1/identity/me", two)[1]["posts"]] == ["a-1", "b-1"]


def routes() -> list[tuple[str, str, bool]]:
    found = [
        resource["Properties"]
        for resource in template("identity")["Resources"].values()
        if resource["Type"] == "AWS::ApiGatewayV2::Route"
    ]
    return [(*one["RouteKey"].split(" "), one["AuthorizationType"] == "NONE") for one in found]


def test_nobody_gets_nothing_from_any_route(call: Call) -> None:
    assert len(routes()) == 7
    for method, path, public in routes():
        for refused in (None, "expired"):
            path = path.replace("{code}", "34")
            event = request(method, path, None, refused=refused, body={}, headers={"idempotency-key": "key-00001"})
            answer = module.handler(event, CONTEXT)
            if public:
                assert answer["statusCode"] in {200, 404}
            else:
                assert answer["statusCode"] == 401
                assert answer["headers"]["WWW-Authenticate"] == 'Bearer error="invalid_token"'
                assert answer["headers"]["Content-Type"] == "application/problem+json"


def test_the_templates_routes_are_the_codes() -> None:
    document = json.loads(module.api.app.get_openapi_json_schema(title="identity", version="1"))
    written = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert written == {(method, path) for method, path, _ in routes()}


def test_an_administrator_appoints(call: Call) -> None:
    status, answer = post("/v1/identity/posts", appointment())
    assert (status, answer) == (201, {"post_id": "duty-1", "version": 1, "valid_from": "2026-11-23T01:00:00Z"})
    account = module.accounts.account("staff-1")
    assert account and [held.path for held in account.holdings] == [("34", "3401", "340104", "340104002")]
    [step] = module.accounts.steps("POST#duty-1")
    assert (step.subject, step.post, step.correlation_id) == ("admin-1", "administrator-34", "request-1")


def test_a_grid_worker_sits_in_a_grid(call: Call) -> None:
    grid = f"{COMMUNITY}001"
    assert post("/v1/identity/posts", appointment(post_id="grid-1", role="grid_worker", area=grid))[0] == 201
    account = module.accounts.account("staff-1")
    assert account and account.holdings[0].path == ("34", "3401", "340104", "340104002", COMMUNITY, grid)
    problem = post("/v1/identity/posts", appointment(post_id="grid-2", role="grid_worker"), key="key-00002")
    assert (problem[0], problem[1]["code"]) == (422, "area-unfit")


@pytest.mark.parametrize(
    ("path", "area", "status"),
    [
        (("34",), "34", 201),
        (("34", "3410"), "3410", 201),
        (("34", "3410"), "341002", 201),
        (("34", "3410"), "34", 404),
        (("34", "3410"), "3411", 404),
        (("34", "3410"), "341102", 404),
        (("34", "3410"), "340104", 404),
        (("34", "3410"), "349999", 404),
        (("34", "3410"), "341000", 422),
        (("34", "3410"), "３４１０", 422),
        (("34", "3401", "340104"), "340103009", 404),
    ],
)
def test_nobody_appoints_outside_or_above_their_area(call: Call, path: tuple[str, ...], area: str, status: int) -> None:
    wanted = appointment(role="administrator", area=area)
    got, problem = post("/v1/identity/posts", wanted, administrator(path))
    assert got == status
    if status == 404:
        assert problem["code"] == "area-not-found"
        assert module.accounts.post("duty-1") is None


@pytest.mark.parametrize(
    "caller",
    [
        ANYBODY,
        RESIDENT,
        Caller("d", (Post("p-1", "duty_officer", ("34", "3401", "340104")),)),
        Caller("g", (Post("p-1", "grid_worker", ("34", "3401", "340104")),)),
        Caller("u", (Post("p-1", "auditor", ("34",)),)),
    ],
)
def test_only_administrators_appoint_and_register(call: Call, caller: Caller) -> None:
    assert post("/v1/identity/posts", appointment(), caller)[0] == 404
    assert post("/v1/identity/residents", {"subject": "r-1", "community": COMMUNITY}, caller)[0] == 404
    assert module.accounts.post("duty-1") is None
    assert module.accounts.account("r-1") is None


def test_nobody_appoints_themselves(call: Call) -> None:
    got, problem = post("/v1/identity/posts", appointment(subject="admin-1"))
    assert (got, problem["code"]) == (403, "self-appointment")


def test_several_posts_need_a_choice(call: Call) -> None:
    two = Caller("admin-1", (Post("a-1", "administrator", ("34", "3410")), Post("b-1", "administrator", ("34",))))
    assert post("/v1/identity/posts", appointment(), two)[1]["field"] == "Linli-Post"
    assert post("/v1/identity/posts", appointment(), two, **{"linli-post": "a-1"})[0] == 404
    assert post("/v1/identity/posts", appointment(), two, **{"linli-post": "b-1"})[0] == 201


def test_a_repetition_is_told_the_same_and_does_nothing(call: Call) -> None:
    first = post("/v1/identity/posts", appointment())
    assert post("/v1/identity/posts", appointment()) == first
    reused = post("/v1/identity/posts", appointment(subject="staff-2"))
    assert (reused[0], reused[1]["code"]) == (422, "idempotency-key-reused")
    assert len(module.accounts.steps("POST#duty-1")) == 1
    assert post("/v1/identity/posts", appointment(), key="short")[0] == 422


def test_a_post_changes_hands_but_not_its_role_or_area(call: Call) -> None:
    post("/v1/identity/posts", appointment())
    assert post("/v1/identity/posts", appointment(subject="staff-2"), key="key-00002")[1]["version"] == 2
    former, holder = module.accounts.account("staff-1"), module.accounts.account("staff-2")
    assert former and former.posts_at(NOW) == ()
    assert holder and [held.post_id for held in holder.posts_at(NOW)] == ["duty-1"]
    for changed in ({"area": "340104"}, {"role": "administrator"}, {"area": "341002"}):
        got, problem = post("/v1/identity/posts", appointment(**changed), key="key-00003")
        assert (got, problem["code"]) == (409, "post-differs")


def test_a_post_of_another_area_cannot_be_taken_over(call: Call) -> None:
    post("/v1/identity/posts", appointment())
    huangshan = administrator(("34", "3410"), "admin-2")
    assert post("/v1/identity/posts", appointment(area="341002"), huangshan)[0] == 409
    assert post("/v1/identity/posts", appointment(), huangshan, key="key-00002")[0] == 404
    found = module.accounts.post("duty-1")
    assert found and (found.holder, found.version) == ("staff-1", 1)


def test_an_appointment_can_end(call: Call) -> None:
    until = (NOW + timedelta(days=30)).isoformat()
    assert post("/v1/identity/posts", appointment(valid_to=until))[0] == 201
    for unfit in (NOW.isoformat(), "9999-12-31T23:59:59-23:59"):
        status, problem = post("/v1/identity/posts", appointment(valid_to=unfit), key="key-00002")
        assert (status, problem["code"], problem["field"]) == (422, "term-unfit", "valid_to")
        assert "the" not in problem["title"]
    naive = post("/v1/identity/posts", appointment(valid_to="2027-01-01T00:00:00"), key="key-00003")
    assert naive[0] == 422


@pytest.mark.parametrize(
    "changed",
    [
        {"version": 9}, {"path": ["34"]}, {"valid_from": "2020-01-01T00:00:00Z"}, {"holder": "x"}, {"__class__": "x"},
        {"role": "auditor"}, {"role": "root"}, {"subject": "张三"}, {"subject": "a@b.example"}, {"subject": ""},
        {"subject": "s" * 5000}, {"post_id": "p" * 5000}, {"area": "3" * 5000},
        {"post_id": "../x"}, {"post_id": "a#b"}, {"post_id": ""}, {"area": "34#"}, {"area": 34}, {"area": None},
    ],
)  # fmt: skip
def test_what_nobody_asked_for_is_refused(call: Call, changed: dict[str, Any]) -> None:
    assert post("/v1/identity/posts", appointment(**changed))[0] == 422
    assert module.accounts.post("duty-1") is None


def resident(**changed: Any) -> dict[str, Any]:
    return {"subject": "resident-1", "community": COMMUNITY, **changed}


def test_an_administrator_registers_a_resident(call: Call) -> None:
    first = post("/v1/identity/residents", resident())
    assert first == (201, {"subject": "resident-1", "home": COMMUNITY, "version": 1})
    assert post("/v1/identity/residents", resident()) == first
    account = module.accounts.account("resident-1")
    assert account and (account.kind, account.home[-1], account.home[0]) == ("resident", COMMUNITY, "34")


def test_a_resident_lives_in_a_real_community_of_the_area(call: Call) -> None:
    virtual = next(row.code for row in anhui() if row.standing == "virtual")
    module.divisions.write([row for row in anhui() if row.code == virtual])
    assert post("/v1/identity/residents", resident(community=virtual))[1]["code"] == "area-unfit"
    assert post("/v1/identity/residents", resident(community="340104002"), key="key-00002")[0] == 422
    assert post("/v1/identity/residents", resident(community="340104002999"), key="key-00003")[0] == 404
    outside = post("/v1/identity/residents", resident(), administrator(("34", "3410")), key="key-00004")
    assert (outside[0], outside[1]["code"]) == (404, "area-not-found")


def test_a_resident_moves_inside_the_administrators_area_only(call: Call) -> None:
    township = administrator(("34", "3401", "340104", "340104002"), "admin-2")
    other = next(row.code for row in ROWS if row.level == 5 and row.path[2] == "341002")
    neighbour = next(row.code for row in ROWS if row.parent == "340104002" and row.code != COMMUNITY)
    post("/v1/identity/residents", resident())
    assert post("/v1/identity/residents", resident(community=neighbour), township)[1]["version"] == 2
    away = administrator(("34", "3410"), "admin-3")
    assert post("/v1/identity/residents", resident(community=other), away)[1]["code"] == "account-unfit"
    assert post("/v1/identity/residents", resident(community=other), key="key-00009")[1]["home"] == other


def test_staff_and_residents_are_two_kinds_of_account(call: Call) -> None:
    post("/v1/identity/residents", resident())
    post("/v1/identity/posts", appointment(), key="key-00002")
    taken = post("/v1/identity/posts", appointment(post_id="duty-2", subject="resident-1"), key="key-00003")
    assert (taken[0], taken[1]["code"]) == (409, "account-unfit")
    assert post("/v1/identity/residents", resident(subject="staff-1"), key="key-00004")[1]["code"] == "account-unfit"


def test_the_document_is_public(call: Call, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"openapi": "3.1.0", "info": {"title": "邻里", "description": None}, "paths": {}}
    monkeypatch.setattr(module, "DOCUMENT", tmp_path / "openapi.json")
    module._document.cache_clear()
    assert call("GET", "/v1/openapi.json", None)[0] == 404
    (tmp_path / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
    assert call("GET", "/v1/openapi.json", None) == (200, document)
    module._document.cache_clear()
