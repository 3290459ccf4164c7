"""Devices: registered once, credentials handed over once, telemetry kept and its newest trusted reading read back."""

from collections.abc import Iterator
from typing import Any

import pytest

from devices.commands import Registration, register_device, renew_credentials
from devices.credentials import Credentials
from devices.domain import ClassUnknown, Device, DeviceAbsent, SerialTaken
from devices.store import DeviceStore
from devices.telemetry_store import TelemetryStore
from linli.access import Caller
from linli.errors import Denied, KeyReused, PlaceAbsent
from linli.facts import Place
from tests.canary import serial
from tests.fakes_iot import FakeIssuer
from tests.support import NOW, OFFICER, PLACE, RESIDENT, WORKER, table_on_moto

WANTED = Registration("water_meter", serial("1"), PLACE.room_id or "")


@pytest.fixture
def store() -> Iterator[DeviceStore]:
    with table_on_moto("devices"):
        yield DeviceStore()


@pytest.fixture
def issuer() -> Any:
    return FakeIssuer()


def register(
    store: DeviceStore, issuer: Any, *, key: str = "key-0001", caller: Caller = OFFICER, wanted: Registration = WANTED
) -> tuple[Device, Credentials | None]:
    def locate(_: str) -> Place:
        return PLACE

    return register_device(
        wanted,
        key=key,
        actor=caller.acting(None),
        request_id="r-1",
        locate=locate,
        store=store,
        issuer=issuer,
        clock=lambda: NOW,
    )


def outbox(store: DeviceStore) -> list[Any]:
    return list(store.table._outbox.scan(store.table._outbox.pk.startswith("OUT#")))


def test_credentials_are_handed_over_once_and_the_fact_carries_none(store: DeviceStore, issuer: Any) -> None:
    device, credentials = register(store, issuer)
    assert credentials is not None
    assert issuer.active == {credentials.certificate.certificate_id}
    again, nothing = register(store, issuer)
    assert (again, nothing, issuer.issued) == (device, None, 1)
    rows = {row.fact["type"]: row.fact["data"] for row in outbox(store)}
    assert rows.keys() == {"DeviceRegistered", "DeviceWakeWanted"}
    assert "key" not in str(rows).replace("'device_class'", "")
    assert rows["DeviceWakeWanted"]["fire_at"] == "2026-11-24T02:00:00Z"  # 25 hours of silence are a meter's limit


def test_a_serial_number_is_registered_once(store: DeviceStore, issuer: Any) -> None:
    register(store, issuer)
    with pytest.raises(SerialTaken):
        register(store, issuer, key="key-0002")
    assert issuer.issued == 1
    with pytest.raises(KeyReused):
        register(store, issuer, wanted=Registration("water_meter", serial("2"), WANTED.place_id))


@pytest.mark.parametrize(
    ("caller", "refusal"), [(WORKER, Denied), (RESIDENT, Denied), (Caller("r", home="340104002002"), PlaceAbsent)]
)
def test_duty_officers_register_in_their_area(
    store: DeviceStore, issuer: Any, caller: Caller, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        register(store, issuer, caller=caller)
    assert issuer.issued == 0


def test_an_unknown_class_names_its_field(store: DeviceStore, issuer: Any) -> None:
    with pytest.raises(ClassUnknown) as refused:
        register(store, issuer, wanted=Registration("teapot", serial("1"), WANTED.place_id))
    assert refused.value.field == "device_class"


def test_renewed_credentials_replace_the_old(store: DeviceStore, issuer: Any) -> None:
    device, _ = register(store, issuer)

    def renew(caller: Caller) -> tuple[Device, Credentials | None]:
        return renew_credentials(
            device.device_id,
            key="key-0009",
            actor=caller.acting(None),
            request_id="r-2",
            store=store,
            states=TelemetryStore(),
            issuer=issuer,
            clock=lambda: NOW,
        )

    renewed, credentials = renew(OFFICER)
    assert credentials is not None
    assert {renewed.certificate_id} == issuer.active == {credentials.certificate.certificate_id}
    assert renew(OFFICER)[1] is None
    with pytest.raises(Denied):
        renew(WORKER)
    with pytest.raises(DeviceAbsent):
        renew(RESIDENT)
    actions = [step.action for step in store.table.steps(f"THING#{device.device_id}")]
    assert actions == ["register", "renew_credentials"]


def test_a_registration_that_loses_the_race_leaves_nothing_behind(
    store: DeviceStore, issuer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(store, issuer)
    monkeypatch.setattr(store, "serial_known", lambda *_: False)
    with pytest.raises(SerialTaken):
        register(store, issuer, key="key-0002")
    assert (issuer.issued, issuer.taken_back) == (2, 1)
