"""DeviceRegistered, DeviceChanged: where the device is, so that its grid can be told on any later day."""

from typing import Any

from pydantic import BaseModel

from grid.store import GridStore
from linli.batch import consume, read_fact
from linli.clock import utc_now
from linli.log import logger

log = logger("grid")
store = GridStore()


class DevicePlace(BaseModel):
    building_id: str
    room_id: str | None = None


class DeviceRegistered(BaseModel):
    device_id: str
    place: DevicePlace
    state: str = "in_service"


class DeviceChanged(DeviceRegistered):
    state: str


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return consume(event, context, remember, table=store.table, source="DeviceRegistered", log=log, clock=utc_now)


def remember(body: str) -> None:
    fact, said = read_fact(body, DeviceRegistered, DeviceChanged, version=1)
    place_id = None if said.state == "retired" else said.place.room_id or said.place.building_id
    newer = store.put_device(said.device_id, place_id, version=fact.aggregate_version)
    log.info("device placed", thing=said.device_id, newer=newer, correlation_id=fact.correlation_id)
