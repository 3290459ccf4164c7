"""What `alarms` publishes. Aggregate: the alarm of one type at one device (`device_id#alarm_type`)."""

from typing import ClassVar

from pydantic import AwareDatetime

from linli.facts import Fact, Place
from linli.wake import WakeWanted


class AlarmRaised(Fact):
    """A device began to alarm; there is one active alarm for each device and type."""

    context: ClassVar[str] = "alarms"
    alarm_id: str
    device_id: str
    alarm_type: str
    severity: str
    place: Place
    raised_at: AwareDatetime


class AlarmCleared(Fact):
    """The device says the cause is gone."""

    context: ClassVar[str] = "alarms"
    alarm_id: str
    device_id: str
    alarm_type: str
    cleared_at: AwareDatetime


class AlarmWakeWanted(WakeWanted):
    """A cause is there that is an alarm once it has lasted for its on-delay; `ref` is the aggregate."""

    context: ClassVar[str] = "alarms"
