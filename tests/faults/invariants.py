"""What must be true when everything has been delivered, read from the stores, not from logs."""

import hashlib
import importlib
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from devices.history import whole_day
from linli.clock import beijing_day, iso
from linli.commands import command
from linli.wake import Wake
from tests.faults.operations import CONTEXTS
from tests.faults.people import HOME, People, Said
from tests.faults.world import Violation, World

Row = dict[str, Any]
RETRIES = 5


def check(people: People) -> None:
    """Raises Violation with everything that does not hold."""
    found = [
        *nothing_waits(people.world),
        *only_the_unreadable_is_parked(people),
        *reports_and_steps_count_once(people),
        *tickets_are_whole(people.world),
        *alarms_follow_their_devices(people),
        *registrations_count_once(people),
        *telemetry_is_complete(people),
        *rosters_are_the_newest(people),
        *wakes_have_their_rows(people.world),
        *functions_are_patient_but_not_too_patient(people.world),
    ]
    if found:
        raise Violation("\n".join(found))


def nothing_waits(world: World) -> Iterator[str]:
    for context in CONTEXTS:
        yield from (
            f"{context}: a fact is left in the outbox: {row['sk']['S']}" for row in world.operator.outbox(context)
        )
    for dotted, queue in world.queues.items():
        yield from (f"{dotted}: a dead letter: {message.body[:200]}" for message in queue.dead)
        yield from (f"{dotted}: a message still waits" for _ in queue.waiting)


def only_the_unreadable_is_parked(people: People) -> Iterator[str]:
    sent = {hashlib.sha256(body).hexdigest() for body in people.ledger.unreadable}
    parked = {row["sha256"]["S"]: row for context in CONTEXTS for row in people.world.operator.rows(context, "PARKED#")}
    for sha in sorted(parked.keys() - sent):
        yield f"parked though readable: {parked[sha]['source']['S']}, {parked[sha]['reason']['S']}"
    yield from (f"unreadable, but nowhere to be found: {sha}" for sha in sorted(sent - parked.keys()))


def reports_and_steps_count_once(people: People) -> Iterator[str]:
    """An accepted command was carried out, one nobody answered at most once, a refused one not."""
    rows = people.world.operator.rows("tickets")
    done = {
        row["pk"]["S"].removeprefix("CMD#"): json.loads(row["result"]["S"]) for row in rows if row["sk"]["S"] == "C"
    }
    opened = [row["pk"]["S"].removeprefix("TICKET#") for row in rows if row.get("kind", {}).get("S") == "complaint"]
    steps = [row for row in rows if row.get("action", {}).get("S") in ("accept", "handle", "verify")]
    ledger = people.ledger
    for key, ticket_id in ledger.reports.items():
        if ticket_id and done.get(key, {}).get("ticket_id") != ticket_id:
            yield f"report {key} was accepted as {ticket_id}, its command says {done.get(key)}"
    for key, accepted in ledger.steps.items():
        if accepted is not None and accepted != (key in done):
            yield f"step {key}: accepted {accepted}, carried out {key in done}"
    wanted = sorted(done[key]["ticket_id"] for key in ledger.reports if key in done)
    if sorted(opened) != wanted:
        yield f"{len(opened)} reported tickets, {len(wanted)} were asked for"
    if len(steps) != sum(key in done for key in ledger.steps):
        yield f"{len(steps)} steps of staff, {sum(key in done for key in ledger.steps)} were asked for"


def tickets_are_whole(world: World) -> Iterator[str]:
    """Ticket, timeline, facts and commands agree."""
    rows = world.operator.rows("tickets")
    tickets = {row["pk"]["S"].removeprefix("TICKET#"): row for row in rows if row["sk"]["S"] == "T"}
    steps = Counter(row["pk"]["S"].removeprefix("TICKET#") for row in rows if row["sk"]["S"].startswith("S#"))
    said = _published(world, "tickets")
    for ticket_id, row in tickets.items():
        version = int(row["version"]["N"])
        if steps[ticket_id] != version:
            yield f"ticket {ticket_id} has version {version} and {steps[ticket_id]} steps"
        if said.get(ticket_id) != list(range(1, version + 1)):
            yield f"ticket {ticket_id} has version {version}, published were {said.get(ticket_id)}"
    yield from (f"of ticket {one} there is a timeline or a fact only" for one in {*steps, *said} - tickets.keys())
    done = {row["pk"]["S"].removeprefix("CMD#") for row in rows if row["sk"]["S"] == "C"}
    heard = {
        command(name, fact["data"]["alarm_id"]).key
        for fact in world.published.values()
        for kind, name in (("AlarmRaised", "alarm_raised"), ("AlarmCleared", "alarm_cleared"))
        if (fact["type"], fact["version"]) == (kind, 1)
    }
    yield from (f"a fact of alarms was not taken: {key}" for key in heard - done)
    by_people = sum(not row["subject"]["S"].startswith("device:") for row in rows if "subject" in row)
    if len(done) != len(heard) + by_people:
        yield f"{len(done)} commands for {len(heard)} facts and {by_people} steps of people"


def alarms_follow_their_devices(people: People) -> Iterator[str]:
    world = people.world
    rows = world.operator.rows("alarms", "DEVICE#")
    tickets = [row for row in world.operator.rows("tickets", "TICKET#") if row["sk"]["S"] == "T"]
    sensors = {row["pk"]["S"]: row for row in world.operator.rows("tickets", "SENSOR#")}
    said = _published(world, "alarms")
    for device_id, heard in people.ledger.events.items():
        mine = {row["sk"]["S"]: row for row in rows if row["pk"]["S"] == f"DEVICE#{device_id}"}
        alarm, steps = mine["A#smoke"], [row for sk, row in sorted(mine.items()) if sk.startswith("A#smoke#S#")]
        events = _distinct(heard)
        if len(steps) != len(events) or int(alarm["version"]["N"]) != len(events):
            yield f"device {device_id}: {len(events)} events, {len(steps)} steps, version {alarm['version']['N']}"
        stands = (alarm["last_at"]["S"], int(alarm["last_seq"]["N"]), alarm["active"]["BOOL"])
        if stands not in _newest(events):
            yield f"device {device_id}: the alarm stands at {stands}, the newest event is one of {_newest(events)}"
        raised = sum(row["action"]["S"] in ("raised", "passed") for row in steps)
        if not min(_windows(events), 1) <= raised <= _windows(events):
            yield f"device {device_id}: raised {raised} times in {_windows(events)} activations"
        published = int(alarm["published"]["N"])
        if said.get(f"{device_id}#smoke", []) != list(range(1, published + 1)):
            yield f"device {device_id}: {published} facts, published were {said.get(f'{device_id}#smoke')}"
        yield from _tickets_follow(device_id, alarm, raised, tickets, sensors)


def _tickets_follow(
    device_id: str, alarm: Row, raised: int, tickets: list[Row], sensors: dict[str, Row]
) -> Iterator[str]:
    mine = [row for row in tickets if row.get("device_id", {}).get("S") == device_id]
    open_ones = [row for row in mine if row["state"]["S"] != "closed"]
    if len(mine) > raised or bool(mine) != bool(raised) or len(open_ones) > 1:
        yield f"device {device_id}: raised {raised} times, {len(mine)} tickets, {len(open_ones)} open"
    sensor = sensors.get(f"SENSOR#{device_id}#smoke")
    if sensor and (sensor["active"]["BOOL"], sensor["version"]["N"]) != (
        alarm["active"]["BOOL"],
        alarm["published"]["N"],
    ):
        yield f"device {device_id}: tickets heard {sensor['version']}, alarms said {alarm['published']}"
    if alarm["active"]["BOOL"] and not open_ones:
        yield f"device {device_id} alarms and no ticket is open"


Event = tuple[list[str], int, bool]
"""The times it may stand at, its counter, whether it activates."""


def _distinct(heard: list[Said]) -> list[Event]:
    """Each event once. One whose time is not believed stands where one of its deliveries was received."""
    events: dict[tuple[Any, ...], Event] = {}
    for said in heard:
        identity = (said.at, said.seq, None if said.trusted else beijing_day(said.received_at))
        times, *_ = events.setdefault(identity, ([], said.seq, bool(said.value)))
        times.append(iso(said.at if said.trusted else said.received_at))
    return list(events.values())


def _newest(events: list[Event]) -> set[tuple[str, int, bool]]:
    """What may be the newest: no other event is later for certain."""
    surely = max((min(times), seq) for times, seq, _ in events)
    return {(at, seq, active) for times, seq, active in events for at in times if (at, seq) >= surely}


def _windows(events: list[Event]) -> int:
    """How often it may have begun to alarm: each activation that does not surely follow on another one."""
    if any(len(set(times)) > 1 for times, *_ in events):
        return sum(active for *_, active in events)
    ordered = [active for _, _, active in sorted((times[0], seq, active) for times, seq, active in events)]
    return sum(now and not before for before, now in zip([False, *ordered], ordered, strict=False))


def registrations_count_once(people: People) -> Iterator[str]:
    world = people.world
    rows = world.operator.rows("devices")
    serials = Counter(row["serial"]["S"] for row in rows if "serial" in row)
    said = {fact["data"]["device_id"] for fact in world.published.values() if fact["type"] == "DeviceRegistered"}
    known = {
        context: {row["pk"]["S"] for row in world.operator.rows(context, "DEVICE#") if row["sk"]["S"] == "D"}
        for context in ("alarms", "grid")
    }
    yield from (f"serial {serial} is registered {count} times" for serial, count in serials.items() if count > 1)
    for device_id, serial in people.ledger.devices.items():
        keys = {(row["pk"]["S"], row["sk"]["S"]) for row in rows}
        wanted = {
            (f"THING#{device_id}", "D"),
            (f"THING#{device_id}", "S#000001"),
            (f"SERIAL#smoke_detector#{serial}", "N"),
        }
        missing = {key for key in wanted - keys if not (key[1] == "N" and serials[serial] == 1)}
        if missing or device_id not in said:
            yield f"device {device_id}: missing {missing}, published: {device_id in said}"
        yield from (
            f"{context} does not know device {device_id}"
            for context in known
            if f"DEVICE#{device_id}" not in known[context]
        )


def telemetry_is_complete(people: People) -> Iterator[str]:
    store = importlib.import_module("devices.on_telemetry").store
    for device_id, heard in people.ledger.readings.items():
        kept: dict[tuple[datetime, int], Any] = {}
        for day in sorted({beijing_day(said.at) for said in heard}):
            rows = whole_day(device_id, day, history=store)
            kept |= {(r.at, r.seq): dict(r.values) for row in rows for r in row.readings}
        if kept != {(said.at, said.seq): said.value for said in heard}:
            yield f"meter {device_id}: {len(kept)} readings kept of {len({(s.at, s.seq) for s in heard})}"
        newest = max(((s.at, s.seq, s.value) for s in heard if s.trusted), key=lambda one: one[:2], default=None)
        shown = people.read("devices", f"/v1/devices/{device_id}", HOME.officer) or {}
        state = shown.get("last_state")
        told = state and (datetime.fromisoformat(state["at"]), state["seq"], state["values"])
        if told != newest:
            yield f"meter {device_id}: the last state is {told}, the newest reading {newest}"


def rosters_are_the_newest(people: People) -> Iterator[str]:
    rows = {row["pk"]["S"]: row for row in people.world.operator.rows("tickets", "ROSTER#")}
    for grid_id, version in people.ledger.rosters.items():
        if int(rows[f"ROSTER#{grid_id}"]["version"]["N"]) != version:
            yield f"grid {grid_id}: roster {rows[f'ROSTER#{grid_id}']['version']['N']} of {version}"


def wakes_have_their_rows(world: World) -> Iterator[str]:
    """Each wake that was wanted and may still come stands in a minute that is not before it is due; none else does."""
    stand = sorted(row["sk"]["S"] for row in world.operator.rows("timers", "W#"))
    said = [fact for fact in world.published.values() if fact["type"].endswith("WakeWanted") and fact["version"] == 1]
    wanted = [_wake(fact) for fact in said]
    yield from (f"wake {key} was never wanted" for key in {*stand} - {wake.sort_key for wake in wanted})
    to_come = {wake.sort_key for wake in wanted if wake.fire_at > world.ticked_to}
    yield from (f"wake {key} has no row" for key in to_come - {*stand})
    for row in world.operator.rows("timers", "W#"):
        minute = datetime.strptime(row["pk"]["S"].split("#")[1], "%Y%m%d%H%M").replace(tzinfo=UTC)
        if Wake.parse(row["sk"]["S"]).fire_at > minute:
            yield f"wake {row['sk']['S']} is looked at too early, in {minute}"


def _wake(fact: dict[str, Any]) -> Wake:
    said = fact["data"]
    fire_at = datetime.fromisoformat(said["fire_at"])
    return Wake(fact["context"], said["ref"], said["rung"], said["generation"], fire_at, said["severity"])


def functions_are_patient_but_not_too_patient(world: World) -> Iterator[str]:
    """Five retries of one request; an API function that is killed answers 500 without Retry-After."""
    if world.gate.most_sends > 1 + RETRIES:
        yield f"one request was sent {world.gate.most_sends} times"
    yield from (f"{dotted} was killed at its timeout" for dotted in world.timed_out if dotted.endswith("api.handler"))


def _published(world: World, context: str) -> dict[str, list[int]]:
    """Per aggregate the versions published, by distinct event."""
    versions: dict[str, list[int]] = {}
    for fact in world.published.values():
        if fact["context"] == context:
            versions.setdefault(fact["aggregate_id"], []).append(fact["aggregate_version"])
    return {aggregate_id: sorted(found) for aggregate_id, found in versions.items()}


def fingerprint(world: World) -> str:
    """What came of a seed; the same for every run of it."""
    facts = sorted(json.dumps(fact, sort_keys=True) for fact in world.published.values())
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]
