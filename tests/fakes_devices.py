"""States and history of devices, in memory and real, with what tests do to them; and an archive."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from devices.domain import Device
from devices.figures import Hours
from devices.history import Kept
from devices.state import DeviceState, Told
from devices.store import DeviceStore
from devices.telemetry_store import StateRow, TelemetryStore
from linli.clock import iso
from linli.commands import command
from linli.deviceclass import DeviceClass
from linli.errors import StaleVersion
from linli.facts import Envelope
from linli.table import Put, Step
from tests.support import NOW


class FakeTelemetryStore:
    """`requests` counts what the real store would ask its table for."""

    def __init__(self) -> None:
        self.requests = 0
        self.facts: list[Envelope] = []
        self._states: dict[str, DeviceState] = {}
        self._days: dict[tuple[str, str], dict[str, Kept]] = {}
        self._hours: dict[tuple[str, str], tuple[Hours, datetime]] = {}

    def add_device(self, device: Device) -> None:
        self._states[device.device_id] = DeviceState(device.device_id, device.device_class, device.registered_at)

    def bar(self, device_id: str, reason: str) -> None:
        known = self._states[device_id]
        self._states[device_id] = replace(known, barred=reason, revision=known.revision + 1)

    def states(self, device_ids: Iterable[str]) -> dict[str, DeviceState]:
        wanted = set(device_ids)
        self.requests += -(-len(wanted) // 100)
        return {one: self._states[one] for one in wanted if one in self._states}

    def save(self, state: DeviceState, *, facts: Iterable[Envelope], at: datetime) -> None:
        self.requests += 1
        if self._states[state.device_id].revision != state.revision:
            raise StaleVersion("expected_version")
        self._states[state.device_id] = replace(state, revision=state.revision + 1)
        self.facts.extend(facts)

    def keep(self, kept: Sequence[Kept]) -> set[tuple[str, str]]:
        self.requests += -(-len(kept) // 25)
        for one in kept:
            self._days.setdefault((one.device_id, one.day), {})[one.key] = one
        return set()

    def keep_first(self, kept: Kept) -> None:
        self.requests += 1
        self._days.setdefault((kept.device_id, kept.day), {}).setdefault(kept.key, kept)

    def day(
        self, device_id: str, day: str, *, limit: int, newest_first: bool = False, after: str | None = None
    ) -> tuple[list[Kept], str | None]:
        self.requests += 1
        rows = self._days.get((device_id, day), {})
        keys = sorted(rows)
        if newest_first:
            keys = keys[: bisect_left(keys, after) if after else None][::-1]
        else:
            keys = keys[bisect_right(keys, after) if after else 0 :]
        page = keys[:limit]
        return [rows[key] for key in page], page[-1] if len(page) == limit else None

    def keep_hours(self, device_id: str, day: str, hours: Hours, *, expires_at: datetime) -> None:
        self.requests += 1
        self._hours[device_id, day] = hours, expires_at

    def closed_days(self, device_id: str, first: str, last: str, *, limit: int, now: datetime) -> dict[str, Hours]:
        self.requests += 1
        days = sorted(day for known, day in self._hours if known == device_id and first <= day <= last)[:limit]
        kept = {day: self._hours[device_id, day] for day in days}
        return {day: hours for day, (hours, expires_at) in kept.items() if expires_at > now}


class RealStore(TelemetryStore):
    """With what the tests do to a store beside its port."""

    def add_device(self, device: Device) -> None:
        step = Step("register", device.registered_at, "officer-1", "r-1")
        DeviceStore().add(device, step=step, command=command("test", device.device_id), facts=[])

    def bar(self, device_id: str, reason: str) -> None:
        known = self.states([device_id])[device_id]
        row = StateRow(f"THING#{device_id}", "STATE", device_class=known.device_class, heard_at=iso(known.heard_at))
        row.barred, row.revision, row.watch, row.conditions = reason, known.revision + 1, known.watch, {}
        self.table.commit([Put(row)], at=NOW)

    @property
    def facts(self) -> list[Any]:
        rows = self.table._outbox.scan(self.table._outbox.pk.startswith("OUT#"))
        return [Fact(row.fact) for row in sorted(rows, key=lambda row: row.sk)]


class Fact:
    def __init__(self, fact: dict[str, Any]) -> None:
        self.__dict__ |= fact


class FakeArchive:
    """`busy` are the things whose messages it does not take."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str]] = []
        self.busy: set[str] = set()

    def add(self, told: Sequence[tuple[Told, DeviceClass]]) -> set[int]:
        left = {place for place, (message, _) in enumerate(told) if message.thing in self.busy}
        self.kept += [(of.name, message.thing) for place, (message, of) in enumerate(told) if place not in left]
        return left
