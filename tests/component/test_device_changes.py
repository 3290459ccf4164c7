"""A device's life: its own key, renewal without a person, moved, revoked, retired; and what a crash or a race leaves."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from devices import api
from devices.commands import ChangeWanted, Registration, change_device, register_device, renew_credentials
from devices.credentials import Credentials, CsrUnusable
from devices.domain import (
    CERTIFICATE_LIFE,
    Device,
    DeviceAbsent,
    DeviceWithdrawn,
    LifeState,
    NotRenewed,
    RenewalTooSoon,
)
from devices.requests import confirm_certificate, lapse_offer, offer_certificate
from devices.state import OFFER
from devices.store import DeviceStore
from devices.telemetry_store import TelemetryStore
from linli.access import Caller, Post
from linli.cursor import Cursors
from linli.errors import Denied, PlaceAbsent, StaleVersion
from linli.facts import Place
from linli.wake import Wake
from tests.fakes_iot import Died, FakeIssuer, new_csr
from tests.support import COMMUNITY, CONTEXT, NOW, OFFICER, PATH, PLACE, RESIDENT, WORKER, request, table_on_moto

ELSEWHERE = Place(path=PATH, grid_id=f"{COMMUNITY}002", building_id=f"{COMMUNITY}00002")
ABROAD = Place(path=(*PATH[:-1], "340104002002"), grid_id="340104002002001", building_id="34010400200200001")
PLACES = {PLACE.room_id: PLACE, ELSEWHERE.building_id: ELSEWHERE, ABROAD.building_id: ABROAD}


class Ground:
    """A devices table, an issuer and a clock; every act of staff under a new key unless one is given."""

    def __init__(self) -> None:
        self.store, self.states, self.issuer = DeviceStore(), TelemetryStore(), FakeIssuer()
        self.now, self.keys = NOW, 0

    def register(self, serial: str = "SN-1", csr: str | None = None, key: str | None = None) -> Any:
        wanted = Registration("smoke_detector", serial, PLACE.room_id or "", csr)
        return register_device(wanted, locate=self.locate, **self._common(OFFICER, key))

    def change(
        self,
        device: Device,
        action: str,
        *,
        place: Place | None = None,
        caller: Caller = OFFICER,
        key: str | None = None,
    ) -> Device:
        wanted = ChangeWanted(action, device.version, place and place.building_id)
        common = self._common(caller, key)
        return change_device(device.device_id, wanted, locate=self.locate, states=self.states, **common)

    def renew(self, device: Device, key: str | None = None) -> tuple[Device, Credentials | None]:
        return renew_credentials(device.device_id, states=self.states, **self._common(OFFICER, key))

    def offer(self, device: Device, csr: str, trace: str = "t-1") -> str:
        return offer_certificate(device.device_id, csr, trace=trace, **self._parts())[0].certificate_id

    def confirm(self, device: Device, used: str, trace: str = "t-2") -> Device:
        return confirm_certificate(device.device_id, used, trace=trace, **self._parts())

    def lapse(self, wake: Wake, *, at: datetime) -> None:
        lapse_offer(wake, at=at, store=self.store, issuer=self.issuer)  # type: ignore[arg-type]

    def offers(self) -> list[Wake]:
        """The wakes asked for to end offers, the earliest first."""
        data = [
            fact["data"] for fact in self.said() if fact["type"] == "DeviceWakeWanted" and fact["data"]["rung"] == OFFER
        ]
        wakes = [
            Wake("devices", d["ref"], d["rung"], d["generation"], datetime.fromisoformat(d["fire_at"])) for d in data
        ]
        return sorted(wakes, key=lambda wake: wake.fire_at)

    def said(self) -> list[Any]:
        outbox = self.store.table._outbox
        return [row.fact for row in outbox.scan(outbox.pk.startswith("OUT#"))]

    def locate(self, place_id: str) -> Place:
        return PLACES[place_id]

    def facts(self) -> list[tuple[str, int, Any]]:
        told = [f for f in self.said() if f["type"] != "DeviceWakeWanted"]
        return sorted((f["type"], f["aggregate_version"], f["data"].get("state")) for f in told)

    def watches(self) -> list[tuple[int, str]]:
        wanted = [f["data"] for f in self.said() if f["type"] == "DeviceWakeWanted" and f["data"]["rung"] == 0]
        return sorted((data["generation"], data["fire_at"]) for data in wanted)

    def steps(self, device: Device) -> list[tuple[str, str | None]]:
        return [(step.action, step.state) for step in self.store.table.steps(f"THING#{device.device_id}")]

    def _parts(self) -> dict[str, Any]:
        return {"store": self.store, "issuer": self.issuer, "clock": lambda: self.now}

    def _common(self, caller: Caller, key: str | None) -> dict[str, Any]:
        self.keys += 1
        return {
            "key": key or f"key-{self.keys:04}",
            "actor": caller.acting(None),
            "request_id": f"r-{self.keys}",
            **self._parts(),
        }


@pytest.fixture
def ground() -> Iterator[Ground]:
    with table_on_moto("devices"):
        yield Ground()


def test_a_device_with_its_own_key_is_handed_a_certificate_and_no_key(ground: Ground) -> None:
    device, credentials = ground.register(csr=new_csr())
    assert (credentials.private_key, credentials.certificate_pem) == (None, "pem of cert-1")
    assert ground.issuer.active == {device.certificate_id}
    assert device.certificate_expires_at == NOW + CERTIFICATE_LIFE


@pytest.mark.parametrize(
    "csr", ["", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----", "曹"]
)
def test_a_request_that_cannot_be_signed_names_its_field_and_makes_nothing(ground: Ground, csr: str) -> None:
    with pytest.raises(CsrUnusable) as refused:
        ground.register(csr=csr)
    assert (refused.value.field, ground.issuer.issued) == ("csr", 0)


def test_a_key_iot_core_does_not_take_is_refused_before_it_is_asked(ground: Ground) -> None:
    with pytest.raises(CsrUnusable):
        ground.register(csr=new_csr(ec.SECP256K1()))
    assert ground.issuer.issued == 0


def test_a_renewal_keeps_both_until_the_new_one_is_confirmed_over_itself(ground: Ground) -> None:
    device, _ = ground.register()
    ground.now = NOW + timedelta(days=700)
    csr = new_csr()
    offered = ground.offer(device, csr)
    assert ground.issuer.active == {device.certificate_id, offered}
    with pytest.raises(NotRenewed):
        ground.confirm(device, device.certificate_id)
    assert ground.issuer.active == {device.certificate_id, offered}
    renewed = ground.confirm(device, offered, trace="t-3")
    assert (renewed.certificate_id, ground.issuer.active) == (offered, {offered})
    assert renewed.certificate_expires_at == ground.now + CERTIFICATE_LIFE
    assert ground.steps(device)[1:] == [("offer_certificate", "in_service"), ("confirm_certificate", "in_service")]


def test_every_message_of_a_renewal_may_come_again(ground: Ground) -> None:
    device, _ = ground.register()
    csr = new_csr()
    offered = ground.offer(device, csr)
    assert ground.offer(device, csr) == ground.offer(device, csr, trace="t-again") == offered
    for trace in ("t-2", "t-2", "t-9"):
        assert ground.confirm(device, offered, trace=trace).certificate_id == offered
    assert (ground.issuer.issued, ground.issuer.active) == (2, {offered})
    with pytest.raises(NotRenewed):
        ground.offer(device, csr)  # the first request, delivered once more after all is done
    assert ground.store.device(device.device_id).offer is None


def test_a_device_gone_wild_has_no_certificates_made_without_end(ground: Ground) -> None:
    device, _ = ground.register()
    first = ground.offer(device, new_csr(), trace="t-1")
    with pytest.raises(RenewalTooSoon):
        ground.offer(device, new_csr(), trace="t-2")
    ground.now += timedelta(minutes=10)
    second = ground.offer(device, new_csr(), trace="t-3")
    assert ground.issuer.active == {device.certificate_id, second}
    assert (first != second, ground.issuer.issued) == (True, 3)


@pytest.mark.parametrize("dies_after", [0, 1])
def test_a_renewal_that_died_leaves_one_that_works_and_its_repetition_finishes_it(
    ground: Ground, dies_after: int
) -> None:
    device, _ = ground.register()
    csr = new_csr()

    def twice(act: Any) -> Any:
        ground.issuer.dies_after = dies_after
        with pytest.raises(Died):
            act()
        ground.issuer.dies_after = None
        assert ground.issuer.active, "a certificate that works"
        return act()

    offered = twice(lambda: ground.offer(device, csr))
    assert ground.issuer.active == {device.certificate_id, offered}
    twice(lambda: ground.confirm(device, offered))
    assert ground.issuer.active == {offered}


def test_the_certificates_that_end_in_a_month_are_one_query(ground: Ground) -> None:
    devices = [ground.register(f"SN-{number}")[0] for number in range(3)]
    retired, revoked, left = devices
    ground.change(retired, "retire")
    ground.change(revoked, "revoke")
    end = NOW + CERTIFICATE_LIFE
    assert ground.store.ending(end.strftime("%Y%m"), limit=10) == ([(left.device_id, end)], None)
    ground.now = NOW + timedelta(days=90)
    ground.confirm(left, ground.offer(left, new_csr()))
    assert ground.store.ending(end.strftime("%Y%m"), limit=10)[0] == []
    assert len(ground.store.ending((end + timedelta(days=90)).strftime("%Y%m"), limit=10)[0]) == 1


def test_a_moved_device_is_told_and_listed_where_it_now_is(ground: Ground) -> None:
    device, _ = ground.register()
    moved = ground.change(device, "move", place=ELSEWHERE)
    assert (moved.place, moved.version) == (ELSEWHERE, 2)
    assert ground.facts() == [("DeviceChanged", 2, "in_service"), ("DeviceRegistered", 1, None)]
    assert ground.store.in_grid(PLACE.grid_id, limit=10, after=None) == ([], None)
    ((listed,), _) = ground.store.in_grid(ELSEWHERE.grid_id, limit=10, after=None)
    assert (listed.device_id, listed.serial, listed.state) == (device.device_id, "SN-1", LifeState.IN_SERVICE)
    assert ground.issuer.active == {device.certificate_id}


@pytest.mark.parametrize(
    ("caller", "place", "refusal"),
    [(WORKER, ELSEWHERE, Denied), (RESIDENT, ELSEWHERE, DeviceAbsent), (OFFICER, ABROAD, PlaceAbsent)],
)
def test_one_moves_between_places_of_ones_own_area(
    ground: Ground, caller: Caller, place: Place, refusal: type[Exception]
) -> None:
    device, _ = ground.register()
    with pytest.raises(refusal):
        ground.change(device, "move", place=place, caller=caller)
    township = Caller("officer-2", (Post("duty-officer-002", "duty_officer", PATH[:-1]),))
    assert ground.change(device, "move", place=ABROAD, caller=township).place == ABROAD


def test_a_revoked_device_connects_with_nothing_and_comes_back_with_new_credentials(ground: Ground) -> None:
    device, _ = ground.register()
    ground.offer(device, new_csr())
    device = ground.change(ground.store.device(device.device_id), "revoke")
    assert (device.state, ground.issuer.active) == (LifeState.REVOKED, set())
    with pytest.raises(DeviceWithdrawn):
        ground.change(device, "revoke")
    with pytest.raises(DeviceWithdrawn):
        ground.offer(device, new_csr(), trace="t-5")
    assert ground.states.states([device.device_id])[device.device_id].barred == "revoked"
    ground.now = NOW + timedelta(days=1)
    back, credentials = ground.renew(device)
    assert credentials is not None
    assert (back.state, ground.issuer.active) == (LifeState.IN_SERVICE, {credentials.certificate.certificate_id})
    assert ground.facts()[:2] == [("DeviceChanged", 3, "revoked"), ("DeviceChanged", 4, "in_service")]
    assert ground.states.states([device.device_id])[device.device_id].barred is None
    assert ground.watches() == [(1, "2026-11-26T01:00:00Z"), (2, "2026-11-27T01:00:00Z")]


def test_a_revocation_that_died_is_finished_by_its_repetition(ground: Ground) -> None:
    device, _ = ground.register()
    ground.issuer.dies_after = 0
    with pytest.raises(Died):
        ground.change(device, "revoke", key="key-same")
    assert ground.store.device(device.device_id).state is LifeState.REVOKED
    ground.issuer.dies_after = None
    ground.change(device, "revoke", key="key-same")
    assert ground.issuer.active == set()


def test_a_retired_device_is_gone_its_serial_free_and_its_history_kept(ground: Ground) -> None:
    device, _ = ground.register()
    retired = ground.change(device, "retire")
    assert (retired.state, ground.issuer.active) == (LifeState.RETIRED, set())
    assert ground.issuer.removed == {device.device_id, device.certificate_id}
    assert ground.steps(device) == [("register", "in_service"), ("retire", "retired")]
    assert ground.store.in_grid(PLACE.grid_id, limit=10, after=None) == ([], None)
    for act in (lambda: ground.change(retired, "move", place=ELSEWHERE), lambda: ground.renew(retired)):
        with pytest.raises(DeviceWithdrawn):
            act()
    again, credentials = ground.register("SN-1")
    assert again.device_id != device.device_id
    assert ground.issuer.active == {credentials.certificate.certificate_id}


@pytest.mark.parametrize("slower", ["move", "revoke", "retire"])
@pytest.mark.parametrize("faster", ["move", "revoke", "retire", "renew", "confirm"])
def test_of_two_that_race_one_wins_and_the_other_is_told(ground: Ground, faster: str, slower: str) -> None:
    """The faster act happens after the slower one has read the device."""
    device, _ = ground.register()
    offered = ground.offer(device, new_csr())
    seen = ground.store.device(device.device_id)
    acts: dict[str, Any] = {
        "renew": lambda: ground.renew(seen),
        "confirm": lambda: ground.confirm(seen, offered),
        "move": lambda: ground.change(seen, "move", place=ELSEWHERE),
    }
    acts.get(faster, lambda: ground.change(seen, faster))()
    with pytest.raises(StaleVersion):
        ground.change(seen, slower, place=ELSEWHERE if slower == "move" else None)
    now = ground.store.device(device.device_id)
    assert (now.version, ground.issuer.active) == (seen.version + 1, set(now.certificates))


def test_of_two_renewals_at_once_one_has_credentials_that_work(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    device, _ = ground.register()
    issue, winners = ground.issuer.issue, []

    def overtaken(device_id: str, **how: Any) -> Credentials:
        monkeypatch.setattr(ground.issuer, "issue", issue)
        winners.append(ground.renew(device)[1])
        return issue(device_id, **how)

    monkeypatch.setattr(ground.issuer, "issue", overtaken)
    with pytest.raises(StaleVersion):
        ground.renew(device)
    (winner,) = winners
    assert ground.issuer.active == {winner.certificate.certificate_id}
    assert ground.issuer.taken_back == 1


def test_what_a_device_says_while_it_is_revoked_makes_nobody_repeat_the_command(ground: Ground) -> None:
    device, _ = ground.register()
    put, moved = ground.states.put, []

    def overtaken(state: Any) -> Any:
        """A message that is kept between reading the device's state and writing it."""
        if not moved:
            moved.append(state)
            ground.states.save(replace(state, barred=None), facts=[], at=NOW)
        return put(state)

    ground.states.put = overtaken  # type: ignore[method-assign]
    assert ground.change(device, "revoke").state is LifeState.REVOKED
    assert ground.states.states([device.device_id])[device.device_id].barred == "revoked"


def test_an_offer_that_is_never_confirmed_ends_after_a_week(ground: Ground) -> None:
    device, _ = ground.register()
    offered = ground.offer(device, new_csr())
    (wake,) = ground.offers()
    assert wake.fire_at == NOW + timedelta(days=7)
    ground.lapse(wake, at=wake.fire_at - timedelta(minutes=1))
    assert ground.issuer.active == {device.certificate_id, offered}
    ground.issuer.dies_after = 1
    with pytest.raises(Died):
        ground.lapse(wake, at=wake.fire_at)
    ground.issuer.dies_after = None
    for _ in range(2):
        ground.lapse(wake, at=wake.fire_at)
        assert ground.issuer.active == {device.certificate_id}
    assert ground.steps(device)[-1] == ("lapse_offer", "in_service")
    with pytest.raises(NotRenewed):
        ground.confirm(device, offered)


def test_the_end_of_an_older_offer_leaves_a_newer_one_and_what_is_withdrawn_alone(ground: Ground) -> None:
    device, _ = ground.register()
    ground.offer(device, new_csr(), trace="t-1")
    ground.now = NOW + timedelta(days=1)
    newer = ground.offer(device, new_csr(), trace="t-2")
    first, second = ground.offers()
    ground.lapse(first, at=first.fire_at)
    assert ground.issuer.active == {device.certificate_id, newer}
    ground.change(ground.store.device(device.device_id), "retire")
    ground.lapse(second, at=second.fire_at)
    ground.lapse(replace(second, ref="01ARZ3NDEKTSV4RRFFQ69G5FAV"), at=second.fire_at)
    assert ground.issuer.active == set()


def listed(caller: Caller, **query: str) -> tuple[int, Any]:
    answer = api.handler(request("GET", "/v1/devices", caller, query=query), CONTEXT)
    return answer["statusCode"], json.loads(answer["body"])


def test_a_grids_devices_come_in_pages_to_those_who_may_see_it(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "cursors", Cursors(lambda: "a secret for tests"))
    ids = sorted(ground.register(f"SN-{number}")[0].device_id for number in range(3))
    status, first = listed(WORKER, grid_id=PLACE.grid_id, limit="2")
    assert (status, [item["device_id"] for item in first["items"]]) == (200, ids[:2])
    _, rest = listed(WORKER, grid_id=PLACE.grid_id, limit="2", cursor=first["next_cursor"])
    assert [item["device_id"] for item in rest["items"]] == ids[2:]
    assert "place" not in first["items"][0]
    other = {"grid_id": ELSEWHERE.grid_id, "cursor": first["next_cursor"]}
    assert listed(OFFICER, **other)[0] == 422
    assert listed(WORKER, grid_id=ELSEWHERE.grid_id)[0] == listed(RESIDENT, grid_id=PLACE.grid_id)[0] == 404
    assert [listed(OFFICER, grid_id=bad)[0] for bad in ("", "34", "３４０１０４００２００１００１")] == [422, 422, 422]
