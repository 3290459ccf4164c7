"""The deployment, as its users and its operator see it."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from infra.local.build import LOCAL_TEMPLATE
from infra.local.client import Client, Device
from infra.local.deploy import deployed
from infra.local.process import write_json
from infra.local.seed import BUILDINGS, GRIDS, Demonstration
from tests.canary import serial
from tests.support import ROOT, delivery

ROOM = f"{BUILDINGS[0]}-1-0201"
PATIENCE = 60.0


@contextmanager
def demonstration(folder: Path) -> Iterator[Demonstration]:
    """Everything deployed and seeded on a MiniStack of its own."""
    with deployed(folder, LOCAL_TEMPLATE) as (runtime, outputs):
        write_json(folder / "run.json", {"complete": True, "outputs": outputs})
        path = os.pathsep.join(str(ROOT / part) for part in ("", "functions", "layers/shared/python"))
        environment = {**os.environ, **runtime.environment(), "PYTHONPATH": path}
        subprocess.run([sys.executable, "-m", "infra.local.seed", str(folder)], check=True, env=environment, cwd=ROOT)
        yield Demonstration(runtime, outputs)


def until(what: str, look: Callable[[], Any], *, patience: float = PATIENCE) -> Any:
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen within {patience} s")


class World:
    """The deployment, as its users and its operator see it."""

    def __init__(self, linli: Demonstration) -> None:
        self.linli = linli
        self.worker, self.worker2 = linli.client("worker"), linli.client("worker2")
        self.officer, self.resident, self.admin = (
            linli.client("officer"),
            linli.client("resident"),
            linli.client("admin"),
        )
        self.database = linli.runtime.client("dynamodb")
        self._owners: dict[str, str] = {}

    def register(self, device_class: str = "smoke_detector") -> str:
        name = f"test-{secrets.token_hex(6)}"
        body = {"device_class": device_class, "serial": serial(name), "place_id": ROOM}
        device_id = self.linli.register(self.officer, name, body, key=name)
        (self.linli.devices / name).rename(self.linli.devices / device_id)
        return device_id

    @contextmanager
    def device(self, device_id: str) -> Iterator[Device]:
        with Device(device_id, self.linli.devices / device_id, self.linli.broker()) as device:
            yield device

    def rows(self, context: str, pk: str) -> list[dict[str, Any]]:
        pages = self.database.get_paginator("query").paginate(
            TableName=f"linli-{context}",
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            ConsistentRead=True,
        )
        return [item for page in pages for item in page["Items"]]

    def parked(self, context: str) -> list[dict[str, Any]]:
        today = datetime.now(UTC).astimezone().strftime("%Y%m%d")
        days = {today, (datetime.now(UTC) + timedelta(hours=8)).strftime("%Y%m%d")}
        return [row for day in days for row in self.rows(context, f"PARKED#{day}")]

    def deliver(self, queue: str, device_id: str, message: Any) -> None:
        """A device's message as its rule puts it on the queue."""
        queues = self.linli.runtime.client("sqs")
        url = queues.get_queue_url(QueueName=queue)["QueueUrl"]
        queues.send_message(QueueUrl=url, MessageBody=delivery(device_id, message, at=datetime.now(UTC)))

    def tickets_of(self, device_id: str) -> list[dict[str, Any]]:
        """The device's open tickets; those known to be of another are not read again."""
        found, cursor = [], None
        while True:
            page = self.officer.get("/v1/tickets/work", of="grid", grid_id=GRIDS[0], limit=100, cursor=cursor).body
            for item in page["items"]:
                if item["kind"] == "alarm" and self._owners.get(item["ticket_id"], device_id) == device_id:
                    ticket = self.officer.get(f"/v1/tickets/{item['ticket_id']}").body
                    self._owners[item["ticket_id"]] = ticket.get("device_id", device_id)
                    found.append(ticket)
            cursor = page.get("next_cursor")
            if cursor is None:
                return [ticket for ticket in found if ticket.get("device_id") == device_id]

    def ticket_of(self, device_id: str) -> dict[str, Any]:
        return dict(until("a ticket", lambda: self.tickets_of(device_id))[0])

    def history(self, device_id: str) -> list[str]:
        rows = self.rows("alarms", f"DEVICE#{device_id}")
        return [row["action"]["S"] for row in rows if "#S#" in row["sk"]["S"]]


def take(client: Client, ticket: dict[str, Any], step: str, **more: Any) -> Any:
    body = {"step": step, "expected_version": ticket["version"], **more}
    return client.post(f"/v1/tickets/{ticket['ticket_id']}/steps", body)


def drained(world: World) -> None:
    """Every queue is empty and every outbox relayed; no dead letters."""
    queues = world.linli.runtime.client("sqs")
    urls = queues.list_queues(QueueNamePrefix="linli-")["QueueUrls"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def waiting() -> int:
        counts = (queues.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"] for url in urls)
        outboxes = (self for context in ("alarms", "devices", "grid", "tickets") for self in outbox(world, context))
        return sum(int(count) for one in counts for count in one.values()) + len(list(outboxes))

    until("the queues to drain", lambda: waiting() == 0)
    dead = [url for url in urls if url.endswith("-dead")]
    assert len(dead) >= 5
    letters = {url: queues.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"] for url in dead}
    assert {json.dumps(counts) for counts in letters.values()} == {json.dumps(dict.fromkeys(names, "0"))}


def outbox(world: World, context: str) -> list[dict[str, Any]]:
    return [row for shard in range(8) for row in world.rows(context, f"OUT#{shard}")]
