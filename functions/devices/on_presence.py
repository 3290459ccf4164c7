"""Connections and their ends from the queue of `iot_rules/presence.yaml`."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from devices.state import Presence
from devices.telemetry_store import TelemetryStore
from devices.watching import take_presence
from linli.batch import consume, read
from linli.clock import utc_now
from linli.ingest import Millis
from linli.log import logger

log = logger("devices")
store = TelemetryStore()


class Lifecycle(BaseModel):
    """AWS IoT lifecycle event; fields that are not listed are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    client_id: str = Field(alias="clientId")
    event_type: Literal["connected", "disconnected"] = Field(alias="eventType")
    timestamp: Millis
    version_number: int = Field(alias="versionNumber", default=0)
    trace: str


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return consume(event, context, take, table=store.table, source="presence", log=log, clock=utc_now)


def take(body: str) -> None:
    """Raises Unreadable for what cannot be understood or is of no device."""
    said = read(Lifecycle, body)
    at = datetime.fromtimestamp(said.timestamp / 1000, UTC)
    presence = Presence(said.event_type == "connected", said.version_number, at, generation=0)
    taken = take_presence(said.client_id, presence, correlation_id=said.trace, store=store, clock=utc_now)
    log.info(
        "presence taken" if taken else "presence of no interest",
        thing=said.client_id,
        event=said.event_type,
        correlation_id=said.trace,
    )
