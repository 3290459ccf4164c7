"""Registering devices and handing over their credentials."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from devices.credentials import CertificateIssuer, Credentials
from devices.domain import Device, DeviceAbsent, SerialTaken, class_named
from devices.events import DeviceRegistered
from devices.store import DeviceStore
from devices.telemetry import first_watch
from linli.access import Actor, Resource
from linli.clock import Clock, new_id
from linli.commands import command
from linli.errors import Conflict, PlaceAbsent, StaleVersion
from linli.facts import Place, envelope
from linli.table import Step

Locate = Callable[[str], Place]


@dataclass(frozen=True)
class Registration:
    device_class: str
    serial: str
    place_id: str


def register_device(
    wanted: Registration,
    *,
    key: str,
    actor: Actor,
    request_id: str,
    locate: Locate,
    store: DeviceStore,
    issuer: CertificateIssuer,
    clock: Clock,
) -> tuple[Device, Credentials | None]:
    """The device and its credentials; a repetition gets the device alone, credentials are handed over once."""
    handed_over: list[Credentials] = []
    asked = command(actor.subject, "register_device", key, content=vars(wanted))

    def act() -> dict[str, str]:
        place = _place_for(wanted, actor, locate)
        if store.serial_known(wanted.device_class, wanted.serial):
            raise SerialTaken("serial")
        at = clock()
        device_id = new_id(at)
        credentials = issuer.issue(device_id)
        device = Device(device_id, wanted.device_class, wanted.serial, place, at, credentials.certificate_id)
        fact = DeviceRegistered(device_id=device_id, device_class=device.device_class, place=place)
        registered = envelope(fact, aggregate_id=device_id, aggregate_version=1, at=at, correlation_id=request_id)
        try:
            store.add(
                device,
                step=step("register", at, actor, request_id),
                command=asked.with_result(device_id=device_id),
                facts=[registered, *first_watch(device, correlation_id=request_id)],
            )
        except Conflict:
            issuer.take_back(device_id, credentials)
            raise
        issuer.activate(credentials)
        handed_over.append(credentials)
        return {"device_id": device_id}

    result = store.table.once(asked, act)
    return store.device(result["device_id"]), handed_over[0] if handed_over else None


def renew_credentials(
    device_id: str,
    *,
    key: str,
    actor: Actor,
    request_id: str,
    store: DeviceStore,
    issuer: CertificateIssuer,
    clock: Clock,
) -> tuple[Device, Credentials | None]:
    """New credentials for a device, the ones before are revoked; for when they were lost or never arrived."""
    device = device_seen_by(actor, device_id, store=store, action="issue_credentials")
    handed_over: list[Credentials] = []
    asked = command(actor.subject, "renew_credentials", device_id, key)

    def act() -> dict[str, str]:
        credentials = issuer.issue(device_id)
        renewal = step("renew_credentials", clock(), actor, request_id)
        store.replace_certificate(device, credentials.certificate_id, step=renewal, command=asked)
        issuer.activate(credentials)
        if store.device(device_id).certificate_id != credentials.certificate_id:
            issuer.revoke(credentials)  # somebody renewed in between: theirs are the ones that count
            raise StaleVersion()
        issuer.revoke_others(device_id, credentials)
        handed_over.append(credentials)
        return {}

    store.table.once(asked, act)
    return store.device(device_id), handed_over[0] if handed_over else None


def _place_for(wanted: Registration, actor: Actor, locate: Locate) -> Place:
    class_named(wanted.device_class)
    place = locate(wanted.place_id)
    resource = Resource("Place", wanted.place_id, [*place.path, place.grid_id])
    actor.require("register_device", resource, seen_by="read_place", absent=PlaceAbsent("place_id"))
    return place


def device_seen_by(actor: Actor, device_id: str, *, store: DeviceStore, action: str = "read_device") -> Device:
    """Raises DeviceAbsent alike for what is not there and what is out of scope, Denied if the action is not theirs."""
    device = store.device(device_id)
    resource = Resource("Device", device_id, [*device.place.path, device.place.grid_id])
    actor.require(action, resource, seen_by="read_device", absent=DeviceAbsent("device_id"))
    return device


def step(action: str, at: datetime, actor: Actor, request_id: str) -> Step:
    return Step(action, at, actor.subject, request_id, post=actor.post_id)
