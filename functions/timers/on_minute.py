"""A due minute's shards from the queue of `tick`: their wakes go to their owners."""

import os
from typing import Any

import boto3
from aws_lambda_powertools.metrics import MetricUnit, single_metric
from botocore.config import Config

from linli.batch import consume, read
from linli.clock import utc_now
from linli.log import logger
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
    with single_metric("TimersLateSeconds", MetricUnit.Seconds, drained.late_seconds) as metric:
        metric.add_dimension("context", "timers")
