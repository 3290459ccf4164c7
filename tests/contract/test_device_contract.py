"""What makers are given: schemas that say what the handlers take, a page that names every class."""

import base64
import json
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from devices import on_device_request
from devices.broker import Connection
from devices.domain import Certificate, Device
from infra.local.contracts import CLASSES_PAGE, SCHEMAS
from infra.local.device_contract import classes, message_schemas
from linli.clock import utc_now
from tests.fakes_iot import FakeIssuer, new_csr
from tests.support import CONTEXT, NOW, PLACE, ROOT, sqs, table_on_moto

SAMPLES = {
    "request-v1": "mqtt-request-v1",
    "answer-v1": "mqtt-answer-v1",
    "smoke_detector-event-v1": "mqtt-event-v1",
    "water_meter-telemetry-v1": "mqtt-telemetry-v1",
}


def schema(name: str) -> Draft202012Validator:
    content = json.loads((SCHEMAS / "mqtt" / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(content)
    return Draft202012Validator(content, format_checker=FormatChecker())


def test_the_schemas_are_those_of_the_classes_and_no_other() -> None:
    assert {path.name for path in (SCHEMAS / "mqtt").iterdir()} == set(message_schemas())


@pytest.mark.parametrize(("name", "sample"), SAMPLES.items())
def test_a_sample_fits_its_schema(name: str, sample: str) -> None:
    schema(name).validate(json.loads((ROOT / "events" / "samples" / f"{sample}.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("one", classes(), ids=lambda one: one.name)
def test_a_schema_takes_what_the_class_has_and_nothing_else(one: Any) -> None:
    if one.metrics:
        readings = schema(f"{one.name}-telemetry-v1")
        values = {name: metric.maximum for name, metric in one.metrics.items()}
        good = {"t": "2026-11-23T09:00:00+08:00", "seq": 1, "v": values}
        assert readings.is_valid({"readings": [good]})
        for name, metric in one.metrics.items():
            assert not readings.is_valid({"readings": [{**good, "v": {**values, name: metric.maximum + 1}}]})
        assert not readings.is_valid({"readings": [{**good, "v": {"unheard_of": 1}}]})
    for event in [*one.events, "unheard_of"] if one.events else []:
        message = {"at": "2026-11-23T09:00:00+08:00", "seq": 1, "event": event, "state": "active"}
        assert schema(f"{one.name}-event-v1").is_valid(message) == (event in one.events)


def test_the_page_names_every_class_metric_event_and_alarm() -> None:
    page = CLASSES_PAGE.read_text(encoding="utf-8")
    for one in classes():
        part = page.split(f"## `{one.name}`")[1].split("\n## ")[0]
        named = {*one.metrics, *one.events, *(rule.alarm_type for rule in one.alarms)}
        assert not [name for name in named if f"`{name}`" not in part], one.name


class _Broker:
    def __init__(self) -> None:
        self.said: list[Any] = []

    def connection(self, device_id: str) -> Connection:
        return Connection("broker", 8883, "linli", {"events": "e"})

    def answer(self, device_id: str, message: dict[str, Any]) -> None:
        self.said.append((device_id, message))


def ask(thing: str, principal: str, message: Any, number: int) -> str:
    body = {
        "payload": base64.b64encode(message if isinstance(message, bytes) else json.dumps(message).encode()).decode(),
        "thing": thing,
        "principal": principal,
        "received_ms": int(NOW.timestamp() * 1000),
        "trace": f"trace-{number}",
    }
    return json.dumps(body)


def test_every_answer_fits_its_schema_and_what_cannot_be_read_is_parked(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, issuer, answers = _Broker(), FakeIssuer(), schema("answer-v1")
    monkeypatch.setattr(on_device_request, "broker", lambda: broker)
    monkeypatch.setattr(on_device_request, "issuer", lambda: issuer)
    asked = [
        {"ask": "endpoint", "ref": "1", "unheard_of": True},
        {"ask": "certificate", "csr": new_csr()},
        {"ask": "certificate", "csr": "nonsense"},
        {"ask": "confirm"},
        b"\xff",
        {"ask": "certificate"},
        {"ask": "raise_my_rights"},
    ]
    with table_on_moto("devices"):
        store = on_device_request.store
        _register(store, issuer)
        batch = sqs(*(ask("device-1", "cert-1", message, number) for number, message in enumerate(asked)))
        assert on_device_request.handler(batch, CONTEXT) == {"batchItemFailures": []}
        on_device_request.handler(sqs(ask("device-1", "cert-2", {"ask": "confirm"}, 9)), CONTEXT)
        for _, said in broker.said:
            answers.validate(said)
        assert [(said["ask"], said.get("refused", {}).get("code")) for _, said in broker.said] == [
            ("endpoint", None),
            ("certificate", None),
            ("certificate", "csr-unusable"),
            ("confirm", "not-renewed"),
            ("confirm", None),
        ]
        assert broker.said[0][1]["ref"] == "1"
        assert broker.said[1][1]["certificate_pem"] == "pem of cert-2"
        assert issuer.active == {"cert-2"}
        rows = store.table._parked
        reasons = sorted((row.field or "", row.reason) for row in rows.scan(rows.pk.startswith("PARKED#")))
        assert reasons == [("", "json_invalid"), ("ask", "literal_error"), ("csr", "missing")]


def _register(store: Any, issuer: FakeIssuer) -> None:
    from linli.commands import command
    from linli.table import Step

    credentials = issuer.issue("device-1", csr=None, at=NOW)
    certificate: Certificate = credentials.certificate
    device = Device("device-1", "smoke_detector", "1", PLACE, NOW, certificate.certificate_id)
    from devices.commands import fact_of
    from devices.events import DeviceRegistered

    said = DeviceRegistered(device_id="device-1", device_class="smoke_detector", place=PLACE)
    step = Step("register", utc_now().astimezone(UTC), "officer-1", "r-1")
    fact = fact_of(device, said, at=NOW, correlation_id="r-1")
    store.add(device, step=step, command=command("officer-1", "register", "1"), facts=[fact])


def test_the_example_of_the_page_is_short() -> None:
    assert len([line for line in example().splitlines() if line]) <= 25


def example() -> str:
    page = Path(ROOT / "docs" / "device.md").read_text(encoding="utf-8")
    return page.split("```python\n")[1].split("```")[0]
