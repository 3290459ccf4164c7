"""The devices table.

THING#id            | D               the device as registered
THING#id            | S#000001        its steps
THING#id            | STATE           the newest trusted reading, conditional on (device time, sequence)
THING#id#yyyymmdd   | t#seq#t#seq     the readings of one message, under the first and the last one's time and sequence:
                                      a message that comes again writes the same row (the first's Beijing day)
SERIAL#class#serial | N               keeps a serial number from being registered twice
"""

from dataclasses import replace
from datetime import datetime

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.exceptions import PutError

from devices.domain import Device, DeviceAbsent, Reading, SerialTaken
from linli.clock import beijing_day, iso
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


class StateRow(DevicesRow):
    at_key = UnicodeAttribute()
    at = UnicodeAttribute()
    seq = NumberAttribute()
    values = JSONAttribute()
    received_at = UnicodeAttribute()


class ReadingsRow(DevicesRow):
    readings = JSONAttribute()
    received_at = UnicodeAttribute()


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

    def add(self, device: Device, *, step: Step, command: Command, fact: Envelope) -> None:
        """Register a device. Raises SerialTaken, Repeated."""
        serial = SerialRow(f"SERIAL#{device.device_class}#{device.serial}", "N", device_id=device.device_id)
        pk = f"THING#{device.device_id}"
        puts = [
            Put(serial, SerialRow.pk.does_not_exist()),
            Put(_device_row(device), DeviceRow.pk.does_not_exist()),
            self.table.step_put(pk, device.version, step),
        ]
        try:
            self.table.commit(puts, at=step.at, command=command, facts=[fact])
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

    def keep_readings(self, device_id: str, readings: list[Reading], *, received_at: datetime) -> None:
        """Keep one message's readings; written again, the row is the same."""
        first = readings[0]
        self.table.rows(ReadingsRow)(
            f"THING#{device_id}#{beijing_day(first.at)}",
            f"{_at_key(first)}#{_at_key(readings[-1])}",
            readings=[{"t": iso(r.at), "seq": r.seq, "v": dict(r.values)} for r in readings],
            received_at=iso(received_at),
        ).save()

    def move_state(self, device_id: str, reading: Reading, *, received_at: datetime) -> bool:
        """Make the reading the last state unless a newer one is; whether it now is."""
        row = self.table.rows(StateRow)(
            f"THING#{device_id}",
            "STATE",
            at_key=_at_key(reading),
            at=iso(reading.at),
            seq=reading.seq,
            values=dict(reading.values),
            received_at=iso(received_at),
        )
        try:
            row.save(condition=StateRow.pk.does_not_exist() | (StateRow.at_key < row.at_key))
        except PutError as error:
            if error.cause_response_code == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def last_state(self, device_id: str) -> Reading | None:
        row = self.table.get(StateRow, f"THING#{device_id}", "STATE")
        return Reading(datetime.fromisoformat(row.at), int(row.seq), row.values) if row else None

    def readings(self, device_id: str, day: str) -> list[Reading]:
        """The readings kept under one Beijing day (`yyyymmdd`), in order, each once."""
        rows = self.table.rows(ReadingsRow).query(f"THING#{device_id}#{day}", consistent_read=True)
        kept = (Reading(datetime.fromisoformat(r["t"]), r["seq"], r["v"]) for row in rows for r in row.readings)
        return sorted({r.key: r for r in kept}.values(), key=lambda r: r.key)


def _at_key(reading: Reading) -> str:
    return f"{iso(reading.at)}#{reading.seq:015d}"


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
