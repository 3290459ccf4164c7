"""The devices API: register, read with the last state, renew credentials, readings over a range."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Query

from devices.commands import Registration, device_seen_by, register_device, renew_credentials
from devices.credentials import CertificateIssuer
from devices.queries import Range, readings_page, seen_state
from devices.store import DevicesRow, DeviceStore
from devices.telemetry_store import TelemetryStore
from devices.views import (
    DeviceView,
    NewDevice,
    ReadingsPage,
    ReadingsQuery,
    RegisteredDevice,
    device_view,
    readings_view,
    registered,
)
from linli.access import Actor
from linli.clock import utc_now
from linli.cursor import Cursors, secret_from_manager
from linli.http import Api, IdempotencyKey
from linli.limits import Limit
from linli.log import logger
from linli.places import place_seen_by_caller

log = logger("devices")
api = Api("devices", log)
store = DeviceStore()
telemetry = TelemetryStore()
cursors = Cursors(secret_from_manager)
handler = log.inject_lambda_context(api.handler)

# An installer with a scanner does a device in some seconds, a script that imports a building two a second. IoT Core makes
# ten certificates a second for the whole account: nobody alone takes more than a third.
REGISTERING = Limit(DevicesRow, "register", calls=120)
RENEWING = Limit(DevicesRow, "renew", calls=60)


@api.route("POST", "/v1/devices", status=201, limit=REGISTERING)
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
    return registered(device, credentials)


@api.route("POST", "/v1/devices/<device_id>/credentials", status=201, limit=RENEWING)
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
    return registered(device, credentials)


@api.route("GET", "/v1/devices/<device_id>")
def read_device(device_id: str, actor: Actor) -> DeviceView:
    """A device as registered, with its last state and the causes of alarms that are there."""
    device = device_seen_by(actor, device_id, store=store)
    state = telemetry.states([device_id])[device_id]
    return device_view(device, seen_state(state, store=telemetry, now=utc_now()))


@api.route("GET", "/v1/devices/<device_id>/readings")
def list_readings(device_id: str, query: Annotated[ReadingsQuery, Query()], actor: Actor) -> ReadingsPage:
    """A metric's readings, or their hourly or daily figures, from one moment to before another."""
    device = device_seen_by(actor, device_id, store=store)
    wanted = Range(query.metric, query.start, query.end, query.resolution, query.limit, query.cursor)
    page, cursor = readings_page(
        device_id, device.device_class, wanted, subject=actor.subject, store=telemetry, cursors=cursors, now=utc_now()
    )
    return readings_view(page, cursor)
