"""Every minute: the due minute's shards go onto the queue, a few to each worker."""

import os
from datetime import datetime
from typing import Any

import boto3

from linli.aws import PATIENCE
from linli.log import logger
from timers.domain import SHARDS, floor
from timers.messages import DueMinute

WORKERS = 4
"""Messages a minute, each with its share of the shards."""

log = logger("timers")
queues = boto3.client("sqs", config=PATIENCE)


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> None:
    tick(datetime.fromisoformat(event["time"]), queues=queues)


def tick(at: datetime, *, queues: Any) -> None:
    """The next minute makes good what this one missed, so nothing is tried again here."""
    minute = floor(at)
    for first in range(WORKERS):
        due = DueMinute(minute=minute, shards=list(range(first, SHARDS, WORKERS)))
        queues.send_message(QueueUrl=os.environ["MINUTES_QUEUE"], MessageBody=due.model_dump_json())
    log.info("minute due", minute=minute.isoformat())
