"""What other platforms' devices say, from their published files, as our messages; LwM2M objects as class drafts."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from pydantic import ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from infra.edge import lwm2m, ngsi
from infra.edge.__main__ import main
from infra.edge.messages import Message, Untranslatable
from linli.deviceclass import DeviceClass
from tests.support import NOW, ROOT, SEED

MODELS = SEED / "smart-data-models"
OBJECTS = SEED / "lwm2m"


def published(name: str) -> Any:
    return json.loads((MODELS / f"{name}.json").read_text(encoding="utf-8"))


def both(name: str, **changed: Any) -> list[Any]:
    """The published example as key-values and normalised, with some attributes changed."""
    normalised = {attribute: {"type": "Text", "value": value} for attribute, value in changed.items()}
    return [published(f"{name}.example") | changed, published(f"{name}.example-normalized") | normalised]


def fits(message: Message, class_name: str) -> bool:
    kind = {"events": "event", "telemetry": "telemetry"}[message.kind]
    path = ROOT / "events" / "schemas" / "mqtt" / f"{class_name}-{kind}-v1.json"
    return Draft202012Validator(json.loads(path.read_text(encoding="utf-8"))).is_valid(message.body)


CASES: list[tuple[str, str, dict[str, Any], list[Any]]] = [
    (
        "Streetlighting.Streetlight",
        "street_lamp",
        {},
        [{"power": 10, "voltage": 50, "energy": 93.4}, ("lamp_fault", "clear")],
    ),
    (
        "Streetlighting.Streetlight",
        "street_lamp",
        {"status": "defectiveLamp"},
        [{"power": 10, "voltage": 50, "energy": 93.4}, ("lamp_fault", "active")],
    ),
    ("Parking.ParkingSpot", "parking_bay", {}, [{"occupied": 0}]),
    ("Parking.ParkingSpot", "parking_bay", {"status": "occupied"}, [{"occupied": 1}]),
    ("Device.SmartMeteringObservation", "street_lamp", {}, [{"energy": 7}]),
    ("Device.SmartMeteringObservation", "water_meter", {"meterType": "Water"}, [{"volume": 7}]),
    ("Device.DeviceMeasurement", "smoke_detector", {"controlledProperty": "temperature"}, [{"temperature": 55.2}]),
    ("Device.Device", "smoke_detector", {}, [{"temperature": 21.2, "battery": 75}, ("fault", "clear")]),
    ("Device.Device", "smoke_detector", {"batteryLevel": -1}, [{"temperature": 21.2}, ("fault", "clear")]),
    ("Device.Camera", "camera", {}, [("video_loss", "clear")]),
    ("Device.Camera", "camera", {"on": False}, [("video_loss", "active")]),
    ("Alert.Alert", "fall_detector", {"subCategory": "fallenPatient"}, [("fall", "active")]),
    (
        "Alert.Alert",
        "smoke_detector",
        {"subCategory": "buildingFire"},
        [("smoke", "active"), ("smoke", "clear")],
    ),
]


@pytest.mark.parametrize(("name", "class_name", "changed", "expected"), CASES)
def test_a_published_entity_is_what_its_class_reports_in_both_forms(
    name: str, class_name: str, changed: dict[str, Any], expected: list[Any]
) -> None:
    for entity in both(name, **changed):
        said = ngsi.translate(entity, class_name, received_at=NOW)
        assert [message for message in said if not fits(message, class_name)] == []
        shown = [
            message.body["readings"][0]["v"] if message.kind == "telemetry" else _event(message) for message in said
        ]
        assert shown == expected
        assert said == ngsi.translate(entity, class_name, received_at=NOW), "translated again it is the same message"


def _event(message: Message) -> tuple[str, str]:
    return message.body["event"], message.body["state"]


def test_an_entity_is_of_its_own_time_or_of_when_it_was_received() -> None:
    lamp, _ = ngsi.translate(published("Streetlighting.Streetlight.example"), "street_lamp", received_at=NOW)
    assert lamp.source == "streetlight:guadalajara:4567"
    assert datetime.fromisoformat(lamp.body["readings"][0]["t"]) == datetime(2021, 1, 11, 10, 21, 2, tzinfo=UTC)
    (meter,) = ngsi.translate(published("Device.SmartMeteringObservation.example"), "street_lamp", received_at=NOW)
    assert meter.source == "urn:ngsi-ld:Device:7a0708f6-9668-11e8-8f77-abc2b62ebaac"
    assert datetime.fromisoformat(meter.body["readings"][0]["t"]) == NOW


def test_the_end_of_an_alert_that_is_still_to_come_is_not_said() -> None:
    alert = published("Alert.Alert.example") | {"subCategory": "buildingFire", "validTo": "2099-01-01T00:00:00Z"}
    assert [_event(one) for one in ngsi.translate(alert, "smoke_detector", received_at=NOW)] == [("smoke", "active")]


@pytest.mark.parametrize(
    ("name", "class_name", "changed", "field"),
    [
        ("Device.SmartMeteringObservation", "water_meter", {}, "totalConsumption"),
        ("Device.DeviceMeasurement", "smoke_detector", {}, "numValue"),
        ("Device.Device", "lift", {}, "type"),
        ("Device.Device", "smoke_detector", {"type": "Volcano"}, "type"),
        ("Device.Device", "smoke_detector", {"batteryLevel": "full"}, "batteryLevel"),
        ("Device.Device", "smoke_detector", {"batteryLevel": True}, "batteryLevel"),
        ("Streetlighting.Streetlight", "street_lamp", {"observationDateTime": "yesterday"}, "observationDateTime"),
        ("Parking.ParkingSpot", "parking_bay", {"status": "unknown"}, "status"),
        ("Alert.Alert", "smoke_detector", {}, "subCategory"),
    ],
)
def test_what_cannot_be_translated_names_its_attribute(
    name: str, class_name: str, changed: dict[str, Any], field: str
) -> None:
    with pytest.raises(Untranslatable) as refused:
        ngsi.translate(published(f"{name}.example") | changed, class_name, received_at=NOW)
    assert refused.value.field == field


def test_the_published_device_example_fails_its_own_schema_and_is_translated_all_the_same() -> None:
    def retrieve(uri: str) -> Resource[Any]:
        return Resource(published(uri.rpartition("/")[2].removesuffix(".json")), DRAFT7)

    example = published("Device.Device.example")
    schema = Draft7Validator(published("Device.Device.schema"), registry=Registry(retrieve=retrieve))
    assert [list(error.path) for error in schema.iter_errors(example)] == [["ipAddress", 0]]
    assert ngsi.translate(example, "smoke_detector", received_at=NOW)


PACK = [
    {"bn": "urn:dev:ops:32473-Type1:12345/", "bt": 1763859600, "n": "3303/0/5700", "u": "Cel", "v": 21.5},
    {"n": "3303/0/5700", "u": "Cel", "v": 22.0, "t": 60},
    {"n": "3/0/9", "u": "/", "v": 0.8},
    {"n": "3342/0/5500", "vb": True},
    {"n": "3303/0/5701", "vs": "Cel"},
]
OLDER = {
    "bn": "/3303/0/",
    "bt": 1763859600,
    "e": [{"n": "5700", "v": 21.5}, {"n": "5700", "v": 22.0, "t": 60}, {"n": "5701", "sv": "Cel"}],
}


def test_a_senml_pack_is_readings_by_their_times_and_an_event() -> None:
    telemetry, event = lwm2m.translate(PACK, "smoke_detector", "12345", received_at=NOW)
    assert fits(telemetry, "smoke_detector")
    assert fits(event, "smoke_detector")
    assert [(r["t"], r["v"]) for r in telemetry.body["readings"]] == [
        ("2025-11-23T01:00:00+00:00", {"temperature": 21.5, "battery": 80.0}),
        ("2025-11-23T01:01:00+00:00", {"temperature": 22.0}),
    ]
    assert _event(event) == ("smoke", "active")


def test_the_older_form_means_the_same() -> None:
    (telemetry,) = lwm2m.translate(OLDER, "smoke_detector", "12345", received_at=NOW)
    assert [r["v"] for r in telemetry.body["readings"]] == [{"temperature": 21.5}, {"temperature": 22.0}]
    pressed = {"bn": "/3347/0/", "e": [{"n": "5500", "bv": True}]}
    (event,) = lwm2m.translate(pressed, "sos_button", "12345", received_at=NOW)
    assert (_event(event), event.body["at"]) == (("sos", "active"), NOW.isoformat())


def test_a_time_below_2_28_counts_from_now() -> None:
    pack = [{"n": "/3303/0/5700", "v": 20, "t": -5}]
    (telemetry,) = lwm2m.translate(pack, "smoke_detector", "1", received_at=NOW)
    assert datetime.fromisoformat(telemetry.body["readings"][0]["t"]) == NOW - timedelta(seconds=5)


@pytest.mark.parametrize(
    ("pack", "field"),
    [
        ("nonsense", "pack"),
        ([1], "pack"),
        ([], "n"),
        ([{"n": "/9999/0/1", "v": 1}], "n"),
        ([{"n": "/3303/0/5700", "u": "Pa", "v": 1}], "3303/0/5700"),
        ([{"n": "/3303/0/5700", "u": "parsec", "v": 1}], "3303/0/5700"),
        ([{"n": "/3303/0/5700", "vs": "warm"}], "3303/0/5700"),
        ([{"n": "/3303/0/5700", "v": "1"}], "0"),
        ([{"n": "/3303/0/5700", "v": 1, "t": 1e30}], "0"),
        ([{"n": "/3303/0/5700", "v": 1, "t": "noon"}], "0"),
    ],
)
def test_a_pack_that_cannot_be_translated_names_what_it_is(pack: Any, field: str) -> None:
    with pytest.raises(Untranslatable) as refused:
        lwm2m.translate(pack, "smoke_detector", "1", received_at=NOW)
    assert refused.value.field == field


def test_a_draft_has_units_ranges_and_events_and_says_what_is_left_to_a_person() -> None:
    draft, left = lwm2m.class_draft([OBJECTS / "3311.xml", OBJECTS / "3303.xml"], "park_light")
    dimmer = draft["metrics"]["dimmer"]
    assert (dimmer["unit"], dimmer["minimum"], dimmer["maximum"]) == ("%", 0, 100)
    assert draft["metrics"]["cumulative_active_power"]["unit"] == "kW.h"
    assert draft["metrics"]["temperature"]["en"] == "Temperature (LwM2M 3303/5700)"
    assert list(draft["events"]) == ["on_off"]
    assert {"temperature: unit", "temperature: range", "cumulative_active_power: range"} <= set(left)
    with pytest.raises(ValidationError):
        DeviceClass.model_validate(draft)


def test_a_draft_is_a_class_once_a_person_has_said_the_rest() -> None:
    draft, left = lwm2m.class_draft([OBJECTS / "3342.xml", OBJECTS / "3.xml"], "park_switch")
    for metric in draft["metrics"].values():
        filled = {"zh": "量", "unit": metric["unit"] or "1", "minimum": metric["minimum"] or 0}
        metric |= filled | {"maximum": metric["maximum"] or 1000}
    draft |= {
        "zh": "开关",
        "en": "switch",
        "privacy": "L2",
        "interval_seconds": 900,
        "raw_days": 90,
        "hourly_days": 730,
    }
    for rule in draft["alarms"]:
        rule |= {"zh": "报警", "severity": "minor"}
    known = DeviceClass.model_validate(draft)
    assert known.metrics["battery_level"].maximum == 100
    assert any("severity" in one for one in left)


def test_the_command_line_drafts_and_translates_and_names_what_it_cannot_use(
    capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    assert main(["class-from", "--name", "meter", str(OBJECTS / "3331.xml")]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["energy"]["minimum"] is None
    lamp = str(MODELS / "Streetlighting.Streetlight.example.json")
    assert main(["ngsi", "--class", "street_lamp", lamp]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["ngsi", "--class", "lift", lamp]) == 1
    assert "type" in capsys.readouterr().err
    (tmp_path / "broken.json").write_text("{")
    assert main(["lwm2m", "--class", "smoke_detector", str(tmp_path / "broken.json")]) == 1
