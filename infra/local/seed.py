"""The demonstration community: synthetic, on a real code of the NBS list (金寨南路社区, Hefei).

Everything that a county would do by API is done by API here: an administrator appoints the staff, the duty officer
registers the devices. Running it again changes nothing.
"""

import json
import os
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import urllib3

from infra.local import community
from infra.local.client import Answer, Broker, Client, sign_in
from infra.local.process import HOST, LocalError, write_json
from infra.local.runtime import Runtime, running

SEED = Path(__file__).resolve().parents[1] / "seed"
COMMUNITY = community.CODE
GRIDS = (f"{COMMUNITY}001", f"{COMMUNITY}002")
BUILDINGS = tuple(f"{COMMUNITY}{number:05}" for number in (1, 2, 3, 4))
TOKENS_SECONDS = 60.0
Result = TypeVar("Result")


@dataclass(frozen=True)
class Person:
    """A demonstration account; roles are named, nobody is invented."""

    name: str
    zh: str
    post_id: str | None = None
    role: str | None = None
    area: str | None = None


ADMINISTRATOR = Person("admin", "管理员", "administrator-34", "administrator", "34")
STAFF = (
    Person("worker", "网格员甲", "grid-worker-001", "grid_worker", GRIDS[0]),
    Person("worker2", "网格员乙", "grid-worker-002", "grid_worker", GRIDS[1]),
    Person("officer", "值班长甲", community.OFFICER, "duty_officer", COMMUNITY),
    Person("officer2", "值班长乙", community.DEPUTY, "duty_officer", community.PATH[3]),
)
RESIDENT = Person("resident", "居民甲")
DEVICES = {
    "smoke": ("smoke_detector", "DEMO-SMOKE-0001", f"{BUILDINGS[0]}-1-0101"),
    "water": ("water_meter", "DEMO-WATER-0001", f"{BUILDINGS[0]}-1-0101"),
}


class Demonstration:
    """The accounts and devices of one deployment, with their secrets below the ignored folder of the checkout."""

    def __init__(self, runtime: Runtime, outputs: dict[str, str]) -> None:
        self.runtime = runtime
        self.outputs = outputs
        self._cognito = runtime.client("cognito-idp")
        self._accounts = runtime.folder / "accounts.json"
        self.devices = runtime.folder / "devices"

    def token(self, name: str) -> str:
        """An access token of an account. Raises LocalError naming the accounts there are."""
        accounts = self._read()
        if name not in accounts:
            raise LocalError(f"No such account. There are: {', '.join(accounts)}")
        return sign_in(self._cognito, self.outputs["UserPoolClientId"], name, accounts[name]["password"])

    def client(self, name: str) -> Client:
        return Client(self.outputs["ApiBaseUrl"], self.token(name))

    def broker(self) -> Broker:
        ca = self.devices / "ca.pem"
        if not ca.exists():
            self.devices.mkdir(parents=True, exist_ok=True)
            ca.write_bytes(urllib3.request("GET", f"{self.runtime.endpoint}/_ministack/iot/ca.pem").data)
        return Broker(HOST, self.runtime.mqtt_port, ca)

    def device_id(self, name: str) -> str:
        return (self.devices / name / "id").read_text().strip()

    def make_user(self, person: Person) -> str:
        """The subject of the account, made in the user pool if it is new."""
        accounts = self._read()
        if person.name not in accounts:
            password = f"{secrets.token_urlsafe(16)}aA1!"
            pool = self.outputs["UserPoolId"]
            self._cognito.admin_create_user(UserPoolId=pool, Username=person.name, MessageAction="SUPPRESS")
            self._cognito.admin_set_user_password(
                UserPoolId=pool, Username=person.name, Password=password, Permanent=True
            )
            user = self._cognito.admin_get_user(UserPoolId=pool, Username=person.name)
            subject = next(a["Value"] for a in user["UserAttributes"] if a["Name"] == "sub")
            accounts[person.name] = {"subject": subject, "password": password}
            write_json(self._accounts, accounts)
            self._accounts.chmod(0o600)
        return str(accounts[person.name]["subject"])

    def register(self, officer: Client, name: str, body: dict[str, str], *, key: str) -> str:
        """Register a device and keep what it is handed over, as its maker would in the device."""
        answer = _done(officer.post("/v1/devices", body, key=key))
        device_id = str(answer["device"]["device_id"])
        folder = self.devices / name
        if "credentials" not in answer and not (folder / "private.key").exists():
            answer = _done(officer.post(f"/v1/devices/{device_id}/credentials", {}))
        if "credentials" in answer:
            keep_credentials(folder, device_id, answer["credentials"])
        return device_id

    def _read(self) -> dict[str, dict[str, str]]:
        return dict(json.loads(self._accounts.read_text())) if self._accounts.exists() else {}


def keep_credentials(folder: Path, device_id: str, credentials: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "certificate.pem").write_text(credentials["certificate_pem"])
    key = folder / "private.key"
    key.touch(mode=0o600)
    key.write_text(credentials["private_key"])
    (folder / "id").write_text(device_id)


def seed(runtime: Runtime, outputs: dict[str, str]) -> list[str]:
    """Divisions, community, accounts, devices; returns the lines that tell how to use them."""
    environment = {
        **runtime.environment(),
        "IDENTITY_TABLE": outputs["IdentityTable"],
        "GRID_TABLE": outputs["GridTable"],
    }
    os.environ.update(environment)
    demonstration = Demonstration(runtime, outputs)
    _say("divisions", _load_divisions)
    _say("community", _load_community)
    _say("accounts", lambda: _appoint(demonstration))
    _say("devices", lambda: _register_devices(demonstration))
    shown = [ADMINISTRATOR, *STAFF, RESIDENT]
    return [
        "",
        f"Demonstration community {COMMUNITY} (synthetic), its accounts:",
        *(f"  {p.name:<9} {p.zh}  {p.post_id or ''}" for p in shown),
        "A token for one of them:  make token WHO=worker",
        f"Its devices ({', '.join(DEVICES)}): id, certificate and key in {demonstration.devices.name}/ below .local",
    ]


def main(arguments: list[str]) -> int:
    """Seed the running deployment whose folder is given; tests do so in a process of its own."""
    live = running(Path(arguments[0]))
    if live is None:
        raise LocalError(f"nothing runs in {arguments[0]}")
    seed(*live)
    return 0


def _say(name: str, work: Callable[[], str]) -> None:
    print(f"    {name:<12} ", end="", flush=True)
    started = time.monotonic()
    said = work()
    print(f"{said:<40} {time.monotonic() - started:5.1f} s", flush=True)


def _show_quarters(done: int, total: int) -> None:
    """How far the load of a book is, on the line of its step."""
    from identity.load import BATCH

    if done * 4 // total > (done - BATCH) * 4 // total:
        print(f"{100 * done // total} % ", end="", flush=True)


def _load_divisions() -> str:
    from identity.load import load_divisions, mca_rows, nbs_rows
    from identity.store import DivisionStore

    rows = nbs_rows(SEED / "anhui-divisions.csv")
    rows += mca_rows(SEED / "anhui-township-crosswalk.csv", rows)
    written = load_divisions(DivisionStore(), rows, progress=_show_quarters)
    return f"{written} of {len(rows)} rows written"


def _load_community() -> str:
    from grid.load import load_community
    from grid.store import GridStore

    made = community.demonstration()
    written = load_community(GridStore(), made.community, made.rooms, made.rosters)
    households = sum(room.households for room in made.rooms)
    return f"{written} rows written, {len(made.community.grids)} grids, {households:,} households"


def _appoint(demonstration: Demonstration) -> str:
    from identity.admin import appoint_first_administrator, parser
    from identity.store import AccountStore, DivisionStore

    accounts = AccountStore()
    subject = demonstration.make_user(ADMINISTRATOR)
    if accounts.first_administrator() is None:
        options = parser().parse_args(["--subject", subject, "--area", "34"])
        appoint_first_administrator(
            options, accounts=accounts, divisions=DivisionStore(), client=demonstration.runtime.client
        )
    admin = demonstration.client(ADMINISTRATOR.name)
    for person in STAFF:
        body = {
            "post_id": person.post_id,
            "role": person.role,
            "area": person.area,
            "subject": demonstration.make_user(person),
        }
        _done(admin.post("/v1/identity/posts", body, key=f"seed-{person.post_id}"))
    body = {"subject": demonstration.make_user(RESIDENT), "community": COMMUNITY}
    _done(admin.post("/v1/identity/residents", body, key="seed-resident-001"))
    return f"{2 + len(STAFF)}"


def _register_devices(demonstration: Demonstration) -> str:
    officer = demonstration.client("officer")
    for name, (device_class, serial, place_id) in DEVICES.items():
        body = {"device_class": device_class, "serial": serial, "place_id": place_id}
        demonstration.register(officer, name, body, key=f"seed-device-{name}")
    demonstration.broker()
    return ", ".join(DEVICES)


def _done(answer: Answer) -> Any:
    if answer.status not in (200, 201):
        raise LocalError(
            f"the API answered {answer.status}: {json.dumps(answer.body, ensure_ascii=False, default=str)}"
        )
    return answer.body


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
