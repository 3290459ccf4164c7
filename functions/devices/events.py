"""What `devices` publishes. Telemetry never crosses the bus."""

from typing import ClassVar

from linli.facts import Fact, Place


class DeviceRegistered(Fact):
    """A device is known, of this class, at this place. Aggregate: the device."""

    context: ClassVar[str] = "devices"
    device_id: str
    device_class: str
    place: Place
