"""AlarmCleared: verification of what was done starts by itself."""

from typing import Any

from pydantic import BaseModel

from linli.batch import consume, read_fact
from linli.clock import utc_now
from linli.log import logger
from tickets.detectors import alarm_cleared
from tickets.domain import Sensor
from tickets.store import TicketStore

log = logger("tickets")
store = TicketStore()


class AlarmCleared(BaseModel):
    alarm_id: str


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return consume(event, context, on_alarm_cleared, table=store.table, source="AlarmCleared", log=log, clock=utc_now)


def on_alarm_cleared(body: str) -> None:
    fact, said = read_fact(body, AlarmCleared, version=1)
    sensor = Sensor(fact.aggregate_id, fact.aggregate_version, active=False)
    ticket = alarm_cleared(said.alarm_id, sensor, correlation_id=fact.correlation_id, store=store, clock=utc_now)
    log.info(
        "alarm cleared",
        alarm_id=said.alarm_id,
        ticket_id=ticket and ticket.ticket_id,
        state=ticket and ticket.state.value,
        correlation_id=fact.correlation_id,
    )
