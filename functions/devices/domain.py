"""Devices: what they are, where they hang, what they last said.

Glossary: 物联网终端 device; 设备类别 device class; 出厂编号 serial number; 遥测 telemetry; 读数 reading; 最新状态 last state;
在用 in service; 吊销 revoked (its credentials are in wrong hands); 报废 retired (gone for good); 迁移 move; 证书更新 renewal.

A device is known by its thing name, which is its `device_id`; its place comes from the registry, never from a message.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from linli.deviceclass import DeviceClass, class_names, device_class
from linli.errors import Absent, Conflict, Invalid
from linli.facts import Place


class DeviceAbsent(Absent):
    zh = "未找到该设备"
    en = "there is no such device"


class SerialTaken(Conflict):
    code = "serial-taken"
    zh = "该类别下此出厂编号的设备已登记"
    en = "a device of this class with this serial number is registered already"


class ClassUnknown(Invalid):
    code = "device-class-unknown"
    zh = "没有此设备类别，可用：{known}"
    en = "there is no such device class, known: {known}"


class DeviceWithdrawn(Conflict):
    code = "device-withdrawn"
    zh = "设备当前状态不允许此操作：{state}"
    en = "the device's state does not allow this: {state}"


class RenewalTooSoon(Conflict):
    code = "renewal-too-soon"
    zh = "刚签发过新证书，请先用它连接并确认，或稍后再试"
    en = "a certificate was issued just now: connect with it and confirm, or ask again later"


class NotRenewed(Conflict):
    code = "not-renewed"
    zh = "请用新签发的证书连接后再确认"
    en = "confirm over a connection made with the certificate that was issued last"


class LifeState(StrEnum):
    IN_SERVICE = "in_service"
    REVOKED = "revoked"
    RETIRED = "retired"


# action → the states it is allowed in, and the state it leads to
LIFE: Mapping[str, tuple[frozenset[LifeState], LifeState | None]] = {
    "move": (frozenset({LifeState.IN_SERVICE, LifeState.REVOKED}), None),
    "revoke": (frozenset({LifeState.IN_SERVICE}), LifeState.REVOKED),
    "retire": (frozenset({LifeState.IN_SERVICE, LifeState.REVOKED}), LifeState.RETIRED),
    "renew_credentials": (frozenset({LifeState.IN_SERVICE, LifeState.REVOKED}), LifeState.IN_SERVICE),
    "offer_certificate": (frozenset({LifeState.IN_SERVICE}), None),
    "confirm_certificate": (frozenset({LifeState.IN_SERVICE}), None),
    "lapse_offer": (frozenset({LifeState.IN_SERVICE}), None),
}

CERTIFICATE_LIFE = timedelta(days=730)
"""After this a certificate is to be renewed. IoT Core's own certificates end in 2049, later than anyone should keep a key."""
OFFER_KEPT = timedelta(days=7)
"""For so long an offered certificate connects beside the old one; not confirmed by then, it ends."""
OFFER_PAUSE = timedelta(minutes=10)
"""Between two certificates a device asks for, so that one gone wild does not have them made without end."""


@dataclass(frozen=True)
class Certificate:
    certificate_id: str
    expires_at: datetime


@dataclass(frozen=True)
class Offer:
    """The certificate a device asked for and has not connected with; `csr_sha256` tells the same request."""

    certificate: Certificate
    csr_sha256: str
    offered_at: datetime


@dataclass(frozen=True)
class Device:
    """`certificate_id` is the certificate it is known to use; its end is unknown for those registered before it was kept."""

    device_id: str
    device_class: str
    serial: str
    place: Place
    registered_at: datetime
    certificate_id: str
    version: int = 1
    state: LifeState = LifeState.IN_SERVICE
    certificate_expires_at: datetime | None = None
    offer: Offer | None = None

    @property
    def certificates(self) -> frozenset[str]:
        """The certificates it may connect with: none once withdrawn, and the offered one until one of the two has won."""
        if self.state is not LifeState.IN_SERVICE:
            return frozenset()
        return frozenset({self.certificate_id, *([self.offer.certificate.certificate_id] if self.offer else [])})

    def after(self, action: str) -> "Device":
        """The device's next version. Raises DeviceWithdrawn if its state does not allow the action."""
        allowed, state = LIFE[action]
        if self.state not in allowed:
            raise DeviceWithdrawn("device_id", state=self.state.value)
        return replace(self, version=self.version + 1, state=state or self.state)

    def using(self, certificate: Certificate) -> "Device":
        """With this certificate and no other."""
        return replace(
            self,
            certificate_id=certificate.certificate_id,
            certificate_expires_at=certificate.expires_at,
            offer=None,
        )


@dataclass(frozen=True)
class Reading:
    """One reading; `at` is the device's time, `seq` its counter: together they order and identify it.

    `suspect` names the metrics whose value is outside what the sensor can measure: kept, shown as such, believed by nobody.
    """

    at: datetime
    seq: int
    values: Mapping[str, float]
    suspect: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[datetime, int]:
        return self.at, self.seq

    def without_suspects(self) -> "Reading":
        return Reading(self.at, self.seq, {m: value for m, value in self.values.items() if m not in self.suspect})


def certificate_end(not_after: datetime, *, issued_at: datetime) -> datetime:
    """When a certificate is to have been replaced."""
    return min(not_after, issued_at + CERTIFICATE_LIFE)


def class_named(name: str) -> DeviceClass:
    """Raises ClassUnknown."""
    known = device_class(name)
    if known is None:
        raise ClassUnknown("device_class", known=", ".join(class_names()))
    return known
