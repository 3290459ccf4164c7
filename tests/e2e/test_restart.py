"""A stop in the middle: the next start finds its data, and what was not yet relayed is relayed."""

import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ulid import ULID

from infra.local.build import LOCAL_TEMPLATE
from infra.local.deploy import deploy, local_parameters
from infra.local.process import free_port
from infra.local.runtime import Runtime
from linli.facts import Envelope
from tests.support import GRID

LARGE = 300
"""Rows of 100 KB: a state that takes MiniStack seconds to write."""


def roster_fact(event_id: str, post_id: str) -> Envelope:
    at = datetime.now(UTC)
    shift = {"post_id": post_id, "from_at": at.isoformat(), "to_at": None}
    data = {"grid_id": GRID, "shifts": [shift], "duty_officer": "duty-officer-001"}
    return Envelope(
        event_id=event_id,
        type="DutyRosterChanged",
        version=1,
        context="grid",
        aggregate_id=GRID,
        aggregate_version=1,
        occurred_at=at,
        correlation_id="restart",
        data=data,
    )


def test_what_was_not_relayed_before_the_stop_is_relayed_after_it(tmp_path: Path) -> None:
    runtime = Runtime(tmp_path, free_port(), free_port())
    with runtime:
        deploy(runtime, LOCAL_TEMPLATE, local_parameters(runtime, LOCAL_TEMPLATE), quiet=True)
        functions = runtime.client("lambda")
        for mapping in functions.list_event_source_mappings(FunctionName="linli-relay-on-outbox")[
            "EventSourceMappings"
        ]:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        missed = str(ULID.from_datetime(datetime.now(UTC) - timedelta(minutes=3)))
        fact = roster_fact(missed, "grid-worker-001").model_dump_json()
        database = runtime.client("dynamodb")
        row = {"pk": {"S": "OUT#3"}, "sk": {"S": missed}, "fact": {"S": fact}, "v": {"N": "1"}}
        database.put_item(TableName="linli-grid", Item=row)
        marker = {"pk": {"S": f"kept-{secrets.token_hex(4)}"}, "sk": {"S": "x"}}
        database.put_item(TableName="linli-tickets", Item=marker)
        for number in range(LARGE):
            heavy = {"pk": {"S": f"heavy-{number}"}, "sk": {"S": "x"}, "text": {"S": "x" * 100_000}}
            database.put_item(TableName="linli-tickets", Item=heavy)
    with runtime:
        deploy(runtime, LOCAL_TEMPLATE, local_parameters(runtime, LOCAL_TEMPLATE), quiet=True)
        database = runtime.client("dynamodb")
        assert "Item" in database.get_item(TableName="linli-tickets", Key=marker)
        kept = [{"pk": {"S": f"heavy-{number}"}, "sk": {"S": "x"}} for number in range(LARGE)]
        assert all("Item" in database.get_item(TableName="linli-tickets", Key=one) for one in kept)
        key = {"pk": {"S": f"ROSTER#{GRID}"}, "sk": {"S": "R"}}
        give_up = time.monotonic() + 100
        while "Item" not in database.get_item(TableName="linli-tickets", Key=key, ConsistentRead=True):
            if time.monotonic() > give_up:
                pytest.fail("the sweeper did not relay the row within 100 s")
            time.sleep(1)
        assert (
            database.query(
                TableName="linli-grid",
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": "OUT#3"}},
                ConsistentRead=True,
            )["Items"]
            == []
        )
