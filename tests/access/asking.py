"""A row of the oracle as a request, and the answer held against it."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tests.access.ground import THINGS, Principal, Thing
from tests.access.oracle import Row
from tests.access.wiring import operations
from tests.canary import seen_in

Answer = tuple[int, dict[str, Any], str]


def expected(row: Row, principal: Principal, thing: Thing) -> int:
    place = (*thing.path, thing.grid_id)
    place = place[: place.index(thing.names[row.about]) + 1]
    words = principal.standing(place, thing.reporter, thing.tickets[thing.names[row.ticket]])
    if words & row.may:
        return next(int(status) for status in operations()[row.route]["responses"] if status < "300")
    if principal.caller is None:
        return 401
    return 403 if words & row.sees else 404


def filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: filled(one, names) for name, one in value.items()}
    return value.format(**names) if isinstance(value, str) else value


def asked(row: Row, thing: Thing, **spelt: str) -> dict[str, Any]:
    """The request's path, query and body; `spelt` stands for the thing's own names."""
    names = {**thing.names, **spelt}
    return {
        "path": row.route.split(" ")[1].format(**{**names, **filled(row.path, names)}),
        "query": filled(row.query, names) or None,
        "body": None if row.route.startswith("GET") else filled(row.body or {}, names),
    }


def nameless(answer: Answer) -> tuple[int, str, str]:
    """What may be compared of a refusal: all of it but the request id."""
    status, headers, body = answer
    return (
        status,
        json.dumps(headers, sort_keys=True),
        json.dumps(json.loads(body) | {"request_id": ""}, sort_keys=True),
    )


def leaks(
    row: Row, principal: Principal, thing: Thing, answer: Answer, things: Sequence[Thing] = THINGS
) -> Iterator[str]:
    """What stands in the answer and should not."""
    status, _, body = answer
    if status >= 400:
        yield from (f"canary {one}" for one in seen_in(body))
        return
    for other in things:
        reads = expected(row, principal, other) < 300
        shown = [other.names[name] for name in ("ticket_id", "accepted_id", "verifying_id", "device_id", "address")]
        if other is not thing and not reads:
            yield from (f"{one} of {other.name}" for one in shown if one in body)
    if row.lists:
        listed = {item[row.item] for item in json.loads(body)["items"]}
        if listed != (meant := rightful(row, principal, thing)):
            yield f"lists {sorted(listed ^ meant)} wrongly"


def rightful(row: Row, principal: Principal, thing: Thing) -> set[str]:
    """What a list should hold: of all there is, or of the thing the request names."""
    asked = [thing] if "{grid_id}" in row.query.values() else THINGS
    return {
        item
        for one in asked
        for item, holder in (one.tickets if row.item == "ticket_id" else {one.names[row.item]: None}).items()
        if principal.standing((*one.path, one.grid_id), one.reporter, holder) & row.lists
    }
