"""What is said of a device moves the one alarm of its type; so does the end of its on-delay."""

from datetime import datetime

from alarms.domain import Alarm, KnownDevice, Moment, Outcome, Said, Terms, alarm_terms, apply, wake
from alarms.events import AlarmCleared, AlarmRaised, AlarmWakeWanted
from alarms.store import AlarmStore
from linli.clock import Clock, new_id
from linli.commands import command
from linli.deviceclass import device_class
from linli.facts import Envelope, Fact, envelope
from linli.table import Step

ACTIVE, CLEAR = "active", "clear"
"""How a step notes what was said, after its identity: the device's time and counter."""


def hear(
    device: KnownDevice, terms: Terms, said: Said, *, correlation_id: str, store: AlarmStore, clock: Clock
) -> tuple[Alarm, Outcome] | None:
    """Move the alarm by what was said, once however often it is delivered (then None). Raises Unavailable."""
    asked = command("take_event", device.device_id, terms.alarm_type, said.identity, content=said.active)

    def act() -> tuple[Alarm, Outcome]:
        at = clock()
        before = store.alarm(device, terms)
        alarm, outcome = apply(before, said, terms, alarm_id=new_id(at), correlation_id=correlation_id)
        heard = f"{said.identity} {ACTIVE if said.active else CLEAR}"
        step = Step(outcome.value, at, f"device:{device.device_id}", correlation_id, state=alarm.state, note=heard)
        store.save(alarm, step=step, command=asked, facts=_facts(alarm, outcome, at=at))
        return alarm, outcome

    return store.table.first_time(asked, act)


def raise_delayed(
    device: KnownDevice, terms: Terms, generation: int, *, at: datetime, store: AlarmStore, clock: Clock
) -> Alarm | None:
    """The alarm at this time, raised if its on-delay is over; None if that was done before. Raises Unavailable."""
    asked = command("raise_delayed", device.device_id, terms.alarm_type, str(generation))

    def act() -> Alarm:
        now = clock()
        before = store.alarm(device, terms)
        alarm = wake(before, generation, alarm_id=new_id(now), at=at)
        if alarm is not before:
            step = Step(Outcome.RAISED.value, now, "timers", alarm.correlation_id, state=alarm.state)
            store.save(alarm, step=step, command=asked, facts=_facts(alarm, Outcome.RAISED, at=now))
        return alarm

    return store.table.first_time(asked, act)


def end_alarms(
    device: KnownDevice, at: datetime, *, correlation_id: str, store: AlarmStore, clock: Clock
) -> list[Alarm]:
    """A retired device says nothing any more: what still alarms, or soon would, has ended, so that its tickets can."""
    of_class = device_class(device.device_class)
    ended = []
    for rule in of_class.alarms if of_class else ():
        terms = alarm_terms(device.device_class, rule.alarm_type)
        alarm = terms and store.alarm(device, terms)
        if terms and alarm and alarm.last and (alarm.active or alarm.pending):
            moment = Moment(max(at, alarm.last.at), alarm.last.seq + 1)
            end = Said(moment, f"retired#{alarm.version}", active=False, received_at=at)
            hear(device, terms, end, correlation_id=correlation_id, store=store, clock=clock)
            ended.append(alarm)
    return ended


def _facts(alarm: Alarm, outcome: Outcome, *, at: datetime) -> list[Envelope]:
    about = {"alarm_id": alarm.alarm_id, "device_id": alarm.device_id, "alarm_type": alarm.alarm_type}
    correlation_id = alarm.correlation_id
    said: list[Fact] = []
    if outcome is Outcome.PENDING and alarm.pending:
        correlation_id = alarm.pending.correlation_id
        said.append(
            AlarmWakeWanted(
                ref=alarm.aggregate_id,
                rung=100,
                generation=alarm.generation,
                fire_at=alarm.pending.due_at,
                severity=alarm.severity,
            )
        )
    if outcome in (Outcome.RAISED, Outcome.PASSED) and alarm.raised_at:
        said.append(AlarmRaised(**about, severity=alarm.severity, place=alarm.place, raised_at=alarm.raised_at))
    if outcome in (Outcome.CLEARED, Outcome.PASSED) and alarm.cleared:
        said.append(AlarmCleared(**about, cleared_at=alarm.cleared.at))
    return [
        envelope(
            fact,
            aggregate_id=alarm.aggregate_id,
            aggregate_version=alarm.published - len(said) + number,
            at=at,
            correlation_id=correlation_id,
        )
        for number, fact in enumerate(said, 1)
    ]
