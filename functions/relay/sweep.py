"""Every minute: outbox rows the stream did not bring (it keeps a day; the bus may have refused).

What it met is measured every time, none as well: where the figures stop the sweeper itself does not run.
"""

import os
from typing import Any

import boto3

from linli.aws import PATIENCE
from linli.clock import utc_now
from linli.metrics import Metric, emit
from relay.publish import Counted, log, missed, publish

events = boto3.client("events", config=PATIENCE)
dynamodb = boto3.client("dynamodb", config=PATIENCE)


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> None:
    tables = os.environ["OUTBOX_TABLES"].split(",")
    now = utc_now()
    waiting = Counted(missed(tables, dynamodb=dynamodb, now=now))
    sent = publish(waiting, events=events, dynamodb=dynamodb)
    emit(Metric.OUTBOX_OLDEST, waiting.age(now).total_seconds(), context="relay")
    emit(Metric.OUTBOX_MISSED, waiting.rows, context="relay")
    log.info("swept", rows=waiting.rows, sent=sent)
