"""AlarmRaised: one ticket, dispatched to the post on duty for the grid."""

from typing import Any

from pydantic import BaseModel

from linli.batch import consume, read_fact
from linli.clock import utc_now
from linli.facts import Place
from linli.log import logger
from linli.metrics import Metric, emit
from tickets.detectors import Alarm, alarm_raised
from tickets.store import TicketStore

log = logger("tickets")
store = TicketStore()


class AlarmRaised(BaseModel):
    alarm_id: str
    device_id: str
    alarm_type: str
    severity: str
    place: Place


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return consume(event, context, on_alarm_raised, table=store.table, source="AlarmRaised", log=log, clock=utc_now)


def on_alarm_raised(body: str) -> None:
    fact, said = read_fact(body, AlarmRaised, version=1)
    alarm = Alarm(
        aggregate_id=fact.aggregate_id,
        version=fact.aggregate_version,
        correlation_id=fact.correlation_id,
        **dict(said),
    )
    ticket = alarm_raised(alarm, store=store, clock=utc_now)
    if ticket:
        emit(Metric.TICKET_DELAY, max(0, (utc_now() - fact.occurred_at).total_seconds()), context="tickets")
    log.info(
        "alarm taken" if ticket else "alarm seen before",
        alarm_id=said.alarm_id,
        ticket_id=ticket and ticket.ticket_id,
        correlation_id=fact.correlation_id,
    )
