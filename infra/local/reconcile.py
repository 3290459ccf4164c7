"""`make reconcile`: what the tables disagree on after one of them was restored to a moment, and how they agree again.

In the deployment in use (as `make admin` finds it). First the rows of each ticket among themselves, then devices and alarms
with what others have heard of them: the older side is told again what it does not know, by the same facts as ever.
`--dry-run` only says what is found. Run it until it finds nothing; what it cannot mend it names each time, with the reason.

A fact that is on its way looks like one that was lost: what is found is looked at again after `--settle` seconds, and
only what is still so counts. What is told twice does no harm.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from alarms.domain import Alarm, KnownDevice, Moment, alarm_terms
from alarms.events import AlarmCleared, AlarmRaised
from alarms.store import AlarmStore
from devices.commands import changed
from devices.domain import Device
from devices.store import DeviceStore
from infra.local.admin import outputs_in_use
from linli.clock import new_id, utc_now
from linli.commands import command
from linli.errors import StaleVersion
from linli.facts import Envelope, Fact, envelope
from linli.table import Step
from linli.versions import Item
from tickets.domain import State
from tickets.mending import MendingStore
from tickets.repair import BY, Finding, Inspection
from tickets.store import HeardSensor

SETTLE = 20
LONG_AGO = Moment(datetime(1970, 1, 1, tzinfo=UTC), 0)
Look = Callable[[], Iterator[Finding]]


class Agreement:
    """Looks at the tables named in the environment, a partition at a time."""

    def __init__(self, dynamodb: Any) -> None:
        self._dynamodb = dynamodb
        self._tickets = MendingStore()
        self._alarms = AlarmStore()
        self._devices = DeviceStore()

    def within_tickets(self) -> Iterator[Finding]:
        inspection = Inspection(self._tickets, utc_now)
        for pk, items in self._partitions("TICKETS_TABLE"):
            yield from inspection.look(pk, items)

    def between(self) -> Iterator[Finding]:
        """Every device against what `alarms` knows, every alarm and every detector `tickets` heard against each other."""
        for pk, items in self._partitions("DEVICES_TABLE"):
            if pk.startswith("THING#") and any(item["sk"]["S"] == "D" for item in items):
                yield from self._device(pk.removeprefix("THING#"))
        for pk, items in self._partitions("ALARMS_TABLE"):
            device = self._alarms.device(pk.removeprefix("DEVICE#")) if pk.startswith("DEVICE#") else None
            for item in items:
                alarm_type = item["sk"]["S"].removeprefix("A#")
                if device and item["sk"]["S"].startswith("A#") and "#" not in alarm_type:
                    yield from self._alarm(device, alarm_type)
        for pk, _ in self._partitions("TICKETS_TABLE"):
            if pk.startswith("SENSOR#"):
                yield from self._heard(pk.removeprefix("SENSOR#"))

    def _partitions(self, variable: str) -> Iterator[tuple[str, list[Item]]]:
        """The rows of a table by partition: a scan brings those of one partition one after the other."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=os.environ[variable], ConsistentRead=True)
        items = (item for page in pages for item in page["Items"])
        for pk, group in groupby(items, key=lambda item: item["pk"]["S"]):
            yield pk, list(group)

    def _device(self, device_id: str) -> Iterator[Finding]:
        device, known = self._devices.device(device_id), self._alarms.device(device_id)
        if known is None:
            yield Finding("device-unknown-to-alarms", device_id, lambda: self._introduce(device))
        elif known.version < device.version and (known.state, known.place) != (device.state.value, device.place):
            yield Finding("device-otherwise-than-known", device_id, lambda: self._introduce(device))

    def _introduce(self, device: Device) -> None:
        """As it now is; one that is retired is told too, so that what still alarms of it ends."""
        at = utc_now()
        self._devices.table.commit([], at=at, facts=[changed(device, at=at, correlation_id=new_id(at))])

    def _alarm(self, device: KnownDevice, alarm_type: str) -> Iterator[Finding]:
        terms = alarm_terms(device.device_class, alarm_type)
        if terms is None:
            return
        alarm = self._alarms.alarm(device, terms)
        heard = self._tickets.sensor(alarm.aggregate_id)
        known = heard.sensor.version if heard else 0
        if known < alarm.published or (alarm.active and heard and heard.sensor.active and not self._has_ticket(heard)):
            kind = "alarm-without-its-ticket" if alarm.active else "end-of-alarm-unheard"
            yield Finding(kind, alarm.aggregate_id, lambda: self._tell(alarm, known))
        elif heard and known == alarm.published and heard.sensor.active != alarm.active:
            yield Finding("alarm-otherwise-than-heard", alarm.aggregate_id, lambda: self._tell_anew(alarm))

    def _has_ticket(self, heard: HeardSensor) -> bool:
        ticket = self._tickets.find(heard.ticket_id) if heard.ticket_id else None
        return ticket is not None and ticket.state is not State.CLOSED

    def _heard(self, aggregate_id: str) -> Iterator[Finding]:
        """An alarm restored to before what `tickets` heard: its next fact would count as an old one."""
        heard = self._tickets.sensor(aggregate_id)
        device_id, _, alarm_type = aggregate_id.partition("#")
        device = self._alarms.device(device_id)
        terms = alarm_terms(device.device_class, alarm_type) if device else None
        if heard is None:
            return
        if device is None or terms is None:
            why_not = "the alarms table does not know the device yet: run it again when that is mended"
            yield Finding("alarm-unknown", aggregate_id, None, why_not)
            return
        alarm = self._alarms.alarm(device, terms)
        if alarm.published < heard.sensor.version:
            yield Finding("alarm-behind-what-was-heard", aggregate_id, lambda: self._catch_up(alarm, heard))

    def _tell(self, alarm: Alarm, known: int) -> None:
        """Its last facts again, under the versions they had; if it ended, its beginning too unless that was heard."""
        about = {"alarm_id": alarm.alarm_id, "device_id": alarm.device_id, "alarm_type": alarm.alarm_type}
        last = alarm.last or LONG_AGO
        facts: list[tuple[Fact, int]] = []
        if alarm.active or known < alarm.published - 1:
            raised = AlarmRaised(**about, severity=alarm.severity, place=alarm.place, raised_at=last.at)
            facts.append((raised, alarm.published if alarm.active else alarm.published - 1))
        if not alarm.active:
            facts.append((AlarmCleared(**about, cleared_at=(alarm.cleared or last).at), alarm.published))
        self._tickets.forget(command(name, alarm.alarm_id).key for name in ("alarm_raised", "alarm_cleared"))
        self._alarms.table.commit([], at=utc_now(), facts=[_said(fact, alarm, version) for fact, version in facts])

    def _tell_anew(self, alarm: Alarm) -> None:
        """The alarms table went on after its restore and gave a version twice: its present state, as a new word."""
        at = utc_now()
        anew = replace(alarm, version=alarm.version + 1, published=alarm.published + 1, alarm_id=new_id(at))
        self._save(anew, at)
        self._tell(anew, alarm.published)

    def _catch_up(self, alarm: Alarm, heard: HeardSensor) -> None:
        """As `tickets` heard it; under a new id, because the end of the one it remembers may have been heard already."""
        at = utc_now()
        last = alarm.last or LONG_AGO
        self._save(
            replace(
                alarm,
                version=alarm.version + 1,
                published=heard.sensor.version,
                active=heard.sensor.active,
                alarm_id=new_id(at),
                occurrences=max(1, alarm.occurrences),
                last=last,
                cleared=alarm.cleared if heard.sensor.active else last,
                correlation_id=alarm.correlation_id or new_id(at),
            ),
            at,
        )

    def _save(self, alarm: Alarm, at: datetime) -> None:
        state = "active" if alarm.active else "cleared"
        step = Step("reconciled", at, BY, alarm.correlation_id, state=state)
        asked = command("reconcile", alarm.aggregate_id, str(alarm.version))
        self._alarms.save(alarm, step=step, command=asked, facts=[])


def _said(fact: Fact, alarm: Alarm, version: int) -> Envelope:
    return envelope(
        fact,
        aggregate_id=alarm.aggregate_id,
        aggregate_version=version,
        at=utc_now(),
        correlation_id=alarm.correlation_id,
    )


def reconcile(agreement: Agreement, *, dry_run: bool, settle: float, say: Callable[[str], None]) -> Counter[str]:
    """Look, and mend unless `dry_run`; how many were found, mended, changed meanwhile, and not to be mended."""
    count: Counter[str] = Counter()
    for look in (agreement.within_tickets, agreement.between):
        for finding in _lasting(look, settle):
            count["found"] += 1
            count[_dealt_with(finding, dry_run=dry_run, say=say)] += 1
    return count


def _lasting(look: Look, settle: float) -> list[Finding]:
    """What is found twice, `settle` seconds apart."""
    first = {(finding.kind, finding.about) for finding in look()}
    if not first:
        return []
    time.sleep(settle)
    return [finding for finding in look() if (finding.kind, finding.about) in first]


def _dealt_with(finding: Finding, *, dry_run: bool, say: Callable[[str], None]) -> str:
    name = f"{finding.kind:<28} {finding.about}"
    if finding.mend is None:
        say(f"  {name}  无法修复 / cannot be mended: {finding.why_not}")
        return "beyond"
    if dry_run:
        say(f"  {name}")
        return "mendable"
    try:
        finding.mend()
    except StaleVersion:
        say(f"  {name}  期间已变动 / changed meanwhile: run it again")
        return "changed"
    say(f"  {name}  已修复 / mended")
    return "mended"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make reconcile", description="Make restored tables agree.")
    parser.add_argument("--dry-run", action="store_true", help="say what is found, write nothing")
    parser.add_argument("--settle", type=float, default=SETTLE, help=f"seconds until a second look (default {SETTLE})")
    options = parser.parse_args(arguments)
    outputs = outputs_in_use()
    for context in ("devices", "alarms", "tickets"):
        os.environ[f"{context.upper()}_TABLE"] = outputs[f"{context.capitalize()}Table"]
    try:
        agreement = Agreement(boto3.client("dynamodb"))
        count = reconcile(agreement, dry_run=options.dry_run, settle=options.settle, say=print)
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"  对账中断，可重新运行 / stopped, run it again: {error}")
    print(
        f"  发现 found {count['found']}，已修复 mended {count['mended']}，"
        f"期间变动 changed {count['changed']}，无法修复 beyond mending {count['beyond']}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
