"""What crosses the devices API."""

from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

from devices.credentials import Credentials
from devices.domain import Device
from devices.queries import SeenState
from linli.facts import Place
from linli.http import Model, PlaceId


class NewDevice(Model):
    device_class: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,40}$")]
    serial: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z._:-]{1,64}$")] = Field(
        description="the maker's serial number, unique within the class"
    )
    place_id: PlaceId = Field(description="building or room, an id of GET /v1/grid/places")


class LastState(Model):
    at: AwareDatetime
    seq: int
    values: dict[str, float] = Field(description="by metric, in the unit of the device class")


class DeviceView(Model):
    device_id: str = Field(description="also the MQTT client id and the thing name")
    device_class: str
    serial: str
    place: Place
    registered_at: AwareDatetime
    version: int
    last_state: LastState | None = None
    values_hidden: bool = Field(default=False, description="its values are sensitive (L4) and are not shown")
    conditions: list[str] = Field(default=[], description="alarm types whose cause is there, by the last telemetry")


class Handover(Model):
    certificate_id: str
    certificate_pem: str
    private_key: str


class RegisteredDevice(Model):
    device: DeviceView
    credentials: Handover | None = Field(description="handed over once, absent when the request is repeated")


def registered(device: Device, credentials: Credentials | None) -> RegisteredDevice:
    handed_over = credentials and Handover(
        certificate_id=credentials.certificate_id,
        certificate_pem=credentials.certificate_pem,
        private_key=credentials.private_key,
    )
    return RegisteredDevice(device=device_view(device, None), credentials=handed_over)


def device_view(device: Device, seen: SeenState | None) -> DeviceView:
    last = seen and seen.last
    return DeviceView(
        device_id=device.device_id,
        device_class=device.device_class,
        serial=device.serial,
        place=device.place,
        registered_at=device.registered_at,
        version=device.version,
        last_state=LastState(at=last.at, seq=last.seq, values=dict(last.values)) if last else None,
        values_hidden=seen.hidden if seen else False,
        conditions=list(seen.conditions) if seen else [],
    )
