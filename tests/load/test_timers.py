"""Many timers: drained, most severe first, each once; requests counted, time measured and printed, never asserted."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.local.process import free_port
from infra.local.runtime import Runtime
from linli.clock import BEIJING
from linli.deadline import Deadline, start
from linli.log import logger
from linli.wake import Answer, Wake
from linli.workcalendar import DAY, Unit, national
from tests.fakes_timers import KEYS, FakeOwner, FakeWakeStore, TableOwner
from timers.domain import LOOKED_BACK, SHARDS
from timers.drain import ASKED, Drained, drain
from timers.store import BATCH, PAGE, WakeStore

CLOSING = datetime(2026, 11, 24, 17, 30, tzinfo=BEIJING)
LATER = datetime(2026, 11, 25, 17, 30, tzinfo=BEIJING)
ORDER = ["critical", "major", "minor", "warning", None]
EMPTY_MINUTE = (LOOKED_BACK + 2) * SHARDS + 1
"""A mark and four pages for each shard, then the marks."""
TABLE = "linli-timers"
LOG = logger("timers")


def two_days(closing: datetime) -> Deadline:
    """Two working days whose first is over at this closing."""
    return start(2 * DAY, Unit.WORKING_DAYS, national(), at=closing - timedelta(days=1, hours=6))


def severity(number: int) -> str | None:
    return ORDER[number * 7919 % 5]


class Report:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, what: str, count: int, seconds: float, requests: int) -> None:
        """Rungs fired (or timers planned), how long it took, how many requests."""
        with self._capsys.disabled():
            print(f"\n  {what}: {count:,} in {seconds:.1f} s = {count / seconds:,.0f} timers/s,", end=" ")
            print(f"{requests:,} requests = {requests / count:.3f} each", end="")


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Report:
    return Report(capsys)


@pytest.fixture
def dynamodb(tmp_path: Path) -> Iterator[Any]:
    with Runtime(tmp_path / "runtime", free_port(), free_port()) as runtime:
        client = runtime.client("dynamodb")
        client.create_table(TableName=TABLE, **KEYS)
        yield client


def timed_drain(owner: Any, store: Any, minute: datetime = CLOSING) -> tuple[Drained, float]:
    started = time.perf_counter()
    drained = drain(minute, range(SHARDS), owners={"tickets": owner}, store=store, clock=lambda: minute, log=LOG)
    return drained, time.perf_counter() - started


def test_ten_thousand_through_the_real_store(dynamodb: Any, report: Report) -> None:
    store = WakeStore(dynamodb, TABLE)
    owner = FakeOwner("tickets", {f"T{number}": severity(number) for number in range(20_000)})
    due, later = two_days(CLOSING), two_days(LATER)
    started = time.perf_counter()
    wakes = [owner.hold(ref, due if number < 10_000 else later) for number, ref in enumerate(owner.severities)]
    store.add([wake for wake in wakes if wake], now=CLOSING - DAY)
    report("planned, real store", 20_000, time.perf_counter() - started, store.requests)
    assert store.requests == 20_000 / BATCH

    assert timed_drain(owner, store, CLOSING - timedelta(minutes=1))[0] == Drained(requests=EMPTY_MINUTE)

    drained, seconds = timed_drain(owner, store)
    assert (drained.answered, drained.left) == (10_000, 0)
    assert sorted(owner.reached) == sorted((f"T{number}", 50) for number in range(10_000))
    ranks = [ORDER.index(owner.severities[ref]) for ref, _ in owner.reached]
    assert ranks == sorted(ranks)
    report("drained, real store, owner in memory", 10_000, seconds, drained.requests)
    assert timed_drain(owner, store)[0] == Drained(requests=EMPTY_MINUTE - 1)  # the marks stand there already


def test_with_the_items_in_a_table_too(dynamodb: Any, report: Report) -> None:
    class Counted:
        requests = 0

        def __getattr__(self, name: str) -> Any:
            self.requests += 1
            return getattr(dynamodb, name)

    client, store = Counted(), WakeStore(dynamodb, TABLE)
    owner = TableOwner("tickets", {f"T{number}": severity(number) for number in range(300)}, client, TABLE)
    wakes = [owner.hold(ref, two_days(CLOSING)) for ref in owner.severities]
    store.add([wake for wake in wakes if wake], now=CLOSING - DAY)
    client.requests = 0
    drained, seconds = timed_drain(owner, store)
    requests = drained.requests + client.requests
    report("drained, real store, items in a table", 300, seconds, requests)
    assert sorted(owner.rungs()) == sorted((ref, 50) for ref in owner.severities)


class CountingOwner:
    """Counts how often each item is woken, and whether the most severe came first; wants no other row."""

    def __init__(self, size: int) -> None:
        self.woken = bytearray(size)
        self.rank = 0
        self.in_order = True

    def wake(self, wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
        for wake in wakes:
            self.woken[int(wake.ref)] += 1
            rank = ORDER.index(wake.severity)
            self.in_order &= rank >= self.rank
            self.rank = rank
        return [Answer(wake, None) for wake in wakes]


@pytest.mark.parametrize(("size", "waiting"), [(100_000, 0), (100_000, 50_000), (1_000_000, 50_000)])
def test_all_due_when_the_office_closes(size: int, waiting: int, report: Report) -> None:
    store, owner = FakeWakeStore(), CountingOwner(size)
    store.add((Wake("tickets", str(number), 100, 3, CLOSING, severity(number)) for number in range(size)), now=CLOSING)
    store.add((Wake("tickets", str(number), 50, 1, LATER) for number in range(waiting)), now=CLOSING)
    drained, seconds = timed_drain(owner, store)
    assert (drained.answered, drained.left) == (size, 0)
    assert owner.woken == b"\x01" * size
    assert owner.in_order
    report(f"drained, fake store, {waiting:,} not due", size, seconds, drained.requests)
    # Every partition's pages; each hundred asked for once, each 25 deleted once. What is not due is in none of it.
    pages, asked, deleted = size / PAGE + EMPTY_MINUTE, size / ASKED + len(ORDER), size / BATCH + len(ORDER)
    assert drained.requests <= pages + asked + deleted
