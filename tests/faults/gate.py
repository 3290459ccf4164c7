"""The one way out: every request of every client made after `install` is let through or meets a fault.

Built on botocore's public `before-send` event: what a handler returns stands for the answer, what it raises for the
broken connection, so the client's own retries are under test as well.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from random import Random
from typing import Any

import botocore.session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from urllib3 import HTTPResponse

ROUND_TRIP = 0.005
"""Seconds of the world's time that an answered request takes."""
DEAD = 9
"""The exit code of a process that died at its numbered point."""


class Died(BaseException):
    """The function's process is gone: no handler of `Exception` sees it."""


@dataclass(frozen=True)
class Weather:
    """Chances per request; `burst` is the chance that every request fails for the next few."""

    throttle: float = 0.0
    lost_request: float = 0.0
    lost_answer: float = 0.0
    burst: float = 0.0
    death: float = 0.0
    meanwhile: float = 0.0

    def over(self, draw: float) -> str:
        """The fate a draw from [0, 1) stands for."""
        for fate in ("throttle", "lost_request", "lost_answer", "burst", "death", "meanwhile"):
            draw -= getattr(self, fate)
            if draw < 0:
                return fate
        return "pass"


CALM = Weather()
STORM = Weather(throttle=0.15, lost_request=0.02, lost_answer=0.03, burst=0.004, death=0.006, meanwhile=0.05)


@dataclass
class Doom:
    """A real death: `os._exit` at the nth request, before it is sent or after its answer has come."""

    at: int
    after: bool


class Gate:
    """Seeded and counted."""

    def __init__(self, random: Random) -> None:
        self.weather = CALM
        self.requests = 0
        self.fates: dict[str, int] = {}
        self.most_sends = 0
        self.spend: Callable[[float], None] = lambda _: None
        self.meanwhile: Callable[[], None] = lambda: None
        self.seen: Callable[[str, AWSPreparedRequest], None] = lambda *_: None
        self._random = random
        self._wire = URLLib3Session()
        self._burst = 0
        self._doom: Doom | None = None
        self._sends: dict[str, int] = {}

    def doomed(self, doom: Doom) -> None:
        """In a forked process: connections of the parent are left alone, and the end is near."""
        self.weather = CALM
        self.requests = 0
        self._doom = doom
        self._wire = URLLib3Session()

    def take(self, request: AWSPreparedRequest, event_name: str, connect: float, read: float) -> AWSResponse | None:
        self.requests += 1
        operation = event_name.rpartition(".")[2]
        self.seen(operation, request)
        if self._doom:
            return self._towards(self._doom, request)
        fate = self._fate()
        self.fates[fate] = self.fates.get(fate, 0) + 1
        self._count(operation, request)
        if fate == "meanwhile":
            self.meanwhile()
        if fate == "death":
            if self._random.random() < 0.5:
                self._wire.send(request)
            raise Died("at a request")
        if fate == "lost_request":
            self.spend(connect)
            raise ConnectTimeoutError(endpoint_url=request.url)
        if fate == "lost_answer":
            self._wire.send(request)
            self.spend(read)
            raise ReadTimeoutError(endpoint_url=request.url)
        self.spend(ROUND_TRIP)
        return self._throttled(operation, request) if fate == "throttle" else None

    def _fate(self) -> str:
        if self._burst:
            self._burst -= 1
            return self._random.choice(["throttle", "throttle", "throttle", "lost_request", "lost_answer"])
        fate = self.weather.over(self._random.random())
        if fate == "burst":
            self._burst = self._random.randint(3, 40)
            return "throttle"
        return fate

    def _count(self, operation: str, request: AWSPreparedRequest) -> None:
        """How often one call was sent: a transaction by its token, which outlives the client's own retries."""
        token = _body(request).get("ClientRequestToken") if operation == "TransactWriteItems" else None
        call = str(token or request.headers.get("amz-sdk-invocation-id"))
        self._sends[call] = self._sends.get(call, 0) + 1
        self.most_sends = max(self.most_sends, self._sends[call])

    def _towards(self, doom: Doom, request: AWSPreparedRequest) -> AWSResponse:
        if self.requests == doom.at and not doom.after:
            os._exit(DEAD)
        answer = self._wire.send(request)
        if self.requests == doom.at:
            os._exit(DEAD)
        return answer

    def _throttled(self, operation: str, request: AWSPreparedRequest) -> AWSResponse:
        """As the service says it: as an error, inside a cancelled transaction, or as work it did not do."""
        asked = _body(request)
        if operation == "TransactWriteItems" and self._random.random() < 0.5:
            reasons = [{"Code": "None"} for _ in asked["TransactItems"]]
            reasons[-1] = {"Code": "ThrottlingError", "Message": "throttled"}
            said = {"__type": "TransactionCanceledException", "Message": "cancelled", "CancellationReasons": reasons}
            return answer(request, 400, said)
        if operation == "BatchWriteItem":
            return answer(request, 200, {"UnprocessedItems": asked["RequestItems"]})
        if operation == "BatchGetItem":
            return answer(request, 200, {"Responses": {}, "UnprocessedKeys": asked["RequestItems"]})
        if operation == "PutEvents" and self._random.random() < 0.5:
            refused = [{"ErrorCode": "ThrottlingException", "ErrorMessage": "busy"} for _ in asked["Entries"]]
            return answer(request, 200, {"FailedEntryCount": len(refused), "Entries": refused})
        code = self._random.choice(["ThrottlingException", "ProvisionedThroughputExceededException"])
        return answer(request, 400, {"__type": code, "message": "busy"}, {"x-amzn-errortype": code})


def answer(
    request: AWSPreparedRequest, status: int, body: dict[str, Any], headers: dict[str, str] | None = None
) -> AWSResponse:
    raw = HTTPResponse(body=BytesIO(json.dumps(body).encode()), preload_content=False)
    return AWSResponse(request.url, status, {"content-type": "application/x-amz-json-1.0", **(headers or {})}, raw)


def _body(request: AWSPreparedRequest) -> Any:
    try:
        return json.loads(request.body or "{}")
    except (ValueError, TypeError):
        return {}


class Entrance:
    """Where the clients find the gate in use: they are made when a handler is imported, once for the process."""

    gate = Gate(Random(0))
    _bypassed = False

    @classmethod
    @contextmanager
    def bypass(cls) -> Iterator[None]:
        """Clients made in here go past the gate for good."""
        cls._bypassed = True
        yield
        cls._bypassed = False

    @classmethod
    def install(cls) -> None:
        """From now on the requests of every new client pass the gate in use."""
        create_client = botocore.session.Session.create_client

        def create_gated(session: Any, *args: Any, **kwargs: Any) -> Any:
            client = create_client(session, *args, **kwargs)
            if cls._bypassed:
                return client
            config = client.meta.config

            def pass_gate(request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse | None:
                return cls.gate.take(request, event_name, config.connect_timeout, config.read_timeout)

            client.meta.events.register_last("before-send", pass_gate)
            return client

        botocore.session.Session.create_client = create_gated
