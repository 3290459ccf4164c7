"""Rows of every kind and version are kept (`tests/rows`) and read: what was written once is readable for good.

A new kind of row, or a new version of one, needs a sample: `tests/rows/<context>/<kind>-v<version>.json`, a row as DynamoDB
gives it under "item" (bytes in base64). Rows of the kernel's own kinds are kept under `linli`.
"""

import base64
import importlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from alarms.domain import KnownDevice, event_terms
from alarms.store import AlarmStore
from devices.store import DeviceStore
from devices.telemetry_store import TelemetryStore
from grid.store import GridStore
from identity.store import AccountStore, DivisionStore
from linli import limits, sealed
from linli.table import Row
from linli.versions import Item, current, version_of
from linli.wake import Wake
from tests.support import NOW, PLACE, ROOT, table_on_moto
from tickets.store import TicketStore
from tickets.versions import kind_of
from timers.store import TimersRow, WakeStore

ROWS = ROOT / "tests" / "rows"
KERNEL = [row for row in Row.__subclasses__() if row.__module__.startswith("linli.")]
MODULES = {
    (path.parent.name, path.stem)
    for path in (ROOT / "functions").glob("*/*.py")
    if re.search(r"^class \w+Row\(", path.read_text(encoding="utf-8"), re.MULTILINE)
}
CONTEXTS = sorted({context for context, _ in MODULES})
UNMODELLED = {("timers", "wake"), ("timers", "mark")}
"""Kinds that are written without a row class."""


def kinds() -> Iterator[tuple[str, type[Row]]]:
    """(context, row class) of every kind there is: the classes of which no other is made, but for the contexts' bases."""
    assert {sealed.DataKeyRow, limits.RateRow} <= set(KERNEL)
    yield from (("linli", row) for row in KERNEL)
    for context, name in sorted(MODULES):
        module = importlib.import_module(f"{context}.{name}")
        for row in [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Row)]:
            made = [one for one in row.__subclasses__() if one.__module__ == row.__module__]
            if row.__module__ == module.__name__ and not made and Row not in row.__bases__:
                yield context, row


def upcasts(context: str) -> Any:
    bases = [row for row in Row.__subclasses__() if row.__module__.startswith(f"{context}.")]
    return bases[0].upcasts if bases else {}


KINDS = {(context, row.row_kind()): row for context, row in kinds()}
WANTED = sorted(
    {(context, kind, 1) for context, kind in KINDS.keys() | UNMODELLED}
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
    if (context, kind) in UNMODELLED:
        return TimersRow
    return KINDS.get((context, kind)) or KINDS["linli", kind]


@pytest.mark.parametrize(("context", "kind", "version"), WANTED)
def test_every_kind_and_version_is_kept_and_deserialises(context: str, kind: str, version: int) -> None:
    item = sample(context, kind, version)
    assert version_of(item) == version
    row = row_class(context, kind).from_raw_data(item)
    missing = [name for name, one in row.get_attributes().items() if not one.null and getattr(row, name) is None]
    assert missing == []
    if version == current(kind, upcasts(context)) and (context, kind) not in UNMODELLED:
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


def _state(item: Item) -> Any:
    """Of a registered device."""
    device = sample("devices", "device", 1)
    boto3.client("dynamodb").put_item(TableName="linli-devices", Item={**device, "pk": item["pk"]})
    (state,) = TelemetryStore().states([item["pk"]["S"].removeprefix("THING#")]).values()
    return state


def _readings(item: Item) -> Any:
    _, device_id, day = item["pk"]["S"].split("#")
    ((kept,), _) = TelemetryStore().day(device_id, day, limit=2)
    return kept


def _hourly(item: Item) -> Any:
    device_id, day = item["pk"]["S"].split("#")[1], item["sk"]["S"]
    return TelemetryStore().closed_days(device_id, day, day, limit=1, now=NOW)


def _end(item: Item) -> Any:
    (found, _) = DeviceStore().ending(item["list_key"]["S"].removeprefix("END#"), limit=2)
    return {device_id: end for device_id, end in found}


def _wake(item: Item) -> Any:
    (((sort_key, _),), _) = WakeStore(boto3.client("dynamodb"), "linli-timers").page(item["pk"]["S"], None)
    return Wake.parse(sort_key)


def _mark(item: Item) -> Any:
    shard = int(item["pk"]["S"].removeprefix("MARK#"))
    return {"minute": WakeStore(boto3.client("dynamodb"), "linli-timers").mark(shard)}


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
    ("devices", "end"): _end,
    ("devices", "state"): _state,
    ("devices", "readings"): _readings,
    ("devices", "hourly"): _hourly,
    ("timers", "wake"): _wake,
    ("timers", "mark"): _mark,
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
        read = json.loads(json.dumps(READS[context, kind](item), default=_plain))
    assert says
    assert {name: read[name] for name in says} == says


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
