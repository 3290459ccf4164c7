"""IoT Core in memory: certificates of things, as far as the devices context asks for them."""

from collections.abc import Collection
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from devices.credentials import Credentials
from devices.domain import Certificate, certificate_end

NOT_AFTER = datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)


class FakeIssuer:
    """Certificates by number; `active` connect. `dies_after` lets settling end in the middle, as a crash does."""

    def __init__(self) -> None:
        self.issued = 0
        self.taken_back = 0
        self.removed: set[str] = set()
        self.things: dict[str, set[str]] = {}
        self.active: set[str] = set()
        self.dies_after: int | None = None

    def issue(self, device_id: str, *, csr: str | None, at: datetime) -> Credentials:
        self.issued += 1
        name = f"cert-{self.issued}"
        self.things.setdefault(device_id, set()).add(name)
        end = certificate_end(NOT_AFTER, issued_at=at)
        return Credentials(Certificate(name, end), f"arn/{name}", f"pem of {name}", None if csr else "key")

    def pem(self, certificate_id: str) -> str:
        return f"pem of {certificate_id}"

    def settle(self, device_id: str, certificates: Collection[str]) -> None:
        changes = [(name, True) for name in certificates]
        changes += [(name, False) for name in sorted(self.things.get(device_id, set()) - set(certificates))]
        for number, (name, lives) in enumerate(changes):
            if number == self.dies_after:
                raise Died
            (self.active.add if lives else self.active.discard)(name)
            if not lives:
                self.things[device_id].discard(name)

    def take_back(self, device_id: str, credentials: Credentials, *, thing: bool) -> None:
        self.taken_back += 1
        self.things[device_id].discard(credentials.certificate.certificate_id)

    def remove(self, device_id: str, certificates: Collection[str]) -> None:
        self.removed |= {device_id, *certificates}


class Died(Exception):
    """The process ended here."""


def new_csr(curve: ec.EllipticCurve | None = None) -> str:
    """A certificate signing request for a key made now, as a device makes it."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()
