"""A sample of the access matrix over the real gateway, authorizer and tables: the demonstration's people, and strangers."""

import json
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, urlencode

import pytest

from infra.local.client import Client
from infra.local.community import demonstration
from infra.local.seed import GRIDS, Person
from linli.access import Caller, Post
from tests.access.asking import Answer, asked, expected, leaks, nameless
from tests.access.ground import ABSENT, LANGYA, TUNXI, Principal, Thing
from tests.access.oracle import ROWS, Row
from tests.canary import TEXT
from tests.e2e.world import World

STRANGERS = (
    Person("tunxi", "值班长丙", "duty-officer-341002001", "duty_officer", TUNXI[:9]),
    Person("langya", "值班长丁", "duty-officer-341102001", "duty_officer", LANGYA[:9]),
    Person("huangshan", "管理员乙", "administrator-3410", "administrator", "3410"),
    Person("chuzhou", "管理员丙", "administrator-3411", "administrator", "3411"),
)
AT_HOME = ("worker", "worker2", "officer", "officer2", "resident", "admin")
SPELLINGS = ("{}%20", "{}%2F", "..%2F{}", "%2e%2e/{}", "{}/..", "x%2F..%2F{}", "%00{}")


@dataclass(frozen=True)
class Made(Thing):
    """A grid of the demonstration, with a device and a ticket made for the sample."""

    device_id: str
    ticket_id: str
    holder: str
    reported_by: str

    @property
    def reporter(self) -> str:
        return self.reported_by

    @cached_property
    def names(self) -> dict[str, str]:
        building = demonstration().community.buildings[self.number - 1]
        where = {"lat": str(building.position.lat), "lon": str(building.position.lon), "address": building.address}
        tickets = dict.fromkeys(("ticket_id", "accepted_id", "verifying_id"), self.ticket_id)
        return {**super().names, **where, **tickets, "device_id": self.device_id}

    @property
    def tickets(self) -> dict[str, str]:
        return {self.ticket_id: self.holder}


@pytest.fixture(scope="module")
def things(world: World) -> list[Made]:
    made = []
    for number, grid_id in ((1, GRIDS[0]), (3, GRIDS[1])):
        room = f"{grid_id[:12]}{number:05}-1-0101"
        report = {"category": "repair", "text": TEXT, "place_id": room}
        ticket = world.resident.post("/v1/tickets", report).body
        reporter = world.resident.get("/v1/identity/me").body["subject"]
        device = {"device_class": "smoke_detector", "serial": f"SAMPLE-{number}", "place_id": room}
        registered = world.officer.post("/v1/devices", device).body["device"]["device_id"]
        made.append(Made(grid_id, grid_id, number, registered, ticket["ticket_id"], ticket["holder"], reporter))
    return made


@pytest.fixture(scope="module")
def people(world: World) -> dict[Principal, Client]:
    for person in STRANGERS:
        body = {"post_id": person.post_id, "role": person.role, "area": person.area}
        body["subject"] = world.linli.make_user(person)
        assert world.admin.post("/v1/identity/posts", body, key=f"sample-{person.name}").status == 201
    found = {}
    for name in (*AT_HOME, *(person.name for person in STRANGERS)):
        client = world.linli.client(name)
        me = client.get("/v1/identity/me").body
        posts = tuple(Post(post["post_id"], post["role"], tuple(post["path"])) for post in me["posts"])
        found[Principal(name, Caller(me["subject"], posts, me.get("home")))] = client
    return found


def ask(client: Client, row: Row, thing: Thing, principal: Principal) -> Answer:
    wanted = asked(row, thing)
    path = quote(wanted["path"]) + (f"?{urlencode(wanted['query'])}" if wanted["query"] else "")
    if row.route.startswith("GET"):
        answer = client.get(path)
    else:
        answer = client.post(path, wanted["body"], key=f"sample-{thing.number}-{principal.name}")
    kept = {name: answer.headers.get(name) for name in ("Content-Type", "Content-Language")}
    return answer.status, kept, json.dumps(answer.body, ensure_ascii=False)


@pytest.mark.parametrize("row", [row for row in ROWS if row.action], ids=str)
def test_the_deployment_answers_as_the_oracle_says(
    row: Row, people: dict[Principal, Client], things: list[Made]
) -> None:
    wrong, cells = [], 0
    for principal, client in people.items():
        absent: Answer | None = None
        for thing in things:
            wanted = expected(row, principal, thing)
            if wanted == 201:
                continue  # what is allowed and writes is what the other tests do
            cells += 1
            answer = ask(client, row, thing, principal)
            name = f"{principal.name} | {thing.name}"
            if answer[0] != wanted:
                wrong.append(f"{name}: {answer[0]} instead of {wanted}: {answer[2]}")
            elif wanted == 404:
                absent = absent or ask(client, row, ABSENT, principal)
                if nameless(answer) != nameless(absent):
                    wrong.append(f"{name}: told apart from what is not there")
            if not row.lists:  # they grow by what the other tests do
                wrong += [f"{name}: {leak}" for leak in leaks(row, principal, thing, answer, things)]
    assert not wrong, "\n".join(wrong)
    assert cells


@pytest.mark.parametrize("name", ["worker2", "tunxi", "langya"])
def test_another_spelling_of_an_id_leads_nowhere(
    people: dict[Principal, Client], things: list[Made], name: str
) -> None:
    client = next(client for principal, client in people.items() if principal.name == name)
    for value, where in (
        (things[0].ticket_id, "tickets"),
        (things[0].device_id, "devices"),
        (things[0].room_id, "grid/places"),
    ):
        spelt = [value, value.lower(), quote(value.translate({ord(d): ord(d) + 0xFEE0 for d in "0123456789"}))]
        for spelling in [*spelt, *(pattern.format(value) for pattern in SPELLINGS)]:
            answer = client.get(f"/v1/{where}/{spelling}")
            assert answer.status in (404, 405, 422), (spelling, answer)
            assert things[0].names["address"] not in str(answer.body)
