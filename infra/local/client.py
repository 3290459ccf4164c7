"""What a mobile app does: sign in, call the API; and what a device does: publish over mutual TLS."""

import json
import queue
import secrets
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import urllib3
from awscrt import mqtt
from awsiot import mqtt_connection_builder
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HTTP = urllib3.PoolManager(maxsize=64, timeout=150.0)
ANSWERED_WITHIN = 20.0
"""Seconds for one MQTT operation."""
PLATFORM_ANSWERS_WITHIN = 60.0
"""Seconds for the platform's answer to a request; the contract's minute."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]


class Client:
    """The API as one account sees it."""

    def __init__(self, base_url: str, token: str | None, language: str = "zh-CN") -> None:
        self._base_url = base_url
        self._headers = {"Accept-Language": language}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: Any) -> Answer:
        given = {name: value for name, value in query.items() if value is not None}
        return self.send("GET", path + (f"?{urlencode(given)}" if given else ""))

    def post(self, path: str, body: Any, *, key: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """POST with an Idempotency-Key, a fresh one unless given."""
        more = {"Content-Type": "application/json", "Idempotency-Key": key or secrets.token_hex(16), **(headers or {})}
        return self.send("POST", path, json.dumps(body).encode(), more)

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        answer = HTTP.request(method, self._base_url + path, body=body, headers={**self._headers, **(headers or {})})
        try:
            content = json.loads(answer.data) if answer.data else None
        except ValueError:
            content = answer.data
        return Answer(answer.status, content, answer.headers)


def sign_in(cognito: Any, client_id: str, username: str, password: str) -> str:
    """An access token of the user pool."""
    answer = cognito.initiate_auth(
        ClientId=client_id,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": username, "PASSWORD": password},
    )
    return str(answer["AuthenticationResult"]["AccessToken"])


@dataclass(frozen=True)
class Broker:
    host: str
    port: int
    ca: Path
    prefix: str = "linli"


class Device:
    """A real device: its own certificate, mutual TLS, QoS 1. Use as a context manager."""

    def __init__(self, device_id: str, credentials: Path, broker: Broker) -> None:
        self.device_id = device_id
        self._broker = broker
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._listens = False
        self._sequence = int(datetime.now(UTC).timestamp() * 1000)
        self._connection = mqtt_connection_builder.mtls_from_path(
            endpoint=broker.host,
            port=broker.port,
            cert_filepath=str(credentials / "certificate.pem"),
            pri_key_filepath=str(credentials / "private.key"),
            ca_filepath=str(broker.ca),
            client_id=device_id,
            clean_session=True,
            keep_alive_secs=30,
        )

    def __enter__(self) -> "Device":
        self.connect().result(ANSWERED_WITHIN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.disconnect().result(ANSWERED_WITHIN)

    def connect(self) -> "Future[Any]":
        """Done when the broker has let the device in, or refused it."""
        connecting: Future[Any] = self._connection.connect()
        return connecting

    def event(self, event: str, state: str, *, at: datetime | None = None, seq: int | None = None) -> dict[str, Any]:
        """Publish an event; returns the message, so that it can be sent again."""
        self._sequence += 1
        message = {
            "at": (at or datetime.now(UTC)).isoformat(),
            "seq": self._sequence if seq is None else seq,
            "event": event,
            "state": state,
        }
        self.publish_event(message)
        return message

    def publish_event(self, message: Any) -> None:
        self.publish(self._topic("events"), message)

    def publish_telemetry(self, readings: list[dict[str, Any]]) -> None:
        topic = self._topic("telemetry")
        self.publish(f"$aws/rules/{self._broker.prefix}_telemetry/{topic}", {"readings": readings})

    def publish(self, topic: str, message: Any) -> None:
        """Bytes go as they are, anything else as JSON."""
        self._send(topic, message).result(ANSWERED_WITHIN)

    def send(self, event: dict[str, Any]) -> "Future[Any]":
        """Publish an event without waiting; the future is done when the broker has acknowledged it."""
        return self._send(self._topic("events"), event)

    def ask(self, what: str, **more: str) -> dict[str, Any]:
        """Publish a request and wait for its answer."""
        if not self._listens:
            topic = self._topic("answers")
            self._connection.subscribe(topic, mqtt.QoS.AT_LEAST_ONCE, self._heard)[0].result(ANSWERED_WITHIN)
            self._listens = True
        ref = secrets.token_hex(8)
        self.publish(self._topic("requests"), {"ask": what, "ref": ref, **more})
        while True:
            answer = self._answers.get(timeout=PLATFORM_ANSWERS_WITHIN)
            if answer.get("ref") == ref:
                return answer

    def _heard(self, topic: str, payload: bytes, **_: Any) -> None:
        self._answers.put(json.loads(payload))

    def _topic(self, kind: str) -> str:
        return f"{self._broker.prefix}/v1/{self.device_id}/{kind}"

    def _send(self, topic: str, message: Any) -> "Future[Any]":
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        sent: Future[Any] = self._connection.publish(topic, payload, mqtt.QoS.AT_LEAST_ONCE)[0]
        return sent


def new_key(folder: Path) -> str:
    """Make the device's key in its folder, and the request (PEM) for a certificate; the key goes nowhere else."""
    key = ec.generate_private_key(ec.SECP256R1())
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "private.key"
    kept.touch(mode=0o600)
    encodings = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    kept.write_bytes(key.private_bytes(*encodings))
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def renew(device_id: str, folder: Path, renewed: Path, broker: Broker) -> dict[str, Any]:
    """What a device does before its certificate ends; returns the answer to its confirmation. Raises on a refusal."""
    csr = new_key(renewed)
    with Device(device_id, folder, broker) as device:
        answer = device.ask("certificate", csr=csr)
    (renewed / "certificate.pem").write_text(answer["certificate_pem"])
    with Device(device_id, renewed, broker) as device:
        return device.ask("confirm")
