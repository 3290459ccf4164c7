"""Telemetry from the queue of `iot_rules/telemetry.yaml`, a batch at a time."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from devices.archive import FirehoseArchive
from devices.domain import Reading
from devices.state import Told
from devices.telemetry import keep_telemetry
from devices.telemetry_store import TelemetryStore
from linli.batch import consume_together, read
from linli.clock import utc_now
from linli.ingest import Delivery, DeviceCounter, DeviceTime, FromDevice
from linli.log import logger

log = logger("devices")
store = TelemetryStore()
archive = FirehoseArchive()


class ReadingMessage(FromDevice):
    t: DeviceTime
    seq: DeviceCounter
    v: Annotated[dict[str, Annotated[float, Field(strict=True)]], Field(min_length=1)]


class TelemetryMessage(FromDevice):
    readings: Annotated[list[ReadingMessage], Field(min_length=1, max_length=1000)]


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return consume_together(event, told, keep, table=store.table, source="telemetry", log=log, clock=utc_now)


def told(body: str) -> Told:
    """Raises Unreadable for a message that cannot be understood."""
    delivery = read(Delivery, body)
    message = delivery.message(TelemetryMessage)
    readings = [Reading(r.t, r.seq, r.v) for r in message.readings]
    return Told(delivery.thing, readings, delivery.received_at, delivery.trace)


def keep(messages: Sequence[Told]) -> dict[int, Exception]:
    refused = keep_telemetry(messages, store=store, archive=archive, clock=utc_now)
    log.info(
        "telemetry kept",
        messages=len(messages) - len(refused),
        refused=len(refused),
        correlation_ids=[message.correlation_id for message in messages],
    )
    return refused
