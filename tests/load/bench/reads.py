"""Reading: a cold start to the first authorised answer, a list of a hundred tickets, one item - against what boto3 needs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3

from tests.load.bench.ground import Ratio, cpu_ms, open_tickets, paired
from tests.support import CONTEXT, OFFICER, ROOT, WORKER, request
from tickets.store import TicketStore

ROUNDS = 9
ONCE = Path(__file__).with_name("once.py")
RIVALS = "tests.load.bench.rivals"
FASTAPI = ROOT / ".venv-bench" / "bin" / "python"


def cold_starts(ticket_id: str) -> list[Ratio]:
    """CPU of a new process until it has answered GET /v1/tickets/{id}; the authorizer is the same before all of them."""
    event = json.dumps(request("GET", f"/v1/tickets/{ticket_id}", OFFICER))

    def of(handler: str, python: Path = Path(sys.executable)) -> Any:
        def take() -> float:
            done = subprocess.run(
                [python, ONCE, handler], input=event, capture_output=True, text=True, check=True, env=environment
            )
            answer = json.loads(done.stdout.splitlines()[-1])
            if (answer["status"], json.loads(answer["body"])["ticket_id"]) != (200, ticket_id):
                raise AssertionError(f"{handler} answered {answer}")
            return float(answer["cpu_ms"])

        return take

    paths = os.pathsep.join(str(ROOT / part) for part in ("", "functions", "layers/shared/python"))
    environment = {**os.environ, "PYTHONPATH": paths, "POWERTOOLS_SERVICE_NAME": "bench"}
    bare = of(f"{RIVALS}.bare")
    return [
        Ratio(
            "cold first authorised GET, Linli ÷ bare function with boto3",
            *paired(ROUNDS, of("tickets.api"), bare),
            "ms CPU",
            1.6,
        ),
        Ratio("… Chalice ÷ bare function", *paired(ROUNDS, of(f"{RIVALS}.with_chalice"), bare), "ms CPU"),
        Ratio(
            "… FastAPI with Mangum ÷ bare function",
            *paired(ROUNDS, of(f"{RIVALS}.with_fastapi", FASTAPI), bare),
            "ms CPU",
        ),
    ]


def list_of_a_hundred() -> Ratio:
    """GET /v1/tickets/work?limit=100 as its handler answers it, against one query of the client for the same rows."""
    from tickets import api

    dynamodb = boto3.client("dynamodb")
    event = request("GET", "/v1/tickets/work", WORKER, query={"limit": "100"})

    def ours() -> None:
        answer = api.handler(event, CONTEXT)
        if len(json.loads(answer["body"])["items"]) != 100:
            raise AssertionError(answer)

    def raw() -> None:
        found = dynamodb.query(
            TableName=os.environ["TICKETS_TABLE"],
            IndexName="post",
            KeyConditionExpression="post = :post",
            ExpressionAttributeValues={":post": {"S": "grid-worker-001"}},
            Limit=100,
        )
        if len(found["Items"]) != 100:
            raise AssertionError(found["Count"])

    return Ratio(
        "list of 100 tickets ÷ the client's query", *paired(ROUNDS, cpu_ms(ours, 5), cpu_ms(raw, 5)), "ms CPU", 1.6
    )


def one_item(store: TicketStore, ticket_id: str) -> Ratio:
    """A ticket through its store, as the domain knows it, against GetItem."""
    dynamodb = boto3.client("dynamodb")
    key = {"pk": {"S": f"TICKET#{ticket_id}"}, "sk": {"S": "T"}}

    def raw() -> None:
        dynamodb.get_item(TableName=os.environ["TICKETS_TABLE"], Key=key, ConsistentRead=True)

    times = paired(ROUNDS, cpu_ms(lambda: store.ticket(ticket_id), 100), cpu_ms(raw, 100))
    return Ratio("store get ÷ GetItem", *times, "ms CPU", 1.2)


def measure(store: TicketStore) -> list[Ratio]:
    tickets = open_tickets(store, 120)
    return [*cold_starts(tickets[0]), list_of_a_hundred(), one_item(store, tickets[0])]
