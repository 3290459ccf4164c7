"""Every minute: the due minute's shards go onto the queue, a few to each worker."""

import os
from datetime import datetime
from typing import Any

import boto3

from linli.errors import Unavailable
from linli.log import logger
from timers.domain import SHARDS, floor
from timers.messages import DueMinute

WORKERS = 4
"""Messages a minute, each with its share of the shards; at most ten, as one request sends them."""

log = logger("timers")
queues = boto3.client("sqs")


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> None:
    tick(datetime.fromisoformat(event["time"]), queues=queues)


def tick(at: datetime, *, queues: Any) -> None:
    """Raises Unavailable if a message was not taken; the next minute makes good what this one missed."""
    minute = floor(at)
    due = [DueMinute(minute=minute, shards=list(range(first, SHARDS, WORKERS))) for first in range(WORKERS)]
    entries = [{"Id": str(number), "MessageBody": one.model_dump_json()} for number, one in enumerate(due)]
    answer = queues.send_message_batch(QueueUrl=os.environ["MINUTES_QUEUE"], Entries=entries)
    if answer.get("Failed"):
        raise Unavailable()
    log.info("minute due", minute=minute.isoformat())
