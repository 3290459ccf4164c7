"""The device classes as data: each file is read, fits together, and a mistake in one is told."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from linli.deviceclass import CLASSES, DeviceClass, ThresholdRule, class_names, device_class

ORDERED = {
    "camera",
    "door_sensor",
    "fall_detector",
    "gas_detector",
    "heart_rate_band",
    "lift",
    "parking_bay",
    "smoke_detector",
    "sos_button",
    "street_lamp",
    "water_meter",
}


def raw(name: str) -> dict[str, Any]:
    return dict(json.loads((CLASSES / f"{name}.json").read_text(encoding="utf-8")))


def test_the_ordered_classes_are_there() -> None:
    assert set(class_names()) == ORDERED


@pytest.mark.parametrize("name", class_names())
def test_a_class_is_named_like_its_file_is_watched_for_silence_and_has_limits_it_can_measure(name: str) -> None:
    of_class = device_class(name)
    assert of_class is not None and of_class.name == name
    assert of_class.silence is not None
    assert of_class.silence.after_seconds > of_class.interval_seconds
    assert all(metric.minimum < metric.maximum for metric in of_class.metrics.values())
    for rule in of_class.thresholds:
        metric = of_class.metrics[rule.metric]
        limit = rule.above if rule.above is not None else rule.below
        assert limit is not None and metric.minimum <= limit <= metric.maximum


def test_there_is_no_class_of_another_name_or_outside_the_folder() -> None:
    assert device_class("teapot") is None
    assert device_class("../workdays") is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"alarms": []}, "every event has a rule"),
        ({"events": {}}, "every event has a rule"),
        ({"metrics": {}}, "a metric the class does not have"),
        ({"privacy": "L9"}, "privacy"),
        ({"colour": "red"}, "colour"),
        ({"interval_seconds": 0}, "interval_seconds"),
    ],
)
def test_a_mistake_in_a_file_is_told(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        DeviceClass.model_validate(raw("smoke_detector") | change)


def test_an_alarm_type_has_one_rule() -> None:
    doubled = raw("sos_button")
    doubled["alarms"].append(doubled["alarms"][0])
    with pytest.raises(ValidationError, match="two rules"):
        DeviceClass.model_validate(doubled)


@pytest.mark.parametrize(
    "limits", [{}, {"above": 1, "below": 1}, {"above": 1, "clear": 2}, {"below": 1, "clear": 0}], ids=str
)
def test_a_threshold_has_one_limit_and_clears_on_its_other_side(limits: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ThresholdRule.model_validate(threshold(**limits))


@pytest.mark.parametrize(
    ("limits", "values", "met"),
    [
        ({"above": 10, "clear": 5}, [9, 10, 11, 7, 5, 6, 12], [False, False, True, True, False, False, True]),
        ({"below": 15, "clear": 25}, [15, 14, 20, 24, 25, 20], [False, True, True, True, False, False]),
    ],
)
def test_between_limit_and_clear_it_stays_as_it_was(limits: dict[str, float], values: list[float], met: Any) -> None:
    rule = ThresholdRule.model_validate(threshold(**limits))
    active = False
    seen = [active := rule.met(value, active=active) for value in values]
    assert seen == met


def threshold(**limits: float) -> dict[str, Any]:
    about = {"on": "threshold", "alarm_type": "high", "zh": "高", "en": "high", "severity": "minor", "metric": "level"}
    return {"clear": 1.0, **about, **limits}
