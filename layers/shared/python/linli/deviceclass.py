"""The device classes: what a device of a class may say, and what of it is an alarm. Each is one file in `device_classes/`.

Glossary:

    设备类别 device class      what a device is, by its file's name
    量 metric                 what a reading measures; its range is what the sensor can measure at all
    事件 event                what a detector says by itself: active, clear; a momentary one has no end
    报警规则 alarm rule        when an event, a reading or silence becomes an alarm
    报警延时 on-delay          how long the cause must last before it is an alarm (ISA-18.2 / IEC 62682)
    失联 silence              nothing was heard for longer than the class allows
    离线 offline              the device's connection ended and did not come back

A new class is a new file and needs no code. Units are UCUM; durations are in seconds.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

CLASSES = Path(__file__).with_name("device_classes")

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,40}$")]
Severity = Literal["critical", "major", "minor", "warning"]
Seconds = Annotated[int, Field(ge=0)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Metric(_Data):
    """A value outside the range is a fault of the sensor: kept, flagged, and believed by nobody."""

    zh: str
    en: str
    unit: str
    minimum: float
    maximum: float


class DeviceEvent(_Data):
    """`momentary`: it says that something happened (a button was pressed); there is no end to wait for."""

    zh: str
    en: str
    momentary: bool = False


class _Rule(_Data):
    alarm_type: Name
    zh: str
    en: str
    severity: Severity


class EventRule(_Rule):
    """The event is an alarm, once it has lasted for `on_delay_seconds`."""

    on: Literal["event"]
    event: Name
    on_delay_seconds: Seconds = 0


class ThresholdRule(_Rule):
    """A reading above (or below) the limit, until one is on the other side of `clear`."""

    on: Literal["threshold"]
    metric: Name
    above: float | None = None
    below: float | None = None
    clear: float
    on_delay_seconds: Seconds = 0

    @model_validator(mode="after")
    def _one_limit(self) -> "ThresholdRule":
        if (self.above is None) == (self.below is None):
            raise ValueError("exactly one of above and below")
        if (self.above is not None and self.clear > self.above) or (self.below is not None and self.clear < self.below):
            raise ValueError("clear lies on the alarm's side of the limit")
        return self

    def met(self, value: float, *, active: bool) -> bool:
        """Whether the cause is there after this value; between limit and `clear` it stays as it was."""
        if self.above is not None:
            return value > (self.clear if active else self.above)
        return self.below is not None and value < (self.clear if active else self.below)


class SilenceRule(_Rule):
    """Nothing heard for `after_seconds`, counted from the minute in which the device was last heard."""

    on: Literal["silence"]
    after_seconds: Annotated[int, Field(ge=60, multiple_of=60)]


class OfflineRule(_Rule):
    """The connection ended and did not come back for `after_seconds`; for devices that must always be connected."""

    on: Literal["offline"]
    after_seconds: Annotated[int, Field(ge=60, multiple_of=60)]


AlarmRule = Annotated[EventRule | ThresholdRule | SilenceRule | OfflineRule, Field(discriminator="on")]


class DeviceClass(_Data):
    """`privacy` is the class of what its readings tell (security classes L1 to L4); `interval_seconds` how often it reports."""

    name: Name
    zh: str
    en: str
    privacy: Literal["L2", "L3", "L4"]
    interval_seconds: Annotated[int, Field(gt=0)]
    raw_days: Annotated[int, Field(gt=0)]
    hourly_days: Annotated[int, Field(gt=0)]
    metrics: dict[Name, Metric]
    events: dict[Name, DeviceEvent]
    alarms: tuple[AlarmRule, ...]

    @model_validator(mode="after")
    def _fits_together(self) -> "DeviceClass":
        types = [rule.alarm_type for rule in self.alarms]
        if len(set(types)) != len(types):
            raise ValueError("an alarm type has two rules")
        if {rule.event for rule in self.alarms if rule.on == "event"} != self.events.keys():
            raise ValueError("every event has a rule, and every rule of an event its event")
        if any(
            rule.on_delay_seconds and self.events[rule.event].momentary for rule in self.alarms if rule.on == "event"
        ):
            raise ValueError("what is momentary cannot last for an on-delay")
        if not {rule.metric for rule in self.alarms if rule.on == "threshold"} <= self.metrics.keys():
            raise ValueError("a threshold on a metric the class does not have")
        return self

    def event_rule(self, event: str) -> EventRule | None:
        return next((rule for rule in self.alarms if rule.on == "event" and rule.event == event), None)

    def rule(self, alarm_type: str) -> EventRule | ThresholdRule | SilenceRule | OfflineRule | None:
        return next((rule for rule in self.alarms if rule.alarm_type == alarm_type), None)

    @property
    def thresholds(self) -> tuple[ThresholdRule, ...]:
        return tuple(rule for rule in self.alarms if rule.on == "threshold")

    @property
    def silence(self) -> SilenceRule | None:
        return next((rule for rule in self.alarms if rule.on == "silence"), None)

    @property
    def offline(self) -> OfflineRule | None:
        return next((rule for rule in self.alarms if rule.on == "offline"), None)


@cache
def class_names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in CLASSES.glob("*.json")))


@cache
def device_class(name: str) -> DeviceClass | None:
    """The class of that name, None if there is none."""
    if name not in class_names():
        return None
    return DeviceClass.model_validate_json((CLASSES / f"{name}.json").read_bytes())
