"""`make device-check`: a device against docs/device.md, judged from what the platform received.

`--class smoke_detector` registers a test device on the running local Linli and lets the built-in reference device be it.
`--device-id ID --wait 300` looks for so long at a real device that is registered already, on the local Linli or, with
AWS_PROFILE, in the account; `--credentials FOLDER` (certificate.pem, private.key, ca.pem) with `--endpoint HOST` lets another
device's topic be tried, first of all: the check then connects as the device, which is disconnected by it and has to come back.
Exit code: 0 if nothing failed, 1 if something did, 2 if it could not be tried.
"""

import argparse
import base64
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from awscrt.exceptions import AwsCrtError

from infra.local.admin import account_is_meant, account_outputs, local_outputs
from infra.local.client import ANSWERED_WITHIN, Broker, Device, new_key
from infra.local.device_rules import RULES, HeardEvent, HeardReading, Received, Verdict, verdicts
from infra.local.process import LocalError
from infra.local.reference_device import ReferenceDevice
from infra.local.runtime import running
from infra.local.seed import BUILDINGS, Demonstration
from linli.clock import beijing_day
from linli.deviceclass import DeviceClass, class_names, device_class

SETTLED = 5.0
"""Seconds without anything new after which what was sent has arrived, if all that is asked for is there."""
LACKING = 25.0
"""The same while something is lacking: a function's first start takes its time."""
PATIENCE = 120.0
CREDENTIALS = ("certificate.pem", "private.key", "ca.pem")
SIGNS = {"pass": "通过 pass", "fail": "未通过 FAIL", "skip": "未测 skipped"}


def main(arguments: list[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.credentials and not options.endpoint:
        parser.error("--credentials 须同时给出 --endpoint / needs --endpoint, the MQTT host told at registration")
    try:
        found = _reference(options) if options.device_class else _real(options)
    except LocalError as error:
        print(f"  {error}", file=sys.stderr)
        return 2
    return report(found)


def report(found: list[Verdict]) -> int:
    """Print the verdicts, Chinese first; 1 if one failed."""
    for one in found:
        print(f"  {SIGNS[one.outcome]:<14} {one.zh} {one.en}" + (f"\n{'':<17}{one.detail}" if one.detail else ""))
    failed, skipped = (sum(one.outcome == outcome for one in found) for outcome in ("fail", "skip"))
    if failed:
        print(f"  {failed} 项未通过，{skipped} 项未测 / {failed} of {len(found)} rules failed, {skipped} not tried")
    elif skipped:
        print(f"  无未通过项，{skipped} 项未测 / nothing failed, {skipped} not tried")
    else:
        print(f"  全部 {len(found)} 项通过 / all {len(found)} rules passed")
    return 1 if failed else 0


def check(of: DeviceClass, device_id: str, live: Callable[[], bool | None], skipped: dict[str, str]) -> list[Verdict]:
    """Let the device live, wait until nothing more arrives, judge; `live` says whether a foreign topic was refused."""
    since = datetime.now(UTC)
    refused = live()
    give_up, seen, quiet_since = time.monotonic() + PATIENCE, -1, time.monotonic()
    while True:
        received = collect(of, device_id, since=since, foreign_refused=refused)
        found = verdicts(received, of, skipped)
        count = len(received.events) + len(received.readings) + len(received.parked)
        if count != seen:
            seen, quiet_since = count, time.monotonic()
        enough = LACKING if any(one.outcome == "fail" for one in found) else SETTLED
        if time.monotonic() > min(give_up, quiet_since + enough):
            return found
        time.sleep(0.2)


def try_foreign_topic(device_id: str, folder: Path, broker: Broker) -> bool:
    """Whether the broker refuses the device on another device's topic. Raises LocalError if it does not let it in at all."""
    try:
        device = Device(device_id, folder, broker)
        wrong = device.connect().exception(ANSWERED_WITHIN)
    except (AwsCrtError, OSError, RuntimeError) as error:  # the last: a key or certificate that is none
        wrong = error
    if wrong:
        where = f"{broker.host}:{broker.port}"
        raise LocalError(
            f"以设备身份连不上 {where} / the device's credentials do not connect there: {wrong!r}"
        ) from wrong
    try:
        device.publish(f"{broker.prefix}/v1/{device_id}-other/events", {"event": "check"})
    except (AwsCrtError, TimeoutError):
        return True
    device.__exit__(None, None, None)
    return False


def collect(of: DeviceClass, device_id: str, *, since: datetime, foreign_refused: bool | None) -> Received:
    """What the tables hold of the device from then on."""
    from devices.store import DeviceStore

    registry = DeviceStore()
    steps = registry.table.steps(f"THING#{device_id}")
    return Received(
        events=tuple(_events(of, device_id, since)),
        messages=tuple(_messages(device_id, since)),
        parked=tuple(_parked(device_id, since)),
        confirmed=any(step.action == "confirm_certificate" and step.at >= since for step in steps),
        foreign_refused=foreign_refused,
    )


def _events(of: DeviceClass, device_id: str, since: datetime) -> Iterator[HeardEvent]:
    from alarms.commands import ACTIVE
    from alarms.store import AlarmStore

    store = AlarmStore()
    for name in of.events:
        rule = of.event_rule(name)
        for step in store.history(device_id, rule.alarm_type) if rule else ():
            if step.at < since or not step.note:
                continue
            identity, _, state = step.note.rpartition(" ")
            at, seq = identity.split("#")[:2]
            yield HeardEvent(name, datetime.fromisoformat(at), int(seq), state == ACTIVE, step.action, step.at)


def _messages(device_id: str, since: datetime) -> Iterator[tuple[HeardReading, ...]]:
    """Each message's readings, of whatever day the device believed it was within three days of now."""
    from devices.telemetry_store import TelemetryStore

    store = TelemetryStore()
    now = datetime.now(UTC)
    for day in sorted({beijing_day(now + timedelta(days=number)) for number in range(-3, 4)}):
        rows, _ = store.day(device_id, day, limit=1000)
        for row in rows:
            if row.received_at >= since - timedelta(seconds=1):
                yield tuple(
                    HeardReading(r.at, r.seq, tuple(r.values), tuple(r.suspect), row.received_at) for r in row.readings
                )


def _parked(device_id: str, since: datetime) -> Iterator[tuple[str, str | None]]:
    import boto3

    database = boto3.client("dynamodb")
    for table in (os.environ["ALARMS_TABLE"], os.environ["DEVICES_TABLE"]):
        for day in {beijing_day(since), beijing_day(datetime.now(UTC))}:
            pages = database.get_paginator("query").paginate(
                TableName=table,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": f"PARKED#{day}"}},
                ConsistentRead=True,
            )
            for row in (item for page in pages for item in page["Items"]):
                if datetime.fromisoformat(row["parked_at"]["S"]) >= since and _thing(row) == device_id:
                    yield row["reason"]["S"], row.get("field", {}).get("S")


def _thing(row: dict[str, Any]) -> str | None:
    try:
        return str(json.loads(base64.b64decode(row["payload"]["S"]))["thing"])
    except (ValueError, KeyError, TypeError):
        return None  # not what a rule put on the queue


def use(outputs: dict[str, str]) -> None:
    """Point the stores at a deployment's tables."""
    os.environ["DEVICES_TABLE"], os.environ["ALARMS_TABLE"] = outputs["DevicesTable"], outputs["AlarmsTable"]


def register_test_device(demonstration: Demonstration, class_name: str) -> tuple[str, Path]:
    """A device with its own key at the demonstration's first building; its id and its folder."""
    name = f"check-{secrets.token_hex(4)}"
    folder = demonstration.devices / name
    wanted = {"device_class": class_name, "serial": name, "place_id": BUILDINGS[0], "csr": new_key(folder)}
    answer = demonstration.client("officer").post("/v1/devices", wanted)
    if answer.status != 201:
        raise LocalError(f"登记测试设备失败 the test device was not registered: {answer.status} {answer.body}")
    (folder / "certificate.pem").write_text(answer.body["credentials"]["certificate_pem"])
    return str(answer.body["device"]["device_id"]), folder


def _reference(options: argparse.Namespace) -> list[Verdict]:
    use(local_outputs())
    live = running()
    of = device_class(options.device_class)
    if live is None or of is None:
        raise LocalError(f"没有这个设备类别 no such class, there are: {', '.join(class_names())}")
    demonstration = Demonstration(*live)
    device_id, folder = register_test_device(demonstration, of.name)
    print(f"  {of.zh} {of.en}: {device_id}")
    broker = demonstration.broker()

    def act() -> bool:
        refused = try_foreign_topic(device_id, folder, broker)
        ReferenceDevice(of, device_id, folder, broker).live()
        return refused

    return check(of, device_id, act, dict(options.skip))


def _real(options: argparse.Namespace) -> list[Verdict]:
    from devices.domain import DeviceAbsent
    from devices.store import DeviceStore

    use(account_outputs() if account_is_meant(os.environ) else local_outputs())
    try:
        device = DeviceStore().device(options.device_id)
    except DeviceAbsent as error:
        raise LocalError(f"没有登记这个设备 no such device: {options.device_id}") from error
    of = device_class(device.device_class)
    if of is None:
        raise LocalError(f"没有这个设备类别 no such class: {device.device_class}")
    print(f"  {of.zh} {of.en}: {device.device_id}")

    def act() -> bool | None:
        refused = _foreign(device.device_id, options) if options.credentials else None
        print(
            f"  请在 {options.wait} 秒内：补发读数、逐一触发并解除各事件、更新证书\n"
            f"  within {options.wait} s: send kept readings, begin and end each event ({', '.join(of.events)}), renew"
        )
        time.sleep(options.wait)
        return refused

    return check(of, device.device_id, act, dict(options.skip))


def _foreign(device_id: str, options: argparse.Namespace) -> bool:
    lacking = [name for name in CREDENTIALS if not (options.credentials / name).is_file()]
    if lacking:
        raise LocalError(f"{options.credentials} 中缺少 / lacks {', '.join(lacking)}")
    print(
        "  以设备身份连接，设备会断开一次 / connecting as the device, which is disconnected once and has to come back"
    )
    broker = Broker(options.endpoint, options.port, options.credentials / "ca.pem", options.prefix)
    return try_foreign_topic(device_id, options.credentials, broker)


def _skip(text: str) -> tuple[str, str]:
    """A rule that is not tried, and why."""
    rule, _, reason = text.partition("=")
    if not reason or rule not in {one.name for one in RULES}:
        raise argparse.ArgumentTypeError(f"RULE=REASON, RULE one of {', '.join(one.name for one in RULES)}")
    return rule, reason


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make device-check", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--class", dest="device_class", help=f"one of {', '.join(class_names())}")
    which.add_argument("--device-id", help="a registered device, yours")
    parser.add_argument("--wait", type=int, default=120, help="seconds to look at it")
    parser.add_argument("--credentials", type=Path, help=f"folder with {', '.join(CREDENTIALS)}; needs --endpoint")
    parser.add_argument("--endpoint", help="MQTT host, as told at registration")
    parser.add_argument("--port", type=int, default=8883)
    parser.add_argument("--prefix", default="linli")
    parser.add_argument("--skip", type=_skip, action="append", default=[], metavar="RULE=REASON")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
