"""Whatever stands on a queue (B1, B3): every message is kept whole or parked with its reason, and none holds up the others."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alarms import on_device_event
from alarms.domain import KnownDevice
from devices import on_telemetry
from devices.domain import Device
from devices.events import DeviceRegistered
from devices.queries import seen_state
from devices.store import DeviceStore
from linli.batch import RECEIVES
from linli.clock import iso
from linli.commands import command
from linli.facts import envelope
from linli.table import PAYLOAD_KEPT, Step
from tests.contract.test_facts import SAMPLES, SUBSCRIPTIONS, handler_of
from tests.hostile import BYTES, EXTREME, LARGE, VALUES, bounded, changed, limits_of_dynamodb, objects, paths, replaced
from tests.support import CONTEXT, NOW, PLACE, delivery, sqs, table_on_moto

Item = dict[str, Any]
Rows = dict[tuple[str, str], Item]
THING = "device-1"
FOREIGN = {"thing": "device-2", "device_id": "device-2", "division": "341000", "place": {"path": ["99"]}}
"""What a device may say about itself besides; the registry's word counts."""
NUMBERS = count()


class Inbox:
    """A context's table, and a handler that reads a queue into it."""

    def __init__(self, context: str, handler: Any, register: Callable[[], object] = dict) -> None:
        self._register = register
        self._table = f"linli-{context}"
        self._client = boto3.client("dynamodb")
        self._handler = handler

    def fresh(self) -> "Inbox":
        """Nothing in it but the registered device."""
        keys = [{"DeleteRequest": {"Key": {"pk": row["pk"], "sk": row["sk"]}}} for row in self.rows().values()]
        for start in range(0, len(keys), 25):
            self._client.batch_write_item(RequestItems={self._table: keys[start : start + 25]})
        self._register()
        return self

    def rows(self) -> Rows:
        return {(one["pk"]["S"], one["sk"]["S"]): one for one in self._client.scan(TableName=self._table)["Items"]}

    def deliver(
        self, bodies: list[str], *, receives: int = 1, may_wait: Callable[[str], bool] = lambda _: False
    ) -> tuple[list[int], Rows]:
        """Which of the bodies were kept, and the rows that changed; each of the others is parked as it must be."""
        event = sqs(*bodies, receives=receives)
        for record in event["Records"]:
            record["messageId"] = f"id-{next(NUMBERS)}"
        before = self.rows()
        waiting = {one["itemIdentifier"] for one in self._handler(event, CONTEXT)["batchItemFailures"]}
        assert all(may_wait(record["body"]) for record in event["Records"] if record["messageId"] in waiting)
        after = self.rows()
        parked = {sk: row for (pk, sk), row in after.items() if pk.startswith("PARKED#")}
        for record in event["Records"]:
            if row := parked.get(record["messageId"]):
                check_parked(row, record["body"].encode("utf-8", "surrogatepass"))
        changed = {key: row for key, row in after.items() if key[1] not in parked and before.get(key) != row}
        settled = waiting | parked.keys()
        return [n for n, record in enumerate(event["Records"]) if record["messageId"] not in settled], changed


def check_parked(row: Item, body: bytes) -> None:
    assert (row["sha256"]["S"], row["size"]["N"]) == (hashlib.sha256(body).hexdigest(), str(len(body)))
    assert base64.b64decode(row["payload"]["S"]) == body[:PAYLOAD_KEPT]
    assert 0 < len(row["reason"]["S"]) <= 100
    assert len(row["field"]["S"] if "field" in row else "") <= 200


@pytest.fixture(scope="module", autouse=True)
def tables() -> Iterator[None]:
    with ExitStack() as stack:
        for context in {"alarms", "devices", *(context for context, _, _ in SUBSCRIPTIONS)}:
            stack.enter_context(table_on_moto(context))
        stack.enter_context(limits_of_dynamodb())
        yield


@pytest.fixture(scope="module")
def events() -> Inbox:
    return Inbox("alarms", on_device_event.handler, know)


@pytest.fixture(scope="module")
def telemetry() -> Inbox:
    return Inbox("devices", on_telemetry.handler, register)


def know() -> None:
    on_device_event.store.remember(KnownDevice(THING, "smoke_detector", PLACE))


def register() -> None:
    fact = DeviceRegistered(device_id=THING, device_class="water_meter", place=PLACE)
    DeviceStore().add(
        Device(THING, "water_meter", "SN-1", PLACE, NOW, "certificate-1"),
        step=Step("register", NOW, "officer-1", "r-1"),
        command=command("register", THING),
        facts=[envelope(fact, aggregate_id=THING, aggregate_version=1, at=NOW, correlation_id="r-1")],
    )


def event_fields(number: int, **more: Any) -> dict[str, Any]:
    return {"at": iso(NOW), "seq": number, "event": "smoke", "state": "active", **more}


def reading(number: int) -> dict[str, Any]:
    return {"t": iso(NOW), "seq": number, "v": {"flow": 1.5}}


def as_json(fields: dict[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in fields.items()}


EVENTS = objects(as_json(event_fields(1)))
TELEMETRY = objects(as_json(reading(1))).map(lambda one: b'{"readings":[' + one + b"]}") | objects(
    as_json({"readings": [reading(1)]})
)


def is_event(payload: bytes) -> bool:
    """By another parser than the product's: whether an event is in it."""
    said = json.loads(payload)
    return isinstance(said["at"], str) and type(said["seq"]) is int and said["event"] == "smoke" and "state" in said


def is_telemetry(payload: bytes) -> bool:
    readings = json.loads(payload)["readings"]
    values = [value for one in readings for value in one["v"].values()]
    numbers = all(type(value) in (int, float) and math.isfinite(value) for value in values)
    return 1 <= len(readings) <= 1000 and numbers and all(type(one["seq"]) is int for one in readings)


@bounded(12)
@given(st.lists(BYTES | EVENTS, min_size=1, max_size=8), st.lists(st.booleans(), min_size=1, max_size=3))
def test_an_event_moves_the_alarm_or_is_parked(events: Inbox, garbage: list[bytes], foreign: list[bool]) -> None:
    events.fresh()
    good = [json.dumps(event_fields(100 + n, **(FOREIGN if f else {}))).encode() for n, f in enumerate(foreign)]
    payloads = [*garbage, *good]
    kept, rows = events.deliver([delivery(THING, one) for one in payloads])
    assert all(is_event(payloads[number]) for number in kept)
    assert set(range(len(garbage), len(payloads))) <= set(kept)
    steps = [key for key in rows if "#S#" in key[1]]
    alarm = rows[f"DEVICE#{THING}", "A#smoke"]
    assert len(good) <= len(steps) <= len(kept)
    assert len([pk for pk, _ in rows if pk.startswith("CMD#")]) == len(steps) == int(alarm["version"]["N"])
    assert len([pk for pk, _ in rows if pk.startswith("OUT#")]) == int(alarm["published"]["N"])
    assert {pk.split("#")[0] for pk, _ in rows} == {"DEVICE", "CMD", "OUT"}
    assert {pk for pk, _ in rows if pk.startswith("DEVICE#")} == {f"DEVICE#{THING}"}
    facts = [json.loads(row["fact"]["S"])["data"] for (pk, _), row in rows.items() if pk.startswith("OUT#")]
    assert next(fact["place"] for fact in facts if "place" in fact) == PLACE.model_dump(mode="json")


@bounded(12)
@given(st.lists(BYTES | TELEMETRY, min_size=1, max_size=8), st.booleans())
def test_telemetry_is_kept_or_parked(telemetry: Inbox, garbage: list[bytes], foreign: bool) -> None:
    telemetry.fresh()
    payloads = [*garbage, json.dumps({"readings": [reading(7)], **(FOREIGN if foreign else {})}).encode()]
    kept, rows = telemetry.deliver([delivery(THING, one) for one in payloads])
    assert all(is_telemetry(payloads[number]) for number in kept)
    assert len(garbage) in kept
    assert {pk.split("#")[1] for pk, _ in rows if pk.startswith("THING#")} == {THING}
    assert any(pk.startswith(f"THING#{THING}#") for pk, _ in rows)
    store = on_telemetry.store
    last = seen_state(store.states([THING])[THING], store=store, now=NOW).last
    assert last is not None
    assert last.seq >= 7


@pytest.mark.parametrize("payload", LARGE.values(), ids=LARGE)
def test_what_is_too_deep_or_too_large_is_parked_and_holds_up_nobody(
    events: Inbox, telemetry: Inbox, payload: bytes
) -> None:
    for inbox, good in ((events, event_fields(1)), (telemetry, {"readings": [reading(1)]})):
        kept, _ = inbox.fresh().deliver([delivery(THING, payload), delivery(THING, good), delivery(THING, payload)])
        assert kept == [1]


DELIVERY = as_json(json.loads(delivery(THING, event_fields(1))))


@pytest.mark.parametrize("context", ["alarms", "devices"])
@bounded(12)
@given(data=st.data())
def test_what_no_rule_could_have_sent_is_kept_or_parked_at_once(
    events: Inbox, telemetry: Inbox, context: str, data: st.DataObject
) -> None:
    inbox = {"alarms": events, "devices": telemetry}[context].fresh()
    ours = objects({name: DELIVERY[name] for name in ("payload", "received_ms", "trace")})
    wrapped = ours.map(lambda one: f'{{"thing":"{THING}",{one.decode("utf-8", "replace")[1:]}')
    bodies = data.draw(st.lists(st.text(max_size=100) | VALUES | wrapped, min_size=1, max_size=8))
    inbox.deliver(bodies, may_wait=names_another_thing)


def names_another_thing(body: str) -> bool:
    """One whose registration may still be on its way."""
    return re.fullmatch(r"[0-9A-Za-z:_-]{1,128}", json.loads(body)["thing"]) is not None


@pytest.mark.parametrize("context", ["alarms", "devices"])
@bounded(8)
@given(things=st.lists(VALUES, min_size=1, max_size=8))
def test_a_thing_nobody_registered_is_parked_at_the_last_receive(
    events: Inbox, telemetry: Inbox, context: str, things: list[str]
) -> None:
    inbox = {"alarms": events, "devices": telemetry}[context].fresh()
    bodies = [json.dumps({**json.loads(delivery("x", event_fields(1))), "thing": 0})] * len(things)
    bodies = [body.replace('"thing": 0', f'"thing": {thing}') for body, thing in zip(bodies, things, strict=True)]
    kept, rows = inbox.deliver(bodies, receives=RECEIVES)
    assert (kept, rows) == ([], {})


def subscriber(context: str, fact: str, dotted: str) -> Inbox:
    """An inbox of the context; conditions are those of a device it knows."""
    known = KnownDevice(_said(fact)["data"].get("device_id", THING), "smoke_detector", PLACE)
    register = (lambda: on_device_event.store.remember(known)) if fact == "DeviceConditionChanged" else dict
    return Inbox(context, handler_of(dotted), register).fresh()


def is_of_another_device(body: str) -> bool:
    """A condition of one whose registration may still be on its way."""
    detail = json.loads(body)["detail"]
    thing = detail["data"]["device_id"]
    known = _said("DeviceConditionChanged")["data"]["device_id"]
    named = thing != known and re.fullmatch(r"[0-9A-Za-z:_-]{1,128}", thing) is not None
    return detail["type"] == "DeviceConditionChanged" and named


def _said(fact: str) -> Any:
    return json.loads((SAMPLES / f"{fact}-v1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("context", "fact", "dotted"), SUBSCRIPTIONS, ids=lambda value: str(value))
@bounded(12)
@given(data=st.data())
def test_a_fact_is_taken_or_parked_at_once(context: str, fact: str, dotted: str, data: st.DataObject) -> None:
    sample = _said(fact)
    bus = {"source": f"linli.{sample['context']}", "detail-type": fact, "detail": sample}
    bodies = data.draw(st.lists(changed(bus) | VALUES, min_size=1, max_size=4))
    kept, _ = subscriber(context, fact, dotted).deliver([*bodies, json.dumps(bus)], may_wait=is_of_another_device)
    assert len(bodies) in kept


@pytest.mark.parametrize("extreme", EXTREME)
@pytest.mark.parametrize(("context", "fact", "dotted"), SUBSCRIPTIONS, ids=lambda value: str(value))
def test_a_fact_with_an_extreme_value_anywhere_waits_for_nothing(
    context: str, fact: str, dotted: str, extreme: str
) -> None:
    sample = _said(fact)
    bodies = [replaced({"detail": sample}, path, extreme) for path in paths({"detail": sample})]
    subscriber(context, fact, dotted).deliver(bodies, may_wait=is_of_another_device)


def test_what_the_table_can_never_take_is_parked_at_once_and_whole() -> None:
    sample = _said("AlarmRaised")
    inbox = Inbox("tickets", handler_of("tickets.on_alarm_raised.handler")).fresh()
    bodies = [json.dumps({"detail": sample | {"aggregate_version": 10**39 - 1}}), json.dumps({"detail": sample})]
    kept, _ = inbox.deliver(bodies)
    assert kept == [1]
    (reason,) = [row["reason"]["S"] for (pk, _), row in inbox.rows().items() if pk.startswith("PARKED#")]
    assert reason == "refused by the table"
