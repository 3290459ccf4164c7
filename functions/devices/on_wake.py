"""Asked by `timers` whether devices whose time has come have fallen silent, stayed away or left an offer unconfirmed."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from devices.credentials import CertificateIssuer
from devices.requests import lapse_offer
from devices.state import OFFER
from devices.store import DeviceStore
from devices.telemetry_store import TelemetryStore
from devices.watching import look
from linli.clock import utc_now
from linli.log import logger
from linli.wake import Answer, Wake, answer_wakes

log = logger("devices")
store = TelemetryStore()
registry = DeviceStore()
issuer = cache(CertificateIssuer)


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return answer_wakes(event, answered)


def answered(wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
    answers = list(look([wake for wake in wakes if wake.rung != OFFER], at=at, store=store, clock=utc_now))
    for wake in wakes:
        if wake.rung == OFFER:
            lapse_offer(wake, at=at, store=registry, issuer=issuer())
            answers.append(Answer(wake, None))
    log.info("wakes answered", asked=len(wakes), answered=len(answers))
    return answers
