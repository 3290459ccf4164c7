"""A device of any class that does what docs/device.md asks; makers may read it beside their own."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from infra.local.client import Broker, Device, renew
from linli.deviceclass import DeviceClass

KEPT = timedelta(hours=2)
"""From how long ago the first reading is that it kept while it was away."""
COPIES = 3
"""How often it sends each event, as one that heard no acknowledgement does."""


class ReferenceDevice:
    """Its life in one call: readings kept while away, one of now, every event, a renewed certificate."""

    def __init__(self, of: DeviceClass, device_id: str, folder: Path, broker: Broker) -> None:
        self.of = of
        self.device_id = device_id
        self.folder = folder
        self.broker = broker
        self.counter = time.time_ns() // 1_000_000

    def live(self) -> None:
        with Device(self.device_id, self.folder, self.broker) as device:
            device.ask("endpoint")
            if self.of.metrics:
                device.publish_telemetry(self.kept())
                device.publish_telemetry([self.reading(self.now())])
            for name, event in self.of.events.items():
                self.send(device, name, "active")
                if not event.momentary:
                    self.send(device, name, "clear")
        self.renew()

    def kept(self) -> list[dict[str, Any]]:
        """Four readings, half an hour apart."""
        start = self.now() - KEPT
        return [self.reading(start + number * KEPT / 4) for number in range(4)]

    def reading(self, at: datetime) -> dict[str, Any]:
        """Every metric in the middle of its range."""
        values = {name: (metric.minimum + metric.maximum) / 2 for name, metric in self.of.metrics.items()}
        return {"t": at.isoformat(), "seq": self.next(), "v": values}

    def send(self, device: Device, event: str, state: str) -> None:
        message = {"at": self.now().isoformat(), "seq": self.next(), "event": event, "state": state}
        for _ in range(COPIES):
            device.publish_event(message)

    def renew(self) -> None:
        renew(self.device_id, self.folder, self.folder / "renewed", self.broker)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def next(self) -> int:
        self.counter += 1
        return self.counter
