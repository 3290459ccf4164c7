"""The real API against its own document (B1, B2, B6, B7): generated requests of every operation as every account."""

import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from infra.local.contracts import OPENAPI
from infra.local.seed import ADMINISTRATOR, BUILDINGS, COMMUNITY, RESIDENT, STAFF
from tests.e2e.world import ROOM, World
from tests.hostile import GOOD_BODIES, GOOD_QUERIES, bounded

DOCUMENT = json.loads(OPENAPI.read_text(encoding="utf-8"))
OPERATIONS = [found.ok() for found in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()]
ACCOUNTS = [person.name for person in (ADMINISTRATOR, *STAFF, RESIDENT)]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OTHER_ROOM = f"{BUILDINGS[0]}-1-0101"
CHANGED: dict[str, dict[str, Any]] = {
    "/v1/devices": {"serial": "SN-other"},
    "/v1/devices/{device_id}/moves": {"place_id": OTHER_ROOM},
    "/v1/devices/{device_id}/revocations": {"expected_version": 2},
    "/v1/devices/{device_id}/retirement": {"expected_version": 2},
    "/v1/identity/posts": {"subject": "subject-other"},
    "/v1/identity/residents": {"community": "340104002002"},
    "/v1/tickets": {"text": "另一件"},
    "/v1/tickets/{ticket_id}/steps": {"note": "另一句"},
}
"""By operation, what makes its good body another."""
WHO = {"devices": "officer", "identity": "admin", "tickets": "worker"}


@pytest.fixture(scope="module")
def session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


@pytest.fixture(scope="module")
def known(world: World) -> dict[str, str]:
    """What there is, by the name of the parameter that asks for it."""
    ticket = world.worker.post("/v1/tickets", GOOD_BODIES["/v1/tickets"]).body
    return {
        "ticket_id": ticket["ticket_id"],
        "device_id": world.register(),
        "code": COMMUNITY,
        "place_id": ROOM,
    }


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.label)
def test_every_answer_is_one_the_document_names(
    world: World, session: requests.Session, known: dict[str, str], operation: Any, account: str
) -> None:
    headers = {"Authorization": f"Bearer {world.linli.token(account)}"}

    @bounded(8)
    @given(operation.as_strategy(), st.booleans())
    def property_(case: Any, of_what_there_is: bool) -> None:
        if of_what_there_is:
            about_what_there_is(case, known)
        answer = case.call(base_url=world.linli.outputs["ApiBaseUrl"], session=session, headers=headers)
        case.validate_response(answer, checks=CHECKS)

    property_()


def about_what_there_is(case: Any, known: dict[str, str]) -> None:
    """The same request, but by the caller's only post, about what exists and with a body that could be taken."""
    case.headers.pop("linli-post", None)
    case.path_parameters.update({name: known[name] for name in case.path_parameters.keys() & known.keys()})
    if case.method.upper() == "GET":
        case.query = GOOD_QUERIES.get(case.path, case.query)
    elif case.path in GOOD_BODIES:
        case.body = GOOD_BODIES[case.path]
    if case.path == "/v1/grid/places":
        case.query = {"device_id": known["device_id"]}


@pytest.mark.parametrize("path", GOOD_BODIES)
def test_a_key_that_comes_again_with_another_body_changes_nothing(
    world: World, known: dict[str, str], path: str
) -> None:
    client = world.linli.client(WHO[path.split("/")[2]])
    key, run = secrets.token_hex(16), secrets.token_hex(4)
    fresh = {"/v1/devices": "serial", "/v1/identity/posts": "post_id", "/v1/identity/residents": "subject"}
    body = GOOD_BODIES[path] | ({fresh[path]: f"hostile-{run}"} if path in fresh else {})
    made: dict[str, Callable[[], str]] = {
        "ticket_id": lambda: world.worker.post("/v1/tickets", GOOD_BODIES["/v1/tickets"]).body["ticket_id"],
        "device_id": world.register,
    }
    asked = path.format(**{name: make() for name, make in made.items() if name in path})
    first = client.post(asked, body, key=key)
    other = client.post(asked, body | CHANGED[path], key=key)
    again = client.post(asked, body, key=key)
    assert (first.status, other.status, again.status) == (201, 422, 201), (first.body, other.body, again.body)
    assert (other.body["code"], other.body["field"]) == ("idempotency-key-reused", "Idempotency-Key")
    assert again.body == {name: value for name, value in first.body.items() if name != "credentials"}


def test_every_operation_with_a_body_is_tried_with_another() -> None:
    assert set(CHANGED) == set(GOOD_BODIES)
