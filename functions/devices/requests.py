"""What a device asks for itself: where to connect, a new certificate for its own new key, the end of the old one.

A renewal never leaves a device without a certificate that works: the new one is offered beside the old, and the old
ends when the device has said, over a connection made with the new one, that it has it.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from devices.commands import settled
from devices.credentials import CertificateIssuer, csr_digest
from devices.domain import (
    OFFER_KEPT,
    OFFER_PAUSE,
    Certificate,
    Device,
    DeviceAbsent,
    DeviceWithdrawn,
    LifeState,
    NotRenewed,
    Offer,
    RenewalTooSoon,
)
from devices.events import DeviceWakeWanted
from devices.state import OFFER
from devices.store import DeviceStore
from linli.clock import Clock
from linli.commands import Command, command
from linli.errors import Conflict
from linli.facts import Envelope, envelope
from linli.table import Step
from linli.wake import Wake


def offer_certificate(
    device_id: str, csr: str, *, trace: str, store: DeviceStore, issuer: CertificateIssuer, clock: Clock
) -> tuple[Certificate, str]:
    """A certificate for the device's own key, with its PEM; the same request again gets the same one.

    Raises CsrUnusable, RenewalTooSoon, DeviceWithdrawn.
    """
    digest = csr_digest(csr)

    def act(asked: Command) -> None:
        device, at = store.device(device_id), clock()
        if device.offer and device.offer.csr_sha256 == digest:
            return
        after = device.after("offer_certificate")
        if device.offer and at < device.offer.offered_at + OFFER_PAUSE:
            raise RenewalTooSoon("csr")
        credentials = issuer.issue(device_id, csr=csr, at=at)
        offered = replace(after, offer=Offer(credentials.certificate, digest, at))
        try:
            done = _step("offer_certificate", at, offered, trace)
            store.save(offered, step=done, command=asked, facts=[_end_of_offer(offered, at, trace)])
        except Conflict:
            issuer.take_back(device_id, credentials, thing=False)
            raise

    _once(device_id, "offer_certificate", trace, act, store=store)
    offer = settled(device_id, store=store, issuer=issuer).offer
    if offer is None or offer.csr_sha256 != digest:
        raise NotRenewed("csr")  # another request, or a person, was faster
    return offer.certificate, issuer.pem(offer.certificate.certificate_id)


def confirm_certificate(
    device_id: str, used: str, *, trace: str, store: DeviceStore, issuer: CertificateIssuer, clock: Clock
) -> Device:
    """The offered certificate is the device's, and the old one ends, if the device said so over the offered one.

    `used` is the certificate the request came over, by IoT Core's word. Raises NotRenewed, DeviceWithdrawn.
    """

    def act(asked: Command) -> None:
        device, at = store.device(device_id), clock()
        if device.offer is None or used != device.offer.certificate.certificate_id:
            if device.offer is None and used == device.certificate_id:
                return  # confirmed before
            raise NotRenewed("ask")
        confirmed = device.after("confirm_certificate").using(device.offer.certificate)
        store.save(confirmed, step=_step("confirm_certificate", at, confirmed, trace), command=asked)

    _once(device_id, "confirm_certificate", trace, act, store=store)
    device = settled(device_id, store=store, issuer=issuer)
    if not device.certificates:
        raise DeviceWithdrawn("device_id", state=device.state.value)
    return device


def lapse_offer(wake: Wake, *, at: datetime, store: DeviceStore, issuer: CertificateIssuer) -> None:
    """An offer that was not confirmed in time ends; done again it does nothing more. Raises StaleVersion, to be asked again."""
    try:
        device = store.device(wake.ref)
    except DeviceAbsent:
        return
    over = (
        device.offer is not None and device.offer.offered_at + OFFER_KEPT <= at
    )  # a newer offer has a wake of its own
    if over and device.state is LifeState.IN_SERVICE:
        lapsed = replace(device.after("lapse_offer"), offer=None)
        asked = command(wake.ref, "lapse_offer", str(wake.generation))
        store.save(lapsed, step=_step("lapse_offer", at, lapsed, wake.sort_key), command=asked)
    settled(wake.ref, store=store, issuer=issuer)


def _end_of_offer(device: Device, at: datetime, trace: str) -> Envelope:
    fire_at = at + OFFER_KEPT
    wanted = DeviceWakeWanted(
        ref=device.device_id, rung=OFFER, generation=device.version, fire_at=fire_at, severity=None
    )
    return envelope(
        wanted,
        aggregate_id=f"{device.device_id}#{OFFER}",
        aggregate_version=device.version,
        at=at,
        correlation_id=trace,
    )


def _once(device_id: str, action: str, trace: str, act: Callable[[Command], None], *, store: DeviceStore) -> None:
    asked = command(device_id, action, trace)
    store.table.first_time(asked, lambda: act(asked))


def _step(action: str, at: datetime, device: Device, trace: str) -> Step:
    return Step(action, at, f"device:{device.device_id}", trace, state=device.state.value)
