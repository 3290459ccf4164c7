"""What changes a grid: for now, who is on duty there."""

from typing import Protocol

from grid.domain import Grid, Roster
from grid.events import DutyRosterChanged, ShiftData
from linli.clock import Clock
from linli.commands import Command, command
from linli.facts import Envelope, envelope
from linli.table import Step


class Rosters(Protocol):
    def roster(self, grid: Grid) -> tuple[Roster, int] | None: ...
    def save_roster(self, roster: Roster, *, version: int, step: Step, command: Command, fact: Envelope) -> None: ...


def set_roster(roster: Roster, *, subject: str, correlation_id: str, store: Rosters, clock: Clock) -> bool:
    """Replace the grid's duty roster and say so; False if it is just the same as before. Raises StaleVersion."""
    at = clock()
    grid_id = roster.grid.grid_id
    before = store.roster(roster.grid)
    if before and before[0] == roster:
        return False
    version = before[1] + 1 if before else 1
    fact = DutyRosterChanged(
        grid_id=grid_id,
        shifts=tuple(ShiftData(post_id=s.post_id, from_at=s.from_at, to_at=s.to_at) for s in roster.shifts),
        duty_officer=roster.duty_officer,
        deputy_officer=roster.deputy_officer,
    )
    store.save_roster(
        roster,
        version=version,
        step=Step("set_roster", at, subject, correlation_id),
        command=command("set_roster", grid_id, str(version)),
        fact=envelope(fact, aggregate_id=grid_id, aggregate_version=version, at=at, correlation_id=correlation_id),
    )
    return True
