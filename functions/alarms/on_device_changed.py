"""DeviceRegistered, DeviceChanged: what a device is, where, and whether it counts, so that an alarm asks nobody."""

from typing import Any

from pydantic import BaseModel

from alarms.commands import end_alarms
from alarms.domain import IN_SERVICE, RETIRED, KnownDevice
from alarms.store import AlarmStore
from linli.batch import consume, read_fact
from linli.clock import utc_now
from linli.facts import Place
from linli.log import logger

log = logger("alarms")
store = AlarmStore()


class DeviceRegistered(BaseModel):
    device_id: str
    device_class: str
    place: Place
    state: str = IN_SERVICE


class DeviceChanged(DeviceRegistered):
    state: str


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return consume(event, context, remember, table=store.table, source="DeviceRegistered", log=log, clock=utc_now)


def remember(body: str) -> None:
    fact, said = read_fact(body, DeviceRegistered, DeviceChanged, version=1)
    device = KnownDevice(said.device_id, said.device_class, said.place, said.state, fact.aggregate_version)
    newer = store.remember(device)
    ended = []
    if said.state == RETIRED:
        ended = end_alarms(device, fact.occurred_at, correlation_id=fact.correlation_id, store=store, clock=utc_now)
    log.info(
        "device remembered",
        thing=said.device_id,
        newer=newer,
        ended=[alarm.alarm_id for alarm in ended],
        correlation_id=fact.correlation_id,
    )
