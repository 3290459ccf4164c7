"""What a device says moves the one alarm of its type."""

from datetime import datetime

from alarms.domain import Alarm, Event, KnownDevice, Moment, Outcome, apply
from alarms.events import AlarmCleared, AlarmRaised
from alarms.store import AlarmStore
from linli.clock import Clock, new_id
from linli.commands import command
from linli.deviceclass import AlarmRule
from linli.facts import Envelope, Fact, envelope
from linli.table import Step


def take_event(
    device: KnownDevice,
    rule: AlarmRule,
    event: Event,
    *,
    correlation_id: str,
    store: AlarmStore,
    clock: Clock,
) -> tuple[Alarm, Outcome] | None:
    """Move the alarm by one event, once however often it is delivered (then None). Raises Unavailable."""
    asked = command("take_event", device.device_id, rule.alarm_type, event.identity, content=event.active)

    def act() -> tuple[Alarm, Outcome]:
        at = clock()
        before = store.alarm(device, rule)
        alarm, outcome = apply(before, event, alarm_id=new_id(at), correlation_id=correlation_id)
        step = Step(outcome.value, at, f"device:{device.device_id}", correlation_id, state=_state(alarm))
        store.save(alarm, step=step, command=asked, facts=_facts(alarm, outcome, event.moment, at=at))
        return alarm, outcome

    return store.table.first_time(asked, act)


def _state(alarm: Alarm) -> str:
    return "active" if alarm.active else "cleared"


def _facts(alarm: Alarm, outcome: Outcome, moment: Moment, *, at: datetime) -> list[Envelope]:
    about = {"alarm_id": alarm.alarm_id, "device_id": alarm.device_id, "alarm_type": alarm.alarm_type}
    said: list[Fact] = []
    if outcome in (Outcome.RAISED, Outcome.PASSED):
        said.append(AlarmRaised(**about, severity=alarm.severity, place=alarm.place, raised_at=moment.at))
    if outcome in (Outcome.CLEARED, Outcome.PASSED) and alarm.cleared:
        said.append(AlarmCleared(**about, cleared_at=alarm.cleared.at))
    return [
        envelope(
            fact,
            aggregate_id=alarm.aggregate_id,
            aggregate_version=alarm.published - len(said) + number,
            at=at,
            correlation_id=alarm.correlation_id,
        )
        for number, fact in enumerate(said, 1)
    ]
