"""What crosses the devices API."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from devices.broker import Connection
from devices.credentials import Credentials
from devices.domain import Device, LifeState
from devices.queries import Page, SeenState
from linli.facts import Instant, Place
from linli.http import Model, PlaceId

Version = Annotated[int, Field(ge=1, description="the version of the device you decided on")]


class NewDevice(Model):
    device_class: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,40}$")]
    serial: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z._:-]{1,64}$")] = Field(
        description="the maker's serial number, unique within the class"
    )
    place_id: PlaceId = Field(description="building or room, an id of GET /v1/grid/places")
    csr: Annotated[str, StringConstraints(min_length=1, max_length=8192)] | None = Field(
        default=None, description="certificate signing request (PEM): the device made its own key, none is handed over"
    )


class NewMove(Model):
    place_id: PlaceId = Field(description="building or room it hangs at from now on")
    expected_version: Version


class NewEnd(Model):
    expected_version: Version


class ListQuery(Model):
    grid_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{15}$")]
    limit: Annotated[int, Field(ge=1, le=100)] = 50
    cursor: str | None = None


class LastState(Model):
    at: AwareDatetime
    seq: int
    values: dict[str, float] = Field(description="by metric, in the unit of the device class")


class DeviceView(Model):
    device_id: str = Field(description="also the MQTT client id and the thing name")
    device_class: str
    serial: str
    state: LifeState
    place: Place
    registered_at: AwareDatetime
    certificate_expires_at: AwareDatetime | None = Field(
        default=None, description="when its certificate is to have been replaced"
    )
    version: int
    last_state: LastState | None = None
    values_hidden: bool = Field(default=False, description="its values are sensitive (L4) and are not shown")
    conditions: list[str] = Field(
        default=[], description="alarm types whose cause is there, by the last telemetry; none where values are hidden"
    )


class ReadingsQuery(Model):
    metric: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,40}$")]
    start: Instant = Field(alias="from", description="from this moment on")
    end: Instant = Field(alias="to", description="up to but not at this moment")
    resolution: Literal["raw", "hour", "day"] = "raw"
    limit: int = Field(default=100, ge=1, le=100)
    cursor: Annotated[str, StringConstraints(max_length=1024)] | None = None


class ReadingView(Model):
    at: AwareDatetime
    seq: int
    value: float
    suspect: bool = Field(description="the value is outside what the sensor can measure")
    trusted: bool = Field(description="the device's time was to be believed when the reading came")


class FiguresView(Model):
    at: AwareDatetime = Field(description="the Beijing hour or day begins")
    n: int
    min: float
    max: float
    mean: float
    last: float


class ReadingsPage(Model):
    unit: str = Field(description="UCUM")
    values_hidden: bool = Field(description="the values are sensitive (L4) and are not shown")
    readings: list[ReadingView] = Field(description="of resolution raw, in the order of the device's messages")
    figures: list[FiguresView] = Field(
        description="the hours or days that begin in the range, without values out of range"
    )
    next_cursor: str | None = Field(default=None, description="there may be more, even after a short page")


class Handover(Model):
    certificate_id: str
    certificate_pem: str
    private_key: str | None = Field(default=None, description="absent if the device made its own key")


class ConnectionView(Model):
    endpoint: str = Field(description="host of the MQTT broker, TLS with the device's certificate")
    port: int
    prefix: str
    topics: dict[str, str] = Field(description="by what is said there: events, telemetry, requests, answers")


class RegisteredDevice(Model):
    device: DeviceView
    connection: ConnectionView
    credentials: Handover | None = Field(
        default=None, description="handed over once, absent when the request is repeated"
    )


class DeviceListed(Model):
    device_id: str
    device_class: str
    serial: str
    state: LifeState
    registered_at: AwareDatetime
    version: int


class DevicePage(Model):
    items: list[DeviceListed]
    next_cursor: str | None = None


def registered(device: Device, credentials: Credentials | None, connection: Connection) -> RegisteredDevice:
    handed_over = credentials and Handover(
        certificate_id=credentials.certificate.certificate_id,
        certificate_pem=credentials.certificate_pem,
        private_key=credentials.private_key,
    )
    return RegisteredDevice(
        device=device_view(device, None), connection=ConnectionView(**vars(connection)), credentials=handed_over
    )


def readings_view(page: Page, cursor: str | None) -> ReadingsPage:
    figures = (
        FiguresView(
            at=b.at,
            n=b.figures.n,
            min=b.figures.minimum,
            max=b.figures.maximum,
            mean=b.figures.mean,
            last=b.figures.last,
        )
        for b in page.buckets
    )
    return ReadingsPage(
        unit=page.unit,
        values_hidden=page.hidden,
        readings=[ReadingView(**vars(reading)) for reading in page.readings],
        figures=list(figures),
        next_cursor=cursor,
    )


def device_view(device: Device, seen: SeenState | None) -> DeviceView:
    last = seen and seen.last
    return DeviceView(
        device_id=device.device_id,
        device_class=device.device_class,
        serial=device.serial,
        state=device.state,
        place=device.place,
        registered_at=device.registered_at,
        certificate_expires_at=device.certificate_expires_at,
        version=device.version,
        last_state=LastState(at=last.at, seq=last.seq, values=dict(last.values)) if last else None,
        values_hidden=seen.hidden if seen else False,
        conditions=list(seen.conditions) if seen else [],
    )
