"""Draining a due minute, on the fake store and on DynamoDB rows alike: in order, each rung once, whatever dies."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from linli.commands import ATTEMPTS
from linli.deadline import Deadline, Pause, resume, start, suspend
from linli.errors import Unavailable
from linli.log import logger
from linli.wake import Answer, Wake
from linli.workcalendar import Unit, national
from tests.fakes_timers import KEYS, Crash, FakeOwner, FakeWakeStore, Fuse, FusedClient, TableOwner
from tests.support import NOW, table_on_moto
from timers import store as store_module
from timers.domain import CAUGHT_UP, LOOKED_BACK, SHARDS, partition, shard_of
from timers.drain import Drained, OwnerFailed, Row, drain
from timers.store import PAGE, WakeStore

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
ORDER = ["critical", "major", "minor", "warning", None]
EVERY = tuple(range(SHARDS))
LOG = logger("timers")


@dataclass
class World:
    """A store and the one context with clocks, `tickets`."""

    store: Any
    owner: Any
    rows: Callable[[], list[Row]]
    put_raw: Callable[[str, str], None]

    def hold(self, ref: str, deadline: Deadline, severity: str | None = None) -> Wake:
        self.owner.severities[ref] = severity
        wake: Wake = self.owner.hold(ref, deadline)
        self.store.add([wake], now=deadline.started_at)
        return wake

    def drain(self, minute: datetime = NOW, shards: Sequence[int] = EVERY, **more: Any) -> Drained:
        settings = {"owners": {"tickets": self.owner}, "store": self.store, "clock": lambda: minute, "log": LOG}
        return drain(minute, shards, **settings | more)


Worlds = Callable[[Fuse], World]


@pytest.fixture(params=["fake", "real"])
def worlds(request: pytest.FixtureRequest) -> Iterator[Worlds]:
    """Makes empty worlds."""
    if request.param == "fake":
        yield _in_memory
        return
    with table_on_moto("timers", KEYS):
        client = boto3.client("dynamodb")
        numbers = count()

        def on_moto(fuse: Fuse) -> World:
            table = f"timers-{next(numbers)}"
            client.create_table(TableName=table, **KEYS)
            fused = FusedClient(client, fuse)

            def put_raw(pk: str, sk: str) -> None:
                client.put_item(TableName=table, Item={"pk": {"S": pk}, "sk": {"S": sk}})

            owner = TableOwner("tickets", {}, fused, table)
            return World(WakeStore(fused, table), owner, lambda: _scanned(client, table), put_raw)

        yield on_moto


@pytest.fixture
def world(worlds: Worlds) -> World:
    return worlds(Fuse())


def _in_memory(fuse: Fuse) -> World:
    store = FakeWakeStore(fuse)
    return World(store, FakeOwner("tickets", {}, fuse), store.rows, store.put_raw)


def _scanned(client: Any, table: str) -> list[Row]:
    pages = client.get_paginator("scan").paginate(TableName=table)
    items = [item for page in pages for item in page["Items"] if item["pk"]["S"].startswith("W#")]
    return [(item["sk"]["S"], item["pk"]["S"]) for item in items]


def hourly(at: datetime = NOW - HOUR / 2) -> Deadline:
    """An hour of natural time that is half over at NOW, unless it starts at another time."""
    return start(HOUR, Unit.NATURAL, national(), at=at)


def waiting(world: World) -> list[Wake]:
    return [Wake.parse(sort_key) for sort_key, _ in world.rows()]


class Listening:
    """Notes in which order an owner is asked."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.asked: list[Wake] = []

    def wake(self, wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
        self.asked += wakes
        answers: Sequence[Answer] = self.owner.wake(wakes, at=at)
        return answers


def test_the_most_severe_come_first_over_shards_and_minutes_and_each_climbs_once(world: World) -> None:
    for number in range(40):
        late = timedelta(seconds=number % 4 * 40)  # over the due minute and the two before
        world.hold(f"T{number}", hourly(NOW - HOUR / 2 - late), ORDER[number % 5])
    owner = Listening(world.owner)
    drained = world.drain(owners={"tickets": owner})
    assert (drained.answered, drained.left) == (40, 0)
    assert len({shard_of(wake) for wake in owner.asked}) > 8
    assert owner.asked == sorted(owner.asked, key=lambda w: (ORDER.index(w.severity), w.fire_at, w.ref))
    assert Counter(world.owner.rungs()) == {(f"T{number}", 50): 1 for number in range(40)}
    assert {(wake.ref, wake.rung) for wake in waiting(world)} == {(f"T{number}", 80) for number in range(40)}
    assert world.drain().answered == 0


def test_what_is_not_due_costs_nothing(world: World) -> None:
    def due() -> None:
        for number in range(3):
            world.hold(f"due-{number}", hourly())

    due()
    world.drain()
    due()
    alone = world.drain()
    for number in range(300):
        world.hold(f"later-{number}", hourly(NOW + number * MINUTE))
    due()
    assert world.drain() == alone
    # For each of 16 shards the mark and a page for each of 4 minutes; then one asking, one writing, one deleting.
    assert alone == Drained(answered=3, left=0, requests=(LOOKED_BACK + 2) * SHARDS + 3)
    # The next minute: the marks move, in one write.
    assert world.drain(NOW + MINUTE) == Drained(requests=(LOOKED_BACK + 2) * SHARDS + 1)


def test_a_worker_that_dies_anywhere_loses_nothing_and_repeats_nothing(worlds: Worlds) -> None:
    refs = {f"T{number}": ORDER[number % 5] for number in range(30)}
    shards = sorted({shard_of(Wake("tickets", ref, 50, 1, NOW)) for ref in refs})[:3]
    refs = {ref: severity for ref, severity in refs.items() if shard_of(Wake("tickets", ref, 50, 1, NOW)) in shards}
    for dies_at in count():
        fuse = Fuse()
        world = worlds(fuse)
        for ref, severity in refs.items():
            world.hold(ref, hourly(), severity)
        fuse.done, fuse.dies_at = 0, dies_at
        try:
            world.drain(shards=shards)
            break
        except Crash:
            fuse.dies_at = None
        world.drain(shards=shards)
        assert sorted(world.owner.rungs()) == sorted((ref, 50) for ref in refs), dies_at
        assert {(wake.ref, wake.rung, wake.generation) for wake in waiting(world)} == {(ref, 80, 2) for ref in refs}, (
            dies_at
        )
    assert dies_at > len(refs)


def test_two_workers_at_once_climb_each_rung_once(world: World) -> None:
    for number in range(30):
        world.hold(f"T{number}", hourly())

    class Overtaken(Listening):
        def wake(self, wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
            if not self.asked:
                self.asked += wakes
                world.drain()
            return super().wake(wakes, at=at)

    world.drain(owners={"tickets": Overtaken(world.owner)})
    assert Counter(world.owner.rungs()) == {(f"T{number}", 50): 1 for number in range(30)}
    assert len(waiting(world)) == 30


def test_a_row_that_is_planned_again_after_its_rung_is_stale(world: World) -> None:
    wake = world.hold("T1", hourly())
    world.drain()
    world.store.add([wake], now=NOW + MINUTE)
    assert world.drain(NOW + MINUTE).answered == 1
    assert world.owner.rungs() == [("T1", 50)]
    assert [wake.rung for wake in waiting(world)] == [80]


def test_cancelling_is_lazy(world: World) -> None:
    world.hold("T1", hourly())
    still = suspend(hourly(), Pause.DEFERRED, national(), by="officer", at=NOW - 10 * MINUTE)
    world.owner.hold("T1", still)
    assert world.drain().answered == 1
    assert (world.owner.rungs(), waiting(world)) == ([], [])
    world.hold("T1", resume(still, national(), by="officer", at=NOW + HOUR))
    assert world.drain(NOW + HOUR + 10 * MINUTE).answered == 1
    assert world.owner.rungs() == [("T1", 50)]


def test_after_an_outage_the_rungs_come_minute_by_minute(world: World) -> None:
    shards = [shard_of(world.hold("T1", hourly()))]
    world.drain(NOW - MINUTE, shards)
    late = NOW + 3 * HOUR
    for minutes in range(8):
        world.drain(late + minutes * MINUTE, shards)
    assert sorted(world.owner.rungs()) == [("T1", 50), ("T1", 80), ("T1", 100), ("T1", 150)]
    assert waiting(world) == []


def test_a_long_outage_is_made_good_an_hour_a_drain_and_what_is_due_now_does_not_wait(world: World) -> None:
    shard = shard_of(world.hold("old", hourly()))
    world.drain(NOW - MINUTE, [shard])
    late = NOW + 2 * HOUR
    now = next(f"N{n}" for n in count() if shard_of(Wake("tickets", f"N{n}", 50, 1, late)) == shard)
    world.hold(now, hourly(late - HOUR / 2))
    drained = world.drain(late, [shard])
    assert drained.answered == 2
    # The mark, a page a minute, both rows asked, written and deleted at once, the mark again.
    assert drained.requests == 1 + CAUGHT_UP + LOOKED_BACK + 1 + 3 + 1
    assert sorted(world.owner.rungs()) == sorted([("old", 50), (now, 50)])
    mark = NOW - MINUTE - (LOOKED_BACK - 1) * MINUTE + CAUGHT_UP * MINUTE
    assert world.store.mark(shard) == mark
    world.drain(late + MINUTE, [shard])
    world.drain(late + 2 * MINUTE, [shard])
    assert world.store.mark(shard) == late + 2 * MINUTE - (LOOKED_BACK - 1) * MINUTE
    world.drain(late - HOUR, [shard])
    assert world.store.mark(shard) == late + 2 * MINUTE - (LOOKED_BACK - 1) * MINUTE


def test_a_row_left_before_an_outage_is_found_after_it(world: World) -> None:
    shard = shard_of(world.hold("T1", hourly()))
    world.drain(shards=[shard], owners={})
    world.drain(NOW + HOUR / 2, [shard])
    assert ("T1", 50) in world.owner.rungs()


def test_an_owner_busy_for_hours_loses_nothing(world: World) -> None:
    shard = shard_of(world.hold("T1", hourly()))
    for minutes in range(0, 20):
        assert world.drain(NOW + minutes * MINUTE, [shard], owners={}).answered == 0
    assert [wake.rung for wake in waiting(world)] == [50]
    assert world.drain(NOW + 20 * MINUTE, [shard]).answered == 1
    assert world.owner.rungs() == [("T1", 50)]


def test_an_item_that_fails_and_a_row_nobody_can_read_hold_up_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Listening):
        def wake(self, wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
            if any(wake.ref == "T3" for wake in wakes):
                raise OwnerFailed("Unhandled")
            return super().wake(wakes, at=at)

    for number in range(8):
        world.hold(f"T{number}", hourly(), "critical")
    world.put_raw(partition(NOW, 0), "0#not-a-wake")
    for minutes in range(6):
        drained = world.drain(NOW + minutes * MINUTE, owners={"tickets": Failing(world.owner)})
        assert drained.left == (2 if minutes <= LOOKED_BACK else 1)
    assert sorted(world.owner.rungs()) == [(f"T{number}", 50) for number in range(8) if number != 3]
    assert ("0#not-a-wake", partition(NOW, 0)) in world.rows()
    said = " ".join(str(vars(record)) for record in caplog.records if record.name == "timers")
    assert "'ref': 'T3'" in said
    assert "Unhandled" in said
    assert "wake row unreadable" in said
    assert "not-a-wake" not in said
    world.drain(NOW + 6 * MINUTE)
    assert ("T3", 50) in world.owner.rungs()


def test_a_wake_that_comes_too_early_is_not_deleted(world: World) -> None:
    class Slow(Listening):
        def wake(self, wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
            return super().wake(wakes, at=at - MINUTE)

    deadline = hourly(NOW - HOUR / 2 - timedelta(microseconds=1700))  # a row tells milliseconds only
    world.hold("T1", deadline)
    drained = world.drain(owners={"tickets": Slow(world.owner)})
    assert (drained.answered, drained.left) == (0, 1)
    assert world.drain(NOW + MINUTE).answered == 1
    assert world.owner.rungs() == [("T1", 50)]


@pytest.mark.parametrize(
    ("code", "raised"), [("ThrottlingException", Unavailable), ("ValidationException", ClientError)]
)
def test_a_busy_table_is_unavailable_and_a_wrong_call_is_not(code: str, raised: type[Exception]) -> None:
    class Refusing:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            def call(**request: Any) -> Any:
                raise ClientError({"Error": {"Code": code}}, name)

            return call

    store = WakeStore(Refusing(), "t")
    wake = Wake("tickets", "T1", 50, 1, NOW)
    calls: list[Callable[[], Any]] = [
        lambda: store.page("W", None),
        lambda: store.add([wake], now=NOW),
        lambda: store.remove([("s", "W")]),
        lambda: store.mark(0),
        lambda: store.set_marks({0: NOW}),
    ]
    for call in calls:
        with pytest.raises(raised):
            call()


@pytest.mark.parametrize(("minutes", "found"), [(0, 1), (LOOKED_BACK, 1), (LOOKED_BACK + 1, 0)])
def test_a_row_written_while_its_minute_was_drained_is_found_by_the_next_three(
    world: World, minutes: int, found: int
) -> None:
    for passed in range(max(minutes, 1)):
        world.drain(NOW + passed * MINUTE)
    world.hold("T1", hourly())
    assert world.drain(NOW + minutes * MINUTE).answered == found


def test_a_slow_watch_does_not_lose_what_is_due(world: World) -> None:
    world.hold("T1", hourly())
    world.drain(clock=lambda: NOW - timedelta(seconds=2))
    assert world.owner.rungs() == [("T1", 50)]


def test_what_a_busy_or_unknown_owner_does_not_answer_is_left_and_others_go_on(world: World) -> None:
    class Busy:
        def wake(self, wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
            raise Unavailable

    world.hold("T1", hourly(), "minor")
    others = [Wake(owner, "A1", 50, 1, NOW, "critical") for owner in ("applications", "nobody")]
    world.store.add(others, now=NOW)
    drained = world.drain(owners={"tickets": world.owner, "applications": Busy()})
    assert (drained.answered, drained.left) == (1, 2)
    assert world.owner.rungs() == [("T1", 50)]
    assert {wake.owner for wake in waiting(world) if wake.ref == "A1"} == {"applications", "nobody"}


def test_a_partition_of_several_pages_is_drained_in_order(world: World) -> None:
    class Counting(Listening):
        def wake(self, wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
            self.asked += wakes
            return [Answer(wake, None) for wake in wakes]

    wakes = [Wake("tickets", f"T{number:05d}", 50, 1, NOW, ORDER[number % 5]) for number in range(16000)]
    of_one_shard = [wake for wake in wakes if shard_of(wake) == 0][: PAGE + 100]
    assert len(of_one_shard) > PAGE
    world.store.add(of_one_shard, now=NOW)
    owner = Counting(None)
    drained = world.drain(shards=[0], owners={"tickets": owner})
    assert drained.answered == len(of_one_shard)
    assert owner.asked == sorted(of_one_shard, key=lambda w: w.sort_key)
    assert waiting(world) == []


def test_writes_the_table_puts_off_are_repeated_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "pause", lambda _: None)

    class PutsOff:
        def __init__(self, times: int) -> None:
            self.times = times
            self.written: list[Any] = []

        def batch_write_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
            self.times -= 1
            first, *rest = RequestItems["t"]
            if self.times < 0:
                rest = []
                self.written += RequestItems["t"]
            else:
                self.written.append(first)
            return {"UnprocessedItems": {"t": rest} if rest else {}}

    wakes = [Wake("tickets", f"T{number}", 50, 1, NOW) for number in range(30)]
    client = PutsOff(times=3)
    store = WakeStore(client, "t")
    store.add(wakes, now=NOW)
    assert len(client.written) == 30
    assert store.requests == 5
    with pytest.raises(Unavailable):
        WakeStore(PutsOff(times=ATTEMPTS), "t").add(wakes, now=NOW)
