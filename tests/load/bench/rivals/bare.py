"""The least that answers an authorised GET of a ticket with boto3: a function, a prefix compared, a dictionary."""

import json
import os
from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer

dynamodb = boto3.client("dynamodb")
plain = TypeDeserializer().deserialize


def ticket_of(ticket_id: str, areas: list[str]) -> dict[str, Any] | None:
    """The ticket with its timeline, None if it is absent or lies in none of the areas."""
    table = os.environ["TICKETS_TABLE"]
    found = dynamodb.get_item(
        TableName=table, Key={"pk": {"S": f"TICKET#{ticket_id}"}, "sk": {"S": "T"}}, ConsistentRead=True
    )
    if "Item" not in found:
        return None
    ticket = {name: plain(value) for name, value in found["Item"].items()}
    place = json.loads(ticket["place"])
    if not any(area in (*place["path"], place["grid_id"]) for area in areas):
        return None
    steps = dynamodb.query(
        TableName=table,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :steps)",
        ExpressionAttributeValues={":pk": found["Item"]["pk"], ":steps": {"S": "S#"}},
        ConsistentRead=True,
    )
    timeline = [{name: plain(value) for name, value in item.items()} for item in steps["Items"]]
    return ticket | {"ticket_id": ticket_id, "place": place, "timeline": timeline}


def areas_of(event: dict[str, Any]) -> list[str]:
    principal = json.loads(event["requestContext"]["authorizer"]["lambda"]["principal"])
    return [post["path"][-1] for post in principal["posts"]]


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    found = ticket_of(event["rawPath"].rpartition("/")[2], areas_of(event))
    if found is None:
        return {"statusCode": 404, "body": "{}"}
    return {"statusCode": 200, "body": json.dumps(found, ensure_ascii=False, default=str)}
