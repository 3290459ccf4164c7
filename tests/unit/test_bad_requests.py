"""What no route lets in (B2, B7, B8, B9): every operation of the document is asked, so a new one is covered by itself."""

import importlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.contracts import API_CONTEXTS, OPENAPI
from linli.http import BODY_LIMIT
from linli.limits import Limit
from tests.hostile import GOOD_BODIES, GOOD_QUERIES, VALUES, bounded
from tests.support import CONTEXT, OFFICER, request

DOCUMENT = json.loads(OPENAPI.read_text(encoding="utf-8"))
OPERATIONS = [
    (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
WITH_BODY = [(method, path) for method, path, operation in OPERATIONS if "requestBody" in operation]
ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
KEY = {"idempotency-key": "key-00000001"}
SET_BY_THE_SERVER = [
    "id", "ticket_id", "device_id", "state", "status", "version", "v", "place", "path", "division", "community_path", "grid_id",
    "owner", "holder", "handler", "verifiers", "reporter", "created_by", "priority", "severity", "due_at", "opened_at",
    "registered_at", "valid_from", "handled_by", "sensor", "sensor_active", "correlation_id", "certificate_id", "posts",
    "scope", "timeline", "audit", "pk", "sk", "_id", "__class__", "__dict__", "constructor", "$where",
]  # fmt: skip


@pytest.fixture(autouse=True)
def nobody_asked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limited route counts the call before it reads the input, in a table these tests do not have."""
    monkeypatch.setattr(Limit, "count", lambda *_: None)


def ask(method: str, path: str, **more: Any) -> tuple[int, dict[str, Any]]:
    """The answer of the function behind the route; sockets are closed, so it got no further than its input."""
    context = path.split("/")[2]
    api = importlib.import_module(f"{context if context in API_CONTEXTS else 'identity'}.api")
    answer = api.handler(request(method, re.sub(r"{\w+}", ULID, path), OFFICER, **more), CONTEXT)
    return answer["statusCode"], json.loads(answer["body"])


def schemas_below(schema: Any) -> list[dict[str, Any]]:
    """The schema and every one it leads to, references followed."""
    if isinstance(schema, list):
        return [found for one in schema for found in schemas_below(one)]
    if not isinstance(schema, dict):
        return []
    if "$ref" in schema:
        return schemas_below(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    return [schema, *(found for one in schema.values() for found in schemas_below(one))]


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
@bounded(50)
@given(data=st.data())
def test_a_field_nobody_asked_for_is_refused_by_name(method: str, path: str, data: st.DataObject) -> None:
    (body,) = [one["requestBody"] for asked, where, one in OPERATIONS if (asked, where) == (method, path)]
    taken = {name for one in schemas_below(body) for name in one.get("properties", {})}
    names = st.sampled_from(SET_BY_THE_SERVER) | st.sampled_from(sorted(taken)).map(str.upper) | st.text(max_size=20)
    name = data.draw(names.filter(lambda one: one not in taken))
    status, problem = ask(method, path, headers=KEY, body=json.dumps({name: 1}))
    refused = {(one["field"], one["code"]) for one in problem["errors"]}
    assert status == 422
    assert (name or "body", "extra_forbidden") in refused


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
def test_every_object_in_a_body_is_closed(method: str, path: str) -> None:
    (body,) = [one["requestBody"] for asked, where, one in OPERATIONS if (asked, where) == (method, path)]
    objects = [one for one in schemas_below(body) if one.get("type") == "object"]
    assert objects
    assert all(one["additionalProperties"] is False for one in objects)


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
@bounded(50)
@given(VALUES | st.text(max_size=50))
def test_a_body_that_is_no_such_object_is_refused(method: str, path: str, body: str) -> None:
    status, problem = ask(method, path, headers=KEY, body=body)
    assert (status, problem["code"]) == (422, "invalid-request")
    assert problem["field"]


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
@pytest.mark.parametrize("text", ["x", "长", '{"text":"'], ids=["not JSON", "by bytes, not characters", "JSON"])
def test_too_large_a_body_is_refused_before_it_is_read(method: str, path: str, text: str) -> None:
    body = text * (BODY_LIMIT // len(text.encode()) + 1)
    status, problem = ask(method, path, headers=KEY, body=body)
    assert (status, problem["code"], problem["field"]) == (413, "too-large", "body")


def test_every_body_has_an_example() -> None:
    assert set(GOOD_BODIES) == {path for _, path in WITH_BODY}


def test_every_query_that_must_be_there_has_an_example() -> None:
    must = {
        path: {one["name"] for one in operation.get("parameters", []) if one["in"] == "query" and one["required"]}
        for method, path, operation in OPERATIONS
        if method == "GET"
    }
    assert {path: query.keys() for path, query in GOOD_QUERIES.items()} == {
        path: one for path, one in must.items() if one
    }


@pytest.mark.parametrize("path", [path for method, path, _ in OPERATIONS if method != "GET"])
@bounded(50)
@given(st.text(max_size=80).filter(lambda key: not re.fullmatch(r"[0-9A-Za-z_-]{8,64}", key)))
def test_a_malformed_key_is_refused(path: str, key: str) -> None:
    status, problem = ask("POST", path, headers={"idempotency-key": key}, body=GOOD_BODIES.get(path))
    assert (status, problem["code"], problem["field"]) == (422, "idempotency-key-malformed", "Idempotency-Key")


def test_every_writing_operation_asks_for_a_key_and_every_list_is_a_page() -> None:
    for method, path, operation in OPERATIONS:
        parameters = {one["name"]: one for one in operation.get("parameters", [])}
        assert method == "GET" or parameters["idempotency-key"]["required"], path
        if "limit" in parameters:
            assert parameters["limit"]["schema"]["maximum"] <= 100, path
            assert "cursor" in parameters, path


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_what_may_be_missing_from_an_answer_is_not_called_required(method: str, path: str, operation: Any) -> None:
    """Answers leave out what is null."""
    for schema in schemas_below(operation["responses"]):
        properties = schema.get("properties", {})
        assert not [
            name for name in schema.get("required", []) if {"type": "null"} in properties[name].get("anyOf", [])
        ]


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, one in OPERATIONS if method == "GET"])
@bounded(50)
@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20), min_size=1, max_size=3))
def test_a_query_nobody_asked_for_is_refused(method: str, path: str, query: dict[str, str]) -> None:
    (operation,) = [one for asked, where, one in OPERATIONS if (asked, where) == (method, path)]
    taken = {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}
    if taken and not taken & query.keys():
        assert ask(method, path, query=query)[0] == 422
