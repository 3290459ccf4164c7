"""The devices table.

THING#id            | D               the device as registered: state, place, certificate, the certificate it was offered
THING#id            | END             when its certificate is to have been replaced
THING#id            | S#000001        its steps
THING#id            | STATE           last state, conditions, watch and presence (telemetry_store.py)
THING#id#yyyymmdd   | t#seq#t#seq     the readings of one message on one Beijing day (telemetry_store.py)
SERIAL#class#serial | N               keeps a serial number from being registered twice, until its device is retired

index list          what is in service or revoked, by where it is and by when its certificate ends:
    GRID#grid       | class#id            the devices of a grid (row D)
    END#yyyymm      | ends_at#id          the certificates to be replaced in a month of UTC (row END)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pynamodb.attributes import BooleanAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import GlobalSecondaryIndex, IncludeProjection

from devices.domain import Certificate, Device, DeviceAbsent, LifeState, Offer, SerialTaken
from devices.versions import UPCASTS
from linli.clock import iso
from linli.commands import Command
from linli.errors import StaleVersion
from linli.facts import Envelope, Place
from linli.table import Put, Row, Step, Table, TableMeta, TableName


class ListIndex(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "list"
        projection = IncludeProjection(["device_class", "serial", "state", "version", "registered_at"])

    list_key = UnicodeAttribute(hash_key=True)
    list_sort = UnicodeAttribute(range_key=True)


class DevicesRow(Row):
    class Meta(TableMeta):
        table_name = TableName("DEVICES_TABLE")

    upcasts = UPCASTS

    by_list = ListIndex()


class DeviceRow(DevicesRow):
    device_class = UnicodeAttribute()
    serial = UnicodeAttribute()
    place = JSONAttribute()
    registered_at = UnicodeAttribute()
    certificate_id = UnicodeAttribute()
    version = NumberAttribute()
    state = UnicodeAttribute(default=LifeState.IN_SERVICE.value)
    certificate_expires_at = UnicodeAttribute(null=True)
    offer = JSONAttribute(null=True)
    list_key = UnicodeAttribute(null=True)
    list_sort = UnicodeAttribute(null=True)


class EndRow(DevicesRow):
    list_key = UnicodeAttribute(null=True)
    list_sort = UnicodeAttribute(null=True)


class SerialRow(DevicesRow):
    device_id = UnicodeAttribute()
    free = BooleanAttribute(null=True)


@dataclass(frozen=True)
class DeviceSummary:
    device_id: str
    device_class: str
    serial: str
    state: LifeState
    registered_at: datetime
    version: int


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
            state=LifeState(row.state),
            certificate_expires_at=_instant(row.certificate_expires_at),
            offer=_offer(row.offer) if row.offer else None,
        )

    def serial_known(self, device_class: str, serial: str) -> bool:
        row = self.table.get(SerialRow, f"SERIAL#{device_class}#{serial}", "N")
        return row is not None and not row.free

    def add(self, device: Device, *, step: Step, command: Command, facts: Iterable[Envelope]) -> None:
        """Register a device. Raises SerialTaken, Repeated."""
        puts = [
            Put(_serial_row(device), SerialRow.pk.does_not_exist() | (SerialRow.free == True)),  # noqa: E712
            Put(_device_row(device), DeviceRow.pk.does_not_exist()),
            Put(_end_row(device)),
            self.table.step_put(f"THING#{device.device_id}", device.version, step),
        ]
        try:
            self.table.commit(puts, at=step.at, command=command, facts=facts)
        except StaleVersion as error:
            raise SerialTaken("serial") from error

    def save(
        self,
        device: Device,
        *,
        step: Step,
        command: Command,
        facts: Iterable[Envelope] = (),
        also: Iterable[Put] = (),
    ) -> None:
        """The device's next version; a retired one's serial number is free again. Raises StaleVersion, Repeated."""
        puts = [
            Put(_device_row(device), DeviceRow.version == device.version - 1),
            Put(_end_row(device)),
            self.table.step_put(f"THING#{device.device_id}", device.version, step),
            *also,
        ]
        if device.state is LifeState.RETIRED:
            puts.append(Put(_serial_row(device)))
        self.table.commit(puts, at=step.at, command=command, facts=facts)

    def in_grid(self, grid_id: str, *, limit: int, after: Any) -> tuple[list[DeviceSummary], Any]:
        """The devices of a grid that are not retired, by class: a page and where to go on (None at the end)."""
        self.table.rows(DeviceRow)
        rows = DeviceRow.by_list.query(f"GRID#{grid_id}", limit=limit, page_size=limit, last_evaluated_key=after)
        return [_summary(row) for row in rows], rows.last_evaluated_key

    def ending(self, month: str, *, limit: int, after: Any = None) -> tuple[list[tuple[str, datetime]], Any]:
        """(device, end) of the certificates to be replaced in a month of UTC (`yyyymm`), the earliest first; as `in_grid`."""
        self.table.rows(EndRow)
        rows = EndRow.by_list.query(f"END#{month}", limit=limit, page_size=limit, last_evaluated_key=after)
        found = [row.list_sort.split("#") for row in rows]
        return [(device_id, datetime.fromisoformat(end)) for end, device_id in found], rows.last_evaluated_key


def _device_row(device: Device) -> DeviceRow:
    listed = device.state is not LifeState.RETIRED
    offer = device.offer
    return DeviceRow(
        f"THING#{device.device_id}",
        "D",
        device_class=device.device_class,
        serial=device.serial,
        place=device.place.model_dump(mode="json"),
        registered_at=iso(device.registered_at),
        certificate_id=device.certificate_id,
        version=device.version,
        state=device.state.value,
        certificate_expires_at=iso(device.certificate_expires_at) if device.certificate_expires_at else None,
        offer=offer
        and {
            "certificate_id": offer.certificate.certificate_id,
            "expires_at": iso(offer.certificate.expires_at),
            "csr_sha256": offer.csr_sha256,
            "offered_at": iso(offer.offered_at),
        },
        list_key=f"GRID#{device.place.grid_id}" if listed else None,
        list_sort=f"{device.device_class}#{device.device_id}" if listed else None,
    )


def _end_row(device: Device) -> EndRow:
    row = EndRow(f"THING#{device.device_id}", "END")
    if device.certificate_expires_at and device.state is LifeState.IN_SERVICE:
        end = iso(device.certificate_expires_at)
        row.list_key, row.list_sort = f"END#{end[:4]}{end[5:7]}", f"{end}#{device.device_id}"
    return row


def _serial_row(device: Device) -> SerialRow:
    return SerialRow(
        f"SERIAL#{device.device_class}#{device.serial}",
        "N",
        device_id=device.device_id,
        free=True if device.state is LifeState.RETIRED else None,
    )


def _offer(kept: dict[str, str]) -> Offer:
    certificate = Certificate(kept["certificate_id"], datetime.fromisoformat(kept["expires_at"]))
    return Offer(certificate, kept["csr_sha256"], datetime.fromisoformat(kept["offered_at"]))


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _summary(row: DeviceRow) -> DeviceSummary:
    return DeviceSummary(
        device_id=row.pk.removeprefix("THING#"),
        device_class=row.device_class,
        serial=row.serial,
        state=LifeState(row.state),
        registered_at=datetime.fromisoformat(row.registered_at),
        version=int(row.version),
    )
