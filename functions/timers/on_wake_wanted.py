"""…WakeWanted of every owner: the wake gets its row. The same wake again is the same row, or one its owner calls stale."""

import json
from typing import Any

from pydantic import BaseModel

from linli.batch import consume, read, read_envelope
from linli.clock import utc_now
from linli.errors import Unreadable
from linli.facts import Instant
from linli.log import logger
from linli.table import Table
from linli.wake import Wake
from timers.store import TimersRow, wake_store

log = logger("timers")
table = Table(TimersRow)


class WakeWanted(BaseModel):
    ref: str
    rung: int
    generation: int
    fire_at: Instant
    severity: str | None


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return consume(event, context, plan_wake, table=table, source="WakeWanted", log=log, clock=utc_now)


def plan_wake(body: str) -> None:
    fact = read_envelope(body)
    if not fact.type.endswith("WakeWanted") or fact.version != 1:
        raise Unreadable("version", reason=f"{fact.type} v{fact.version}")
    wake = Wake(owner=fact.context, **dict(read(WakeWanted, json.dumps(fact.data))))
    wake_store().add([wake], now=utc_now())
    log.info("wake planned", owner=wake.owner, ref=wake.ref, rung=wake.rung, correlation_id=fact.correlation_id)
