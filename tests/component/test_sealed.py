"""Personal text under seal: what opens, what does not, what is asked of KMS, and what goes on without it."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ConnectTimeoutError
from pynamodb.attributes import UnicodeAttribute

from linli.access import Caller
from linli.sealed import ALGORITHMS, USES, Kms, SealBroken, Seals, SealUnavailable, Spot
from linli.table import Row, Table, TableMeta, TableName
from tests.support import CONTEXT, NOW, OFFICER, PLACE, RESIDENT, WORKER, request, table_on_moto
from tickets.detectors import Alarm, alarm_raised

# A Kms, a table and a text; moto refuses no disabled key, so the refusal is given here and MiniStack's in tests/e2e.
SPOT = Spot("tickets", "TICKET#1", "TEXT", "sealed")
COUNTY = PLACE.county
TEXT = "卡纳瑞甲家三楼楼道灯不亮"
ALARM = Alarm("alarm-1", "device-1#smoke", 1, "device-1", "smoke", "critical", PLACE, "trace-1")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def table() -> Iterator[Table]:
    class SealedRow(Row):
        class Meta(TableMeta):
            table_name = TableName("TICKETS_TABLE")

        text = UnicodeAttribute(null=True)

    with table_on_moto("tickets"):
        yield Table(SealedRow)


@pytest.fixture
def key(table: Table) -> str:
    return str(boto3.client("kms").create_key()["KeyMetadata"]["Arn"])


def seals(table: Table, key: str, algorithm: str = "AES-256-GCM", clock: Clock | None = None) -> Seals:
    return Seals(table, Kms(lambda: key), algorithm=lambda: algorithm, monotonic=clock or Clock())


def sealed(by: Seals, text: str = TEXT, spot: Spot = SPOT) -> bytes:
    return by.seal(text, spot, county=COUNTY, at=NOW)


@contextmanager
def asked_kms(down: Exception | None = None) -> Iterator[list[str]]:
    """The operations asked of KMS meanwhile, each refused with `down` if that is given."""
    seen: list[str] = []
    call = BaseClient._make_api_call

    def see(client: BaseClient, operation: str, request: dict[str, Any]) -> Any:
        if client.meta.service_model.service_name == "kms":
            seen.append(operation)
            if down:
                raise down
        return call(client, operation, request)

    with patch.object(BaseClient, "_make_api_call", see):
        yield seen


DOWN = {
    "disabled": ClientError({"Error": {"Code": "DisabledException", "Message": ""}}, "Decrypt"),
    "unreachable": ConnectTimeoutError(endpoint_url="kms"),
}


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_text_opens_where_it_was_sealed_and_nowhere_else(table: Table, key: str, algorithm: str) -> None:
    by = seals(table, key, algorithm)
    envelope = sealed(by)
    assert by.open(envelope, SPOT) == seals(table, key).open(envelope, SPOT) == TEXT
    assert TEXT.encode() not in envelope
    assert envelope != sealed(by)
    moved = [
        Spot("tickets", "TICKET#2", "TEXT", "sealed"),
        Spot("tickets", "TICKET#1", "S#000001", "sealed"),
        Spot("tickets", "TICKET#1", "TEXT", "note"),
        Spot("alarms", "TICKET#1", "TEXT", "sealed"),
    ]
    for spot in moved:
        with pytest.raises(SealBroken):
            by.open(envelope, spot)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_flipped_bit_anywhere_does_not_open(table: Table, key: str, algorithm: str) -> None:
    by = seals(table, key, algorithm)
    envelope = sealed(by)
    for place in range(len(envelope)):
        broken = bytearray(envelope)
        broken[place] ^= 1
        with pytest.raises(SealBroken):
            by.open(bytes(broken), SPOT)
    for short in (b"", envelope[:1], envelope[:-1], envelope[:40]):
        with pytest.raises(SealBroken):
            by.open(short, SPOT)


def test_one_data_key_for_a_county_and_month_and_its_row_shows_none_of_it(table: Table, key: str) -> None:
    by = seals(table, key)
    for number in range(3):
        sealed(by, spot=Spot("tickets", f"TICKET#{number}", "TEXT", "sealed"))
    by.seal(TEXT, SPOT, county="341000", at=NOW)
    rows = boto3.client("dynamodb").scan(TableName="linli-tickets")["Items"]
    assert sorted(item["pk"]["S"] for item in rows) == ["DEK#L3#340104202611", "DEK#L3#341000202611"]
    opened = {bytes(one.key) for one in by._opened.values()}
    assert len(opened) == 2
    assert not [item for item in rows for one in opened if one in item["wrapped"]["B"]]


def test_a_data_key_of_one_county_does_not_pass_for_anothers(table: Table, key: str) -> None:
    envelope = sealed(seals(table, key))
    dynamodb = boto3.client("dynamodb")
    (row,) = dynamodb.scan(TableName="linli-tickets")["Items"]
    dynamodb.put_item(TableName="linli-tickets", Item={**row, "pk": {"S": "DEK#L3#341000202611"}})
    elsewhere = envelope[:6] + b"341000" + envelope[12:]
    with pytest.raises(SealBroken):
        seals(table, key).open(elsewhere, SPOT)


def test_kms_is_asked_once_in_five_minutes_or_a_thousand_uses(table: Table, key: str) -> None:
    clock = Clock()
    with asked_kms() as calls:
        by = seals(table, key, clock=clock)
        envelope = sealed(by)
        assert calls == ["GenerateDataKey"]
        for _ in range(USES - 1):
            by.open(envelope, SPOT)
        assert calls == ["GenerateDataKey"]
        by.open(envelope, SPOT)
        assert calls == ["GenerateDataKey", "Decrypt"]
        clock.now = 299.0
        by.open(envelope, SPOT)
        clock.now = 300.0
        by.open(envelope, SPOT)
        assert calls == ["GenerateDataKey", "Decrypt", "Decrypt"]


def test_two_processes_that_begin_the_month_together_share_one_data_key(
    table: Table, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = seals(table, key), seals(table, key)
    real = table.get
    raced: list[bytes] = []

    def late(*arguments: Any) -> Any:
        """The second sees no row yet; while it looks, the first writes it."""
        found = real(*arguments)
        monkeypatch.setattr(table, "get", real)
        raced.append(sealed(first))
        return found

    monkeypatch.setattr(table, "get", late)
    envelope = sealed(second)
    assert second.open(raced[0], SPOT) == first.open(envelope, SPOT) == TEXT
    assert len(boto3.client("dynamodb").scan(TableName="linli-tickets")["Items"]) == 1


def test_another_kms_key_seals_new_texts_and_the_old_ones_still_open(table: Table, key: str) -> None:
    old = sealed(seals(table, key))
    other = str(boto3.client("kms").create_key()["KeyMetadata"]["Arn"])
    by = seals(table, other)
    assert by.open(sealed(by), SPOT) == by.open(old, SPOT) == TEXT
    assert len(boto3.client("dynamodb").scan(TableName="linli-tickets")["Items"]) == 2


@pytest.mark.parametrize("down", sorted(DOWN))
def test_without_kms_nothing_is_sealed_and_nothing_opens(table: Table, key: str, down: str) -> None:
    envelope = sealed(seals(table, key))
    with asked_kms(DOWN[down]):
        for act in (lambda: seals(table, key).open(envelope, SPOT), lambda: sealed(seals(table, key))):
            with pytest.raises(SealUnavailable):
                act()


class World:
    """The tickets API in this process, with a Kms that fails when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from tickets import api

        self.api = api
        monkeypatch.setattr(api, "place_seen_by_caller", lambda _api, _place: PLACE)
        self._patch = monkeypatch
        self.fresh()

    def fresh(self) -> None:
        """A process that has opened no data key yet."""
        from linli.sealed import deployed_seals

        self._patch.setattr(self.api, "seals", deployed_seals(self.api.store.table))

    def call(self, method: str, path: str, caller: Caller, **more: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
        key = hashlib.sha256(f"{path}{more}".encode()).hexdigest()[:16]
        headers = {"Idempotency-Key": key} if method == "POST" else {}
        answer = self.api.handler(request(method, path, caller, headers=headers, **more), CONTEXT)
        return answer["statusCode"], json.loads(answer["body"]), answer["headers"]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with table_on_moto("tickets"):
        yield World(monkeypatch)


def stored() -> str:
    """Every row but the counters of who called how often."""
    items = boto3.client("dynamodb").scan(TableName="linli-tickets")["Items"]
    items = [item for item in items if not item["pk"]["S"].startswith("RATE#")]
    return "\n".join(json.dumps(item, ensure_ascii=False, default=lambda raw: raw.decode("latin1")) for item in items)


REPORT = {"category": "repair", "text": TEXT, "place_id": PLACE.room_id}


def test_what_people_wrote_is_shown_and_stands_nowhere_plain(world: World) -> None:
    status, ticket, _ = world.call("POST", "/v1/tickets", RESIDENT, body=REPORT)
    assert (status, ticket["text"]) == (201, TEXT)
    path = f"/v1/tickets/{ticket['ticket_id']}"
    for version, (step, note) in enumerate([("accept", None), ("handle", "已联系卡纳瑞甲，换好了")], 1):
        body = {"step": step, "expected_version": version, **({"note": note} if note else {})}
        assert world.call("POST", f"{path}/steps", OFFICER, body=body)[0] == 201
    world.fresh()
    shown = world.call("GET", path, OFFICER)[1]
    assert shown["text"] == TEXT
    assert [step.get("note") for step in shown["timeline"]] == [None, None, "已联系卡纳瑞甲，换好了"]
    assert "卡纳瑞甲" not in stored()


def test_a_note_moved_to_another_step_is_not_shown(world: World) -> None:
    _, ticket, _ = world.call("POST", "/v1/tickets", RESIDENT, body=REPORT)
    path = f"/v1/tickets/{ticket['ticket_id']}"
    world.call("POST", f"{path}/steps", OFFICER, body={"step": "accept", "expected_version": 1, "note": "甲"})
    dynamodb = boto3.client("dynamodb")
    at = {"pk": {"S": f"TICKET#{ticket['ticket_id']}"}}
    moved = dynamodb.get_item(TableName="linli-tickets", Key={**at, "sk": {"S": "S#000002"}})["Item"]["sealed"]
    first = dynamodb.get_item(TableName="linli-tickets", Key={**at, "sk": {"S": "S#000001"}})["Item"]
    dynamodb.put_item(TableName="linli-tickets", Item={**first, "sealed": moved})
    assert world.call("GET", path, OFFICER)[1]["code"] == "seal-broken"


@pytest.mark.parametrize("down", sorted(DOWN))
def test_without_kms_the_rest_goes_on_and_what_is_personal_is_answered_503(world: World, down: str) -> None:
    _, ticket, _ = world.call("POST", "/v1/tickets", RESIDENT, body=REPORT)
    alarm = alarm_raised(ALARM, store=world.api.store, clock=lambda: NOW)
    assert alarm is not None
    before = stored()
    with asked_kms(DOWN[down]):
        world.fresh()
        assert world.call("GET", "/v1/tickets/work", RESIDENT, query={"of": "reported"})[0] == 200
        assert world.call("GET", f"/v1/tickets/{alarm.ticket_id}", OFFICER)[0] == 200
        refused = [
            world.call("GET", f"/v1/tickets/{ticket['ticket_id']}", OFFICER),
            world.call("POST", "/v1/tickets", RESIDENT, body={**REPORT, "text": "另一件事，也很要紧"}),
            world.call(
                "POST",
                f"/v1/tickets/{alarm.ticket_id}/steps",
                WORKER,
                body={"step": "accept", "expected_version": 1, "note": "到场"},
            ),
        ]
        for status, body, headers in refused:
            assert (status, body["code"]) == (503, "seal-unavailable")
            assert headers["Retry-After"] == "2"
        assert stored() == before
        accepted = {"step": "accept", "expected_version": 1}
        assert world.call("POST", f"/v1/tickets/{alarm.ticket_id}/steps", WORKER, body=accepted)[0] == 201


def test_a_request_refused_for_want_of_kms_is_done_when_it_is_back(world: World) -> None:
    with asked_kms(DOWN["disabled"]):
        world.fresh()
        assert world.call("POST", "/v1/tickets", RESIDENT, body=REPORT)[0] == 503
    world.fresh()
    first = world.call("POST", "/v1/tickets", RESIDENT, body=REPORT)
    again = world.call("POST", "/v1/tickets", RESIDENT, body=REPORT)
    assert first[:2] == again[:2]
    assert first[0] == 201


def test_the_life_of_a_ticket_asks_kms_once_and_reads_one_row_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, read = world.api.store.table, []
    real = table.get
    monkeypatch.setattr(table, "get", lambda row, pk, sk: read.append(pk.split("#")[0]) or real(row, pk, sk))
    with asked_kms() as kms:
        world.fresh()
        _, ticket, _ = world.call("POST", "/v1/tickets", RESIDENT, body=REPORT)
        path = f"/v1/tickets/{ticket['ticket_id']}"
        for version, step in enumerate(("accept", "handle"), 1):
            body = {"step": step, "expected_version": version, "note": "看过"}
            assert world.call("POST", f"{path}/steps", OFFICER, body=body)[0] == 201
        world.call("GET", path, OFFICER)
    assert kms == ["GenerateDataKey"]
    assert read.count("DEK") == 1
