"""The API functions in one process, on tables of moto, each asked as the gateway would ask it."""

import importlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote

import boto3

from devices import api as devices
from devices.broker import Broker
from devices.commands import Registration, register_device
from devices.credentials import CertificateIssuer
from grid import api as ground
from grid.coordinates import Outline, Position
from grid.domain import Building, Grid, Room, Stay
from identity import api as identity
from identity.load import load_divisions
from linli.access import Caller
from linli.commands import command
from linli.limits import RATE
from linli.sealed import deployed_seals
from linli.table import Step, Table
from tests.access.ground import THINGS, Thing, staff
from tests.access.wiring import routes
from tests.fakes import FakeTable, FakeTicketStore
from tests.fakes_grid import FakeGridStore
from tests.fakes_identity import FakeAccounts, FakeDivisions, anhui
from tests.support import CONTEXT, NOW, request, table_on_moto
from tickets import api as tickets
from tickets.domain import Roster, Shift, State, Ticket
from tickets.sealing import seal_text
from tickets.store import TicketsRow

CONTEXTS = ("identity", "grid", "devices", "tickets")
FAKES: dict[str, dict[str, Any]] = {
    "identity": {"divisions": FakeDivisions, "accounts": FakeAccounts},
    "grid": {"store": FakeGridStore},
    "tickets": {"store": FakeTicketStore},
}


class Deployment:
    """Asks the functions, and knows what their stores hold."""

    def __init__(self, stores: str) -> None:
        self._database = boto3.client("dynamodb")
        self._apis = {context: importlib.import_module(f"{context}.api") for context in CONTEXTS}
        self._fakes = FAKES if stores == "fake" else {}
        self._asking: Caller | None = None

    def ask(self, route: str, path: str, caller: Caller | None, **more: Any) -> tuple[int, dict[str, Any], str]:
        """Status, headers and body."""
        self._asking = caller
        event = request(route.split(" ")[0], path, caller, **more)
        answer = self._apis[routes()[route]].handler(event, CONTEXT)
        return answer["statusCode"], answer["headers"], answer["body"]

    def request(self, method: str, url: str, headers: dict[str, str]) -> Any:
        """In place of the HTTP client with which devices and tickets ask `grid`, under the caller's own token."""
        path = unquote(url.removeprefix(os.environ["API_BASE_URL"]))
        answer = self._apis["grid"].handler(request(method, path, self._asking, headers=headers), CONTEXT)
        return SimpleNamespace(status=answer["statusCode"], json=lambda: json.loads(answer["body"]))

    def rows(self, context: str) -> dict[Any, Any]:
        """All that is stored but the counters of rate limits, which count whoever asks."""
        pages = self._database.get_paginator("scan").paginate(
            TableName=f"linli-{context}",
            FilterExpression="NOT begins_with(pk, :rate)",
            ExpressionAttributeValues={":rate": {"S": RATE}},
        )
        items = (row for page in pages for row in page["Items"])
        rows: dict[Any, Any] = {(row["pk"]["S"], row["sk"]["S"]): row for row in items}
        return rows | {name: _copied(vars(getattr(self._apis[context], name))) for name in self._fakes.get(context, {})}

    def restore(self, context: str, before: dict[Any, Any]) -> None:
        table = f"linli-{context}"
        for name in self._fakes.get(context, {}):
            _restore(getattr(self._apis[context], name), before[name])
        after = self.rows(context)
        for pk, sk in after.keys() - before.keys():
            self._database.delete_item(TableName=table, Key={"pk": {"S": pk}, "sk": {"S": sk}})
        for key, row in before.items():
            if after.get(key) != row:
                self._database.put_item(TableName=table, Item=row)


def _copied(value: Any) -> Any:
    """The containers anew; what they hold is frozen."""
    match value:
        case dict():
            return {key: _copied(one) for key, one in value.items()}
        case list():
            return [_copied(one) for one in value]
        case FakeTable():
            return _copied(vars(value))
    return value


def _restore(fake: Any, before: dict[str, Any]) -> None:
    for name, value in _copied(before).items():
        held = getattr(fake, name)
        _restore(held, value) if isinstance(held, FakeTable) else setattr(fake, name, value)


@contextmanager
def deployed(stores: str) -> Iterator[Deployment]:
    """The functions on fake stores, as far as there are, or on real ones, with everything of every `Thing` in them."""
    settings = {
        "API_BASE_URL": "http://grid", "DEVICE_POLICY": "device", "CURSOR_SECRET": "cursor", "MQTT_ENDPOINT": "broker.test",
        "TOPIC_PREFIX": "linli",
    }  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, settings))
        for context in CONTEXTS:
            stack.enter_context(table_on_moto(context))
        boto3.client("iot").create_policy(policyName="device", policyDocument="{}")
        boto3.client("secretsmanager").create_secret(Name="cursor", SecretString="a secret for tests")
        deployment = Deployment(stores)
        for context, fakes in deployment._fakes.items():
            for name, fake in fakes.items():
                stack.enter_context(patch(f"{context}.api.{name}", fake()))
        stack.enter_context(patch("linli.places._HTTP", deployment))
        # The module keeps them, made for the deployment that was asked first.
        stack.enter_context(patch("devices.api.issuer", cache(CertificateIssuer)))
        stack.enter_context(patch("devices.api.broker", cache(Broker)))
        stack.enter_context(patch("tickets.api.seals", deployed_seals(Table(TicketsRow))))
        load_divisions(identity.divisions, anhui(*(thing.community for thing in THINGS)), workers=1)
        for thing in THINGS:
            _ground(thing)
            _device(thing)
            _tickets(thing)
        yield deployment


def _ground(thing: Thing) -> None:
    since, names = date(2026, 1, 1), thing.names
    lat, lon = float(names["lat"]), float(names["lon"])
    shell = tuple((lon + east, lat + north) for east, north in ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)))
    near = tuple((lon + (x - lon) / 1000, lat + (y - lat) / 1000) for x, y in shell)
    grid = Grid(thing.grid_id, f"第{thing.number}网格", thing.path, Outline(near), since)
    stays = (Stay(thing.grid_id, since),)
    building = Building(thing.building_id, f"{thing.number}栋", names["address"], Position(lat, lon), stays)
    ground.store.add([grid, building, Room(thing.room_id)])
    ground.store.put_device(names["device_id"], thing.room_id, version=1)


def _device(thing: Thing) -> None:
    actor = staff("duty_officer", thing.community).caller.acting(None)  # type: ignore[union-attr]
    with patch("devices.commands.new_id", lambda _: thing.names["device_id"]):
        register_device(
            Registration("smoke_detector", f"GROUND-{thing.number}", thing.room_id),
            key=f"ground-{thing.number}", actor=actor, request_id="ground", locate=lambda _: thing.place,
            store=devices.store, issuer=devices.issuer(), clock=lambda: NOW,
        )  # fmt: skip


def _tickets(thing: Thing) -> None:
    store, names = tickets.store, thing.names
    store.save_roster(thing.grid_id, Roster((Shift(thing.worker, NOW, None),), thing.officer), version=1, at=NOW)
    states = {"ticket_id": State.DISPATCHED, "accepted_id": State.IN_WORK, "verifying_id": State.VERIFYING}
    for name, state in states.items():
        ticket = Ticket(
            ticket_id=names[name], kind="complaint", category="repair", place=thing.place, opened_at=NOW, due_at=NOW,
            correlation_id="ground", state=state, handler=thing.worker, verifiers=(thing.officer,),
            handled_by="somebody-else", reporter=thing.reporter,
        )  # fmt: skip
        text = seal_text(ticket, names["text"], at=NOW, seals=tickets.seals)
        done = Step("open", NOW, thing.reporter, "ground", state=state.value)
        store.save(ticket, step=done, command=command("ground", names[name]), facts=[], text=text)
