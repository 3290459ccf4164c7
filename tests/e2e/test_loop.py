"""The loop with real parts: a device with its own certificate, the rules, the queues, the bus, the API."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from infra.local.client import Device
from infra.local.demo import play
from infra.local.seed import BUILDINGS, COMMUNITY, GRIDS, Demonstration
from infra.local.water_signal import readings
from linli.clock import iso
from tests.canary import NAME, NOTE, PHONE, TEXT
from tests.e2e.world import PATIENCE, ROOM, World, drained, take, until


def test_the_demonstration_plays_to_its_end(linli: Demonstration) -> None:
    ticket = play(linli)
    assert ticket["state"] == "closed"
    assert [step["action"] for step in ticket["timeline"]] == ["open", "accept", "handle", "alarm_cleared", "verify"]
    assert ticket["place"] == {
        "path": ["34", "3401", "340104", "340104002", COMMUNITY],
        "grid_id": GRIDS[0],
        "building_id": BUILDINGS[0],
        "room_id": f"{BUILDINGS[0]}-1-0102",
    }


def test_it_does_not_close_while_the_detector_alarms_again(world: World) -> None:
    device_id = world.register()
    with world.device(device_id) as detector:
        detector.event("smoke", "active")
        ticket = world.ticket_of(device_id)
        ticket = take(world.worker, ticket, "accept").body
        ticket = take(world.worker, ticket, "handle", note=NOTE).body
        assert ticket["state"] == "done"
        detector.event("smoke", "clear")
        path = f"/v1/tickets/{ticket['ticket_id']}"
        until("verification", lambda: world.officer.get(path).body["state"] == "verifying")
        detector.event("smoke", "active")
        until("the verification to stop", lambda: world.officer.get(path).body["state"] == "done")
        ticket = world.officer.get(path).body
        refused = take(world.officer, ticket, "verify")
        assert (refused.status, refused.body["code"]) == (409, "sensor-still-alarms")
        assert len(world.tickets_of(device_id)) == 1


def test_one_correlation_id_from_the_message_to_the_last_step(world: World) -> None:
    device_id = world.register()
    with world.device(device_id) as detector:
        detector.event("smoke", "active")
        ticket = world.ticket_of(device_id)
    alarm = next(row for row in world.rows("alarms", f"DEVICE#{device_id}") if row["sk"]["S"] == "A#smoke")
    assert alarm["correlation_id"]["S"] == ticket["correlation_id"]


def test_telemetry_of_a_real_signal_and_its_last_state(world: World) -> None:
    device_id = world.register("water_meter")
    signal = readings(48, until=datetime.now(UTC))
    with world.device(device_id) as meter:
        for start in (24, 0, 24):
            meter.publish_telemetry(signal[start : start + 24])
    path = f"/v1/devices/{device_id}"
    until("the last state", lambda: world.officer.get(path).body.get("last_state"))
    since = datetime.now(UTC) - timedelta(days=4)  # the signal has gaps
    wanted = {"metric": "flow", "from": iso(since), "to": iso(datetime.now(UTC)), "limit": 100}
    until("both days", lambda: len(world.officer.get(f"{path}/readings", **wanted).body["readings"]) == 48)
    state = world.officer.get(path).body["last_state"]
    assert (state["seq"], state["values"]) == (48, signal[-1]["v"])


def test_bad_messages_are_parked_and_the_good_one_among_them_counts(world: World) -> None:
    device_id = world.register()
    before = len(world.parked("alarms"))
    with world.device(device_id) as detector:
        detector.publish_event(b"\xff\xfe\x00 not json " + TEXT.encode())
        detector.publish_event({"at": f"at {PHONE}", "seq": 1, "event": "smoke", "state": "active"})
        detector.publish_event({"at": datetime.now(UTC).isoformat(), "seq": 2, "event": "smoke", "state": NAME})
        detector.publish_event(b"x" * 100_000)
        detector.event("smoke", "active")
        until("four parked messages", lambda: len(world.parked("alarms")) == before + 4)
        ticket = world.ticket_of(device_id)
    assert ticket["sensor_active"]
    reasons = [(row.get("field", {}).get("S"), row["reason"]["S"], row["size"]["N"]) for row in world.parked("alarms")]
    assert {reason for _, reason, _ in reasons} >= {"json_invalid", "datetime_parsing", "literal_error"}


def test_another_things_topic_is_refused_and_reaches_nobody(world: World) -> None:
    victim, attacker = world.register(), world.register()
    device = Device(attacker, world.linli.devices / attacker, world.linli.broker())
    device.__enter__()
    message = {"at": datetime.now(UTC).isoformat(), "seq": 1, "event": "smoke", "state": "active"}
    with pytest.raises(Exception):  # noqa: B017 - the broker closes the connection; how that shows is its own
        device.publish(f"linli/v1/{victim}/events", message)
    with world.device(attacker) as detector:
        detector.event("smoke", "active")
        world.ticket_of(attacker)
    assert world.history(victim) == []


def test_a_revoked_certificate_no_longer_connects(world: World) -> None:
    device_id = world.register()
    renewed = world.officer.post(f"/v1/devices/{device_id}/credentials", {})
    assert renewed.status == 201
    with pytest.raises(Exception), world.device(device_id):  # noqa: B017 - refused in the handshake
        pass


def test_200_copies_of_one_alarm_are_one_alarm_and_one_ticket(world: World) -> None:
    device_id = world.register()
    message = {"at": datetime.now(UTC).isoformat(), "seq": 1, "event": "smoke", "state": "active"}
    with world.device(device_id) as detector:
        sent = [detector.send(message) for _ in range(200)]
        for one in sent:
            one.result(PATIENCE)
    world.ticket_of(device_id)
    drained(world)
    assert world.history(device_id) == ["raised"]
    assert len(world.tickets_of(device_id)) == 1


def test_500_events_of_20_devices_delivered_twice_are_500(world: World) -> None:
    devices = [world.register() for _ in range(20)]
    start = datetime.now(UTC) - timedelta(minutes=5)

    def publish(device_id: str) -> None:
        messages = [
            {
                "at": (start + timedelta(seconds=number)).isoformat(),
                "seq": number,
                "event": "smoke",
                "state": "active" if number % 2 else "clear",
            }
            for number in range(1, 26)
        ]
        with world.device(device_id) as detector:
            for one in [detector.send(message) for message in messages * 2]:
                one.result(PATIENCE)

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(publish, devices))
    until("500 events", lambda: sum(len(world.history(device_id)) for device_id in devices) >= 500)
    drained(world)
    assert {device_id: len(world.history(device_id)) for device_id in devices} == dict.fromkeys(devices, 25)
    for device_id in devices:
        (ticket,) = world.tickets_of(device_id)
        until(
            "the last word", lambda t=ticket: world.officer.get(f"/v1/tickets/{t['ticket_id']}").body["sensor_active"]
        )


def test_64_racers_on_one_step_have_one_winner(world: World) -> None:
    body = {"category": "repair", "text": TEXT, "place_id": ROOM}
    ticket = world.resident.post("/v1/tickets", body).body
    world.worker.get(f"/v1/tickets/{ticket['ticket_id']}")  # the gateway knows the token from here on
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: take(world.worker, ticket, "accept"), range(64)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 63
    assert {answer.body["code"] for answer in answers if answer.status == 409} <= {"stale-version", "step-forbidden"}
    assert len(world.officer.get(f"/v1/tickets/{ticket['ticket_id']}").body["timeline"]) == 2
