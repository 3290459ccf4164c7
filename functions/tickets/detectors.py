"""What detectors do with tickets: an alarm opens one, its end starts the verification."""

from dataclasses import dataclass, replace
from datetime import datetime

from linli.clock import Clock
from linli.commands import Command, command
from linli.errors import StaleVersion
from linli.facts import Place
from linli.table import Step
from tickets.domain import Sensor, State, Ticket, hear_sensor
from tickets.events import opened, stepped
from tickets.intake import new_ticket
from tickets.store import HeardSensor, TicketStore


@dataclass(frozen=True)
class Alarm:
    """What AlarmRaised said."""

    alarm_id: str
    aggregate_id: str
    version: int
    device_id: str
    alarm_type: str
    severity: str
    place: Place
    correlation_id: str


def alarm_raised(alarm: Alarm, *, store: TicketStore, clock: Clock) -> Ticket | None:
    """One ticket for an alarm: the open one of the same detector, type and place, or a new one. None if it is known."""
    asked = command("alarm_raised", alarm.alarm_id)
    said = Sensor(alarm.aggregate_id, alarm.version, active=True)

    def act() -> Ticket:
        at = clock()
        heard = _newest(store.sensor(alarm.aggregate_id), said)
        before = store.ticket(heard.ticket_id) if heard.ticket_id else None
        waiting = before if before and before.state is not State.CLOSED else None
        if waiting and waiting.place == alarm.place:
            return tell_ticket(
                waiting, heard, "alarm_raised", correlation_id=alarm.correlation_id, at=at, asked=asked, store=store
            )
        if waiting and waiting.sensor and waiting.sensor.active:
            _leave(waiting, alarm, at=at, store=store)
            raise StaleVersion()  # decided again, on what is now
        ticket = new_ticket(
            "alarm", alarm.alarm_type, alarm.place, at=at, correlation_id=alarm.correlation_id, store=store
        )
        ticket = replace(ticket, severity=alarm.severity, device_id=alarm.device_id, sensor=heard.sensor)
        done = Step("open", at, f"device:{alarm.device_id}", alarm.correlation_id, state=ticket.state)
        store.save(
            ticket,
            step=done,
            command=asked,
            facts=[opened(ticket, at)],
            heard=replace(heard, ticket_id=ticket.ticket_id),
        )
        return ticket

    return store.table.first_time(asked, act)


def alarm_cleared(
    alarm_id: str, said: Sensor, *, correlation_id: str, store: TicketStore, clock: Clock
) -> Ticket | None:
    """The ticket the alarm went to hears that the detector is quiet. None if it is known, or no ticket is open."""
    asked = command("alarm_cleared", alarm_id)

    def act() -> Ticket | None:
        at = clock()
        heard = _newest(store.sensor(said.aggregate_id), said)
        ticket = store.ticket(heard.ticket_id) if heard.ticket_id else None
        if ticket is None or ticket.state is State.CLOSED:
            store.save_sensor(heard, at=at, command=asked)
            return None
        return tell_ticket(
            ticket, heard, "alarm_cleared", correlation_id=correlation_id, at=at, asked=asked, store=store
        )

    return store.table.first_time(asked, act)


def _leave(ticket: Ticket, alarm: Alarm, *, at: datetime, store: TicketStore) -> None:
    """The detector alarms at another place, so it is quiet where this open ticket is.

    The ticket hears it here: the clear that says so may come after this alarm and would then be too old to count.
    """
    asked = command("alarm_left", alarm.alarm_id)
    quiet = Sensor(alarm.aggregate_id, alarm.version - 1, active=False)

    def act() -> None:
        known = store.sensor(alarm.aggregate_id)
        heard = HeardSensor(quiet, ticket.ticket_id, known.revision if known else 0)
        tell_ticket(
            store.ticket(ticket.ticket_id),
            heard,
            "alarm_cleared",
            correlation_id=alarm.correlation_id,
            at=at,
            asked=asked,
            store=store,
        )

    store.table.first_time(asked, act)


def _newest(known: HeardSensor | None, said: Sensor) -> HeardSensor:
    if known is None:
        return HeardSensor(said, ticket_id=None, revision=0)
    return replace(known, sensor=said) if said.version > known.sensor.version else known


def tell_ticket(
    ticket: Ticket,
    heard: HeardSensor,
    step: str,
    *,
    correlation_id: str,
    at: datetime,
    asked: Command,
    store: TicketStore,
) -> Ticket:
    """The open ticket hears its detector; one that knew already is left alone."""
    told = hear_sensor(ticket, heard.sensor)
    if told is ticket:
        store.save_sensor(heard, at=at, command=asked)
        return ticket
    done = Step(step, at, f"device:{ticket.device_id}", correlation_id, state=told.state)
    store.save(told, step=done, command=asked, facts=[stepped(told, done)], heard=heard)
    return told
