"""What a broken or hostile sender may send, as hypothesis strategies; the same examples in every run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from botocore.client import BaseClient
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

GOOD_BODIES: dict[str, dict[str, Any]] = {
    "/v1/devices": {
        "device_class": "smoke_detector", "serial": "SN-hostile", "place_id": "34010400200100001-1-0201",
    },
    "/v1/devices/{device_id}/moves": {"place_id": "34010400200100001-1-0201", "expected_version": 1},
    "/v1/devices/{device_id}/revocations": {"expected_version": 1},
    "/v1/devices/{device_id}/retirement": {"expected_version": 1},
    "/v1/identity/posts": {
        "post_id": "hostile-1", "role": "duty_officer", "area": "340104002001", "subject": "subject-hostile",
    },
    "/v1/identity/residents": {"subject": "resident-hostile", "community": "340104002001"},
    "/v1/tickets": {"category": "repair", "text": "楼道灯不亮", "place_id": "34010400200100001-1-0201"},
    "/v1/tickets/{ticket_id}/steps": {"step": "accept", "expected_version": 1},
}  # fmt: skip
"""A body that each operation takes, by its path in the document; a new operation brings its own."""
GOOD_QUERIES: dict[str, dict[str, str]] = {
    "/v1/devices": {"grid_id": "340104002001001"},
    "/v1/devices/{device_id}/readings": {
        "metric": "battery", "from": "2026-11-23T00:00:00Z", "to": "2026-11-24T00:00:00Z",
    },
}  # fmt: skip
"""A query that each operation takes which does not answer without one."""

CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


def bounded(examples: int) -> settings:
    """So many examples, drawn from a fixed seed."""
    return settings(max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=CHECKS)


TOKENS = st.sampled_from([
    "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "1e125", "1e126", "1e-130", "1e-131", "9" * 38, "9" * 39,
    "9" * 5000, "-1", "0", "-0.0", "1.0", "0.1", "1" + "0" * 20, "true", "false", "null", "[]", "{}", "01", "'a'", "[1,]",
    '"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '""', '"１２"', '"#S#000001"', '"DEVICE#x"', '":pk"', '"__class__"',
    '"9999-12-31T23:59:59-23:59"', '"0001-01-01T00:00:00+23:59"', '"2026-11-23T09:00:00"', '"2026-02-30T00:00:00Z"',
    '{"a":1,"a":2}', "\ufeff1", '"unclosed',
])  # fmt: skip
"""JSON values, and what looks like one."""


def _composed(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.tuples(st.text(max_size=6).map(json.dumps), children).map(":".join)
    lists = st.lists(children, max_size=4).map(lambda parts: f"[{','.join(parts)}]")
    objects = st.lists(members, max_size=4).map(lambda parts: f"{{{','.join(parts)}}}")
    return lists | objects


VALUES = st.recursive(TOKENS | st.text(max_size=20).map(json.dumps), _composed, max_leaves=8)
"""JSON text, or nearly: wrong types, numbers past every limit, lone surrogates, keys that come twice."""
LARGE = {
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "a text of 128 KB": b'"' + b"x" * (128 * 1024 - 2) + b'"',
    "a name of 128 KB": b'{"readings":[{"t":1,"seq":1,"v":{"' + b"x" * (128 * 1024 - 50) + b'":1}}]}',
    "more than IoT Core takes": b"\xff" * 190_000,
}
EXTREME = ['"9999-12-31T23:59:59-23:59"', '"0001-01-01T00:00:00+23:59"', "9" * 39, "[]", '""', json.dumps("长" * 900)]
BYTES = st.binary(max_size=200) | VALUES.map(lambda text: text.encode("utf-8", "surrogatepass"))


@st.composite
def objects(draw: st.DrawFn, fields: dict[str, str]) -> bytes:
    """The object with these fields (JSON text each), one to three of them replaced, left out or sent twice."""
    members = [(name, text) for name, text in fields.items()]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(members) - 1))
        name, text = members[place]
        match draw(st.sampled_from(["replace", "replace", "drop", "twice", "rename"])):
            case "replace":
                members[place] = (name, draw(VALUES))
            case "drop" if len(members) > 1:
                members.pop(place)
            case "twice":
                members.append((name, draw(VALUES | st.just(text))))
            case _:
                members[place] = (draw(st.text(max_size=8)), text)
    text = ",".join(f"{json.dumps(name)}:{value}" for name, value in members)
    return f"{{{text}}}".encode("utf-8", "surrogatepass")


def paths(value: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place inside a JSON value."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(path for key, one in below for path in paths(one, (*above, key)))]


@st.composite
def changed(draw: st.DrawFn, sample: Any) -> str:
    """The sample as JSON text with one value somewhere inside replaced."""
    return replaced(sample, draw(st.sampled_from(paths(sample))), draw(VALUES))


def replaced(value: Any, path: tuple[str | int, ...], text: str) -> str:
    """The value as JSON text, with this text in that place."""
    mark = "\u0001here\u0001"
    return json.dumps(_with(value, path, mark)).replace(json.dumps(mark), text)


def _with(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    if not path:
        return new
    first, *rest = path
    if isinstance(value, dict):
        return {key: _with(one, tuple(rest), new) if key == first else one for key, one in value.items()}
    return [_with(one, tuple(rest), new) if key == first else one for key, one in enumerate(value)]


@contextmanager
def limits_of_dynamodb() -> Iterator[None]:
    """What moto lets through and DynamoDB refuses: numbers, keys and items past its limits."""
    call = BaseClient._make_api_call

    def checked(self: Any, operation: str, request: dict[str, Any]) -> Any:
        for item in _written(request):
            if not _fits(item):
                raise ClientError({"Error": {"Code": "ValidationException", "Message": "past a limit"}}, operation)
        return call(self, operation, request)

    with patch.object(BaseClient, "_make_api_call", checked):
        yield


def _written(request: dict[str, Any]) -> list[dict[str, Any]]:
    transaction = [one["Put"]["Item"] for one in request.get("TransactItems", []) if "Put" in one]
    batches = [one for batch in request.get("RequestItems", {}).values() if isinstance(batch, list) for one in batch]
    batch = [one["PutRequest"]["Item"] for one in batches if "PutRequest" in one]
    return [request["Item"]] if "Item" in request else transaction + batch


def _fits(item: dict[str, Any]) -> bool:
    keys = 0 < len(item["pk"]["S"].encode()) <= 2048 and 0 < len(item["sk"]["S"].encode()) <= 1024
    numbers = [Decimal(value["N"]) for value in item.values() if "N" in value]
    small = all(one == 0 or -130 <= one.adjusted() <= 125 for one in numbers)
    short = all(len("".join(map(str, one.as_tuple().digits)).strip("0")) <= 38 for one in numbers)
    size = sum(len(str(part).encode()) for name, value in item.items() for part in (name, *value.values()))
    return keys and small and short and size <= 400 * 1024
