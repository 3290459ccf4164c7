"""Four times a day: how many devices have let their certificate come to its end."""

from typing import Any

from devices.expiry import certificates_expiring
from devices.store import DeviceStore
from linli.clock import utc_now
from linli.log import logger
from linli.metrics import Metric, emit

log = logger("devices")
store = DeviceStore()


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> None:
    count = certificates_expiring(store=store, now=utc_now())
    emit(Metric.CERTIFICATES_EXPIRING, count, context="devices")
    log.info("certificates counted", expiring=count)
