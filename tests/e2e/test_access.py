"""Who gets in: tokens, scopes, bad requests, over the real API; and what of a person stands in no log."""

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra.local.client import Client
from infra.local.seed import COMMUNITY, GRIDS
from tests.canary import NOTE, PHONE, TEXT, serial
from tests.e2e.world import ROOM, World, take

REPORT = {"category": "repair", "text": TEXT, "place_id": ROOM}


def without_request_id(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "request_id"}


@pytest.mark.parametrize("token", ["garbage", "a.b.c", ""])
def test_without_a_good_token_nobody_gets_in(world: World, token: str) -> None:
    answer = Client(world.linli.outputs["ApiBaseUrl"], token or "x").get("/v1/tickets/work")
    assert (answer.status, answer.body["code"]) == (401, "unauthenticated")
    assert "Bearer" in answer.headers["WWW-Authenticate"]


def test_without_any_token_the_gateway_itself_refuses(world: World) -> None:
    assert Client(world.linli.outputs["ApiBaseUrl"], None).get("/v1/identity/me").status == 401


def test_a_tampered_token_is_refused(world: World) -> None:
    head, body, signature = world.linli.token("worker").split(".")
    forged = f"{head}.{body}.{signature[:-4]}AAAA"
    assert Client(world.linli.outputs["ApiBaseUrl"], forged).get("/v1/identity/me").status == 401


def test_out_of_scope_is_answered_exactly_as_absent(world: World) -> None:
    ticket = world.resident.post("/v1/tickets", REPORT).body
    absent = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    for client in (world.worker2, world.admin):
        seen = client.get(f"/v1/tickets/{ticket['ticket_id']}")
        nothing = client.get(f"/v1/tickets/{absent}")
        assert seen.status == nothing.status == 404
        assert without_request_id(seen.body) == without_request_id(nothing.body)
        assert take(client, ticket, "accept").status == 404
    assert world.worker2.get("/v1/tickets/work", of="grid", grid_id=GRIDS[0]).status == 404
    assert world.resident.get("/v1/tickets/work", of="grid", grid_id=GRIDS[0]).status == 404


def test_the_resident_follows_their_report_and_no_other(world: World) -> None:
    own = world.resident.post("/v1/tickets", REPORT).body
    other = world.worker.post("/v1/tickets", REPORT).body
    assert world.resident.get(f"/v1/tickets/{own['ticket_id']}").body["text"] == REPORT["text"]
    assert world.resident.get(f"/v1/tickets/{other['ticket_id']}").status == 404
    reported = world.resident.get("/v1/tickets/work", of="reported").body["items"]
    assert own["ticket_id"] in {item["ticket_id"] for item in reported}
    assert other["ticket_id"] not in {item["ticket_id"] for item in reported}


def test_a_report_sent_twice_is_one_ticket(world: World) -> None:
    key = secrets.token_hex(16)
    first = world.resident.post("/v1/tickets", REPORT, key=key)
    again = world.resident.post("/v1/tickets", REPORT, key=key)
    assert (first.status, again.status) == (201, 201)
    assert first.body["ticket_id"] == again.body["ticket_id"]
    other = world.resident.post("/v1/tickets", {**REPORT, "text": "另一件"}, key=key)
    assert (other.status, other.body["code"], other.body["field"]) == (422, "idempotency-key-reused", "Idempotency-Key")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**REPORT, "text": ""}, "text"),
        ({**REPORT, "text": "长" * 2001}, "text"),
        ({**REPORT, "text": 7}, "text"),
        ({**REPORT, "category": "war"}, "category"),
        ({"text": "灯", "place_id": ROOM}, "category"),
        ({**REPORT, "state": "closed"}, "state"),
        ({**REPORT, "place_id": "0" * 17}, "place_id"),
        ({**REPORT, "place_id": "../../identity/me/"}, "place_id"),
        ([], "body"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_body_is_answered_with_its_field_in_chinese_and_english(world: World, body: Any, field: str) -> None:
    answer = world.resident.post("/v1/tickets", body)
    assert answer.status in (404, 422)
    assert answer.body["field"] == field
    assert answer.headers["Content-Type"] == "application/problem+json"
    english = world.resident.post("/v1/tickets", body, headers={"Accept-Language": "en"})
    assert english.body["title"].isascii()
    assert not answer.body["title"].isascii()


def test_not_json_and_oversize(world: World) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(8)}
    broken = world.resident.send("POST", "/v1/tickets", b"{", headers)
    assert (broken.status, broken.body["field"]) == (422, "body")
    large = world.resident.send("POST", "/v1/tickets", json.dumps({**REPORT, "text": "x" * 300_000}).encode(), headers)
    assert (large.status, large.body["code"]) == (413, "too-large")
    keyless = world.resident.send(
        "POST", "/v1/tickets", json.dumps(REPORT).encode(), {"Content-Type": "application/json"}
    )
    assert (keyless.status, keyless.body["field"]) == (422, "Idempotency-Key")


def test_a_stale_version_and_a_step_the_state_forbids(world: World) -> None:
    ticket = world.resident.post("/v1/tickets", REPORT).body
    forbidden = take(world.worker, ticket, "handle", note="x")
    assert (forbidden.status, forbidden.body["code"], forbidden.body["field"]) == (409, "step-forbidden", "step")
    assert take(world.worker, ticket, "accept").status == 201
    stale = take(world.worker, ticket, "accept")
    assert (stale.status, stale.body["code"], stale.body["field"]) == (409, "stale-version", "expected_version")
    unknown = take(world.worker, ticket, "explode")
    assert (unknown.status, unknown.body["field"]) == (422, "step")


def test_lists_go_on_and_their_cursor_is_nobody_elses(world: World) -> None:
    for _ in range(3):
        world.resident.post("/v1/tickets", REPORT)
    first = world.worker.get("/v1/tickets/work", limit=2).body
    assert len(first.get("items", [])) == 2, first
    second = world.worker.get("/v1/tickets/work", limit=2, cursor=first["next_cursor"]).body
    assert not {i["ticket_id"] for i in first["items"]} & {i["ticket_id"] for i in second["items"]}
    stolen = world.officer.get("/v1/tickets/work", limit=2, cursor=first["next_cursor"])
    assert (stolen.status, stolen.body["field"]) == (422, "cursor")
    for limit in (0, 101, "many"):
        assert world.worker.get("/v1/tickets/work", limit=limit).status == 422


def test_divisions_are_read_from_the_registry(world: World) -> None:
    me = world.worker.get("/v1/identity/me").body
    assert me["posts"][0]["area"] == GRIDS[0]
    found = world.worker.get(f"/v1/identity/divisions/{COMMUNITY}").body
    assert (found["name"], found["level"]) == ("金寨南路社区居委会", 5)
    named = world.worker.get("/v1/identity/divisions/340104002/children", name="金寨南路社区居委会").body
    assert [item["code"] for item in named["items"]] == [COMMUNITY]


def test_devices_are_registered_and_read_in_scope_only(world: World) -> None:
    wanted = {"device_class": "smoke_detector", "serial": serial(secrets.token_hex(6)), "place_id": ROOM}
    assert world.worker.post("/v1/devices", wanted).status == 403
    assert world.admin.post("/v1/devices", wanted).status == 404
    key = secrets.token_hex(16)
    registered = world.officer.post("/v1/devices", wanted, key=key)
    assert registered.status == 201
    assert registered.body["credentials"]["private_key"].startswith("-----BEGIN")
    again = world.officer.post("/v1/devices", wanted, key=key)
    assert (again.status, "credentials" in again.body) == (201, False)
    taken = world.officer.post("/v1/devices", wanted)
    assert (taken.status, taken.body["code"]) == (409, "serial-taken")
    device_id = registered.body["device"]["device_id"]
    assert world.worker.get(f"/v1/devices/{device_id}").status == 200
    assert world.worker2.get(f"/v1/devices/{device_id}").status == 404
    logs = world.linli.runtime.log.read_text(encoding="utf-8", errors="replace")
    assert "PRIVATE KEY" not in logs
    stored = json.dumps(world.rows("devices", f"THING#{device_id}"))
    assert "PRIVATE KEY" not in stored


def test_the_document_is_served_to_anyone(world: World) -> None:
    answer = Client(world.linli.outputs["ApiBaseUrl"], None).get("/v1/openapi.json")
    assert (answer.status, answer.body["openapi"]) == (200, "3.1.0")


def test_what_is_written_about_a_person_is_read_in_the_ticket_alone(world: World) -> None:
    """Where else it could have gone is searched when the session ends."""
    ticket = world.resident.post("/v1/tickets", REPORT).body
    ticket = take(world.worker, ticket, "accept").body
    ticket = take(world.worker, ticket, "handle", note=NOTE).body
    assert (ticket["text"], ticket["timeline"][-1]["note"]) == (TEXT, NOTE)
    assert take(world.officer, ticket, "verify").status == 201
    assert world.resident.post("/v1/tickets", {**REPORT, "phone": PHONE}).status == 422


def test_a_registration_that_loses_its_race_leaves_no_certificate(world: World) -> None:
    wanted = {"device_class": "smoke_detector", "serial": serial(secrets.token_hex(6)), "place_id": ROOM}
    iot = world.linli.runtime.client("iot")

    def certificates() -> int:
        return len(iot.list_certificates(pageSize=250)["certificates"])

    before = certificates()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: world.officer.post("/v1/devices", wanted), range(8)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 7
    assert certificates() == before + 1
