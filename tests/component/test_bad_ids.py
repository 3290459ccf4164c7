"""Ids and cursors that were made up (B8): answered as absent or refused by name, and nothing is written."""

import importlib
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.contracts import API_CONTEXTS, OPENAPI
from linli.limits import RATE
from tests.hostile import GOOD_BODIES, GOOD_QUERIES, bounded
from tests.support import CONTEXT, OFFICER, request, table_on_moto

ROUTES = [
    (method.upper(), path)
    for path, methods in json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"].items()
    for method in methods
    if "{" in path
]
SPOILED = [
    "01ARZ3NDEKTSV4RRFFQ69G5FAV#S#000001", "01ARZ3NDEKTSV4RRFFQ69G5FA", "０１ＡＲＺ3NDEKTSV4RRFFQ69G5FAV", "T", ":pk", "#pk",
    "340104", "３４", "..", "..%2F..", "%2e%2e", "%00", "a\u0000b", "' OR 1=1", "begins_with(pk, :a)", "$ne", "{}", "*",
    "\u202e340104", "é", "e\u0301", "🏠",
]  # fmt: skip
IDS = st.sampled_from(SPOILED) | st.text(min_size=1, max_size=70).filter(lambda text: "/" not in text)


@pytest.fixture(scope="module")
def tables() -> Iterator[list[str]]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as environment:
        environment.setenv("DEVICE_POLICY", "policy")
        for context in API_CONTEXTS:
            stack.enter_context(table_on_moto(context))
        yield [f"linli-{context}" for context in API_CONTEXTS]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@bounded(40)
@given(made_up=IDS)
def test_a_made_up_id_leads_nowhere(tables: list[str], method: str, path: str, made_up: str) -> None:
    api = importlib.import_module(f"{path.split('/')[2]}.api")
    asked = re.sub(r"{\w+}", lambda _: made_up, path)
    headers = {"idempotency-key": "key-00000001"}
    if method == "GET":
        event = request(method, asked, OFFICER, query=GOOD_QUERIES.get(path))
    else:
        event = request(method, asked, OFFICER, body=GOOD_BODIES.get(path), headers=headers)
    answer = api.handler(event, CONTEXT)
    assert answer["statusCode"] in (404, 422)
    assert answer["headers"]["Content-Type"] == "application/problem+json"


def test_nothing_was_written_by_any_of_them(tables: list[str]) -> None:
    client = boto3.client("dynamodb")
    found: dict[str, Any] = {name: client.scan(TableName=name)["Items"] for name in tables}
    assert [(row["pk"]["S"]) for rows in found.values() for row in rows if not row["pk"]["S"].startswith(RATE)] == []
