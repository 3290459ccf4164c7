"""A stop in the middle: the next start finds its data, and what was not yet relayed is relayed."""

import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from ulid import ULID

from infra.local.build import LOCAL_TEMPLATE
from infra.local.deploy import deploy, local_parameters
from infra.local.process import free_port
from infra.local.runtime import Runtime
from linli.facts import Envelope
from tests.support import GRID, template

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


WRITERS = 4


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.soak)])
def test_every_acknowledged_write_is_there_after_a_stop_in_the_middle_of_writing(tmp_path: Path, rounds: int) -> None:
    """F9. What is written after the stop began may be there or not; a transaction is there whole or not at all."""
    runtime = Runtime(tmp_path, free_port(), free_port())
    with runtime:
        described = template("alarms")["Resources"]["Table"]["Properties"]
        keys = {name: described[name] for name in ("BillingMode", "AttributeDefinitions", "KeySchema")}
        runtime.client("dynamodb").create_table(TableName="load", **keys)
    acknowledged: set[str] = set()
    for number in range(rounds):
        with runtime:
            assert lost(runtime, acknowledged) == set()
            with writing(runtime, number) as written:
                wait_for(lambda written=written: len(written) >= 100)
                runtime.stop()
            acknowledged |= set(written)
    with runtime:
        assert lost(runtime, acknowledged) == set()
    assert len(acknowledged) >= 100 * rounds


@contextmanager
def writing(runtime: Runtime, number: int) -> Iterator[list[str]]:
    """Several writers at once, each noting what was acknowledged, until they get no answer or are told to stop."""
    written: list[str] = []
    enough = Event()

    def write(writer: int) -> None:
        database = runtime.client("dynamodb", retries={"total_max_attempts": 1}, read_timeout=5)
        for count in range(1_000_000):
            pk = f"{number}-{writer}-{count}"
            pair = [
                {"Put": {"TableName": "load", "Item": {"pk": {"S": pk}, "sk": {"S": sk}}}} for sk in ("state", "step")
            ]
            try:
                database.transact_write_items(TransactItems=pair)
            except (BotoCoreError, ClientError):
                return
            written.append(pk)
            if enough.is_set():
                return

    with ThreadPoolExecutor(WRITERS) as pool:
        for writer in range(WRITERS):
            pool.submit(write, writer)
        yield written
        enough.set()


def lost(runtime: Runtime, acknowledged: set[str]) -> set[str]:
    """What was acknowledged and is gone, and what is there by half."""
    pages = runtime.client("dynamodb").get_paginator("scan").paginate(TableName="load", ConsistentRead=True)
    rows: dict[str, int] = {}
    for page in pages:
        for row in page["Items"]:
            rows[row["pk"]["S"]] = rows.get(row["pk"]["S"], 0) + 1
    return {pk for pk in acknowledged | rows.keys() if rows.get(pk) != 2}


def wait_for(done: Any) -> None:
    give_up = time.monotonic() + 100
    while not done():
        assert time.monotonic() < give_up
        time.sleep(0.05)
