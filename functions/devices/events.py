"""What `devices` publishes. Telemetry never crosses the bus."""

from typing import ClassVar

from pydantic import AwareDatetime

from devices.domain import LifeState
from linli.facts import Fact, Place
from linli.wake import WakeWanted


class DeviceRegistered(Fact):
    """A device is known, of this class, at this place. Aggregate: the device."""

    context: ClassVar[str] = "devices"
    device_id: str
    device_class: str
    place: Place


class DeviceChanged(Fact):
    """A device as it now is: moved, revoked, in service again, or retired. Aggregate: the device."""

    context: ClassVar[str] = "devices"
    device_id: str
    device_class: str
    place: Place
    state: LifeState


class DeviceConditionChanged(Fact):
    """The cause of an alarm began or ended: a threshold, silence, a lost connection. Never a value.

    Aggregate: `device_id#alarm_type`; its version counts the changes, so `active` is every other one.
    """

    context: ClassVar[str] = "devices"
    device_id: str
    alarm_type: str
    active: bool
    changed_at: AwareDatetime


class DeviceWakeWanted(WakeWanted):
    """A device is to be looked at: for silence (rung 0), a lost connection (1), days to close (2), an offer's end (3).

    Aggregate: `device_id#rung`.
    """

    context: ClassVar[str] = "devices"
