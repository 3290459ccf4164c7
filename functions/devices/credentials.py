"""Device certificates, issued by IoT Core. The private key passes through once and is kept nowhere."""

import os
from dataclasses import dataclass, field

import boto3


@dataclass(frozen=True)
class Credentials:
    certificate_id: str
    certificate_arn: str
    certificate_pem: str = field(repr=False)
    private_key: str = field(repr=False)


class CertificateIssuer:
    """Issues inactive, so that nothing connects before the registry knows the device."""

    def __init__(self) -> None:
        self._iot = boto3.client("iot")
        self._policy = os.environ["DEVICE_POLICY"]

    def issue(self, device_id: str) -> Credentials:
        self._iot.create_thing(thingName=device_id)
        made = self._iot.create_keys_and_certificate(setAsActive=False)
        self._iot.attach_policy(policyName=self._policy, target=made["certificateArn"])
        self._iot.attach_thing_principal(thingName=device_id, principal=made["certificateArn"])
        return Credentials(
            made["certificateId"], made["certificateArn"], made["certificatePem"], made["keyPair"]["PrivateKey"]
        )

    def activate_only(self, device_id: str, credentials: Credentials) -> None:
        """From now on the device connects with these and with none it was given before."""
        for principal in self._iot.list_thing_principals(thingName=device_id)["principals"]:
            if principal != credentials.certificate_arn:
                self._iot.update_certificate(certificateId=principal.rpartition("/")[2], newStatus="REVOKED")
        self._iot.update_certificate(certificateId=credentials.certificate_id, newStatus="ACTIVE")
