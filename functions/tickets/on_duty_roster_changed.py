"""DutyRosterChanged: keep who is on duty, so that dispatching an alarm needs nobody else's answer."""

from typing import Any

from pydantic import BaseModel

from linli.batch import consume, read_fact
from linli.clock import utc_now
from linli.facts import Instant
from linli.log import logger
from tickets.domain import Roster, Shift
from tickets.store import TicketStore

log = logger("tickets")
store = TicketStore()


class ShiftData(BaseModel):
    post_id: str
    from_at: Instant
    to_at: Instant | None = None


class DutyRosterChanged(BaseModel):
    grid_id: str
    shifts: tuple[ShiftData, ...]
    duty_officer: str
    deputy_officer: str | None = None


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return consume(
        event, context, on_duty_roster_changed, table=store.table, source="DutyRosterChanged", log=log, clock=utc_now
    )


def on_duty_roster_changed(body: str) -> None:
    fact, said = read_fact(body, DutyRosterChanged, version=1)
    roster = Roster(
        tuple(Shift(s.post_id, s.from_at, s.to_at) for s in said.shifts), said.duty_officer, said.deputy_officer
    )
    kept = store.save_roster(said.grid_id, roster, version=fact.aggregate_version, at=utc_now())
    log.info("roster", grid_id=said.grid_id, kept=kept, correlation_id=fact.correlation_id)
