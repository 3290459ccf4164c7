"""DeviceRegistered: remember the device's class and place, so that an alarm needs nobody else's answer."""

from typing import Any

from pydantic import BaseModel

from alarms.domain import KnownDevice
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


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return consume(event, context, remember, table=store.table, source="DeviceRegistered", log=log, clock=utc_now)


def remember(body: str) -> None:
    fact, said = read_fact(body, DeviceRegistered, version=1)
    store.remember(KnownDevice(said.device_id, said.device_class, said.place))
    log.info("device remembered", thing=said.device_id, correlation_id=fact.correlation_id)
