"""`make snapshot`: what this release leaves in its tables, and what its API answers about it, for the next ones to read.

On a Linli of its own that begins empty and goes again, so that nothing but what is made up here gets into the file.
The demonstration is played, and tickets are left in every state a ticket may wait in. Recorded into
`tests/upgrade/<version>.jsonl.gz`: one line about the recording, one for each row, one for each answer. Left out are the
divisions and rooms that nothing else names, or the file would be a hundred times as large. All of it is synthetic; so a
data key's row is recorded with the key itself, to be wrapped anew under the key of the deployment that reads it.
"""

import base64
import gzip
import json
import re
import secrets
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from infra.local.build import build_local
from infra.local.client import Client, Device
from infra.local.demo import play, until
from infra.local.deploy import deployed
from infra.local.process import LocalError
from infra.local.runtime import ROOT
from infra.local.seed import ADMINISTRATOR, BUILDINGS, COMMUNITY, GRIDS, RESIDENT, STAFF, Demonstration, seed

FOLDER = ROOT / "tests" / "upgrade"
CONTEXTS = ("identity", "grid", "devices", "alarms", "tickets")
PREFIX = "linli"
ROOM = f"{BUILDINGS[0]}-1-0201"
OTHER_GRIDS_ROOM = f"{BUILDINGS[2]}-1-0101"
STEPS = ("accept", "handle", "verify")
Line = dict[str, Any]


def record(demonstration: Demonstration, path: Path) -> int:
    """Play, wait until everything is at rest, and write; how many lines."""
    play(demonstration)
    devices = _leave_tickets(demonstration)
    _at_rest(demonstration)
    people = [ADMINISTRATOR, *STAFF, RESIDENT]
    head = {
        "release": version(),
        "recorded_at": datetime.now(UTC).isoformat(),
        "accounts": {person.name: demonstration.make_user(person) for person in people},
    }
    lines = [head, *_rows(demonstration), *_answers(demonstration, devices)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed:
        packed.write("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines).encode())
    return len(lines)


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def _leave_tickets(demonstration: Demonstration) -> list[str]:
    """Reports and alarms left in every state; the devices that have something to tell."""
    clients = {name: demonstration.client(name) for name in ("worker", "worker2", "officer", "resident")}
    for steps in range(len(STEPS) + 1):
        ticket = _report(clients["resident"], f"合成数据：三楼楼道灯不亮，第{steps}件", ROOM)
        for step in STEPS[:steps]:
            who = clients["officer" if step == "verify" else "worker"]
            ticket = _step(who, ticket, step, note="合成数据：已更换灯泡" if step == "handle" else None)
    _report(clients["worker"], "合成数据：网格员巡查发现井盖松动", ROOM)
    _report(clients["worker2"], "合成数据：二号网格垃圾未清运", OTHER_GRIDS_ROOM)
    devices = [demonstration.device_id("water"), demonstration.device_id("smoke")]
    for steps in range(3):
        devices.append(_alarm(demonstration, clients["officer"], clients["worker"], STEPS[:steps]))
    return devices


def _alarm(demonstration: Demonstration, officer: Client, worker: Client, steps: tuple[str, ...]) -> str:
    """A detector that alarms and goes on alarming, its ticket taken this far."""
    name = f"kept-{secrets.token_hex(4)}"
    wanted = {"device_class": "smoke_detector", "serial": name, "place_id": ROOM}
    device_id = demonstration.register(officer, name, wanted, key=name)
    with Device(device_id, demonstration.devices / name, demonstration.broker()) as detector:
        if not steps:
            detector.publish_event(b"\xff synthetic: not json")
        detector.event("smoke", "active", at=datetime.now(UTC) - timedelta(seconds=5))
        ticket = until("the alarm's ticket", lambda: _ticket_of(worker, device_id))
    for step in steps:
        ticket = _step(worker, ticket, step, note="合成数据：到场查看" if step == "handle" else None)
    return device_id


def _ticket_of(worker: Client, device_id: str) -> Line | None:
    for item in worker.get("/v1/tickets/work", limit=100).body["items"]:
        ticket = worker.get(f"/v1/tickets/{item['ticket_id']}").body
        if ticket.get("device_id") == device_id:
            return dict(ticket)
    return None


def _report(client: Client, text: str, place_id: str) -> Line:
    return _made(client.post("/v1/tickets", {"category": "repair", "text": text, "place_id": place_id}))


def _step(client: Client, ticket: Line, step: str, *, note: str | None) -> Line:
    body = {"step": step, "expected_version": ticket["version"], **({"note": note} if note else {})}
    return _made(client.post(f"/v1/tickets/{ticket['ticket_id']}/steps", body))


def _made(answer: Any) -> Line:
    if answer.status != 201:
        raise LocalError(f"the API answered {answer.status}: {answer.body}")
    return dict(answer.body)


def _at_rest(demonstration: Demonstration) -> None:
    """Wait until no outbox holds a fact and no queue a message."""
    queues = demonstration.runtime.client("sqs")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def idle() -> bool:
        facts = any(item["pk"]["S"].startswith("OUT#") for name in CONTEXTS for item in scan(demonstration, name))
        urls = queues.list_queues(QueueNamePrefix=f"{PREFIX}-").get("QueueUrls", [])
        counts = [queues.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"] for url in urls]
        return not facts and not any(int(count) for one in counts for count in one.values())

    _wait("the queues to empty", idle)


def _wait(what: str, done: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 300
    while not done():
        if time.monotonic() > give_up:
            raise LocalError(f"{what} took more than five minutes")
        time.sleep(1)


def scan(demonstration: Demonstration, context: str) -> Iterator[Line]:
    pages = demonstration.runtime.client("dynamodb").get_paginator("scan")
    for page in pages.paginate(TableName=f"{PREFIX}-{context}", ConsistentRead=True):
        yield from page["Items"]


def _rows(demonstration: Demonstration) -> list[Line]:
    """Every row, less the divisions and rooms that no other row names."""
    rows = [(name, item) for name in CONTEXTS for item in scan(demonstration, name)]
    bulky = [(name, item) for name, item in rows if _is_bulk(item)]
    kept = [(name, item) for name, item in rows if not _is_bulk(item)]
    text = json.dumps([item for _, item in kept], default=_encoded)
    named = {*re.findall(r"[0-9]{17}-[0-9]{1,3}-[0-9]{3,5}", text), *re.findall(r"\b[0-9]{2,12}\b", text)}
    kept += [(name, item) for name, item in bulky if _name(item) in named]
    lines = [{"table": name, "item": json.loads(json.dumps(item, default=_encoded))} for name, item in kept]
    kms = demonstration.runtime.client("kms")
    for line in lines:
        if line["item"]["pk"]["S"].startswith("DEK#"):
            line["data_key"] = _encoded(_unwrapped(line["item"], kms))
    return sorted(lines, key=lambda line: (line["table"], line["item"]["pk"]["S"], line["item"]["sk"]["S"]))


def key_context(item: Line) -> dict[str, str]:
    """What the data key of a row is wrapped with."""
    _, personal_class, name = item["pk"]["S"].split("#")
    return {"division6": name[:6], "class": personal_class}


def _unwrapped(item: Line, kms: Any) -> bytes:
    wrapped = base64.b64decode(item["wrapped"]["B"])
    return bytes(kms.decrypt(CiphertextBlob=wrapped, EncryptionContext=key_context(item))["Plaintext"])


def _is_bulk(item: Line) -> bool:
    key = item["pk"]["S"], item["sk"]["S"]
    return bool(key[0].startswith("DIV#") or (key[0].startswith("PLACE#") and key[1].startswith("R#")))


def _name(item: Line) -> str:
    """The division's code, or the room's id."""
    pk, sk = item["pk"]["S"].split("#")[-1], item["sk"]["S"]
    return f"{pk}-{sk.removeprefix('R#')}" if sk.startswith("R#") else str(pk)


def _encoded(value: object) -> str:
    return base64.b64encode(bytes(value)).decode()  # type: ignore[call-overload]


def _answers(demonstration: Demonstration, devices: list[str]) -> list[Line]:
    """What the API says about all of it, each by an account that may see it."""
    found = [
        item["pk"]["S"].removeprefix("TICKET#") for item in scan(demonstration, "tickets") if item["sk"]["S"] == "T"
    ]
    asked = [("officer2", f"/v1/tickets/{ticket_id}") for ticket_id in found]
    asked += [("officer", f"/v1/devices/{device_id}") for device_id in devices]
    asked += [(name, "/v1/tickets/work?limit=100") for name in ("worker", "worker2", "officer")]
    asked += [("officer", f"/v1/tickets/work?of=grid&grid_id={grid}&limit=100") for grid in GRIDS]
    asked += [("resident", "/v1/tickets/work?of=reported&limit=100")]
    asked += [(person.name, "/v1/identity/me") for person in (ADMINISTRATOR, *STAFF, RESIDENT)]
    asked += [("officer", f"/v1/grid/places/{place}") for place in (*GRIDS, *BUILDINGS[:2], ROOM)]
    asked += [("officer", f"/v1/grid/places?device_id={device_id}") for device_id in devices]
    asked += [("officer", f"/v1/identity/divisions/{COMMUNITY}")]
    clients = {name: demonstration.client(name) for name, _ in asked}
    return [{"who": who, "path": path, "body": _read(clients[who], path)} for who, path in asked]


def _read(client: Client, path: str) -> Any:
    answer = client.send("GET", path)
    if answer.status != 200:
        raise LocalError(f"{path}: {answer.status} {answer.body}")
    return answer.body


def main() -> int:
    path = FOLDER / f"v{version()}.jsonl.gz"
    if path.exists():
        sys.exit(
            f"  {path.relative_to(ROOT)} 已存在，请先修改版本号 / is there: raise the version in pyproject.toml first"
        )
    try:
        with tempfile.TemporaryDirectory() as folder, deployed(Path(folder), build_local()) as (runtime, outputs):
            seed(runtime, outputs)
            lines = record(Demonstration(runtime, outputs), path)
    except LocalError as error:
        print("  " + str(error).replace("\n", "\n  "), file=sys.stderr)
        return 1
    print(f"  {lines} lines, {path.stat().st_size:,} bytes: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
