"""Every minute: outbox rows the stream did not bring (it keeps a day; the bus may have refused)."""

import os
from typing import Any

import boto3

from linli.aws import PATIENCE
from linli.clock import utc_now
from relay.publish import log, missed, publish

events = boto3.client("events", config=PATIENCE)
dynamodb = boto3.client("dynamodb", config=PATIENCE)


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> None:
    tables = os.environ["OUTBOX_TABLES"].split(",")
    sent = publish(missed(tables, dynamodb=dynamodb, now=utc_now()), events=events, dynamodb=dynamodb)
    log.info("swept", sent=sent)
