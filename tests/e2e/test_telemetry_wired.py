"""Telemetry with real parts: what a device publishes, however its clock goes, is what the API shows; and the raw archive."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from linli.clock import BEIJING, iso
from tests.e2e.world import World, until

HOUR = timedelta(hours=1)


def reading(now: datetime, hours: float, seq: int, flow: float) -> dict[str, Any]:
    return {"t": iso(now + hours * HOUR), "seq": seq, "v": {"flow": flow}}


def shown(world: World, device_id: str, start: datetime, end: datetime, **more: Any) -> dict[str, Any]:
    path = f"/v1/devices/{device_id}/readings"
    answer = world.officer.get(path, metric="flow", **{"from": iso(start), "to": iso(end)}, **more)
    assert answer.status == 200, answer.body
    return dict(answer.body)


def test_late_early_twice_out_of_order_years_off_and_days_old(world: World) -> None:
    device_id = world.register("water_meter")
    now = datetime.now(UTC).replace(microsecond=0)
    newest = [reading(now, -1, 4, 4.0), reading(now, 0, 5, 5.0)]
    with world.device(device_id) as meter:
        meter.publish_telemetry(newest)
        meter.publish_telemetry([reading(now, -2, 3, 3.0)])
        meter.publish_telemetry(newest)
        meter.publish_telemetry([reading(now, 3, 6, 6.0)])
        meter.publish_telemetry([reading(now, -24 * 365 * 20, 1, 1.0)])
        meter.publish_telemetry([reading(now, hours, 100 + int(hours), 2.0) for hours in range(-60, -50)])
        meter.publish_telemetry([reading(now, -0.5, 7, -8.0)])

    def all_there() -> bool:
        readings = shown(world, device_id, now - 70 * HOUR, now + 4 * HOUR)["readings"]
        return len({(r["at"], r["seq"]) for r in readings}) == 15

    until("every reading", all_there)
    state = world.officer.get(f"/v1/devices/{device_id}").body["last_state"]
    assert (state["seq"], state["values"]) == (5, {"flow": 5.0})
    flags = {
        r["seq"]: (r["trusted"], r["suspect"])
        for r in shown(world, device_id, now - 3 * HOUR, now + 4 * HOUR)["readings"]
    }
    assert flags == {3: (True, False), 4: (True, False), 5: (True, False), 6: (False, False), 7: (True, True)}
    old = now - 24 * 365 * 20 * HOUR
    assert [r["seq"] for r in shown(world, device_id, old, old + HOUR)["readings"]] == [1]
    figures = shown(world, device_id, now - 96 * HOUR, now + HOUR, resolution="day")["figures"]
    early = (now + 3 * HOUR).astimezone(BEIJING).date() == now.astimezone(BEIJING).date()
    assert sum(day["n"] for day in figures) == 13 + early
    span = {"from": iso(now - HOUR), "to": iso(now)}
    assert world.resident.get(f"/v1/devices/{device_id}/readings", metric="flow", **span).status == 404


def test_sensitive_values_reach_nobody(world: World) -> None:
    device_id = world.register("heart_rate_band")
    now = datetime.now(UTC)
    with world.device(device_id) as band:
        band.publish_telemetry([{"t": iso(now), "seq": 1, "v": {"heart_rate": 61.5}}])
    day = f"{now.astimezone(BEIJING):%Y%m%d}"
    until("the row", lambda: world.rows("devices", f"THING#{device_id}#{day}"))
    body = world.officer.get(f"/v1/devices/{device_id}").body
    assert body["values_hidden"] is True
    assert "last_state" not in body
    assert "61.5" not in json.dumps(body)
    assert not [one for one in archived(world) if one["class"] == "heart_rate_band"]


def test_a_threshold_becomes_a_ticket_and_ends_by_itself(world: World) -> None:
    device_id = world.register("smoke_detector")
    now = datetime.now(UTC)
    with world.device(device_id) as detector:
        detector.publish_telemetry([{"t": iso(now - HOUR), "seq": 1, "v": {"battery": 9}}])
        ticket = world.ticket_of(device_id)
        assert ticket["sensor_active"] is True
        assert world.officer.get(f"/v1/devices/{device_id}").body["conditions"] == ["battery_low"]
        detector.publish_telemetry([{"t": iso(now), "seq": 2, "v": {"battery": 90}}])
        path = f"/v1/tickets/{ticket['ticket_id']}"
        until("the end", lambda: not world.officer.get(path).body["sensor_active"])


def archived(world: World) -> list[dict[str, Any]]:
    """Every archived record, each found in the partition it names."""
    files = world.linli.runtime.client("s3")
    (bucket,) = [b["Name"] for b in files.list_buckets()["Buckets"] if "-telemetry-" in b["Name"]]
    found = []
    for item in files.list_objects_v2(Bucket=bucket).get("Contents", []):
        partition = re.match(r"telemetry/class=(\w+)/day=([0-9-]{10})/", item["Key"])
        assert partition, item["Key"]
        for line in files.get_object(Bucket=bucket, Key=item["Key"])["Body"].read().splitlines():
            record = json.loads(line)
            assert (record["class"], record["day"]) == partition.groups()
            found.append(record)
    return found


def test_what_was_told_is_in_the_archive_in_its_partition(world: World) -> None:
    device_id = world.register("water_meter")
    now = datetime.now(UTC)
    readings = [reading(now, -1, 1, 1.5), reading(now, 0, 2, -9.0)]
    with world.device(device_id) as meter:
        meter.publish_telemetry(readings)

    def of_device() -> list[dict[str, Any]]:
        return [m for record in archived(world) for m in record["messages"] if m["thing"] == device_id]

    message = until("the archive", of_device)[0]
    assert message["readings"] == [readings[0], {**readings[1], "suspect": ["flow"]}]


def test_a_watched_device_falls_silent_and_is_heard_again(world: World) -> None:
    """The tick's own message, for a minute that has not come yet: the owner takes the time it is asked for."""
    device_id = world.register("lift")
    with world.device(device_id) as lift:
        lift.publish_telemetry([{"t": iso(datetime.now(UTC)), "seq": 1, "v": {"load": 100}}])
        until("the state", lambda: world.officer.get(f"/v1/devices/{device_id}").body.get("last_state"))
    functions = world.linli.runtime.client("lambda")
    key = until("the wake", lambda: wake_key(world, device_id))
    at = iso(datetime.now(UTC) + timedelta(minutes=46))
    event = json.dumps({"at": at, "wakes": [key]}).encode()

    def answers() -> list[dict[str, str]]:
        """None while the end of the connection is being written."""
        answer = functions.invoke(FunctionName="linli-devices-on-wake", Payload=event)
        return list(json.loads(answer["Payload"].read())["answers"])

    (said,) = until("an answer", answers)
    assert said["then"].endswith("#2#2")  # the closing of its last day
    ticket = world.ticket_of(device_id)
    with world.device(device_id) as lift:
        lift.publish_telemetry([{"t": iso(datetime.now(UTC)), "seq": 2, "v": {"load": 100}}])
    path = f"/v1/tickets/{ticket['ticket_id']}"
    until("the device to be heard", lambda: not world.officer.get(path).body["sensor_active"])


def wake_key(world: World, device_id: str) -> str | None:
    """The row of the silence watch of generation 2, wherever timers put it."""
    pages = world.database.get_paginator("scan").paginate(TableName="linli-timers")
    keys = (item["sk"]["S"] for page in pages for item in page["Items"])
    return next((key for key in keys if key.endswith(f"#{device_id}#0#2")), None)


def test_a_lost_connection_is_known_and_its_return_too(world: World) -> None:
    device_id = world.register("lift")

    def connected() -> bool | None:
        presence = presence_of(world, device_id)
        return presence and bool(presence[0])

    with world.device(device_id):
        until("the connection", lambda: connected() is True)
    until("its end", lambda: connected() is False)


def presence_of(world: World, device_id: str) -> list[Any] | None:
    rows = (row for row in world.rows("devices", f"THING#{device_id}") if row["sk"]["S"] == "STATE")
    return next((json.loads(row["presence"]["S"]) for row in rows if "presence" in row), None)
