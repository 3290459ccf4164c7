"""The devices table.

THING#id            | D               the device as registered
THING#id            | S#000001        its steps
THING#id            | STATE           last state, conditions, watch and presence (telemetry_store.py)
THING#id#yyyymmdd   | t#seq#t#seq     the readings of one message on one Beijing day (telemetry_store.py)
SERIAL#class#serial | N               keeps a serial number from being registered twice
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute

from devices.domain import Device, DeviceAbsent, SerialTaken
from linli.clock import iso
from linli.commands import Command
from linli.errors import StaleVersion
from linli.facts import Envelope, Place
from linli.table import Put, Row, Step, Table, TableMeta, TableName


class DevicesRow(Row):
    class Meta(TableMeta):
        table_name = TableName("DEVICES_TABLE")


class DeviceRow(DevicesRow):
    device_class = UnicodeAttribute()
    serial = UnicodeAttribute()
    place = JSONAttribute()
    registered_at = UnicodeAttribute()
    certificate_id = UnicodeAttribute()
    version = NumberAttribute()


class SerialRow(DevicesRow):
    device_id = UnicodeAttribute()


class DeviceStore:
    def __init__(self) -> None:
        self.table = Table(DevicesRow)

    def device(self, device_id: str) -> Device:
        """The device as registered. Raises DeviceAbsent."""
        row = self.table.get(DeviceRow, f"THING#{device_id}", "D")
        if row is None:
            raise DeviceAbsent("device_id")
        return Device(
            device_id=device_id,
            device_class=row.device_class,
            serial=row.serial,
            place=Place.model_validate(row.place),
            registered_at=datetime.fromisoformat(row.registered_at),
            certificate_id=row.certificate_id,
            version=int(row.version),
        )

    def serial_known(self, device_class: str, serial: str) -> bool:
        return self.table.get(SerialRow, f"SERIAL#{device_class}#{serial}", "N") is not None

    def add(self, device: Device, *, step: Step, command: Command, facts: Iterable[Envelope]) -> None:
        """Register a device. Raises SerialTaken, Repeated."""
        serial = SerialRow(f"SERIAL#{device.device_class}#{device.serial}", "N", device_id=device.device_id)
        pk = f"THING#{device.device_id}"
        puts = [
            Put(serial, SerialRow.pk.does_not_exist()),
            Put(_device_row(device), DeviceRow.pk.does_not_exist()),
            self.table.step_put(pk, device.version, step),
        ]
        try:
            self.table.commit(puts, at=step.at, command=command, facts=facts)
        except StaleVersion as error:
            raise SerialTaken("serial") from error

    def replace_certificate(self, device: Device, certificate_id: str, *, step: Step, command: Command) -> None:
        """The device's next version, with another certificate. Raises StaleVersion, Repeated."""
        renewed = replace(device, certificate_id=certificate_id, version=device.version + 1)
        puts = [
            Put(_device_row(renewed), DeviceRow.version == device.version),
            self.table.step_put(f"THING#{device.device_id}", renewed.version, step),
        ]
        self.table.commit(puts, at=step.at, command=command)


def _device_row(device: Device) -> DeviceRow:
    return DeviceRow(
        f"THING#{device.device_id}",
        "D",
        device_class=device.device_class,
        serial=device.serial,
        place=device.place.model_dump(mode="json"),
        registered_at=iso(device.registered_at),
        certificate_id=device.certificate_id,
        version=device.version,
    )
