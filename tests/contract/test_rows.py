"""Rows of every kind and version are kept (`tests/rows`) and read: what was written once is readable for good.

A new kind of row, or a new version of one, needs a sample: `tests/rows/<context>/<kind>-v<version>.json`, a row as DynamoDB
gives it under "item" (bytes in base64). Rows of the kernel's own kinds are kept under `linli`.
"""

import base64
import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import boto3
import pytest

from alarms.domain import KnownDevice, event_terms
from alarms.store import AlarmStore
from devices.store import DeviceStore
from grid.store import GridStore
from identity.store import AccountStore, DivisionStore
from linli import sealed
from linli.table import Row
from linli.versions import Item, current, version_of
from tests.support import PLACE, ROOT, table_on_moto
from tickets.store import TicketStore
from tickets.versions import kind_of

ROWS = ROOT / "tests" / "rows"
CONTEXTS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/store.py"))
KERNEL = [row for row in Row.__subclasses__() if row.__module__.startswith("linli.")]


def kinds() -> Iterator[tuple[str, type[Row]]]:
    """(context, row class) of every kind there is: the classes of which no other is made."""
    assert sealed.DataKeyRow in KERNEL
    yield from (("linli", row) for row in KERNEL)
    for context in CONTEXTS:
        module = importlib.import_module(f"{context}.store")
        classes = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Row)]
        for row in classes:
            if row.__module__ == module.__name__ and not any(
                one.__module__ == row.__module__ for one in row.__subclasses__()
            ):
                yield context, row


def upcasts(context: str) -> Any:
    bases = [row for row in Row.__subclasses__() if row.__module__ == f"{context}.store"]
    return bases[0].upcasts if bases else {}


KINDS = {(context, row.row_kind()): row for context, row in kinds()}
WANTED = sorted(
    {(context, kind, 1) for context, kind in KINDS}
    | {(context, kind, v) for context in CONTEXTS for kind, before in upcasts(context) for v in (before, before + 1)}
)


def sample(context: str, kind: str, version: int) -> Item:
    path = ROWS / context / f"{kind}-v{version}.json"
    assert path.exists(), f"keep a row of this kind and version: {path.relative_to(ROOT)}"
    return item_of(path)


def item_of(path: Path) -> Item:
    def bytes_of(value: Any) -> Any:
        if isinstance(value, dict) and set(value) == {"B"}:
            return {"B": base64.b64decode(value["B"])}
        return value

    return dict(json.loads(path.read_text(encoding="utf-8"), object_hook=bytes_of)["item"])


def row_class(context: str, kind: str) -> type[Row]:
    """The class that reads the kind there; a kernel kind with versions of its own in a context reads by the kernel's."""
    return KINDS.get((context, kind)) or KINDS["linli", kind]


@pytest.mark.parametrize(("context", "kind", "version"), WANTED)
def test_every_kind_and_version_is_kept_and_deserialises(context: str, kind: str, version: int) -> None:
    item = sample(context, kind, version)
    assert version_of(item) == version
    row = row_class(context, kind).from_raw_data(item)
    missing = [name for name, one in row.get_attributes().items() if not one.null and getattr(row, name) is None]
    assert missing == []
    if version == current(kind, upcasts(context)):
        assert set(item) <= {one.attr_name for one in row.get_attributes().values()}


def test_nothing_is_kept_that_is_no_kind() -> None:
    kept = {(path.parent.name, path.stem.rpartition("-v")[0]) for path in ROWS.rglob("*.json")}
    assert kept == {(context, kind) for context, kind, _ in WANTED}


def test_the_registry_knows_its_kinds_by_their_keys() -> None:
    for path in (ROWS / "tickets").glob("*.json"):
        kind = path.stem.rpartition("-v")[0]
        assert kind_of(item_of(path)) == (kind if kind in ("ticket", "step") else None)


def _alarm(item: Item) -> Any:
    device_id = item["pk"]["S"].removeprefix("DEVICE#")
    return AlarmStore().alarm(KnownDevice(device_id, "smoke_detector", PLACE), event_terms("smoke_detector", "smoke"))


def _after(name: str, prefix: str, read: Callable[[str], Any]) -> Callable[[Item], Any]:
    return lambda item: read(item[name]["S"].removeprefix(prefix))


READS: dict[tuple[str, str], Callable[[Item], Any]] = {
    ("tickets", "ticket"): _after("pk", "TICKET#", lambda one: TicketStore().ticket(one)),
    ("tickets", "step"): _after("pk", "TICKET#", lambda one: TicketStore().told(one).steps[-1]),
    ("tickets", "sensor"): _after("pk", "SENSOR#", lambda one: TicketStore().sensor(one)),
    ("tickets", "roster"): _after("pk", "ROSTER#", lambda one: TicketStore().roster(one)),
    ("alarms", "device"): _after("pk", "DEVICE#", lambda one: AlarmStore().device(one)),
    ("alarms", "alarm"): _alarm,
    ("devices", "device"): _after("pk", "THING#", lambda one: DeviceStore().device(one)),
    ("grid", "ground"): _after("pk", "GRID#", lambda one: GridStore().grid(one)[0]),
    ("grid", "place"): _after("pk", "PLACE#", lambda one: GridStore().building(one)),
    ("identity", "division"): lambda item: DivisionStore().division(*item["pk"]["S"].split("#")[1:]),
    ("identity", "subject"): _after("pk", "SUB#", lambda one: AccountStore().account(one)),
    ("identity", "post"): _after("pk", "POST#", lambda one: AccountStore().post(one)),
}
"""How the store reads a row of the kind; it must say what the sample's "says" says, and may say more."""
SAID = [(context, kind, version) for context, kind, version in WANTED if (context, kind) in READS]


@pytest.mark.parametrize(("context", "kind", "version"), SAID)
def test_the_store_reads_what_was_written(context: str, kind: str, version: int) -> None:
    item = sample(context, kind, version)
    says = json.loads((ROWS / context / f"{kind}-v{version}.json").read_text(encoding="utf-8"))["says"]
    with table_on_moto(context):
        boto3.client("dynamodb").put_item(TableName=f"linli-{context}", Item=item)
        read = asdict(READS[context, kind](item))
    assert says
    assert {name: json.loads(json.dumps(read[name], default=str)) for name in says} == says
