"""The devices API: register, list and read; readings over a range; renew credentials; move, revoke, retire."""

from functools import cache
from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Query

from devices.broker import Broker
from devices.commands import (
    ChangeWanted,
    Registration,
    change_device,
    device_seen_by,
    register_device,
    renew_credentials,
)
from devices.credentials import CertificateIssuer
from devices.domain import Device
from devices.queries import Range, devices_of_grid, readings_page, seen_state
from devices.store import DevicesRow, DeviceStore
from devices.telemetry_store import TelemetryStore
from devices.views import (
    DeviceListed,
    DevicePage,
    DeviceView,
    ListQuery,
    NewDevice,
    NewEnd,
    NewMove,
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
from linli.facts import Place
from linli.http import Api, IdempotencyKey
from linli.limits import Limit
from linli.log import logger
from linli.places import place_seen_by_caller

log = logger("devices")
api = Api("devices", log)
store = DeviceStore()
telemetry = TelemetryStore()
cursors = Cursors(secret_from_manager)
broker = cache(Broker)
issuer = cache(CertificateIssuer)
handler = log.inject_lambda_context(api.handler)

# An installer with a scanner does a device in some seconds, a script that imports a building two a second. IoT Core makes
# ten certificates a second for the whole account: nobody alone takes more than a third.
REGISTERING = Limit(DevicesRow, "register", calls=120)
RENEWING = Limit(DevicesRow, "renew", calls=60)


@api.route("POST", "/v1/devices", status=201, limit=REGISTERING)
def register(body: NewDevice, key: IdempotencyKey, actor: Actor) -> RegisteredDevice:
    """Register a device at a place; its certificate and, unless it has its own, its key are in this answer only."""
    device, credentials = register_device(
        Registration(**body.model_dump()),
        key=key,
        actor=actor,
        request_id=api.request_id,
        locate=_locate,
        store=store,
        issuer=issuer(),
        clock=utc_now,
    )
    return registered(device, credentials, broker().connection(device.device_id))


@api.route("GET", "/v1/devices")
def list_devices(query: Annotated[ListQuery, Query()], actor: Actor) -> DevicePage:
    """The devices of a grid, by class; retired ones are left out."""
    page, cursor = devices_of_grid(
        query.grid_id,
        limit=query.limit,
        cursor=query.cursor,
        actor=actor,
        store=store,
        cursors=cursors,
        now=utc_now(),
    )
    return DevicePage(items=[DeviceListed(**vars(one)) for one in page], next_cursor=cursor)


@api.route("GET", "/v1/devices/<device_id>")
def read_device(device_id: str, actor: Actor) -> DeviceView:
    """A device as registered, with its last state and the causes of alarms that are there."""
    return _shown(device_seen_by(actor, device_id, store=store))


@api.route("POST", "/v1/devices/<device_id>/credentials", status=201, limit=RENEWING)
def renew(device_id: str, key: IdempotencyKey, actor: Actor) -> RegisteredDevice:
    """New credentials for a device, revoked or not; the ones before are revoked."""
    device, credentials = renew_credentials(
        device_id,
        key=key,
        actor=actor,
        request_id=api.request_id,
        store=store,
        states=telemetry,
        issuer=issuer(),
        clock=utc_now,
    )
    return registered(device, credentials, broker().connection(device_id))


@api.route("POST", "/v1/devices/<device_id>/moves", status=201)
def move(device_id: str, body: NewMove, key: IdempotencyKey, actor: Actor) -> DeviceView:
    """The device hangs at another place from now on; tickets opened before keep theirs."""
    return _changed(device_id, ChangeWanted("move", body.expected_version, body.place_id), key, actor)


@api.route("POST", "/v1/devices/<device_id>/revocations", status=201)
def revoke(device_id: str, body: NewEnd, key: IdempotencyKey, actor: Actor) -> DeviceView:
    """Nothing the device says counts any more; new credentials bring it back."""
    return _changed(device_id, ChangeWanted("revoke", body.expected_version), key, actor)


@api.route("POST", "/v1/devices/<device_id>/retirement", status=201)
def retire(device_id: str, body: NewEnd, key: IdempotencyKey, actor: Actor) -> DeviceView:
    """The device is gone for good; its history stays and its serial number is free again."""
    return _changed(device_id, ChangeWanted("retire", body.expected_version), key, actor)


def _changed(device_id: str, wanted: ChangeWanted, key: str, actor: Actor) -> DeviceView:
    device = change_device(
        device_id,
        wanted,
        key=key,
        actor=actor,
        request_id=api.request_id,
        locate=_locate,
        store=store,
        states=telemetry,
        issuer=issuer(),
        clock=utc_now,
    )
    log.info("device changed", thing=device_id, action=wanted.action, request_id=api.request_id)
    return _shown(device)


def _shown(device: Device) -> DeviceView:
    state = telemetry.states([device.device_id])[device.device_id]
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


def _locate(place_id: str) -> Place:
    return place_seen_by_caller(api, place_id)
