"""`make demo`: a smoke detector alarms, and the ticket lives its life; a water meter tells its day. Line by line, timed."""

import secrets
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from infra.local.client import Answer, Device
from infra.local.process import LocalError
from infra.local.run import live
from infra.local.seed import BUILDINGS, COMMUNITY, GRIDS, Demonstration
from infra.local.water_signal import readings

PATIENCE = 30.0
"""Seconds until something that must happen counts as not happening."""


class Story:
    """Tells what happens, each line with the seconds since the beginning and since the line before."""

    def __init__(self) -> None:
        self._began = self._before = time.monotonic()

    def tell(self, who: str, what: str) -> None:
        now = time.monotonic()
        print(f"  {now - self._began:7.2f} s  +{now - self._before:5.2f} s  {who:<16} {what}", flush=True)
        self._before = now


def play(demonstration: Demonstration) -> dict[str, Any]:
    """The whole loop; returns the closed ticket. Raises LocalError where something does not happen."""
    story = Story()
    worker, officer = demonstration.client("worker"), demonstration.client("officer")
    name = f"demo-{secrets.token_hex(4)}"
    wanted = {"device_class": "smoke_detector", "serial": name, "place_id": f"{BUILDINGS[0]}-1-0102"}
    device_id = demonstration.register(officer, name, wanted, key=name)
    story.tell("值班长甲", f"registers a smoke detector in community {COMMUNITY}; certificate and key handed over once")
    with Device(device_id, demonstration.devices / name, demonstration.broker()) as detector:
        story.tell("smoke detector", f"{device_id} connected over mutual TLS")
        detector.event("smoke", "active")
        story.tell("smoke detector", "published: smoke, active")
        found = until("a ticket for 网格员甲", lambda: _ticket_of(worker.get("/v1/tickets/work"), worker, device_id))
        story.tell("网格员甲", f"sees ticket {found['ticket_id']}, {found['severity']}, due {found['due_at']}")
        ticket = _step(worker, found, "accept")
        story.tell("网格员甲", f"accepts → {ticket['state']}")
        ticket = _step(worker, ticket, "handle", note="到场查看，油烟触发，已通风 / cooking fumes, aired")
        story.tell("网格员甲", f"handles, with a note → {ticket['state']}: the detector still alarms")
        refused = officer.post(_steps(ticket), {"step": "verify", "expected_version": ticket["version"]})
        story.tell("值班长甲", f"tries to close → {refused.status} {refused.body['code']}: {refused.body['title']}")
        detector.event("smoke", "clear")
        story.tell("smoke detector", "published: smoke, clear")
    path = f"/v1/tickets/{ticket['ticket_id']}"
    ticket = until("verification by itself", lambda: _if(officer.get(path).body, state="verifying"))
    story.tell("linli", f"verification started by itself → {ticket['state']}, waits for {ticket['holder']}")
    ticket = _step(officer, ticket, "verify")
    story.tell("值班长甲", f"verifies → {ticket['state']}")
    for step in ticket["timeline"]:
        print(f"             {step['at']}  {step['action']:<14} → {step['state']:<10} {step.get('post', '')}")
    print(f"             one correlation id from the message to the last step: {ticket['correlation_id']}")
    meter(demonstration, story)
    return ticket


def meter(demonstration: Demonstration, story: Story) -> None:
    """A day of a real hourly signal, in one message; its last state read back."""
    device_id = demonstration.device_id("water")
    day = readings(24, until=datetime.now(UTC).replace(microsecond=0))
    with Device(device_id, demonstration.devices / "water", demonstration.broker()) as meter_:
        meter_.publish_telemetry(day)
    story.tell("water meter", f"published {len(day)} hourly readings in one message")
    officer = demonstration.client("officer")
    newest = datetime.fromisoformat(day[-1]["t"])

    def last_state() -> dict[str, Any] | None:
        state = officer.get(f"/v1/devices/{device_id}").body.get("last_state")
        return state if state and datetime.fromisoformat(state["at"]) == newest else None

    state = until("the last state", last_state)
    story.tell("值班长甲", f"reads the last state: {state['values']['flow']} L/s at {state['at']}")


def until(what: str, look: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """Look until it is there. Raises LocalError."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        if found := look():
            return found
        time.sleep(0.05)
    raise LocalError(f"{what} did not come within {PATIENCE:.0f} s; .local/logs/ministack.log says more")


def _ticket_of(listed: Answer, reader: Any, device_id: str) -> dict[str, Any] | None:
    """The newest ticket of this device that is still to be accepted."""
    for item in listed.body["items"]:
        if item["state"] == "dispatched" and item["kind"] == "alarm":
            ticket = reader.get(f"/v1/tickets/{item['ticket_id']}").body
            if ticket["device_id"] == device_id:
                return dict(ticket)
    return None


def _if(found: dict[str, Any], **wanted: Any) -> dict[str, Any] | None:
    return found if all(found.get(name) == value for name, value in wanted.items()) else None


def _steps(ticket: dict[str, Any]) -> str:
    return f"/v1/tickets/{ticket['ticket_id']}/steps"


def _step(client: Any, ticket: dict[str, Any], step: str, **more: Any) -> dict[str, Any]:
    answer = client.post(_steps(ticket), {"step": step, "expected_version": ticket["version"], **more})
    if answer.status != 201:
        raise LocalError(f"{step}: {answer.status} {answer.body}")
    return dict(answer.body)


def main() -> int:
    try:
        with live() as (runtime, outputs):
            print(f"\n  The loop in community {COMMUNITY}, grid {GRIDS[0]}\n")
            play(Demonstration(runtime, outputs))
    except LocalError as error:
        print("  " + str(error).replace("\n", "\n  "), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
