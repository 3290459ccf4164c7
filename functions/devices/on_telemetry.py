"""Telemetry from the queue of `iot_rules/telemetry.yaml`: readings are kept, the newest becomes the last state."""

from typing import Annotated, Any

from pydantic import Field

from devices.domain import DeviceAbsent, Reading, class_named, latest
from devices.store import DeviceStore
from linli.batch import consume, read
from linli.clock import utc_now
from linli.errors import Unreadable
from linli.ingest import Delivery, DeviceCounter, DeviceTime, FromDevice
from linli.log import logger

log = logger("devices")
store = DeviceStore()


class ReadingMessage(FromDevice):
    t: DeviceTime
    seq: DeviceCounter
    v: Annotated[dict[str, Annotated[float, Field(strict=True)]], Field(min_length=1)]


class TelemetryMessage(FromDevice):
    readings: Annotated[list[ReadingMessage], Field(min_length=1, max_length=1000)]


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return consume(event, context, keep_telemetry, table=store.table, source="telemetry", log=log, clock=utc_now)


def keep_telemetry(body: str) -> None:
    """Raises Unreadable for a message that cannot be kept."""
    delivery = read(Delivery, body)
    message = delivery.message(TelemetryMessage)
    metrics = _metrics_of(delivery.thing)
    for place, reading in enumerate(message.readings):
        if not reading.v.keys() <= metrics.keys():
            raise Unreadable(f"readings.{place}.v", reason="unknown metric")
    readings = sorted((Reading(r.t, r.seq, r.v) for r in message.readings), key=lambda r: r.key)
    store.keep_readings(delivery.thing, readings, received_at=delivery.received_at)
    newest = latest(readings, received_at=delivery.received_at)
    moved = newest is not None and store.move_state(delivery.thing, newest, received_at=delivery.received_at)
    log.info(
        "telemetry kept",
        thing=delivery.thing,
        readings=len(readings),
        state_moved=moved,
        correlation_id=delivery.trace,
    )


def _metrics_of(thing: str) -> Any:
    try:
        return class_named(store.device(thing).device_class).metrics
    except DeviceAbsent as error:
        raise Unreadable("thing", reason="unknown thing") from error
