"""What comes out of a translation, and why something does not."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from linli.deviceclass import device_class

MAPPINGS = Path(__file__).with_name("mappings")


class Untranslatable(Exception):
    """Names the field of the source, or of the mapping, that cannot be used."""

    def __init__(self, field: str, reason: str) -> None:
        self.field, self.reason = field, reason
        super().__init__(f"{field}: {reason}")


@dataclass(frozen=True)
class Message:
    """`body` goes to the topic `kind` of the device that stands for `source` here."""

    source: str
    kind: Literal["telemetry", "events"]
    body: dict[str, Any]


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MetricRule(_Rule):
    """Where a metric comes from: an attribute, or a key in its Ultralight text; with `when`, only if that is so."""

    attribute: str
    key: str | None = None
    scale: float = 1
    values: dict[str, float] | None = None
    missing: tuple[float, ...] = ()
    when: dict[str, str] = {}


class EventRule(_Rule):
    """Which values of an attribute begin and end an event; `until` names the attribute that says when it ends by itself."""

    attribute: str
    active: tuple[str | bool, ...]
    clear: tuple[str | bool, ...] = ()
    until: str | None = None


class Rules(_Rule):
    metrics: dict[str, MetricRule] = {}
    events: dict[str, EventRule] = {}


class Source(_Rule):
    """`device`: the attributes that may name the device, `time`: those that may say when; the first that is there counts."""

    device: Annotated[tuple[str, ...], Field(min_length=1)]
    time: tuple[str, ...]
    classes: dict[str, Rules]


@cache
def mapping(name: str, kind: Any) -> Any:
    """A mapping file, checked against the device classes it names. Raises Untranslatable."""
    read = TypeAdapter(kind).validate_json((MAPPINGS / f"{name}.json").read_bytes())
    for source, rules in read.items():
        for class_name, of in rules.classes.items() if isinstance(rules, Source) else [(source, rules)]:
            known = device_class(class_name)
            if known is None or not (
                of.metrics.keys() <= known.metrics.keys() and of.events.keys() <= known.events.keys()
            ):
                raise Untranslatable(f"{name}.{source}.{class_name}", "names what the class does not have")
    return read


def milliseconds(at: datetime) -> int:
    """The counter of what was observed at that time: what is translated again is the same message."""
    return int(at.timestamp() * 1000)


def instant(text: Any, field: str) -> datetime:
    """RFC 3339; without an offset it is UTC, as NGSI has it."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise Untranslatable(field, "not a time") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def telemetry(source: str, readings: dict[datetime, dict[str, float]]) -> Message:
    """One telemetry message, its readings in the order of their times."""
    said = [{"t": at.isoformat(), "seq": milliseconds(at), "v": readings[at]} for at in sorted(readings)]
    return Message(source, "telemetry", {"readings": said})


def event(source: str, name: str, at: datetime, *, active: bool) -> Message:
    state = "active" if active else "clear"
    return Message(source, "events", {"at": at.isoformat(), "seq": milliseconds(at), "event": name, "state": state})
