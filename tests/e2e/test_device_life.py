"""A device's life with real parts: its endpoint, its renewal without a person, its move, its end."""

import json
import secrets
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from awscrt.exceptions import AwsCrtError

from devices.state import OFFER
from infra.local.client import Device, new_key, renew
from infra.local.seed import BUILDINGS, GRIDS
from linli.wake import Wake
from tests.contract.test_device_contract import example
from tests.e2e.world import ROOM, World, until

ELSEWHERE = f"{BUILDINGS[2]}-1-0201"


def change(world: World, device_id: str, how: str, **more: Any) -> Any:
    version = world.officer.get(f"/v1/devices/{device_id}").body["version"]
    return world.officer.post(f"/v1/devices/{device_id}/{how}", {"expected_version": version, **more})


def connects(world: World, device_id: str, folder: str) -> bool:
    try:
        with Device(device_id, world.linli.devices / folder, world.linli.broker()):
            return True
    except AwsCrtError:
        return False


def test_a_device_asks_where_to_connect_and_is_told_the_broker_it_is_at(world: World) -> None:
    device_id = world.register()
    with world.device(device_id) as device:
        answer = device.ask("endpoint")
    broker = world.linli.broker()
    assert (answer["endpoint"], answer["port"], answer["prefix"]) == (broker.host, broker.port, "linli")
    assert answer["topics"]["answers"] == f"linli/v1/{device_id}/answers"
    assert answer["certificate_expires_at"] > answer["at"]


def test_registered_with_its_own_key_it_connects_and_alarms(world: World) -> None:
    name = f"own-{secrets.token_hex(6)}"
    folder = world.linli.devices / name
    wanted = {"device_class": "smoke_detector", "serial": name, "place_id": ROOM, "csr": new_key(folder)}
    answer = world.officer.post("/v1/devices", wanted).body
    assert "private_key" not in answer["credentials"]
    (folder / "certificate.pem").write_text(answer["credentials"]["certificate_pem"])
    device_id = answer["device"]["device_id"]
    with Device(device_id, folder, world.linli.broker()) as device:
        device.event("smoke", "active")
        assert world.ticket_of(device_id)["device_id"] == device_id


def test_a_device_renews_its_certificate_and_the_old_one_ends_only_then(world: World) -> None:
    device_id = world.register()
    folder, renewed = world.linli.devices / device_id, world.linli.devices / f"{device_id}-new"
    csr = new_key(renewed)
    with world.device(device_id) as device:
        answer = device.ask("certificate", csr=csr)
        assert device.ask("certificate", csr=csr)["certificate_id"] == answer["certificate_id"]
        assert device.ask("certificate", csr=new_key(folder / "other"))["refused"]["code"] == "renewal-too-soon"
        assert device.ask("certificate", csr="nonsense")["refused"]["code"] == "csr-unusable"
        assert device.ask("confirm")["refused"]["code"] == "not-renewed"
    (renewed / "certificate.pem").write_text(answer["certificate_pem"])
    assert connects(world, device_id, device_id)
    with Device(device_id, renewed, world.linli.broker()) as device:
        assert device.ask("confirm")["certificate_id"] == answer["certificate_id"]
        until("the end of the old one", lambda: not connects(world, device_id, device_id))
    assert connects(world, device_id, f"{device_id}-new")


def test_an_offer_nobody_confirmed_ends_when_timers_asks(world: World) -> None:
    """The wake is asked for by a fact; here its week is over at once."""
    device_id = world.register()
    renewed = world.linli.devices / f"{device_id}-late"
    csr = new_key(renewed)
    with world.device(device_id) as device:
        answer = device.ask("certificate", csr=csr)
    (renewed / "certificate.pem").write_text(answer["certificate_pem"])
    assert connects(world, device_id, renewed.name)
    over = datetime.now(UTC) + timedelta(days=8)
    wake = Wake("devices", device_id, OFFER, 2, over)
    event = {"at": over.isoformat(), "wakes": [wake.sort_key]}
    functions = world.linli.runtime.client("lambda")
    said = functions.invoke(FunctionName="linli-devices-on-wake", Payload=json.dumps(event).encode())
    assert json.loads(said["Payload"].read()) == {"answers": [{"wake": wake.sort_key, "then": None}]}
    assert not connects(world, device_id, renewed.name)
    assert connects(world, device_id, device_id)


def test_a_moved_detectors_next_alarm_goes_to_the_other_grids_worker(world: World) -> None:
    device_id = world.register()
    with world.device(device_id) as device:
        device.event("smoke", "active")
        before = world.ticket_of(device_id)
        device.event("smoke", "clear")
        old = f"/v1/tickets/{before['ticket_id']}"
        until("the end", lambda: not world.officer.get(old).body["sensor_active"])
        moved = change(world, device_id, "moves", place_id=ELSEWHERE)
        assert (moved.status, moved.body["place"]["grid_id"]) == (201, GRIDS[1])
        path = "/v1/grid/places"
        until("grid to know", lambda: world.officer.get(path, device_id=device_id).body["place_id"] == ELSEWHERE)
        until("alarms to know", lambda: GRIDS[1] in str(world.rows("alarms", f"DEVICE#{device_id}")))
        device.event("smoke", "active")
        mine = until("work for the other worker", lambda: _work(world.worker2, device_id))
    assert mine["place"]["grid_id"] == GRIDS[1]
    kept = world.officer.get(old).body
    assert (kept["place"]["grid_id"], kept["state"], kept["sensor_active"]) == (GRIDS[0], "dispatched", False)
    listed = world.worker2.get("/v1/devices", grid_id=GRIDS[1], limit=100).body["items"]
    assert device_id in {item["device_id"] for item in listed}
    assert world.worker.get("/v1/devices", grid_id=GRIDS[1]).status == 404


def test_a_revoked_device_is_refused_at_once_and_new_credentials_bring_it_back(world: World) -> None:
    device_id = world.register()
    device = Device(device_id, world.linli.devices / device_id, world.linli.broker())
    device.__enter__()
    assert change(world, device_id, "revocations").status == 201
    with pytest.raises(Exception):  # noqa: B017 - the broker ends the live connection; how that shows is its own
        device.event("smoke", "active")
    assert not connects(world, device_id, device_id)
    assert world.history(device_id) == []
    assert change(world, device_id, "revocations").body["code"] == "device-withdrawn"
    answer = world.officer.post(f"/v1/devices/{device_id}/credentials", {}).body
    assert answer["device"]["state"] == "in_service"


def test_what_a_withdrawn_device_sent_before_its_end_was_known_is_parked(world: World) -> None:
    """A message of a revoked device that is still on its way: put on the queue as the rule would."""
    device_id = world.register("water_meter")
    assert change(world, device_id, "revocations").status == 201
    before = len(world.parked("devices"))
    world.deliver("linli-devices-telemetry", device_id, {"readings": []})
    until("a parked message", lambda: len(world.parked("devices")) == before + 1)


def test_retiring_a_device_that_alarms_ends_its_alarm_so_that_its_ticket_can_be_closed(world: World) -> None:
    device_id = world.register()
    with world.device(device_id) as device:
        device.event("smoke", "active")
        ticket = world.ticket_of(device_id)
    assert change(world, device_id, "retirement").status == 201
    path = f"/v1/tickets/{ticket['ticket_id']}"
    until("a quiet ticket", lambda: not world.officer.get(path).body["sensor_active"])


def test_a_retired_device_is_gone_and_its_serial_number_is_free(world: World) -> None:
    device_id = world.register()
    view = world.officer.get(f"/v1/devices/{device_id}").body
    retired = change(world, device_id, "retirement")
    assert (retired.status, retired.body["state"]) == (201, "retired")
    assert not connects(world, device_id, device_id)
    things = world.linli.runtime.client("iot").list_things()["things"]
    assert device_id not in {thing["thingName"] for thing in things}
    assert change(world, device_id, "moves", place_id=ELSEWHERE).status == 409
    again = {"device_class": view["device_class"], "serial": view["serial"], "place_id": ROOM}
    assert world.officer.post("/v1/devices", again).body["device"]["device_id"] != device_id
    until("grid to forget", lambda: world.officer.get("/v1/grid/places", device_id=device_id).status == 404)


def test_the_reference_renewal_works_from_end_to_end(world: World) -> None:
    device_id = world.register()
    answer = renew(
        device_id, world.linli.devices / device_id, world.linli.devices / f"{device_id}-2", world.linli.broker()
    )
    assert answer["certificate_id"] == world.rows("devices", f"THING#{device_id}")[0]["certificate_id"]["S"]


def _work(client: Any, device_id: str) -> dict[str, Any] | None:
    for item in client.get("/v1/tickets/work", limit=100).body["items"]:
        ticket = client.get(f"/v1/tickets/{item['ticket_id']}").body
        if ticket.get("device_id") == device_id:
            return dict(ticket)
    return None


def test_the_example_of_the_contract_page_runs_as_it_stands(world: World, tmp_path: Path) -> None:
    name = f"page-{secrets.token_hex(6)}"
    wanted = {"device_class": "smoke_detector", "serial": name, "place_id": ROOM, "csr": new_key(tmp_path)}
    answer = world.officer.post("/v1/devices", wanted).body
    (tmp_path / "registered.json").write_text(json.dumps(answer))
    (tmp_path / "certificate.pem").write_text(answer["credentials"]["certificate_pem"])
    (tmp_path / "ca.pem").write_bytes(world.linli.broker().ca.read_bytes())
    subprocess.run([sys.executable, "-c", example()], cwd=tmp_path, check=True, timeout=60)
    device_id = answer["device"]["device_id"]
    assert world.ticket_of(device_id)["category"] == "smoke"
    path = f"/v1/devices/{device_id}"
    state = until("the last state", lambda: world.officer.get(path).body.get("last_state"))
    assert state["values"] == {"battery": 87.0, "temperature": 21.5}
