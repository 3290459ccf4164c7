"""Personal text on the real parts: what stands in the table, and what a disabled key stops and does not stop."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.world import ROOM, World, take, until

TEXT = "合成数据：卡纳瑞甲报修，三楼楼道灯不亮"
REPORT = {"category": "repair", "text": TEXT, "place_id": ROOM}


@contextmanager
def key_disabled(world: World) -> Iterator[None]:
    """The key of personal data disabled, and a process that has opened no data key yet."""
    functions, kms = world.linli.runtime.client("lambda"), world.linli.runtime.client("kms")
    name = "linli-tickets-api"
    settings = functions.get_function_configuration(FunctionName=name)["Environment"]
    key = settings["Variables"]["PERSONAL_KEY"]
    kms.disable_key(KeyId=key)
    changed = {"Variables": {**settings["Variables"], "NEW_PROCESS": "1"}}
    functions.update_function_configuration(FunctionName=name, Environment=changed)
    try:
        yield
    finally:
        kms.enable_key(KeyId=key)
        functions.update_function_configuration(FunctionName=name, Environment=settings)


def test_what_is_written_stands_under_seal_and_opens_only_in_its_place(world: World) -> None:
    first, second = (world.resident.post("/v1/tickets", REPORT).body for _ in range(2))
    done = take(world.worker, first, "accept", note="合成数据：已联系卡纳瑞甲").body
    assert done["text"] == TEXT
    rows = {ticket["ticket_id"]: world.rows("tickets", f"TICKET#{ticket['ticket_id']}") for ticket in (first, second)}
    plain = json.dumps(list(rows.values()), default=lambda raw: raw.decode("utf-8", "replace"), ensure_ascii=False)
    assert "卡纳瑞甲" not in plain
    moved = {**_row(rows[first["ticket_id"]], "TEXT"), "pk": {"S": f"TICKET#{second['ticket_id']}"}}
    world.database.put_item(TableName="linli-tickets", Item=moved)
    refused = world.officer.get(f"/v1/tickets/{second['ticket_id']}")
    world.database.put_item(TableName="linli-tickets", Item=_row(rows[second["ticket_id"]], "TEXT"))
    assert (refused.status, refused.body["code"]) == (500, "seal-broken")
    assert world.officer.get(f"/v1/tickets/{second['ticket_id']}").body["text"] == TEXT


def test_a_disabled_key_stops_what_is_personal_and_nothing_else(world: World) -> None:
    report = world.resident.post("/v1/tickets", REPORT).body
    with key_disabled(world):
        path = f"/v1/tickets/{report['ticket_id']}"
        until("a process without the data key", lambda: world.officer.get(path).status == 503)
        shown = world.officer.get(path)
        assert (shown.body["code"], shown.headers["Retry-After"]) == ("seal-unavailable", "2")
        refused = world.resident.post("/v1/tickets", REPORT, key="sealed-while-disabled")
        assert (refused.status, refused.body["code"]) == (503, "seal-unavailable")
        assert world.resident.get("/v1/tickets/work", of="reported").status == 200
        device_id = world.register()
        with world.device(device_id) as detector:
            detector.event("smoke", "active")
            alarm = world.ticket_of(device_id)
        assert take(world.worker, alarm, "accept", note="到场").status == 503
        assert take(world.worker, alarm, "accept").status == 201
    until("the key again", lambda: world.officer.get(path).status == 200)
    assert world.officer.get(path).body["text"] == TEXT
    answers = [world.resident.post("/v1/tickets", REPORT, key="sealed-while-disabled") for _ in range(2)]
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["ticket_id"] for answer in answers}) == 1


def _row(rows: list[dict[str, Any]], sk: str) -> dict[str, Any]:
    return next(row for row in rows if row["sk"]["S"] == sk)
