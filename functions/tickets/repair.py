"""Whether the rows of a ticket agree with each other, and what makes them agree again after a restore.

A restored table may hold half of a transaction (a backup is not cut along transactions). What the other half says is
put back where some row still knows it; the rest is told, with the reason why nothing can mend it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from linli.clock import Clock
from linli.commands import command
from linli.table import Step, step_key
from linli.versions import Item
from tickets.detectors import tell_ticket
from tickets.domain import State, Ticket
from tickets.events import stepped
from tickets.mending import MendingStore, fact_of, result_of
from tickets.store import HeardSensor

BY = "system:reconcile"


@dataclass(frozen=True)
class Finding:
    """One disagreement: its kind, what it is about (ids only), and what mends it, or why nothing does.

    `mend` raises StaleVersion if the rows were changed meanwhile.
    """

    kind: str
    about: str
    mend: Callable[[], None] | None
    why_not: str = ""


@dataclass(frozen=True)
class Inspection:
    """Of the tickets table, a partition at a time."""

    store: MendingStore
    clock: Clock

    def look(self, pk: str, items: list[Item]) -> Iterator[Finding]:
        """What is wrong with the rows of one partition."""
        kind, _, name = pk.partition("#")
        if kind == "TICKET":
            yield from self._ticket(name, items)
        elif kind == "SENSOR":
            yield from self._sensor(name)
        elif kind == "CMD":
            yield from self._command(name, items[0])
        elif kind == "OUT":
            yield from (found for item in items for found in self._fact(item))

    def _ticket(self, ticket_id: str, items: list[Item]) -> Iterator[Finding]:
        if _agrees(items):
            return
        ticket = self.store.find(ticket_id)
        if ticket is None:
            yield Finding("ticket-lost", ticket_id, None, "no row that is left says its place, category and time limit")
            return
        steps = self.store.numbered_steps(ticket_id)
        for number in sorted(set(range(1, ticket.version + 1)) - steps.keys()):
            yield Finding("step-lost", f"{ticket_id} {number}", self._say_lost(ticket, number))
        ahead = [number for number in sorted(steps) if number > ticket.version]
        if ahead and ahead == list(range(ticket.version + 1, ahead[-1] + 1)):
            mend = self._roll_forward(ticket, [steps[number] for number in ahead])
            yield Finding("ticket-behind-its-steps", ticket_id, mend)
        elif ahead:
            yield Finding("ticket-behind-its-steps", ticket_id, None, "steps between its version and these are missing")
        else:
            yield from self._against_sensor(ticket)
        if ticket.kind != "alarm" and not ticket.unsealed and all(item["sk"]["S"] != "TEXT" for item in items):
            yield Finding("text-lost", ticket_id, None, "what was reported stands in no other row")

    def _say_lost(self, ticket: Ticket, number: int) -> Callable[[], None]:
        """The timeline says itself that a step is missing, so that it has no hole."""
        step = Step("lost", self.clock(), BY, ticket.correlation_id)
        return lambda: self.store.put_step(ticket.ticket_id, number, step)

    def _roll_forward(self, ticket: Ticket, ahead: list[Step]) -> Callable[[], None]:
        """The ticket as its newer steps left it: they say the state, who took it on, and who handled it."""
        after = ticket
        for step in ahead:
            after = replace(after, state=State(step.state or after.state), version=after.version + 1)
            if step.action in ("accept", "handle"):
                after = replace(after, handler=step.post)
            if step.action == "handle":
                after = replace(after, handled_by=step.subject)
        heard = self.store.sensor(ticket.sensor.aggregate_id) if ticket.sensor else None
        if heard and heard.ticket_id == ticket.ticket_id:
            after = replace(after, sensor=heard.sensor)
        last, fact = ahead[-1], stepped(after, ahead[-1])
        return lambda: self.store.put_ticket(after, before=ticket.version, fact=fact, at=last.at)

    def _against_sensor(self, ticket: Ticket) -> Iterator[Finding]:
        """The ticket and the row of its detector change in the same transactions."""
        if ticket.sensor is None or ticket.state is State.CLOSED:
            return
        heard = self.store.sensor(ticket.sensor.aggregate_id)
        if heard is None or heard.ticket_id is None:
            revision = heard.revision if heard else 0
            newest = heard.sensor if heard and heard.sensor.version > ticket.sensor.version else ticket.sensor
            yield self._sensor_behind(ticket, HeardSensor(newest, ticket.ticket_id, revision))
        elif heard.ticket_id == ticket.ticket_id and heard.sensor.version < ticket.sensor.version:
            yield self._sensor_behind(ticket, replace(heard, sensor=ticket.sensor))
        elif heard.ticket_id == ticket.ticket_id and heard.sensor.version > ticket.sensor.version:
            yield Finding("ticket-behind-its-sensor", ticket.ticket_id, lambda: self._hear_again(ticket, heard))

    def _sensor_behind(self, ticket: Ticket, known: HeardSensor) -> Finding:
        at = self.clock()
        return Finding("sensor-behind-its-ticket", ticket.ticket_id, lambda: self.store.put_sensor(known, at=at))

    def _hear_again(self, ticket: Ticket, heard: HeardSensor) -> None:
        action = "alarm_raised" if heard.sensor.active else "alarm_cleared"
        asked = command("reconcile", ticket.ticket_id, str(heard.sensor.version))
        correlation_id = ticket.correlation_id
        tell_ticket(
            ticket, heard, action, correlation_id=correlation_id, at=self.clock(), asked=asked, store=self.store
        )

    def _sensor(self, aggregate_id: str) -> Iterator[Finding]:
        heard = self.store.sensor(aggregate_id)
        if heard and heard.ticket_id and self.store.find(heard.ticket_id) is None:
            yield Finding("sensor-without-its-ticket", aggregate_id, lambda: self.store.forget_sensor(aggregate_id))

    def _command(self, key: str, item: Item) -> Iterator[Finding]:
        """A repetition would be told of a ticket that is not there."""
        ticket_id = result_of(item).get("ticket_id")
        if ticket_id and self.store.find(ticket_id) is None:
            yield Finding("command-without-its-ticket", ticket_id, lambda: self.store.forget([key]))

    def _fact(self, item: Item) -> Iterator[Finding]:
        fact = fact_of(item)
        ticket_id, version = str(fact["aggregate_id"]), int(fact["aggregate_version"])
        ticket = self.store.find(ticket_id)
        known = ticket is not None and (ticket.version >= version or version in self.store.numbered_steps(ticket_id))
        if not known:
            why_not = "it is told, or was, and no row that is left says what was done"
            yield Finding("fact-without-its-state", f"{ticket_id} {version}", None, why_not)


def _agrees(items: list[Item]) -> bool:
    """Whether the rows at hand are all of a ticket that no detector's row has to agree with: most are, and cost no more."""
    rows = {item["sk"]["S"]: item for item in items}
    ticket = rows.get("T")
    if ticket is None or (ticket["kind"]["S"] == "alarm" and ticket["state"]["S"] != State.CLOSED):
        return False
    steps = {sk for sk in rows if sk.startswith("S#")}
    text = ticket["kind"]["S"] == "alarm" or "text" in ticket or "TEXT" in rows
    return text and steps == {step_key(number) for number in range(1, int(ticket["version"]["N"]) + 1)}
