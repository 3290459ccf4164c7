"""Device certificates, issued by IoT Core. A private key made here passes through once and is kept nowhere."""

import hashlib
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from devices.domain import Certificate, certificate_end
from linli.aws import PATIENCE
from linli.errors import Invalid

CURVES = ("secp256r1", "secp384r1", "secp521r1")
RSA_BITS = (2048, 3072, 4096)


class CsrUnusable(Invalid):
    code = "csr-unusable"
    zh = "证书签名请求无法使用：应为 PEM 格式，密钥为 P-256、P-384、P-521 或 2048 位以上 RSA，并由该密钥签名"
    en = "the CSR cannot be used: PEM, a key on P-256, P-384 or P-521 or RSA from 2048 bits, signed with that key"


@dataclass(frozen=True)
class Credentials:
    """`private_key` is None where the device made its own."""

    certificate: Certificate
    certificate_arn: str
    certificate_pem: str = field(repr=False)
    private_key: str | None = field(repr=False)


def csr_digest(csr: str) -> str:
    """What tells a certificate signing request from another. Raises CsrUnusable."""
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        key = request.public_key()
        good = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES
        good = good or (isinstance(key, rsa.RSAPublicKey) and key.key_size in RSA_BITS)
        if not (good and request.is_signature_valid):
            raise CsrUnusable("csr")
        return hashlib.sha256(request.tbs_certrequest_bytes).hexdigest()
    except ValueError as error:
        raise CsrUnusable("csr") from error


class CertificateIssuer:
    """Issues inactive, so that nothing connects before the registry knows the device."""

    def __init__(self) -> None:
        self._iot = boto3.client("iot", config=PATIENCE)
        self._data = boto3.client("iot-data", config=PATIENCE)
        self._policy = os.environ["DEVICE_POLICY"]

    def issue(self, device_id: str, *, csr: str | None, at: datetime) -> Credentials:
        """A certificate for a key made here, or for the key the request was signed with."""
        self._iot.create_thing(thingName=device_id)
        made: dict[str, Any] = (
            self._iot.create_certificate_from_csr(certificateSigningRequest=csr, setAsActive=False)
            if csr
            else self._iot.create_keys_and_certificate(setAsActive=False)
        )
        self._iot.attach_policy(policyName=self._policy, target=made["certificateArn"])
        self._iot.attach_thing_principal(thingName=device_id, principal=made["certificateArn"])
        not_after = x509.load_pem_x509_certificate(made["certificatePem"].encode()).not_valid_after_utc
        return Credentials(
            Certificate(made["certificateId"], certificate_end(not_after, issued_at=at)),
            made["certificateArn"],
            made["certificatePem"],
            made.get("keyPair", {}).get("PrivateKey"),
        )

    def pem(self, certificate_id: str) -> str:
        """A certificate issued before; it is no secret."""
        found = self._iot.describe_certificate(certificateId=certificate_id)
        return str(found["certificateDescription"]["certificatePem"])

    def settle(self, device_id: str, certificates: Collection[str]) -> None:
        """Make it so that the device connects with these certificates and with none it was given before.

        Says what shall be, not what changed: done again it repairs what a crash left half done.
        """
        for certificate_id in certificates:
            self._set(certificate_id, "ACTIVE")
        ended = [arn for arn in self._principals(device_id) if _id(arn) not in certificates]
        for arn in ended:
            self._set(_id(arn), "REVOKED")
            self._iot.detach_policy(policyName=self._policy, target=arn)
            self._iot.detach_thing_principal(thingName=device_id, principal=arn)
        if ended and not certificates:
            self._disconnect(device_id)

    def take_back(self, device_id: str, credentials: Credentials, *, thing: bool) -> None:
        """A certificate that is not wanted after all leaves nothing behind, nor does its thing if it is not wanted either.

        Detaching takes effect some time later on AWS, so what cannot be deleted yet stays: a certificate that was never
        active and a thing nobody knows.
        """
        with suppress(ClientError):
            self._iot.detach_thing_principal(thingName=device_id, principal=credentials.certificate_arn)
            self._iot.detach_policy(policyName=self._policy, target=credentials.certificate_arn)
            self._iot.delete_certificate(certificateId=credentials.certificate.certificate_id)
            if thing:
                self._iot.delete_thing(thingName=device_id)

    def remove(self, device_id: str, certificates: Collection[str]) -> None:
        """Delete a settled device's last certificates and its thing; what AWS does not let go yet stays, revoked."""
        for certificate_id in certificates:
            with suppress(ClientError):
                self._iot.delete_certificate(certificateId=certificate_id)
        with suppress(ClientError):
            self._iot.delete_thing(thingName=device_id)

    def _principals(self, device_id: str) -> list[str]:
        try:
            pages = self._iot.get_paginator("list_thing_principals").paginate(thingName=device_id)
            return [str(one) for page in pages for one in page["principals"]]
        except self._iot.exceptions.ResourceNotFoundException:
            return []  # retired, and this is said again

    def _disconnect(self, device_id: str) -> None:
        """End the live connection, where the region has the call; elsewhere IoT Core ends it some minutes after."""
        with suppress(ClientError):
            self._data.delete_connection(clientId=device_id)

    def _set(self, certificate_id: str, status: str) -> None:
        self._iot.update_certificate(certificateId=certificate_id, newStatus=status)


def _id(arn: str) -> str:
    return arn.rpartition("/")[2]
