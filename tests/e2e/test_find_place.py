"""Places over the API: a point, an address and a registered device lead to the grid and to who is on duty."""

import secrets
import time
from typing import Any

from infra.local.community import demonstration
from infra.local.seed import BUILDINGS, COMMUNITY, GRIDS, Demonstration
from tests.canary import serial

HOME = demonstration().community.buildings[0]
ROOM = f"{BUILDINGS[0]}-1-0201"


def test_a_point_an_address_and_a_device_lead_to_the_worker_on_duty(linli: Demonstration) -> None:
    officer = linli.client("officer")
    name = f"test-{secrets.token_hex(6)}"
    body = {"device_class": "smoke_detector", "serial": serial(name), "place_id": ROOM}
    device_id = linli.register(officer, name, body, key=name)
    where = HOME.position
    asked: list[dict[str, Any]] = [
        {"lat": where.lat, "lon": where.lon, "datum": where.datum},
        {"community": COMMUNITY, "address": f"{HOME.address}1单元0201室"},
        {"device_id": device_id},
    ]
    give_up = time.monotonic() + 30
    while (found := officer.get("/v1/grid/places", **asked[2])).status == 404 and time.monotonic() < give_up:
        time.sleep(0.2)
    answers = [found, *(officer.get("/v1/grid/places", **query) for query in asked)]
    assert [answer.status for answer in answers] == [200] * 4
    assert {answer.body["grid"]["grid_id"] for answer in answers} == {GRIDS[0]}
    assert {answer.body["duty"]["post_id"] for answer in answers} == {"grid-worker-001"}
    assert [answer.body["place_id"] for answer in answers] == [ROOM, GRIDS[0], ROOM, ROOM]
    assert linli.client("worker2").get("/v1/grid/places", **asked[0]).status == 404
    for caller in ("worker2", "resident"):
        assert linli.client(caller).get("/v1/grid/places", **asked[2]).status == 404
