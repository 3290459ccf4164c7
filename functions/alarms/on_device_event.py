"""Device events from the queue of `iot_rules/device_events.yaml`: each moves the one alarm of its type."""

from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from alarms.commands import hear
from alarms.domain import IN_SERVICE, Outcome, UnknownThing, event_said, event_terms
from alarms.store import AlarmStore
from linli.batch import consume, read
from linli.clock import utc_now
from linli.errors import Unreadable
from linli.ingest import Delivery, DeviceCounter, DeviceTime, FromDevice
from linli.log import logger
from linli.metrics import Metric, emit

log = logger("alarms")
store = AlarmStore()


class EventMessage(FromDevice):
    at: DeviceTime
    seq: DeviceCounter
    event: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
    state: Literal["active", "clear"]


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return consume(event, context, take_delivery, table=store.table, source="device_events", log=log, clock=utc_now)


def take_delivery(body: str) -> None:
    """Raises Unreadable for what cannot be understood, UnknownThing while the registry's word has not come."""
    delivery = read(Delivery, body)
    message = delivery.message(EventMessage)
    device = store.device(delivery.thing)
    if device is None:
        raise UnknownThing("thing")
    if device.state != IN_SERVICE:
        raise Unreadable("thing", reason=f"device {device.state}")
    terms = event_terms(device.device_class, message.event)
    said = event_said(message.at, message.seq, active=message.state == "active", received_at=delivery.received_at)
    taken = hear(device, terms, said, correlation_id=delivery.trace, store=store, clock=utc_now)
    if taken and taken[1] in (Outcome.RAISED, Outcome.PASSED):
        emit(Metric.ALARM_DELAY, max(0, (utc_now() - delivery.received_at).total_seconds()), context="alarms")
    log.info(
        "event taken" if taken else "event seen before",
        thing=delivery.thing,
        seq=message.seq,
        outcome=taken and taken[1].value,
        alarm_id=taken and taken[0].alarm_id,
        correlation_id=delivery.trace,
    )
