"""Where devices connect, and how the platform speaks to one of them."""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3

from linli.aws import PATIENCE

MQTT_PORT = 8883


@dataclass(frozen=True)
class Connection:
    """What a device needs to know besides its certificate; `topics` by what is said there."""

    endpoint: str
    port: int
    prefix: str
    topics: dict[str, str]


class Broker:
    """The China regions have no configurable endpoints, so a device is told the address and asks for it again later.

    The address is the deployment's `MqttEndpoint`; where that is empty, the account's own data endpoint.
    """

    def __init__(self) -> None:
        self._prefix = os.environ["TOPIC_PREFIX"]

    def connection(self, device_id: str) -> Connection:
        host, _, port = self._address.partition(":")
        own = f"{self._prefix}/v1/{device_id}"
        topics = {name: f"{own}/{name}" for name in ("events", "requests", "answers")}
        topics["telemetry"] = f"$aws/rules/{self._prefix}_telemetry/{own}/telemetry"
        return Connection(host, int(port or MQTT_PORT), self._prefix, topics)

    def answer(self, device_id: str, message: dict[str, Any]) -> None:
        """Publish to the device's own answers, at least once."""
        payload = json.dumps(message, ensure_ascii=False).encode()
        broker = boto3.client("iot-data", config=PATIENCE)
        broker.publish(topic=f"{self._prefix}/v1/{device_id}/answers", qos=1, payload=payload)

    @cached_property
    def _address(self) -> str:
        if told := os.environ.get("MQTT_ENDPOINT"):
            return told
        iot = boto3.client("iot", config=PATIENCE)
        return str(iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"])
