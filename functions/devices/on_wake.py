"""Asked by `timers` whether devices whose time has come have fallen silent or stayed away."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from devices.telemetry_store import TelemetryStore
from devices.watching import look
from linli.clock import utc_now
from linli.log import logger
from linli.wake import Answer, Wake, answer_wakes

log = logger("devices")
store = TelemetryStore()


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return answer_wakes(event, answered)


def answered(wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
    answers = look(wakes, at=at, store=store, clock=utc_now)
    log.info("wakes answered", asked=len(wakes), answered=len(answers))
    return answers
