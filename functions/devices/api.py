"""The devices API: register, read with the last state, renew credentials."""

from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

from devices.commands import Registration, device_seen_by, register_device, renew_credentials
from devices.credentials import CertificateIssuer, Credentials
from devices.domain import Device, Reading
from devices.store import DeviceStore
from linli.access import Actor
from linli.clock import utc_now
from linli.facts import Place
from linli.http import Api, IdempotencyKey, Model
from linli.log import logger
from linli.places import place_seen_by_caller

log = logger("devices")
api = Api("devices", log)
store = DeviceStore()
handler = log.inject_lambda_context(api.handler)


class NewDevice(Model):
    device_class: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,40}$")]
    serial: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z._:-]{1,64}$")] = Field(
        description="the maker's serial number, unique within the class"
    )
    place_id: Annotated[str, StringConstraints(min_length=17, max_length=40)] = Field(
        description="building or room, an id of GET /v1/grid/places"
    )


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


class Handover(Model):
    certificate_id: str
    certificate_pem: str
    private_key: str


class RegisteredDevice(Model):
    device: DeviceView
    credentials: Handover | None = Field(description="handed over once, absent when the request is repeated")


@api.route("POST", "/v1/devices", status=201)
def register(body: NewDevice, key: IdempotencyKey, actor: Actor) -> RegisteredDevice:
    """Register a device at a place; its certificate and private key are in this answer and nowhere else."""
    device, credentials = register_device(
        Registration(**body.model_dump()),
        key=key,
        actor=actor,
        request_id=api.request_id,
        locate=lambda place_id: place_seen_by_caller(api, place_id),
        store=store,
        issuer=CertificateIssuer(),
        clock=utc_now,
    )
    return _registered(device, credentials)


@api.route("POST", "/v1/devices/<device_id>/credentials", status=201)
def renew(device_id: str, key: IdempotencyKey, actor: Actor) -> RegisteredDevice:
    """New credentials for a device; the ones before are revoked."""
    device, credentials = renew_credentials(
        device_id,
        key=key,
        actor=actor,
        request_id=api.request_id,
        store=store,
        issuer=CertificateIssuer(),
        clock=utc_now,
    )
    return _registered(device, credentials)


@api.route("GET", "/v1/devices/<device_id>")
def read_device(device_id: str, actor: Actor) -> DeviceView:
    """A device as registered, with its last state."""
    return _view(device_seen_by(actor, device_id, store=store), store.last_state(device_id))


def _registered(device: Device, credentials: Credentials | None) -> RegisteredDevice:
    handed_over = credentials and Handover(
        certificate_id=credentials.certificate_id,
        certificate_pem=credentials.certificate_pem,
        private_key=credentials.private_key,
    )
    return RegisteredDevice(device=_view(device, None), credentials=handed_over)


def _view(device: Device, state: Reading | None) -> DeviceView:
    return DeviceView(
        device_id=device.device_id,
        device_class=device.device_class,
        serial=device.serial,
        place=device.place,
        registered_at=device.registered_at,
        version=device.version,
        last_state=state and LastState(at=state.at, seq=state.seq, values=dict(state.values)),
    )
