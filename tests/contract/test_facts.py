"""Every published fact has a schema and a sample, and every subscriber the templates know understands every sample."""

import importlib
import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3
from jsonschema import Draft202012Validator, FormatChecker

from alarms.domain import KnownDevice
from infra.local.contracts import FACT_CONTEXTS, OPENAPI, SCHEMAS, fact_schemas, files
from linli.facts import Envelope, Place
from linli.table import ParkedRow
from tests.canary import TEXT
from tests.support import (
    CONTEXT,
    NOW,
    PLACE,
    RESIDENT,
    ROOT,
    delivery,
    on_bus,
    request,
    sqs,
    table_on_moto,
    template,
)

SAMPLES = ROOT / "events" / "samples"


def subscriptions() -> Iterator[tuple[str, str, str]]:
    """(context, fact, handler), read from the templates: the rule, its queue, the function on that queue."""
    for path in sorted((ROOT / "infra").glob("*.yaml")):
        resources = template(path.stem)["Resources"]
        readers = {
            item["Properties"]["EventSourceArn"].split(".")[0]: resources[item["Properties"]["FunctionName"]]
            for item in resources.values()
            if item["Type"] == "AWS::Lambda::EventSourceMapping"
        }
        for item in resources.values():
            if item["Type"] == "AWS::Events::Rule" and "EventPattern" in item["Properties"]:
                queue = item["Properties"]["Targets"][0]["Arn"].split(".")[0]
                for fact in item["Properties"]["EventPattern"]["detail-type"]:
                    yield path.stem, fact, readers[queue]["Properties"]["Handler"]


SUBSCRIPTIONS = list(subscriptions())


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text(encoding="utf-8"))


def handler_of(dotted: str) -> Any:
    module, name = dotted.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def parked(store: Any) -> list[Any]:
    class Parked(ParkedRow):
        Meta = store.table._base.Meta

    return list(Parked.scan(Parked.pk.startswith("PARKED#")))


def test_what_is_in_the_repository_is_what_the_code_says() -> None:
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run make openapi"


def test_every_schema_stands_for_a_published_fact_and_has_a_sample() -> None:
    names = set(fact_schemas())
    assert {path.name for path in SCHEMAS.glob("*.json")} == names
    assert {path.name for path in SAMPLES.glob("[A-Z]*.json")} >= names
    assert FACT_CONTEXTS == ("grid", "devices", "alarms", "tickets")


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("[A-Z]*.json")), ids=lambda path: path.stem)
def test_a_sample_fits_its_schema(path: Any) -> None:
    schema = json.loads((SCHEMAS / path.name).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(sample(path.name))
    extra = sample(path.name) | {"data": {**sample(path.name)["data"], "phone": "1"}}
    assert not Draft202012Validator(schema).is_valid(extra)


def test_every_subscription_was_found() -> None:
    assert {fact for _, fact, _ in SUBSCRIPTIONS} == {
        "DeviceRegistered",
        "DeviceChanged",
        "AlarmRaised",
        "AlarmCleared",
        "DutyRosterChanged",
        "DeviceConditionChanged",
        "DeviceWakeWanted",
        "AlarmWakeWanted",
    }


@pytest.mark.parametrize(("context", "fact", "dotted"), SUBSCRIPTIONS, ids=lambda value: str(value))
def test_every_version_of_a_fact_is_understood_by_its_subscribers(context: str, fact: str, dotted: str) -> None:
    bodies = [on_bus(Envelope.model_validate(sample(path.name))) for path in sorted(SAMPLES.glob(f"{fact}-v*.json"))]
    assert bodies
    with table_on_moto(context):
        if fact == "DeviceConditionChanged":
            registered = on_bus(Envelope.model_validate(sample("DeviceRegistered-v1.json")))
            handler_of("alarms.on_device_changed.handler")(sqs(registered), CONTEXT)
        assert handler_of(dotted)(sqs(*bodies, *bodies), CONTEXT) == {"batchItemFailures": []}
        module = importlib.import_module(dotted.rsplit(".", 1)[0])
        assert parked(getattr(module, "store", module)) == []


def test_a_fact_of_an_unknown_version_is_parked_not_guessed() -> None:
    newer = Envelope.model_validate(sample("AlarmRaised-v1.json") | {"version": 2})
    with table_on_moto("tickets"):
        module = importlib.import_module("tickets.on_alarm_raised")
        assert module.handler(sqs(on_bus(newer)), CONTEXT) == {"batchItemFailures": []}
        (row,) = parked(module.store)
        assert (row.source, row.reason) == ("AlarmRaised", "AlarmRaised v2")


def test_the_samples_of_device_messages_are_understood() -> None:
    from alarms import on_device_event
    from devices import on_telemetry
    from devices.domain import Device
    from devices.store import DeviceRow

    with table_on_moto("alarms"):
        on_device_event.store.remember(KnownDevice("device-1", "smoke_detector", PLACE))
        on_device_event.handler(sqs(delivery("device-1", sample("mqtt-event-v1.json"))), CONTEXT)
        assert len(on_device_event.store.history("device-1", "smoke")) == 1
    with table_on_moto("devices"):
        device = Device("device-2", "water_meter", "1", Place(path=PLACE.path, grid_id=PLACE.grid_id), NOW, "cert")
        row = DeviceRow(
            f"THING#{device.device_id}",
            "D",
            device_class=device.device_class,
            serial=device.serial,
            place=device.place.model_dump(mode="json"),
            registered_at=NOW.isoformat(),
            certificate_id="cert",
            version=1,
        )
        on_telemetry.store.table.rows(DeviceRow)
        row.save()
        on_telemetry.handler(sqs(delivery("device-2", sample("mqtt-telemetry-v1.json"))), CONTEXT)
        (kept,), _ = on_telemetry.store.day("device-2", "20261123", limit=10)
        assert [reading.seq for reading in kept.readings] == [41, 42]


def test_the_document_names_every_route_of_the_templates() -> None:
    document = json.loads(OPENAPI.read_text(encoding="utf-8"))
    described = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    wired = {
        item["Properties"]["RouteKey"]
        for path in (ROOT / "infra").glob("*.yaml")
        for item in template(path.stem)["Resources"].values()
        if item["Type"] == "AWS::ApiGatewayV2::Route"
    }
    assert described == wired


def routes() -> list[tuple[str, str, str]]:
    return [
        (path.stem, *item["Properties"]["RouteKey"].split(" "))
        for path in sorted((ROOT / "infra").glob("*.yaml"))
        for item in template(path.stem)["Resources"].values()
        if item["Type"] == "AWS::ApiGatewayV2::Route" and "AuthorizerId" in item["Properties"]
    ]


@pytest.mark.parametrize(("context", "method", "path"), routes(), ids=lambda value: str(value))
@pytest.mark.parametrize("refused", ["expired", None])
def test_no_route_answers_whom_the_authorizer_did_not_name(
    context: str, method: str, path: str, refused: str | None
) -> None:
    api = importlib.import_module(f"{context}.api")
    asked = re.sub(r"{\w+}", "01ARZ3NDEKTSV4RRFFQ69G5FAV", path)
    event = request(method, asked, None, refused=refused, body={}, headers={"idempotency-key": "key-00000001"})
    answer = api.handler(event, CONTEXT)
    assert answer["statusCode"] == 401
    assert json.loads(answer["body"])["code"] == "unauthenticated"


@pytest.mark.parametrize("broken", ["unreachable", "401", "500", "404"])
def test_a_place_that_cannot_be_asked_is_unavailable_and_one_not_shown_is_absent(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    from linli import places

    class Grid:
        def request(self, *_: Any, **__: Any) -> Any:
            if broken == "unreachable":
                raise urllib3.exceptions.MaxRetryError(None, "x")  # type: ignore[arg-type]
            return SimpleNamespace(status=int(broken))

    monkeypatch.setattr(places, "_HTTP", Grid())
    monkeypatch.setenv("API_BASE_URL", "http://grid")
    api = importlib.import_module("tickets.api")
    body = {"category": "repair", "text": TEXT, "place_id": PLACE.room_id}
    with table_on_moto("tickets"):
        event = request("POST", "/v1/tickets", RESIDENT, body=body, headers={"idempotency-key": "key-00000002"})
        answer = api.handler(event, CONTEXT)
    assert answer["statusCode"] == (404 if broken == "404" else 503)
    assert ("Retry-After" in answer["headers"]) == (broken != "404")
