"""Who may do what, written by hand from the authorization model and not from the policies.

A row is one question to one route. A new route needs a row here, most often of one or two lines:

    Row("GET /v1/devices/{device_id}/readings", "read_device", may=STAFF),
    Row("POST /v1/devices/{device_id}/retirement", "retire_device", OFFICER, STAFF, body=SEEN),

`may` gets the route's own answer, `sees` is told 403, anybody else 404 just as for what is not there (401 without a
token). The words, all about what the request names:

    grid_worker duty_officer administrator   holds a post of this role whose area it lies in
    neighbour                                a resident of its community
    reporter holder                          reported the ticket; holds the post the ticket waits for
    post somebody anybody                    holds any post; has a token; not even that

`action` is the action of the policies that decides. A route without one says in `why` what makes up for it.
"""

import re
from dataclasses import dataclass, field
from typing import Any

STAFF = frozenset({"grid_worker", "duty_officer"})
OFFICER = frozenset({"duty_officer"})
ADMINISTRATOR = frozenset({"administrator"})
NEIGHBOUR, REPORTER = frozenset({"neighbour"}), frozenset({"reporter"})
HOLDER, POST, SOMEBODY, ANYBODY = (frozenset({word}) for word in ("holder", "post", "somebody", "anybody"))


@dataclass(frozen=True)
class Row:
    """`path`, `query` and `body` are made of the names of a `Thing`; a path parameter of the route is filled by its own."""

    route: str
    action: str | None = None
    may: frozenset[str] = frozenset()
    sees: frozenset[str] = frozenset()
    why: str = ""
    path: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    about: str = "grid_id"
    """What the request is about, if not something in the grid: an area further up, by its name."""
    ticket: str = "ticket_id"
    """The ticket whose holder counts, by its name."""
    lists: frozenset[str] = frozenset()
    """For a list: what the principal is to each thing in it."""
    item: str = "ticket_id"
    """For a list: the id its items have."""

    @property
    def named(self) -> set[str]:
        """The names of a `Thing` that the request is made of."""
        texts = [*self.query.values(), *map(str, (self.body or {}).values()), *self.path.values()]
        inside = set(re.findall(r"{(\w+)}", self.route)) - self.path.keys()
        return inside.union(*(re.findall(r"{(\w+)}", text) for text in texts))

    def __str__(self) -> str:
        asked = " ".join([*self.path.values(), *self.query, *(str(v) for v in (self.body or {}).values())])
        return f"{self.route} {asked}".strip()


def step(name: str, ticket: str, may: frozenset[str]) -> Row:
    body = {"step": name, "expected_version": 1, "note": "{text}"}
    seen = STAFF | REPORTER
    route = "POST /v1/tickets/{ticket_id}/steps"
    return Row(route, f"{name}_ticket", may, seen, path={"ticket_id": f"{{{ticket}}}"}, body=body, ticket=ticket)


def place(name: str) -> Row:
    return Row("GET /v1/grid/places/{place_id}", "read_place", STAFF | NEIGHBOUR, path={"place_id": f"{{{name}}}"})


def found(action: str, may: frozenset[str], **query: str) -> Row:
    return Row("GET /v1/grid/places", action, may, query=query)


def appointed(role: str, area: str) -> Row:
    body = {"post_id": "{post_id}", "role": role, "area": f"{{{area}}}", "subject": "{subject}"}
    return Row("POST /v1/identity/posts", "appoint", ADMINISTRATOR, body=body, about=area)


REGISTER = {"device_class": "smoke_detector", "serial": "{serial}", "place_id": "{room_id}"}
MOVE = {"place_id": "{room_id}", "expected_version": 1}
SEEN = {"expected_version": 1}
READINGS = {"metric": "battery", "from": "2026-11-23T00:00:00Z", "to": "2026-11-24T00:00:00Z"}
REPORT = {"category": "repair", "text": "{text}", "place_id": "{room_id}"}
PUBLIC = "divisions are public (L1)"

ROWS = (
    Row("GET /v1/tickets/{ticket_id}", "read_ticket", STAFF | REPORTER),
    Row("POST /v1/tickets", "open_ticket", STAFF | NEIGHBOUR, body=REPORT),
    step("accept", "ticket_id", HOLDER),
    step("handle", "accepted_id", HOLDER),
    step("verify", "verifying_id", OFFICER),
    Row("GET /v1/tickets/work", "list_grid_work", STAFF, query={"of": "grid", "grid_id": "{grid_id}"}, lists=STAFF),
    Row("GET /v1/tickets/work", None, POST, SOMEBODY, "read by the caller's own post", query={"of": "mine"}, lists=HOLDER),
    Row("GET /v1/tickets/work", None, SOMEBODY, why="read by the subject", query={"of": "reported"}, lists=REPORTER),
    Row("POST /v1/devices", "register_device", OFFICER, STAFF | NEIGHBOUR, body=REGISTER),
    Row("GET /v1/devices/{device_id}", "read_device", STAFF),
    Row("GET /v1/devices/{device_id}/readings", "read_device", STAFF, query=READINGS),
    Row("GET /v1/devices", "list_grid_devices", STAFF, query={"grid_id": "{grid_id}"}, lists=STAFF, item="device_id"),
    Row("POST /v1/devices/{device_id}/credentials", "issue_credentials", OFFICER, STAFF),
    Row("POST /v1/devices/{device_id}/moves", "move_device", OFFICER, STAFF, body=MOVE),
    Row("POST /v1/devices/{device_id}/revocations", "revoke_device", OFFICER, STAFF, body=SEEN),
    Row("POST /v1/devices/{device_id}/retirement", "retire_device", OFFICER, STAFF, body=SEEN),
    place("room_id"),
    place("building_id"),
    place("grid_id"),
    found("read_place", STAFF | NEIGHBOUR, lat="{lat}", lon="{lon}", datum="WGS-84"),
    found("read_place", STAFF | NEIGHBOUR, community="{community}", address="{address}1单元0101室"),
    found("read_device", STAFF, device_id="{device_id}"),
    appointed("grid_worker", "grid_id"),
    appointed("duty_officer", "community"),
    appointed("duty_officer", "county"),
    appointed("administrator", "city"),
    Row(
        "POST /v1/identity/residents", "appoint", ADMINISTRATOR, about="community",
        body={"subject": "{subject}", "community": "{community}"},
    ),
    Row("GET /v1/identity/me", None, SOMEBODY, why="says what the token says"),
    Row("GET /v1/identity/divisions/{code}", None, SOMEBODY, why=PUBLIC, path={"code": "{county}"}),
    Row("GET /v1/identity/divisions/{code}/children", None, SOMEBODY, why=PUBLIC, path={"code": "{county}"}),
    Row("GET /v1/identity/divisions/{code}/ancestors", None, SOMEBODY, why=PUBLIC, path={"code": "{county}"}),
    Row("GET /v1/openapi.json", None, ANYBODY, why="the document of the API"),
)  # fmt: skip
