"""Many devices watched over virtual hours while some fall silent: each is missed in its minute, once, and none other."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from devices.domain import Device, Reading
from devices.history import Kept
from devices.state import Told, silent_at
from devices.telemetry import first_watch, keep_telemetry
from devices.watching import look
from linli.log import logger
from linli.wake import Answer, Wake
from tests.fakes_devices import FakeArchive, FakeTelemetryStore
from tests.fakes_timers import FakeWakeStore
from tests.support import NOW, PLACE
from timers.domain import SHARDS
from timers.drain import drain

MINUTE = timedelta(minutes=1)
EVERY, LIMIT, HOURS = 15, 2700, 3
SILENT_ONE_IN = 50
LOG = logger("timers")


class NewestOnly(FakeTelemetryStore):
    """Keeps the newest row of a day: what more of them would say is not asked for here, and a million devices fit."""

    def keep(self, kept: Sequence[Kept]) -> set[tuple[str, str]]:
        for one in kept:
            self._days[one.device_id, one.day] = {one.key: one}
        self.requests += -(-len(kept) // 25)
        return set()


class Nowhere(FakeArchive):
    def add(self, told: Any) -> set[int]:
        return set()


class Province:
    """Devices that speak every quarter of an hour, each in its own minute; one in fifty stops at some time."""

    def __init__(self, size: int) -> None:
        self.store, self.wakes = NewestOnly(), FakeWakeStore()
        self.heard: dict[int, datetime] = {}
        self.size, self.asked, self.requests, self.messages, self.ingest_requests = size, 0, 0, 0, 0
        self.missed: dict[str, datetime] = {}
        self._facts = 0
        for number in range(size):
            device = Device(f"{number:07}", "lift", str(number), PLACE, NOW, "certificate")
            self.store.add_device(device)
            self.store.facts += first_watch(device, correlation_id="r-1")
            self.heard[number] = NOW
        self.plan()

    def plan(self) -> None:
        """What the facts ask for; and which silences they tell of."""
        asked = []
        for fact in self.store.facts:
            data = fact.data
            if fact.type == "DeviceWakeWanted":
                at = datetime.fromisoformat(data["fire_at"])
                asked.append(Wake("devices", data["ref"], data["rung"], data["generation"], at, data["severity"]))
            else:
                assert (data["active"], data["device_id"] in self.missed) == (True, False)
                self.missed[data["device_id"]] = datetime.fromisoformat(data["changed_at"])
        self.store.facts.clear()
        self.wakes.add(asked, now=NOW)

    def stops_at(self, number: int) -> int | None:
        """The minute from which a device says nothing more."""
        return (number // SILENT_ONE_IN) % (HOURS * 60 - LIMIT // 60 - EVERY) if number % SILENT_ONE_IN == 0 else None

    def speak(self, minute: int) -> None:
        at = NOW + minute * MINUTE + timedelta(seconds=17)
        speaking = []
        for number in range(minute % EVERY, self.size, EVERY):
            stop = self.stops_at(number)
            if stop is None or minute < stop:
                self.heard[number] = at
                speaking.append(Told(f"{number:07}", [Reading(at, minute, {"load": 1.0})], at, "t"))
        before = self.store.requests
        for start in range(0, len(speaking), 100):
            batch = speaking[start : start + 100]
            assert keep_telemetry(batch, store=self.store, archive=Nowhere(), clock=lambda: at) == {}
        self.ingest_requests += self.store.requests - before
        self.messages += len(speaking)

    def wake(self, wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
        self.asked += len(wakes)
        before = self.store.requests
        answers = look(wakes, at=at, store=self.store, clock=lambda: at)
        self.requests += self.store.requests - before
        return answers

    def tick(self, minute: int) -> float:
        at = NOW + minute * MINUTE
        started = time.perf_counter()
        drained = drain(at, range(SHARDS), owners={"devices": self}, store=self.wakes, clock=lambda: at, log=LOG)
        assert drained.left == 0
        return time.perf_counter() - started


@pytest.mark.parametrize("size", [2_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_every_silence_is_told_in_its_minute_and_no_other(size: int, capsys: pytest.CaptureFixture[str]) -> None:
    province = Province(size)
    late, longest = timedelta(0), 0.0
    for minute in range(HOURS * 60 + 1):
        known = set(province.missed)
        longest = max(longest, province.tick(minute))
        province.plan()
        for device_id in province.missed.keys() - known:
            due_at = silent_at(province.heard[int(device_id)], LIMIT)
            assert province.missed[device_id] == due_at
            late = max(late, NOW + minute * MINUTE - due_at)
        province.speak(minute)
        province.plan()
        if minute == EVERY:  # from here on every device has spoken, and its row stands
            province.messages = province.ingest_requests = 0
    due = {f"{n:07}" for n, at in province.heard.items() if silent_at(at, LIMIT) <= NOW + HOURS * 60 * MINUTE}
    assert province.missed.keys() == due
    assert len(due) == -(-size // SILENT_ONE_IN)
    assert late <= MINUTE
    # Who speaks is watched by one row of the newest plan; a row of an older one is gone by now.
    watched = [wake.ref for wake in (Wake.parse(key) for key, _ in province.wakes.rows()) if wake.rung == 0]
    assert sorted(watched) == sorted(f"{n:07}" for n in range(size) if f"{n:07}" not in due)
    with capsys.disabled():
        print(
            f"\n  {size:,} devices, {HOURS} h, {len(due):,} silent: at most {late.total_seconds():.0f} s late in virtual time,",
            end=" ",
        )
        print(f"the longest minute's drain took {longest:.2f} s;", end=" ")
        print(f"{province.asked:,} wakes, {province.requests / province.asked:.3f} requests each;", end=" ")
        print(f"{1000 * province.ingest_requests / province.messages:.1f} requests a thousand messages", end="")
