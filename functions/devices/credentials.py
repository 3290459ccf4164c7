"""Device certificates, issued by IoT Core. The private key passes through once and is kept nowhere."""

import os
from contextlib import suppress
from dataclasses import dataclass, field

import boto3
from botocore.exceptions import ClientError
from cryptography.x509 import load_pem_x509_certificate

from linli.aws import PATIENCE
from linli.metrics import Metric, emit


@dataclass(frozen=True)
class Credentials:
    certificate_id: str
    certificate_arn: str
    certificate_pem: str = field(repr=False)
    private_key: str = field(repr=False)


class CertificateIssuer:
    """Issues inactive, so that nothing connects before the registry knows the device."""

    def __init__(self) -> None:
        self._iot = boto3.client("iot", config=PATIENCE)
        self._policy = os.environ["DEVICE_POLICY"]

    def issue(self, device_id: str) -> Credentials:
        self._iot.create_thing(thingName=device_id)
        made = self._iot.create_keys_and_certificate(setAsActive=False)
        emit(Metric.CERTIFICATE_LIFE, _days_of_life(made["certificatePem"]), context="devices")
        self._iot.attach_policy(policyName=self._policy, target=made["certificateArn"])
        self._iot.attach_thing_principal(thingName=device_id, principal=made["certificateArn"])
        return Credentials(
            made["certificateId"], made["certificateArn"], made["certificatePem"], made["keyPair"]["PrivateKey"]
        )

    def activate(self, credentials: Credentials) -> None:
        self._set(credentials.certificate_id, "ACTIVE")

    def revoke(self, credentials: Credentials) -> None:
        self._set(credentials.certificate_id, "REVOKED")

    def revoke_others(self, device_id: str, credentials: Credentials) -> None:
        """From now on the device connects with these and with none it was given before."""
        pages = self._iot.get_paginator("list_thing_principals").paginate(thingName=device_id)
        for principal in [one for page in pages for one in page["principals"]]:
            if principal != credentials.certificate_arn:
                self._set(principal.rpartition("/")[2], "REVOKED")
                self._iot.detach_thing_principal(thingName=device_id, principal=principal)

    def take_back(self, device_id: str, credentials: Credentials) -> None:
        """A device that was not registered after all leaves nothing behind.

        Detaching takes effect some time later on AWS, so what cannot be deleted yet stays: a certificate that was never
        active and a thing nobody knows.
        """
        with suppress(ClientError):
            self._iot.detach_thing_principal(thingName=device_id, principal=credentials.certificate_arn)
            self._iot.detach_policy(policyName=self._policy, target=credentials.certificate_arn)
            self._iot.delete_certificate(certificateId=credentials.certificate_id)
            self._iot.delete_thing(thingName=device_id)

    def _set(self, certificate_id: str, status: str) -> None:
        self._iot.update_certificate(certificateId=certificate_id, newStatus=status)


def _days_of_life(pem: str) -> int:
    certificate = load_pem_x509_certificate(pem.encode())
    return (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days
