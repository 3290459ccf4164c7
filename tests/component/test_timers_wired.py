"""Timers as they are wired: facts become rows, minutes are enqueued, owners are invoked, whatever an owner does."""

import importlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from linli.deadline import Deadline, start
from linli.errors import Unavailable
from linli.facts import Envelope, envelope
from linli.log import logger
from linli.wake import Answer, Wake, WakeWanted, answer_wakes
from linli.workcalendar import Unit, national
from tests.fakes_functions import FakeFunctions
from tests.fakes_timers import FakeOwner, FakeWakeStore
from tests.support import CONTEXT, NOW, on_bus, sqs, table_on_moto
from timers.domain import SHARDS
from timers.drain import ASKED, FAILURES, Drained, OwnerFailed, drain
from timers.messages import DueMinute
from timers.owners import InvokedOwner, invoked_owners

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
LOG = logger("timers")
SEVERITIES = ["critical", "major", "minor", "warning", None]
WAKE = Wake("alarms", "device-1#open", 100, 3, NOW, "warning")


class AlarmWakeWanted(WakeWanted):
    context = "alarms"


def wanted(wake: Wake, **changed: Any) -> Envelope:
    fact = AlarmWakeWanted(
        ref=wake.ref, rung=wake.rung, generation=wake.generation, fire_at=wake.fire_at, severity=wake.severity
    )
    said = envelope(fact, aggregate_id=wake.ref, aggregate_version=1, at=NOW, correlation_id="r-1")
    return said.model_copy(update=changed)


@pytest.fixture
def wired(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The table, and a way to a handler's module; clients are made when a module is first imported."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "cn-north-1")
    with table_on_moto("timers"):
        yield lambda name: importlib.import_module(f"timers.{name}")


def rows() -> list[tuple[str, str]]:
    items = boto3.client("dynamodb").scan(TableName="linli-timers")["Items"]
    return sorted((item["pk"]["S"], item["sk"]["S"]) for item in items)


def waking() -> list[Wake]:
    return [Wake.parse(sk) for pk, sk in rows() if pk.startswith("W#")]


def test_a_wake_that_is_wanted_gets_one_row_however_often_it_is_said(wired: Any) -> None:
    handler = wired("on_wake_wanted").handler
    later = Wake("alarms", "device-1#open", 100, 3, datetime.now(UTC).replace(microsecond=0) + HOUR, "warning")
    body = on_bus(wanted(later))
    assert handler(sqs(body, body), CONTEXT) == {"batchItemFailures": []}
    assert handler(sqs(body), CONTEXT) == {"batchItemFailures": []}
    assert waking() == [later]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"version": 2}, "AlarmWakeWanted v2"),
        ({"type": "AlarmRaised"}, "AlarmRaised v1"),
        (
            {"data": {"ref": "x", "rung": 100, "generation": 1, "fire_at": "soon", "severity": None}},
            "datetime_from_date_parsing",
        ),
    ],
)
def test_what_cannot_be_read_is_parked_with_its_reason(wired: Any, changed: dict[str, Any], reason: str) -> None:
    batch = sqs(on_bus(wanted(WAKE, **changed)), on_bus(wanted(WAKE)))
    assert wired("on_wake_wanted").handler(batch, CONTEXT) == {"batchItemFailures": []}
    assert [sk for pk, sk in rows() if pk.startswith("W#")] == [WAKE.sort_key]
    items = boto3.client("dynamodb").scan(TableName="linli-timers")["Items"]
    assert [item["reason"]["S"] for item in items if "reason" in item] == [reason]


class Queue:
    def __init__(self) -> None:
        self.sent: list[DueMinute] = []

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803 - boto3's names
        assert QueueUrl == "minutes"
        self.sent.append(DueMinute.model_validate_json(MessageBody))


def test_a_tick_enqueues_every_shard_of_its_own_minute_once(wired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINUTES_QUEUE", "minutes")
    tick, queue = wired("tick"), Queue()
    tick.tick(datetime(2026, 11, 23, 9, 30, 41, 5, UTC), queues=queue)
    assert {due.minute for due in queue.sent} == {datetime(2026, 11, 23, 9, 30, tzinfo=UTC)}
    assert sorted(shard for due in queue.sent for shard in due.shards) == list(range(SHARDS))


def test_a_due_minute_asks_the_owner_deletes_what_it_answered_and_says_how_late_it_was(
    wired: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    due = [Wake("alarms", f"device-{n}#open", 100, 1, NOW - 90 * timedelta(seconds=1), "warning") for n in range(5)]
    again = Wake("alarms", "device-0#open", 100, 2, NOW + HOUR, "warning")

    def on_wake(event: dict[str, Any]) -> Any:
        return answer_wakes(event, lambda wakes, at: [Answer(w, again if w == due[0] else None) for w in wakes])

    on_minute = wired("on_minute")
    functions = FakeFunctions(alarms_on_wake=on_wake)
    monkeypatch.setattr(on_minute, "functions", functions)
    monkeypatch.setattr(on_minute, "utc_now", lambda: NOW)
    monkeypatch.setenv("WAKE_OWNERS", "alarms=alarms_on_wake")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Linli/test")
    on_minute.wake_store().add(due, now=NOW - 2 * MINUTE)
    body = DueMinute(minute=NOW, shards=list(range(SHARDS))).model_dump_json()
    capsys.readouterr()
    assert on_minute.handler(sqs(body), CONTEXT) == {"batchItemFailures": []}
    assert functions.invoked == [("alarms_on_wake", 5)]
    assert waking() == [again]
    (metric,) = [one for one in map(json.loads, capsys.readouterr().out.splitlines()) if "_aws" in one]
    assert (metric["TimersLateSeconds"], metric["context"]) == ([90.0], "timers")
    (said,) = metric["_aws"]["CloudWatchMetrics"]
    assert (said["Namespace"], said["Dimensions"]) == ("Linli/test", [["context"]])


def invoked(handler: Any) -> tuple[InvokedOwner, FakeFunctions]:
    functions = FakeFunctions(owner=handler)
    return InvokedOwner("owner", functions), functions


def test_an_owner_is_asked_and_answers_in_keys() -> None:
    def on_wake(event: dict[str, Any]) -> Any:
        assert datetime.fromisoformat(event["at"]) == NOW
        return {"answers": [{"wake": key, "then": key} for key in event["wakes"]]}

    assert invoked(on_wake)[0].wake([WAKE], at=NOW) == [Answer(WAKE, WAKE)]


@pytest.mark.parametrize(
    "answer", [None, {}, {"answers": [{"wake": "M", "then": None}]}, {"answers": [{"wake": WAKE.sort_key}]}, "x"]
)
def test_what_is_no_answer_is_a_failure_and_a_function_that_cannot_be_invoked_is_unavailable(answer: Any) -> None:
    owner, functions = invoked(lambda _: answer)
    with pytest.raises(OwnerFailed):
        owner.wake([WAKE], at=NOW)
    functions.down.add("owner")
    with pytest.raises(Unavailable):
        owner.wake([WAKE], at=NOW)


class World:
    """Items of two contexts with clocks, each behind a function; a store in memory."""

    def __init__(self) -> None:
        self.store = FakeWakeStore()
        self.owners = {name: FakeOwner(name, {}) for name in ("tickets", "applications")}
        self.functions = FakeFunctions(
            **{name: lambda event, owner=owner: answer_wakes(event, owner.wake) for name, owner in self.owners.items()}
        )

    def hold(self, owner: str, number: int) -> None:
        for count in range(number):
            ref = f"T{count}"
            self.owners[owner].severities[ref] = SEVERITIES[count % 5]
            wake = self.owners[owner].hold(ref, hourly())
            self.store.add([wake] if wake else [], now=NOW - HOUR)

    def drain(self, minute: datetime = NOW) -> Drained:
        owners = invoked_owners("tickets=tickets,applications=applications", self.functions)
        return drain(minute, range(SHARDS), owners=owners, store=self.store, clock=lambda: minute, log=LOG)

    def reached(self, owner: str) -> list[str]:
        return sorted(ref for ref, rung in self.owners[owner].reached if rung == 50)


def hourly() -> Deadline:
    return start(HOUR, Unit.NATURAL, national(), at=NOW - HOUR / 2)


def refs(number: int) -> list[str]:
    return sorted(f"T{count}" for count in range(number))


def test_an_owner_that_is_down_is_asked_once_in_a_drain_and_holds_up_nobody() -> None:
    world = World()
    world.hold("tickets", 3 * ASKED)
    world.hold("applications", 20)
    world.functions.down = {"tickets"}
    drained = world.drain()
    assert (drained.answered, drained.left) == (20, 3 * ASKED)
    assert [name for name, _ in world.functions.invoked].count("tickets") == 1
    assert world.reached("applications") == refs(20)
    world.functions.down = set()
    assert world.drain(NOW + MINUTE).answered == 3 * ASKED
    assert world.reached("tickets") == refs(3 * ASKED)


def test_what_an_owner_leaves_unanswered_is_asked_again_and_answered_once() -> None:
    world = World()
    world.hold("tickets", 40)
    owner = world.owners["tickets"]

    def half(event: dict[str, Any]) -> Any:
        answers = answer_wakes(event, owner.wake)["answers"]
        return {"answers": answers[: len(answers) // 2]}

    whole, world.functions.handlers["tickets"] = world.functions.handlers["tickets"], half
    drained = world.drain()
    assert (drained.answered, drained.left) == (20, 20)
    world.functions.handlers["tickets"] = whole
    assert world.drain(NOW + MINUTE).answered == 20
    assert world.reached("tickets") == refs(40)  # what was climbed and not answered is not climbed again


def test_an_owner_that_dies_midway_climbs_each_rung_once() -> None:
    world = World()
    world.hold("tickets", 60)
    owner = world.owners["tickets"]

    def dying(event: dict[str, Any]) -> Any:
        def look(wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
            if len(wakes) > 4:
                owner.wake(wakes[: len(wakes) // 2], at=at)
                raise MemoryError
            return owner.wake(wakes, at=at)

        return answer_wakes(event, look)

    world.functions.handlers["tickets"] = dying
    drained = world.drain()
    assert (drained.answered, drained.left) == (60, 0)
    assert world.reached("tickets") == refs(60)
    assert {Wake.parse(key).rung for key, _ in world.store.rows()} == {80}


def test_items_that_make_their_owner_fail_are_found_in_halves_and_hold_up_no_other() -> None:
    world = World()
    world.hold("tickets", 10 * ASKED)
    owner, bad = world.owners["tickets"], {f"T{number}" for number in range(0, 10 * ASKED, 201)}

    def failing(event: dict[str, Any]) -> Any:
        assert not bad & {Wake.parse(key).ref for key in event["wakes"]}
        return answer_wakes(event, owner.wake)

    world.functions.handlers["tickets"] = failing
    drained = world.drain()
    assert (drained.answered, drained.left) == (10 * ASKED - len(bad), len(bad))
    assert len(world.functions.invoked) <= 10 + len(bad) * 14
    assert world.reached("tickets") == sorted(set(refs(10 * ASKED)) - bad)


def test_an_owner_that_fails_whatever_it_is_asked_is_left_alone_after_a_while() -> None:
    world = World()
    world.hold("tickets", 10 * ASKED)
    world.hold("applications", 50)

    def broken(event: dict[str, Any]) -> Any:
        raise ValueError

    world.functions.handlers["tickets"] = broken
    drained = world.drain()
    assert (drained.answered, drained.left) == (50, 10 * ASKED)
    assert [name for name, _ in world.functions.invoked].count("tickets") == FAILURES
    assert world.reached("applications") == refs(50)


def test_how_late_the_oldest_was_counts_what_is_left_too() -> None:
    world = World()
    world.hold("tickets", 3)
    assert world.drain().late_seconds == 0
    world.hold("tickets", 1)
    world.functions.down = {"tickets"}
    assert world.drain(NOW + 2 * MINUTE).late_seconds == 120
    assert world.drain(NOW + 30 * MINUTE).late_seconds == 1800


def failing(world: World, bad: set[str]) -> None:
    owner = world.owners["tickets"]

    def wake(event: dict[str, Any]) -> Any:
        assert not bad & {Wake.parse(key).ref for key in event["wakes"]}
        return answer_wakes(event, owner.wake)

    world.functions.handlers["tickets"] = wake


def test_an_item_that_fails_for_hours_is_told_apart_and_does_not_make_everybody_late() -> None:
    world = World()
    world.hold("tickets", 3)
    failing(world, {"T1"})
    drained = world.drain()
    assert (drained.answered, drained.failed, drained.late_seconds) == (2, 1, 0)
    for minutes in range(1, 10):  # nothing else is due, the row is moved along
        drained = world.drain(NOW + minutes * MINUTE)
        assert (drained.answered, drained.left, drained.failed, drained.late_seconds) == (0, 1, 1, 0)
    failing(world, set())
    drained = world.drain(NOW + 10 * MINUTE)
    assert (drained.answered, drained.failed, drained.late_seconds) == (1, 0, 600)


def test_an_owner_that_fails_for_everything_is_late_and_no_poison() -> None:
    world = World()
    world.hold("tickets", 3)
    world.hold("applications", 1)
    failing(world, {"T0", "T1", "T2"})
    drained = world.drain()
    assert (drained.answered, drained.left, drained.failed) == (1, 3, 0)
    drained = world.drain(NOW + 30 * MINUTE)
    assert (drained.left, drained.failed, drained.late_seconds) == (3, 0, 1800)
