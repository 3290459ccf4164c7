"""Devices: what they are, where they hang, what they last said.

Glossary: 物联网终端 device; 设备类别 device class; 出厂编号 serial number; 遥测 telemetry; 读数 reading; 最新状态 last state.

A device is known by its thing name, which is its `device_id`; its place comes from the registry, never from a message.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from linli.deviceclass import DeviceClass, class_names, device_class
from linli.errors import Absent, Conflict, Invalid
from linli.facts import Place


class DeviceAbsent(Absent):
    zh = "未找到该设备"
    en = "there is no such device"


class SerialTaken(Conflict):
    code = "serial-taken"
    zh = "该类别下此出厂编号的设备已登记"
    en = "a device of this class with this serial number is registered already"


class ClassUnknown(Invalid):
    code = "device-class-unknown"
    zh = "没有此设备类别，可用：{known}"
    en = "there is no such device class, known: {known}"


@dataclass(frozen=True)
class Device:
    device_id: str
    device_class: str
    serial: str
    place: Place
    registered_at: datetime
    certificate_id: str
    version: int = 1


@dataclass(frozen=True)
class Reading:
    """One reading; `at` is the device's time, `seq` its counter: together they order and identify it.

    `suspect` names the metrics whose value is outside what the sensor can measure: kept, shown as such, believed by nobody.
    """

    at: datetime
    seq: int
    values: Mapping[str, float]
    suspect: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[datetime, int]:
        return self.at, self.seq

    def without_suspects(self) -> "Reading":
        return Reading(self.at, self.seq, {m: value for m, value in self.values.items() if m not in self.suspect})


def class_named(name: str) -> DeviceClass:
    """Raises ClassUnknown."""
    known = device_class(name)
    if known is None:
        raise ClassUnknown("device_class", known=", ".join(class_names()))
    return known
