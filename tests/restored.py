"""Devices, alarms and tickets on real tables, for tests that take some of their rows away."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import boto3

from alarms.commands import hear
from alarms.domain import KnownDevice, event_said, event_terms
from alarms.on_device_changed import remember
from alarms.store import AlarmStore
from devices.commands import changed
from devices.domain import Device
from devices.events import DeviceRegistered
from devices.store import DeviceStore
from infra.local.reconcile import Agreement, reconcile
from linli.clock import utc_now
from linli.commands import command
from linli.facts import envelope
from linli.table import Step
from tests.fakes import FakeSeals
from tests.support import NOW, OFFICER, PLACE, RESIDENT, table_on_moto
from tickets.commands import Report, StepWanted, open_ticket, step_ticket
from tickets.domain import Ticket
from tickets.on_alarm_cleared import on_alarm_cleared
from tickets.on_alarm_raised import on_alarm_raised
from tickets.store import TicketStore

CONSUMERS = {
    "AlarmRaised": on_alarm_raised,
    "AlarmCleared": on_alarm_cleared,
    "DeviceChanged": remember,
    "DeviceRegistered": remember,
}
SMOKE = event_terms("smoke_detector", "smoke")
SEALS = FakeSeals()
Item = dict[str, Any]


class World:
    """Devices, alarms and tickets on real tables, facts delivered by hand."""

    def __init__(self) -> None:
        self.dynamodb = boto3.client("dynamodb")
        self.alarms, self.tickets, self.devices = AlarmStore(), TicketStore(), DeviceStore()
        self.said = 0

    def rows(self, context: str, prefix: str = "") -> list[Item]:
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=f"linli-{context}",
            FilterExpression="begins_with(pk, :prefix)",
            ExpressionAttributeValues={":prefix": {"S": prefix}},
        )
        return [item for page in pages for item in page["Items"]]

    def row(self, context: str, pk: str, sk: str) -> Item:
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        return dict(self.dynamodb.get_item(TableName=f"linli-{context}", Key=key)["Item"])

    def put(self, context: str, item: Item) -> None:
        self.dynamodb.put_item(TableName=f"linli-{context}", Item=item)

    def fill(self, context: str, items: list[Item]) -> None:
        for start in range(0, len(items), 25):
            puts = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
            self.dynamodb.batch_write_item(RequestItems={f"linli-{context}": puts})

    def drop(self, context: str, pk: str, sk: str) -> None:
        self.dynamodb.delete_item(TableName=f"linli-{context}", Key={"pk": {"S": pk}, "sk": {"S": sk}})

    def restore(self, context: str, items: list[Item]) -> None:
        """The table as it was."""
        for item in self.rows(context):
            self.drop(context, item["pk"]["S"], item["sk"]["S"])
        self.fill(context, items)

    def relay(self) -> None:
        """What the outboxes hold reaches its readers."""
        for context in CONTEXTS:
            for item in sorted(self.rows(context, "OUT#"), key=lambda one: one["sk"]["S"]):
                fact = json.loads(item["fact"]["S"])
                if fact["type"] in CONSUMERS:
                    CONSUMERS[fact["type"]](json.dumps({"detail": fact}))
                self.drop(context, item["pk"]["S"], item["sk"]["S"])

    def device(self, name: str) -> str:
        device = Device(name, "smoke_detector", f"serial-{name}", PLACE, NOW, "certificate")
        said = DeviceRegistered(device_id=name, device_class="smoke_detector", place=PLACE)
        fact = envelope(said, aggregate_id=name, aggregate_version=1, at=NOW, correlation_id="r")
        step = Step("register", NOW, "officer", "r")
        self.devices.add(device, step=step, command=command("register", name), facts=[fact])
        self.relay()
        return name

    def retire(self, device_id: str) -> None:
        """Its alarms end with it."""
        device = self.devices.device(device_id).after("retire")
        step = Step("retire", utc_now(), "officer", "r", state=device.state.value)
        fact = changed(device, at=step.at, correlation_id="r")
        self.devices.save(device, step=step, command=command("retire", device_id), facts=[fact])
        self.relay()

    def smoke(self, device_id: str, *, active: bool, relay: bool = True) -> None:
        self.said += 1
        at = utc_now() + timedelta(seconds=self.said)
        event = event_said(at, self.said, active=active, received_at=at)
        device = KnownDevice(device_id, "smoke_detector", PLACE)
        hear(device, SMOKE, event, correlation_id=f"trace-{device_id}", store=self.alarms, clock=utc_now)
        if relay:
            self.relay()

    def ticket_of(self, device_id: str) -> Ticket:
        heard = self.tickets.sensor(f"{device_id}#smoke")
        assert heard is not None
        assert heard.ticket_id is not None
        return self.tickets.ticket(heard.ticket_id)

    def report(self, key: str) -> Ticket:
        return open_ticket(
            Report("repair", "楼道灯不亮", PLACE.room_id or ""),
            key=key,
            actor=RESIDENT.acting(None),
            request_id="r",
            locate=lambda _: PLACE,
            store=self.tickets,
            seals=SEALS,
            clock=utc_now,
        )

    def step(self, ticket: Ticket, name: str) -> Ticket:
        wanted = StepWanted(name, ticket.version, "看过")
        return step_ticket(
            ticket.ticket_id,
            wanted,
            key=f"{name}-0001",
            actor=OFFICER.acting(None),
            store=self.tickets,
            seals=SEALS,
            clock=utc_now,
        )

    def found(self) -> list[str]:
        """The kinds a dry run finds, in order."""
        return self._reconciled(dry_run=True)

    def mend(self) -> list[str]:
        """The kinds found and, as far as anything can, mended; what that told has arrived."""
        kinds = self._reconciled(dry_run=False)
        self.relay()
        return kinds

    def _reconciled(self, *, dry_run: bool) -> list[str]:
        kinds: list[str] = []
        reconcile(self.agreement(), dry_run=dry_run, settle=0, say=lambda line: kinds.append(line.split()[0]))
        return kinds

    def agreement(self) -> Agreement:
        return Agreement(self.dynamodb)


CONTEXTS = ("devices", "alarms", "tickets")


@contextmanager
def empty() -> Iterator[World]:
    with ExitStack() as tables:
        for context in CONTEXTS:
            tables.enter_context(table_on_moto(context))
        yield World()
