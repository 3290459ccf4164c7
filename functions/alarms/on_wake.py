"""Invoked by `timers` when on-delays are over: what is still pending is raised."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from alarms.commands import raise_delayed
from alarms.domain import alarm_terms
from alarms.store import AlarmStore
from linli.clock import utc_now
from linli.log import logger
from linli.wake import Answer, Wake, answer_wakes

log = logger("alarms")
store = AlarmStore()


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return answer_wakes(event, look)


def look(wakes: Sequence[Wake], *, at: datetime) -> list[Answer]:
    return [Answer(wake, _look(wake, at)) for wake in wakes]


def _look(wake: Wake, at: datetime) -> Wake | None:
    """The wake itself while it is too early, None when there is nothing more to wait for."""
    device_id, _, alarm_type = wake.ref.rpartition("#")
    device = store.device(device_id)
    terms = device and alarm_terms(device.device_class, alarm_type)
    alarm = device and terms and raise_delayed(device, terms, wake.generation, at=at, store=store, clock=utc_now)
    log.info("wake looked at", thing=device_id, alarm_type=alarm_type, state=alarm and alarm.state)
    return wake if alarm and alarm.pending and alarm.generation == wake.generation else None
