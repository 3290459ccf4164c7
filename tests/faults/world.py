"""A deployment in one process: the real handlers on MiniStack's DynamoDB, bus and IoT, with queues and time of our own.

What calls which function, in what batches, how often and for how long, is read from the templates. Queues deliver in any
order and more than once; time passes when something takes time, and each invocation's watch is up to ten minutes wrong.
"""

import importlib
import json
import os
import pickle
import random as global_random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any

import ulid

import linli.clock
from linli.access import Caller
from linli.errors import PlaceAbsent, Unavailable
from linli.facts import Place
from tests.faults.gate import CALM, DEAD, Died, Doom, Entrance, Gate
from tests.faults.operations import CONTEXTS, STREAMED, Operator
from tests.support import CONTEXT, NOW, request, sqs, template

SKEW = timedelta(minutes=10)
STREAM_TRIES = 4
"""The stream's mapping tries a batch once and three times more."""
RELAY, SWEEP = "relay.on_outbox.handler", "relay.sweep.handler"


@dataclass(frozen=True)
class Function:
    dotted: str
    timeout: timedelta

    def __call__(self, event: Any) -> Any:
        module, name = self.dotted.rsplit(".", 1)
        return getattr(importlib.import_module(module), name)(event, CONTEXT)


@dataclass
class Message:
    message_id: str
    body: str
    visible_at: datetime
    receives: int = 0


@dataclass
class Queue:
    function: Function
    facts: frozenset[str]
    batch: int
    receives: int
    visibility: timedelta
    waiting: list[Message] = field(default_factory=list)
    dead: list[Message] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


class Violation(AssertionError):
    """A promise that did not hold."""


class World:
    """`now` is the true time; what a function's watch says differs from it by `_skew`."""

    def __init__(self, seed: int, operator: Operator, *, clocks_wrong: bool = True) -> None:
        self.random = Random(seed)
        self.gate = Entrance.gate = Gate(self.random)
        self.gate.spend, self.gate.meanwhile = self.spend, self._meanwhile
        self.operator = operator
        self.now = self.ticked_to = NOW
        self.latest = 3600
        self.functions = dict(_functions())
        self.queues = {queue.function.dotted: queue for queue in _queues(self.functions)}
        self.published: dict[str, dict[str, Any]] = {}
        self.places: dict[str, Place] = {}
        self.relay_up = True
        self.doom: tuple[str, Doom] | None = None
        self.survived = False
        self.timed_out: list[str] = []
        self._clocks_wrong = clocks_wrong
        self._skew = timedelta(0)
        self._running: list[tuple[str, datetime]] = []
        self._take_over(seed)

    def _take_over(self, seed: int) -> None:
        """This process belongs to the world: its time, its chance, its environment."""
        world = self

        class Watch(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return world.now + world._skew

        linli.clock.datetime = Watch  # type: ignore[misc]
        time.sleep = self.spend  # type: ignore[assignment]
        global_random.seed(seed)
        source = Random(seed)
        ulid.default_generator = ulid.ULIDGenerator(
            randomness=lambda _: source.randbytes(10), policy=ulid.PureRandomPolicy()
        )
        os.environ.update(self.operator.environment())
        for api in ("tickets.api", "devices.api"):
            importlib.import_module(api).place_seen_by_caller = self._locate

    def spend(self, seconds: float) -> None:
        """Time passes; a function that outlives its timeout is killed."""
        self.now += timedelta(seconds=seconds)
        if self._running and self.now > self._running[-1][1]:
            self.timed_out.append(self._running[-1][0])
            raise Died("timed out")

    def invoke(self, function: Function, event: Any) -> Any:
        """Raises Died if the function's process ends before it answers."""
        if self.doom and self.doom[0] == _called(function, event):
            doom, self.doom = self.doom[1], None
            return self._invoke_doomed(function, event, doom)
        skew = self._skew
        self._skew = SKEW * self.random.uniform(-1, 1) if self._clocks_wrong else timedelta(0)
        self._running.append((function.dotted, self.now + function.timeout))
        try:
            return function(event)
        finally:
            self._running.pop()
            self._skew = skew

    def _invoke_doomed(self, function: Function, event: Any, doom: Doom) -> Any:
        """In a process of its own that ends at a numbered request; `survived` tells that it had fewer."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            self.gate.doomed(doom)
            with os.fdopen(writer, "wb") as out:
                pickle.dump(function(event), out)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as answer:
            said = answer.read()
        _, status = os.waitpid(pid, 0)
        self.survived = os.waitstatus_to_exitcode(status) == 0
        if self.survived:
            return pickle.loads(said)
        if os.waitstatus_to_exitcode(status) != DEAD:
            raise Violation(f"{function.dotted} failed by itself on the way to request {doom.at}")
        raise Died("at its numbered request")

    @contextmanager
    def weather(self, weather: Any) -> Iterator[None]:
        before, self.gate.weather = self.gate.weather, weather
        try:
            yield
        finally:
            self.gate.weather = before

    def _meanwhile(self) -> None:
        """Another worker takes up a batch while the one that runs waits for its answer."""
        if len(self._running) != 1:
            return
        now = self.now
        with self.weather(CALM):
            self.work_one()
        self.now = now

    # Clients

    def call(
        self, context: str, method: str, path: str, caller: Caller, *, body: Any = None, key: str | None = None
    ) -> Answer | None:
        """What the caller sees; None where the function's process ended without an answer."""
        headers = {"idempotency-key": key} if key else {}
        event = request(method, path, caller, body=body, headers=headers)
        try:
            said = self.invoke(self.functions[f"{context}.api.handler"], event)
        except Died:
            return None
        return Answer(said["statusCode"], said["headers"], json.loads(said["body"]))

    def _locate(self, _: Any, place_id: str) -> Place:
        """In place of `grid`'s HTTP interface, which may be busy as well."""
        if self.random.random() < self.gate.weather.throttle:
            raise Unavailable()
        if place_id not in self.places:
            raise PlaceAbsent("place_id")
        return self.places[place_id]

    # Queues

    def deliver(self, dotted: str, body: str, *, delay: timedelta = timedelta(0)) -> None:
        message_id = f"{self.random.getrandbits(128):032x}"
        self.queues[dotted].waiting.append(Message(message_id, body, self.now + delay))

    def work(self) -> None:
        """Every queue with something to deliver delivers a batch."""
        for queue in self.queues.values():
            self._deliver_batch(queue)

    def work_one(self) -> None:
        self._deliver_batch(self.random.choice(list(self.queues.values())))

    def _deliver_batch(self, queue: Queue) -> None:
        visible = [message for message in queue.waiting if message.visible_at <= self.now]
        batch = self.random.sample(visible, min(len(visible), self.random.randint(1, queue.batch)))
        for message in batch:
            message.receives += 1
            message.visible_at = self.now + queue.visibility
        for message in [one for one in batch if one.receives > queue.receives]:
            batch.remove(message)
            queue.waiting.remove(message)
            queue.dead.append(message)
        if not batch:
            return
        try:
            failed = self.hand_over(queue, batch)
        except Died:
            return
        for message in batch:
            if message.message_id not in failed:
                queue.waiting.remove(message)
                self._perhaps_again(queue, message)

    def hand_over(self, queue: Queue, batch: list[Message]) -> set[str]:
        """The ids the function hands back; every other message is done for good. Raises Died."""
        event = sqs(*(message.body for message in batch))
        for record, message in zip(event["Records"], batch, strict=True):
            record["messageId"] = message.message_id
            record["attributes"]["ApproximateReceiveCount"] = str(message.receives)
        answer = self.invoke(queue.function, event)
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        if not failed <= {message.message_id for message in batch}:
            raise Violation(f"{queue.function.dotted} reported messages it was not given")
        return failed

    def _perhaps_again(self, queue: Queue, message: Message) -> None:
        """What was done and deleted may be delivered up to four times more, up to thirteen days later."""
        if self.gate.weather is CALM or self.random.random() > 0.25:
            return
        for _ in range(self.random.randint(1, 4)):
            later = timedelta(seconds=self.random.choice([1, 300, 7200, 13 * 86400]) * self.random.random())
            queue.waiting.append(replace(message, visible_at=self.now + later))

    # Facts

    def relay(self, *, losing: float = 0.0) -> None:
        """What is new in the streams goes to the relay, in batches; a lost record is left to the sweeper."""
        for context in STREAMED:
            records = [one for one in self.operator.new_outbox_rows(context) if self.random.random() >= losing]
            while records and self.relay_up:
                size = self.random.randint(1, 100)
                batch, records = records[:size], records[size:]
                self._until_done(self.functions[RELAY], {"Records": batch}, tries=STREAM_TRIES)
        self.pump()

    def sweep(self) -> None:
        if self.relay_up:
            self._until_done(self.functions[SWEEP], {}, tries=1)
        self.pump()

    def _until_done(self, function: Function, event: Any, *, tries: int) -> None:
        for _ in range(tries):
            try:
                self.invoke(function, event)
                return
            except Died:
                continue

    def pump(self) -> None:
        """What the bus accepted goes to its subscribers' queues, each fact at its own time."""
        for body in self.operator.accepted():
            event = json.loads(body)
            self.published.setdefault(event["detail"]["event_id"], event["detail"])
            for dotted, queue in self.queues.items():
                if f"{event['source']}/{event['detail-type']}" in queue.facts:
                    late = self.random.choice([0, 0, 30, self.latest]) * self.random.random()
                    self.deliver(dotted, body, delay=timedelta(seconds=late))

    def drain(self, *, between: Callable[[], None] = lambda: None) -> None:
        """Nothing fails any more: until nothing waits and every outbox is empty."""
        self.relay_up = True
        missed = quiet = False
        with self.weather(CALM):
            for _ in range(400):
                self.relay()
                between()
                self.work()
                waiting = [one.visible_at for queue in self.queues.values() for one in queue.waiting]
                left = bool(self.operator.unsent)
                if quiet and not waiting and not left:
                    return
                quiet = not waiting and not left  # what was done last may have left a fact that no stream told yet
                self.now = max(self.now + timedelta(minutes=15) * missed, min(waiting, default=self.now))
                if missed and left:
                    self.sweep()
                missed = left  # what is left a second time is not on its way in the streams
        raise Violation("what waits does not become less")


def _called(function: Function, event: Any) -> str:
    method = event.get("requestContext", {}).get("http", {}).get("method")
    return f"{method} {function.dotted}" if method else function.dotted


def handlers() -> list[str]:
    """Of every function that talks to people, queues or streams."""
    return [dotted for dotted, _ in _functions()]


def _functions() -> Iterator[tuple[str, Function]]:
    for context in (*CONTEXTS, "relay"):
        for item in template(context)["Resources"].values():
            if item["Type"] == "AWS::Serverless::Function":
                dotted = item["Properties"]["Handler"]
                yield dotted, Function(dotted, timedelta(seconds=item["Properties"]["Timeout"]))


def _queues(functions: dict[str, Function]) -> Iterator[Queue]:
    """Each queue of a context with its reader and the facts the bus puts on it."""
    for context in CONTEXTS:
        resources = {name: SimpleNamespace(**item) for name, item in template(context)["Resources"].items()}
        rules = [one.Properties for one in resources.values() if one.Type == "AWS::Events::Rule"]
        for mapping in [one.Properties for one in resources.values() if one.Type == "AWS::Lambda::EventSourceMapping"]:
            name = mapping["EventSourceArn"].removesuffix(".Arn")
            if name not in resources or resources[name].Type != "AWS::SQS::Queue":
                continue
            queue = resources[name].Properties
            yield Queue(
                function=functions[resources[mapping["FunctionName"]].Properties["Handler"]],
                facts=frozenset(fact for rule in rules for fact in _facts(rule, name)),
                batch=mapping.get("BatchSize", 10),
                receives=queue["RedrivePolicy"]["maxReceiveCount"],
                visibility=timedelta(seconds=queue["VisibilityTimeout"]),
            )


def _facts(rule: dict[str, Any], queue: str) -> Iterator[str]:
    if "EventPattern" in rule and rule["Targets"][0]["Arn"] == f"{queue}.Arn":
        for source in rule["EventPattern"]["source"]:
            yield from (f"{source}/{fact}" for fact in rule["EventPattern"]["detail-type"])
