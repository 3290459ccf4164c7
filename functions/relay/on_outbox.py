"""Outbox rows from the tables' streams, as they are written."""

from typing import Any

import boto3

from linli.aws import PATIENCE
from relay.publish import Outboxed, log, publish

events = boto3.client("events", config=PATIENCE)
dynamodb = boto3.client("dynamodb", config=PATIENCE)


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> None:
    rows = [_row(record) for record in event["Records"]]
    sent = publish(rows, events=events, dynamodb=dynamodb)
    log.info("relayed", rows=len(rows), sent=sent)


def _row(record: dict[str, Any]) -> Outboxed:
    image = record["dynamodb"]["NewImage"]
    table = record["eventSourceARN"].split("/")[1]
    return Outboxed(table, image["pk"]["S"], image["sk"]["S"], image.get("fact", {}).get("S", ""))
