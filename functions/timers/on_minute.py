"""A due minute's shards from the queue of `tick`: their wakes go to their owners."""

import os
from typing import Any

import boto3
from botocore.config import Config

from linli.batch import consume, read
from linli.clock import utc_now
from linli.log import logger
from linli.metrics import Metric, emit
from linli.table import Table
from timers.drain import drain
from timers.messages import DueMinute
from timers.owners import invoked_owners
from timers.store import TimersRow, wake_store

log = logger("timers")
table = Table(TimersRow)
# An owner may take 60 s for what it is asked. One that does not answer is asked again in the next minute, not here.
functions = boto3.client("lambda", config=Config(read_timeout=65, connect_timeout=2, retries={"total_max_attempts": 1}))


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return consume(event, context, drain_minute, table=table, source="minutes", log=log, clock=utc_now)


def drain_minute(body: str) -> None:
    due = read(DueMinute, body)
    owners = invoked_owners(os.environ["WAKE_OWNERS"], functions)
    drained = drain(due.minute, due.shards, owners=owners, store=wake_store(), clock=utc_now, log=log)
    log.info("minute drained", minute=due.minute.isoformat(), shards=due.shards, **vars(drained))
    emit(Metric.TIMERS_LATE, drained.late_seconds, context="timers")
