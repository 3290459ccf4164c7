"""DeviceConditionChanged: a threshold, a silence or a lost connection moves the alarm of its type."""

from typing import Any

from pydantic import BaseModel

from alarms.commands import hear
from alarms.domain import Moment, Said, UnknownThing, condition_terms
from alarms.store import AlarmStore
from linli.batch import consume, read_fact
from linli.clock import utc_now
from linli.facts import Instant
from linli.ingest import Thing
from linli.log import logger

log = logger("alarms")
store = AlarmStore()


class DeviceConditionChanged(BaseModel):
    device_id: Thing
    alarm_type: str
    active: bool
    changed_at: Instant


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return consume(event, context, take_change, table=store.table, source="ConditionChanged", log=log, clock=utc_now)


def take_change(body: str) -> None:
    """Raises Unreadable for a condition the class does not have, UnknownThing while the registry's word has not come."""
    fact, change = read_fact(body, DeviceConditionChanged, version=1)
    device = store.device(change.device_id)
    if device is None:
        raise UnknownThing("device_id")
    terms = condition_terms(device.device_class, change.alarm_type)
    version = fact.aggregate_version
    said = Said(Moment(change.changed_at, version), f"v{version}", change.active, received_at=fact.occurred_at)
    taken = hear(device, terms, said, correlation_id=fact.correlation_id, store=store, clock=utc_now)
    log.info(
        "condition taken" if taken else "condition seen before",
        thing=change.device_id,
        alarm_type=change.alarm_type,
        outcome=taken and taken[1].value,
        alarm_id=taken and taken[0].alarm_id,
        correlation_id=fact.correlation_id,
    )
