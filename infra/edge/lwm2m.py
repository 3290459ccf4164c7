"""LwM2M: what a device measured (SenML-JSON of RFC 8428, or the older LwM2M JSON) as our messages; objects as class drafts."""

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from infra.edge.messages import MAPPINGS, Message, Rules, Untranslatable, event, mapping, telemetry
from linli.deviceclass import device_class

RELATIVE = 2**28
"""A time below this many seconds counts from now (RFC 8428, 4.5.3)."""
BOOKKEEPING = {"5518", "5601", "5602", "5603", "5604", "5821", "6042", "6049", "6050"}
"""Resources of IPSO objects about the measurement, not the thing: its time, quality, calibration, least and greatest."""
SENSOR_VALUE = "5700"


@dataclass(frozen=True)
class Measured:
    """One record with its base fields resolved; `path` is object/instance/resource."""

    path: str
    at: datetime
    value: float | bool | str | None
    unit: str | None


def translate(pack: Any, class_name: str, source: str, *, received_at: datetime) -> list[Message]:
    """The messages of a pack of measurements for a device of this class. Raises Untranslatable."""
    rules = mapping("lwm2m", dict[str, Rules]).get(class_name)
    known = device_class(class_name)
    if rules is None or known is None:
        raise Untranslatable("class", f"{class_name} is not mapped")
    metrics = {rule.attribute: name for name, rule in rules.metrics.items()}
    events = {rule.attribute: (name, rule) for name, rule in rules.events.items()}
    readings: dict[datetime, dict[str, float]] = {}
    said: list[Message] = []
    for one in records(pack, received_at=received_at):
        if one.path in metrics:
            name = metrics[one.path]
            readings.setdefault(one.at, {})[name] = _number(one, known.metrics[name].unit)
        elif one.path in events:
            name, rule = events[one.path]
            if one.value in (*rule.active, *rule.clear):
                said.append(event(source, name, one.at, active=one.value in rule.active))
    if readings:
        said.insert(0, telemetry(source, readings))
    if not said:
        raise Untranslatable("n", f"no record of the pack is mapped for {class_name}")
    return said


def records(pack: Any, *, received_at: datetime) -> Iterator[Measured]:
    """The records of a pack. Raises Untranslatable for what is none."""
    base: dict[str, Any] = {"bn": "", "bt": 0, "bu": None, "bv": 0}
    for number, record in enumerate(_listed(pack)):
        # In the older form `bv` is a record's boolean; in SenML it is the base of values.
        base |= {name: record[name] for name in base if not isinstance(record.get(name, True), bool)}
        name = f"{base['bn']}{record.get('n', '')}"
        if not name.strip("/"):
            continue  # a record may bring base fields only
        try:
            at = _time(base["bt"] + record.get("t", 0), received_at)
            value = _sum(record, base["bv"])
        except (TypeError, ValueError, OverflowError, OSError) as error:
            raise Untranslatable(str(number), "a time or a value that is no number") from error
        yield Measured("/".join(name.strip("/").split("/")[-3:]), at, value, record.get("u", base["bu"]))


def class_draft(files: Sequence[Path], name: str) -> tuple[dict[str, Any], list[str]]:
    """A device class as far as LwM2M objects say it, and what a person must still say. The draft is refused until they have."""
    metrics: dict[str, Any] = {}
    events: dict[str, Any] = {}
    left = ["zh, en: what the device is called", "privacy, interval_seconds, raw_days, hourly_days", "alarms: severity"]
    for path in files:
        for resource in _resources(path):
            if resource.kind == "Boolean":
                events[resource.name] = {"zh": "", "en": resource.label}
            else:
                unit, least, greatest = _unit(resource.unit), *_range(resource.range)
                metrics[resource.name] = {
                    "zh": "",
                    "en": resource.label,
                    "unit": unit,
                    "minimum": least,
                    "maximum": greatest,
                }
                left += [f"{resource.name}: unit"] if unit is None else []
                left += [f"{resource.name}: range"] if least is None else []
    alarms = [
        {"on": "event", "alarm_type": e, "zh": "", "en": events[e]["en"], "severity": None, "event": e} for e in events
    ]
    draft = {"name": name, "zh": "", "en": "", "privacy": None, "interval_seconds": None, "raw_days": None}
    return {**draft, "hourly_days": None, "metrics": metrics, "events": events, "alarms": alarms}, left


@dataclass(frozen=True)
class _Resource:
    name: str
    label: str
    kind: str
    range: str
    unit: str


def _resources(path: Path) -> Iterator[_Resource]:
    """What can be read from the object and is a number or yes and no."""
    found = ElementTree.parse(path).getroot().find("Object")  # noqa: S314 - a file of the operator's; expat bounds expansion
    if found is None:
        raise Untranslatable(path.name, "no LwM2M object")
    title, object_id = found.findtext("Name") or "", found.findtext("ObjectID")
    for item in found.iterfind("Resources/Item"):
        readable = "R" in (item.findtext("Operations") or "")
        kind, number = item.findtext("Type") or "", item.get("ID", "")
        if not readable or number in BOOKKEEPING or kind not in ("Float", "Integer", "Boolean"):
            continue
        label = title if number == SENSOR_VALUE else item.findtext("Name") or ""
        name = re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")
        about = f"{label} (LwM2M {object_id}/{number})"
        yield _Resource(name, about, kind, item.findtext("RangeEnumeration") or "", item.findtext("Units") or "")


def _range(text: str) -> tuple[float | None, float | None]:
    found = re.fullmatch(r"\s*(-?[0-9.]+?)\s*\.\.\s*(-?[0-9.]+)\s*", text)
    return (float(found[1]), float(found[2])) if found else (None, None)


@cache
def _units() -> dict[str, tuple[str, float]]:
    return {name: (unit, scale) for name, (unit, scale) in json.loads((MAPPINGS / "units.json").read_text()).items()}


def _unit(name: str) -> str | None:
    """The UCUM unit a resource is in; an empty one says nothing, most sensors tell theirs at run time."""
    return _units()[name][0] if name and name in _units() else None


def _number(one: Measured, wanted: str) -> float:
    """The value in the unit of our metric; without a unit it is taken to be in it."""
    if isinstance(one.value, bool) or not isinstance(one.value, int | float):
        raise Untranslatable(one.path, "not a number")
    if one.unit is None:
        return float(one.value)
    unit, scale = _units().get(one.unit, ("", 1))
    if unit != wanted:
        raise Untranslatable(one.path, f"unit {one.unit} where {wanted} is expected")
    return float(one.value) * scale


def _listed(pack: Any) -> Sequence[Mapping[str, Any]]:
    """Both forms as SenML: the older one keeps its records in `e`, with the base fields around them."""
    if isinstance(pack, Mapping) and isinstance(pack.get("e"), list):
        pack = [{name: value for name, value in pack.items() if name != "e"}, *pack["e"]]
    if not isinstance(pack, list) or not all(isinstance(record, Mapping) for record in pack):
        raise Untranslatable("pack", "neither SenML-JSON nor LwM2M JSON")
    return pack


def _time(seconds: float, received_at: datetime) -> datetime:
    if seconds < RELATIVE:
        return received_at + timedelta(seconds=seconds)
    return datetime.fromtimestamp(seconds, UTC)


def _sum(record: Mapping[str, Any], base: float) -> float | bool | str | None:
    if "v" in record:
        if isinstance(record["v"], bool | str):
            raise ValueError
        return float(record["v"]) + base
    for name in ("vb", "bv", "vs", "sv"):
        if name in record and isinstance(record[name], bool | str):
            return bool(record[name]) if isinstance(record[name], bool) else str(record[name])
    return None
