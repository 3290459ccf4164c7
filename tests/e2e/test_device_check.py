"""make device-check: nothing wrong is found in the reference device, and in bad ones exactly what was planted."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

import pytest

from alarms.store import AlarmsRow
from devices.store import DevicesRow
from infra.local.client import Device
from infra.local.device_check import check, register_test_device, report, try_foreign_topic, use
from infra.local.device_rules import Verdict
from infra.local.reference_device import ReferenceDevice
from linli.deviceclass import device_class
from tests.e2e.world import World


@pytest.fixture
def tables(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The environment of the operator, for the stores: on connections of their own, not those of tests before."""
    for base in (AlarmsRow, DevicesRow):
        monkeypatch.setattr(base, "_connection", None)
    for name, value in world.linli.runtime.environment().items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    use(world.linli.outputs)
    yield world
    for name in os.environ.keys() - before.keys():
        monkeypatch.delenv(name)


def tried(world: World, class_name: str, kind: type[ReferenceDevice]) -> dict[str, Verdict]:
    of = device_class(class_name)
    assert of is not None
    device_id, folder = register_test_device(world.linli, class_name)
    broker = world.linli.broker()

    def act() -> bool:
        refused = try_foreign_topic(device_id, folder, broker)
        kind(of, device_id, folder, broker).live()
        return refused

    return {one.rule: one for one in check(of, device_id, act, {})}


@pytest.mark.parametrize("class_name", ["smoke_detector", "water_meter", "sos_button"])
def test_the_reference_device_passes(tables: World, class_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = tried(tables, class_name, ReferenceDevice)
    wrong = {rule: one.detail for rule, one in found.items() if one.outcome != "pass"}
    assert wrong == {}
    assert report(list(found.values())) == 0
    assert "用自己的证书和编号连接 connects with its own certificate" in capsys.readouterr().out


class Sloppy(ReferenceDevice):
    """Sends again under a new counter, one event never ends, values out of range, one reading a message, nothing kept."""

    def live(self) -> None:
        with Device(self.device_id, self.folder, self.broker) as device:
            device.publish_telemetry([self.reading(self.now())])
            self.send(device, "smoke", "active")
            self.send(device, "fault", "active")
            self.send(device, "fault", "clear")
            self.send(device, "tamper", "active")
            self.send(device, "tamper", "clear")

    def reading(self, at: datetime) -> dict[str, Any]:
        return {"t": at.isoformat(), "seq": self.next(), "v": {"temperature": 4000.0}}

    def send(self, device: Device, event: str, state: str) -> None:
        for _ in range(2):
            device.event(event, state, at=self.now(), seq=self.next())


class Confused(ReferenceDevice):
    """A clock two days ahead, a counter that runs backwards, bytes that are no JSON, events and metrics nobody knows."""

    def live(self) -> None:
        super().live()
        with Device(self.device_id, self.folder / "renewed", self.broker) as device:
            device.publish_event(b"\xff\xfe")
            device.event("volcano", "active")
            device.publish_telemetry([{"t": self.now().isoformat(), "seq": self.next(), "v": {"mood": 1.0}}])

    def now(self) -> datetime:
        return super().now() + timedelta(days=2)

    def next(self) -> int:
        self.counter -= 1
        return self.counter


class Mute(ReferenceDevice):
    def live(self) -> None:
        with Device(self.device_id, self.folder, self.broker):
            pass


PLANTED: list[tuple[type[ReferenceDevice], set[str]]] = [
    (Sloppy, {"events", "retry", "metrics", "range", "several", "buffer", "renewal"}),
    (Confused, {"readable", "sequence", "clock", "buffer"}),
    (Mute, {"connected", "events", "metrics", "several", "buffer", "renewal"}),
]


@pytest.mark.parametrize(("kind", "planted"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_every_planted_fault_is_found_and_no_other(
    tables: World, kind: type[ReferenceDevice], planted: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = tried(tables, "smoke_detector", kind)
    assert {rule for rule, one in found.items() if one.outcome == "fail"} == planted
    assert report(list(found.values())) == 1
    assert capsys.readouterr().out.count("FAIL") == len(planted)


def _connected() -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_result({})
    return future


def test_a_device_that_may_publish_as_another_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy holds devices to their topics; without it the check must say so."""
    said: list[Callable[..., Any] | str] = []
    monkeypatch.setattr(Device, "__init__", lambda *_: None)
    monkeypatch.setattr(Device, "connect", lambda _: _connected())
    monkeypatch.setattr(Device, "__exit__", lambda *_: None)
    monkeypatch.setattr(Device, "publish", lambda _, topic, __: said.append(topic))
    broker: Any = type("B", (), {"prefix": "linli"})
    assert not try_foreign_topic("device-1", None, broker)  # type: ignore[arg-type]
    assert said == ["linli/v1/device-1-other/events"]
