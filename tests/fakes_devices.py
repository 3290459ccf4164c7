"""States and history of devices in memory: the port of the telemetry store, held to the same tests; and an archive."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from devices.domain import Device
from devices.history import Kept
from devices.state import DeviceState, Told
from linli.deviceclass import DeviceClass
from linli.errors import StaleVersion
from linli.facts import Envelope


class FakeTelemetryStore:
    """`requests` counts what the real store would ask its table for."""

    def __init__(self) -> None:
        self.requests = 0
        self.facts: list[Envelope] = []
        self._states: dict[str, DeviceState] = {}
        self._days: dict[tuple[str, str], dict[str, Kept]] = {}

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


class FakeArchive:
    """`busy` are the things whose messages it does not take."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str]] = []
        self.busy: set[str] = set()

    def add(self, told: Sequence[tuple[Told, DeviceClass]]) -> set[int]:
        left = {place for place, (message, _) in enumerate(told) if message.thing in self.busy}
        self.kept += [(of.name, message.thing) for place, (message, of) in enumerate(told) if place not in left]
        return left
