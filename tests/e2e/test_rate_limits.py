"""A caller who asked too often is told to wait, and nobody else is."""

from datetime import UTC, datetime, timedelta

from infra.local.client import Answer
from infra.local.seed import COMMUNITY, Person
from linli.clock import iso
from tests.e2e.world import World

SOMEBODY = Person("curious", "居民乙")
"""An account of its own: what it uses up nobody else needs."""
MINUTES = 30


def test_who_has_asked_too_often_is_told_when_to_come_back(world: World) -> None:
    subject = world.linli.make_user(SOMEBODY)
    body = {"subject": subject, "community": COMMUNITY}
    assert world.admin.post("/v1/identity/residents", body, key="curious-resident").status == 201
    client = world.linli.client(SOMEBODY.name)

    def find() -> Answer:
        return client.get("/v1/grid/places", community=COMMUNITY, address="没有这条路1号")

    assert find().status == 404
    (first, *_) = counted = world.rows("grid", f"RATE#find#{subject}")
    assert (len(counted), first["calls"]) == (1, {"N": "1"})
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    for number in range(MINUTES):
        row = {**first, "sk": {"S": iso(minute + timedelta(minutes=number))}, "calls": {"N": "60"}}
        world.database.put_item(TableName="linli-grid", Item=row)
    refused = find()
    assert (refused.status, refused.body["code"]) == (429, "too-many-requests")
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert world.resident.get("/v1/grid/places", community=COMMUNITY, address="没有这条路1号").status == 404
    assert client.get("/v1/identity/me").status == 200
