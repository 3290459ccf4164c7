"""What the benchmarks stand on: MiniStack with the contexts' tables, as their templates describe them, and tickets in one."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from infra.local.process import free_port
from infra.local.runtime import Runtime
from linli.clock import new_id
from linli.commands import command
from linli.table import Step
from tests.support import NOW, OFFICER, PLACE, template
from tickets.domain import State, Ticket
from tickets.store import TicketStore

CONTEXTS = ("alarms", "devices", "tickets")
CREATED = ("TableName", "BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")


@dataclass(frozen=True)
class Ratio:
    """One line of the table: how often what the other takes, by the least of paired runs; the goal it is held against."""

    what: str
    ours: float
    other: float
    unit: str
    goal: float | None = None

    @property
    def ratio(self) -> float:
        return self.ours / self.other


@contextmanager
def tables(folder: Path) -> Iterator[Runtime]:
    """A MiniStack whose tables the stores of this process use."""
    with Runtime(folder, free_port(), free_port()) as runtime:
        os.environ.update(runtime.environment())
        for context in CONTEXTS:
            properties = template(context)["Resources"]["Table"]["Properties"]
            wanted = {name: properties[name] for name in CREATED if name in properties}
            runtime.client("dynamodb").create_table(**wanted | {"TableName": f"linli-{context}"})
            os.environ[f"{context.upper()}_TABLE"] = f"linli-{context}"
        os.environ["PERSONAL_KEY"] = runtime.client("kms").create_key()["KeyMetadata"]["Arn"]
        os.environ["SEAL_ALGORITHM"] = "AES-256-GCM"
        yield runtime


def paired(rounds: int, ours: Callable[[], float], other: Callable[[], float]) -> tuple[float, float]:
    """The least of each, run in turns: what disturbs the machine only ever adds."""
    first, second = [], []
    for number in range(rounds):
        for take, kept in ((ours, first), (other, second))[:: 1 if number % 2 else -1]:
            kept.append(take())
    return min(first), min(second)


def cpu_ms(act: Callable[[], object], times: int) -> Callable[[], float]:
    """CPU milliseconds of this process for one call, averaged over so many."""

    def take() -> float:
        started = time.process_time()
        for _ in range(times):
            act()
        return (time.process_time() - started) * 1000 / times

    return take


def open_tickets(store: TicketStore, count: int) -> list[str]:
    """So many open tickets of one grid, of about a kilobyte each, due one after the other."""
    made = []
    for number in range(count):
        at = NOW + timedelta(seconds=number)
        ticket = Ticket(
            ticket_id=new_id(at),
            kind="complaint",
            category="repair",
            place=PLACE,
            opened_at=at,
            correlation_id="bench",
            due_at=at + timedelta(days=5),
            state=State.DISPATCHED,
            handler="grid-worker-001",
            verifiers=("duty-officer-001",),
            reporter="resident-1",
            unsealed="楼道灯不亮，已经三天。" * 20,
        )
        step = Step("open", at, OFFICER.subject, "bench", post="duty-officer-001", state=ticket.state)
        store.save(ticket, step=step, command=command("bench", ticket.ticket_id), facts=[])
        made.append(ticket.ticket_id)
    return made
