"""Registering devices, handing over their credentials, and what staff do with a device later."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from devices.credentials import CertificateIssuer, Credentials, csr_digest
from devices.domain import Device, DeviceAbsent, LifeState, SerialTaken, class_named
from devices.events import DeviceChanged, DeviceRegistered
from devices.store import DeviceStore
from devices.telemetry import barred_as, first_watch
from devices.telemetry_store import TelemetryStore
from linli.access import Actor, Resource
from linli.clock import Clock, new_id
from linli.commands import ATTEMPTS, Command, command, pause
from linli.errors import Conflict, PlaceAbsent, StaleVersion, Unavailable
from linli.facts import Envelope, Fact, Place, envelope
from linli.table import Put, Step

Locate = Callable[[str], Place]


@dataclass(frozen=True)
class Registration:
    """With a certificate signing request (PEM) the device's key is its own; without, one is made and handed over."""

    device_class: str
    serial: str
    place_id: str
    csr: str | None = None


@dataclass(frozen=True)
class ChangeWanted:
    """`place_id` is where it moves to; None for what is no move."""

    action: str
    expected_version: int
    place_id: str | None = None


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
        if wanted.csr is not None:
            csr_digest(wanted.csr)
        if store.serial_known(wanted.device_class, wanted.serial):
            raise SerialTaken("serial")
        at = clock()
        device_id = new_id(at)
        credentials = issuer.issue(device_id, csr=wanted.csr, at=at)
        issued = credentials.certificate
        device = Device(
            device_id,
            wanted.device_class,
            wanted.serial,
            place,
            at,
            issued.certificate_id,
            certificate_expires_at=issued.expires_at,
        )
        said = DeviceRegistered(device_id=device_id, device_class=device.device_class, place=place)
        try:
            store.add(
                device,
                step=step("register", at, actor, request_id),
                command=asked.with_result(device_id=device_id),
                facts=[
                    fact_of(device, said, at=at, correlation_id=request_id),
                    *first_watch(device, correlation_id=request_id),
                ],
            )
        except Conflict:
            issuer.take_back(device_id, credentials, thing=True)
            raise
        handed_over.append(credentials)
        return {"device_id": device_id}

    device_id = store.table.once(asked, act)["device_id"]
    return settled(device_id, store=store, issuer=issuer), handed_over[0] if handed_over else None


def renew_credentials(
    device_id: str,
    *,
    key: str,
    actor: Actor,
    request_id: str,
    store: DeviceStore,
    states: TelemetryStore,
    issuer: CertificateIssuer,
    clock: Clock,
) -> tuple[Device, Credentials | None]:
    """New credentials for a device, the ones before are revoked; for when they were lost, never arrived or were revoked."""
    device = device_seen_by(actor, device_id, store=store, action="issue_credentials")
    handed_over: list[Credentials] = []
    asked = command(actor.subject, "renew_credentials", device_id, key)

    def act() -> dict[str, str]:
        at = clock()
        renewed = device.after("renew_credentials")
        credentials = issuer.issue(device_id, csr=None, at=at)
        renewed = renewed.using(credentials.certificate)
        done = step("renew_credentials", at, actor, request_id, state=renewed.state)
        try:
            _save(device, renewed, done, asked, store=store, states=states)
        except Conflict:
            issuer.take_back(device_id, credentials, thing=False)
            raise
        handed_over.append(credentials)
        return {}

    store.table.once(asked, act)
    now = settled(device_id, store=store, issuer=issuer)
    if handed_over and now.certificate_id != handed_over[0].certificate.certificate_id:
        raise StaleVersion()  # somebody renewed in between: theirs are the ones that count
    return now, handed_over[0] if handed_over else None


def change_device(
    device_id: str,
    wanted: ChangeWanted,
    *,
    key: str,
    actor: Actor,
    request_id: str,
    locate: Locate,
    store: DeviceStore,
    states: TelemetryStore,
    issuer: CertificateIssuer,
    clock: Clock,
) -> Device:
    """Move, revoke or retire a device on the version the caller saw.

    The registry refuses it first, then IoT Core; repeating the command finishes what a crash left undone.
    Raises DeviceAbsent, Denied, PlaceAbsent, StaleVersion, DeviceWithdrawn.
    """
    device = device_seen_by(actor, device_id, store=store, action=f"{wanted.action}_device")
    asked = command(actor.subject, "change_device", device_id, key, content=vars(wanted))

    def act() -> dict[str, str]:
        if device.version != wanted.expected_version:
            raise StaleVersion("expected_version")
        after = device.after(wanted.action)
        if wanted.place_id is not None:
            after = replace(after, place=_registrable(wanted.place_id, actor, locate))
        at = clock()
        done = step(wanted.action, at, actor, request_id, state=after.state)
        _save(device, after, done, asked, store=store, states=states)
        return {}

    store.table.once(asked, act)
    now = settled(device_id, store=store, issuer=issuer)
    if now.state is LifeState.RETIRED:
        issuer.remove(device_id, {now.certificate_id, *([now.offer.certificate.certificate_id] if now.offer else [])})
    return now


def _save(
    before: Device, after: Device, done: Step, asked: Command, *, store: DeviceStore, states: TelemetryStore
) -> None:
    """The device's next version; whether it is listened to changes with it. Raises StaleVersion if it is not the next."""
    about: dict[str, Any] = {"at": done.at, "correlation_id": done.correlation_id}
    told = [changed(after, **about)] if (after.state, after.place) != (before.state, before.place) else []
    for attempt in range(ATTEMPTS):
        also: list[Put] = []
        watch: list[Envelope] = []
        if after.state is not before.state:
            reason = None if after.state is LifeState.IN_SERVICE else after.state.value
            known = states.states([before.device_id])[before.device_id]
            state, watch = barred_as(known, reason, **about)
            also = [states.put(state)]
        try:
            store.save(after, step=done, command=asked, facts=[*told, *watch], also=also)
            return
        except StaleVersion:
            if store.device(before.device_id).version != before.version:
                raise
            pause(attempt)  # only what it last said has changed
    raise Unavailable()


def settled(device_id: str, *, store: DeviceStore, issuer: CertificateIssuer) -> Device:
    """The device, after IoT Core lets in what the registry says; looked at again in case somebody was changing it."""
    device = store.device(device_id)
    while True:
        issuer.settle(device_id, device.certificates)
        now = store.device(device_id)
        if now.certificates == device.certificates:
            return now
        device = now


def _place_for(wanted: Registration, actor: Actor, locate: Locate) -> Place:
    class_named(wanted.device_class)
    return _registrable(wanted.place_id, actor, locate)


def _registrable(place_id: str, actor: Actor, locate: Locate) -> Place:
    """A place the caller may put a device at."""
    place = locate(place_id)
    resource = Resource("Place", place_id, [*place.path, place.grid_id])
    actor.require("register_device", resource, seen_by="read_place", absent=PlaceAbsent("place_id"))
    return place


def device_seen_by(actor: Actor, device_id: str, *, store: DeviceStore, action: str = "read_device") -> Device:
    """Raises DeviceAbsent alike for what is not there and what is out of scope, Denied if the action is not theirs."""
    device = store.device(device_id)
    resource = Resource("Device", device_id, [*device.place.path, device.place.grid_id])
    actor.require(action, resource, seen_by="read_device", absent=DeviceAbsent("device_id"))
    return device


def step(action: str, at: datetime, actor: Actor, request_id: str, *, state: LifeState = LifeState.IN_SERVICE) -> Step:
    return Step(action, at, actor.subject, request_id, post=actor.post_id, state=state.value)


def changed(device: Device, *, at: datetime, correlation_id: str) -> Envelope:
    said = DeviceChanged(
        device_id=device.device_id, device_class=device.device_class, place=device.place, state=device.state
    )
    return fact_of(device, said, at=at, correlation_id=correlation_id)


def fact_of(device: Device, said: Fact, *, at: datetime, correlation_id: str) -> Envelope:
    return envelope(
        said, aggregate_id=device.device_id, aggregate_version=device.version, at=at, correlation_id=correlation_id
    )
