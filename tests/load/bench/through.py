"""Through everything that is deployed: an alarm's way to a worker's list, stage by stage, and who suffers from a flood."""

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise

from infra.local.client import Client
from infra.local.seed import GRIDS
from tests.e2e.world import World, until

ALARMS = 20
VICTIM_CALLS = 150
FLOODING = 4


def stages(world: World) -> list[str]:
    """Publish → alarm kept → ticket opened → in the worker's list, for so many detectors one after the other."""
    taken: list[tuple[float, float, float]] = []
    for _ in range(ALARMS):
        device_id = world.register()
        with world.device(device_id) as detector:
            published = datetime.now(UTC)
            detector.event("smoke", "active")
            ticket = until("the ticket in the list", partial(_listed, world, device_id, published))
            seen = datetime.now(UTC)
        (alarm,) = [row for row in world.rows("alarms", f"DEVICE#{device_id}") if "#S#" in row["sk"]["S"]]
        times = [published, datetime.fromisoformat(alarm["at"]["S"]), datetime.fromisoformat(ticket["opened_at"]), seen]
        first, second, third = ((later - before).total_seconds() * 1000 for before, later in pairwise(times))
        taken.append((first, second, third))
    names = (
        "publish → alarm kept (rule, queue, function, transaction)",
        "alarm kept → ticket opened (stream, relay, bus, queue, function)",
        "ticket opened → seen in the list (API, polled)",
    )
    lines = [_spread(name, [one[number] for one in taken]) for number, name in enumerate(names)]
    return [*lines, _spread("publish → ticket in the list, in all", [sum(one) for one in taken])]


def _listed(world: World, device_id: str, published: datetime) -> dict[str, str] | None:
    """The device's ticket, once the officer's list of the grid has it."""
    cursor = None
    while True:
        page = world.officer.get("/v1/tickets/work", of="grid", grid_id=GRIDS[0], limit=100, cursor=cursor).body
        for item in page["items"]:
            if datetime.fromisoformat(item["opened_at"]) >= published:
                ticket = world.officer.get(f"/v1/tickets/{item['ticket_id']}").body
                if ticket.get("device_id") == device_id:
                    return dict(ticket)
        cursor = page.get("next_cursor")
        if cursor is None:
            return None


def measure(world: World) -> list[str]:
    return [*stages(world), *victims(world)]


def victims(world: World) -> list[str]:
    """p99 of a worker's list in one community, alone and beside another that asks without pause."""
    alone = _p99(world.worker2)
    stop = threading.Event()

    def flood(client: Client) -> None:
        while not stop.is_set():
            client.get("/v1/tickets/work", of="mine", limit=100)

    with ExitStack() as closing, ThreadPoolExecutor(FLOODING) as pool:
        closing.callback(stop.set)
        for _ in range(FLOODING):
            pool.submit(flood, world.officer)
        beside = _p99(world.worker2)
        stop.set()
    figure = f"{beside:.0f} ms ÷ {alone:.0f} ms = {beside / alone:.1f}"
    return [
        f"| victim's list, p99: beside a community that floods ÷ alone | {figure} | {FLOODING} clients without pause |"
    ]


def _p99(client: Client) -> float:
    taken = []
    for _ in range(VICTIM_CALLS):
        started = time.perf_counter()
        if client.get("/v1/tickets/work", of="mine", limit=20).status != 200:
            raise AssertionError("the victim was refused")
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.quantiles(taken, n=100)[98]


def _spread(name: str, taken: list[float]) -> str:
    return f"| {name} | {statistics.median(taken):.0f} ms | worst of {len(taken)}: {max(taken):.0f} ms |"
