"""The alarms table.

DEVICE#id | D                  what the registry last said of the device (DeviceRegistered, DeviceChanged)
DEVICE#id | A#type             the one alarm of this type at the device; `version` counts its messages; while its on-delay
                               runs it is `pending`, and `generation` says which of its wakes counts
DEVICE#id | A#type#S#000007    a message, or the end of an on-delay, and what it did
"""

from datetime import datetime
from typing import Any

from pynamodb.attributes import BooleanAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute

from alarms.domain import IN_SERVICE, Alarm, KnownDevice, Moment, Pending, Terms
from linli.clock import iso
from linli.commands import Command
from linli.facts import Envelope, Place
from linli.table import Put, Row, Step, Table, TableMeta, TableName


class AlarmsRow(Row):
    class Meta(TableMeta):
        table_name = TableName("ALARMS_TABLE")


class DeviceRow(AlarmsRow):
    device_class = UnicodeAttribute()
    place = JSONAttribute()
    state = UnicodeAttribute(default=IN_SERVICE)
    version = NumberAttribute(null=True)


class AlarmRow(AlarmsRow):
    version = NumberAttribute()
    active = BooleanAttribute()
    alarm_id = UnicodeAttribute(null=True)
    occurrences = NumberAttribute()
    last_at = UnicodeAttribute()
    last_seq = NumberAttribute()
    quiet_at = UnicodeAttribute(null=True)
    quiet_seq = NumberAttribute(null=True)
    raised_at = UnicodeAttribute(null=True)
    cleared_at = UnicodeAttribute(null=True)
    cleared_seq = NumberAttribute(null=True)
    pending = JSONAttribute(null=True)
    generation = NumberAttribute(default=0)
    published = NumberAttribute(default=0)
    correlation_id = UnicodeAttribute(null=True)


class AlarmStore:
    def __init__(self) -> None:
        self.table = Table(AlarmsRow)

    def remember(self, device: KnownDevice) -> bool:
        """What the registry says; whether that was newer than what was known."""
        row = self.table.rows(DeviceRow)(
            f"DEVICE#{device.device_id}",
            "D",
            device_class=device.device_class,
            place=device.place.model_dump(mode="json"),
            state=device.state,
            version=device.version,
        )
        return self.table.save_if(row, DeviceRow.version.does_not_exist() | (DeviceRow.version < device.version))

    def device(self, device_id: str) -> KnownDevice | None:
        row = self.table.get(DeviceRow, f"DEVICE#{device_id}", "D")
        if row is None:
            return None
        place = Place.model_validate(row.place)
        return KnownDevice(device_id, row.device_class, place, row.state, int(row.version or 1))

    def alarm(self, device: KnownDevice, terms: Terms) -> Alarm:
        """The alarm as it stands, or one that never was active."""
        row = self.table.get(AlarmRow, f"DEVICE#{device.device_id}", f"A#{terms.alarm_type}")
        if row is None:
            return Alarm(device.device_id, terms.alarm_type, terms.severity, device.place)
        return Alarm(
            device_id=device.device_id,
            alarm_type=terms.alarm_type,
            severity=terms.severity,
            place=device.place,
            version=int(row.version),
            active=row.active,
            alarm_id=row.alarm_id or "",
            occurrences=int(row.occurrences),
            last=_moment(row.last_at, row.last_seq),
            quiet=_moment(row.quiet_at, row.quiet_seq),
            raised_at=datetime.fromisoformat(row.raised_at) if row.raised_at else None,
            cleared=_moment(row.cleared_at, row.cleared_seq),
            pending=_pending(row.pending),
            generation=int(row.generation or 0),
            published=int(row.published),
            correlation_id=row.correlation_id or "",
        )

    def save(self, alarm: Alarm, *, step: Step, command: Command, facts: list[Envelope]) -> None:
        """The alarm's next version. Raises StaleVersion, Repeated."""
        pk = f"DEVICE#{alarm.device_id}"
        under = f"A#{alarm.alarm_type}#"
        before = AlarmRow.pk.does_not_exist() if alarm.version == 1 else AlarmRow.version == alarm.version - 1
        puts = [Put(_alarm_row(alarm), before), self.table.step_put(pk, alarm.version, step, under=under)]
        self.table.commit(puts, at=step.at, command=command, facts=facts)

    def history(self, device_id: str, alarm_type: str) -> list[Step]:
        """Every message of this type from the device and what it did."""
        return self.table.steps(f"DEVICE#{device_id}", under=f"A#{alarm_type}#")


def _moment(at: str | None, seq: float | None) -> Moment | None:
    return Moment(datetime.fromisoformat(at), int(seq)) if at is not None and seq is not None else None


def _pending(item: dict[str, Any] | None) -> Pending | None:
    if item is None:
        return None
    since = Moment(datetime.fromisoformat(item["since_at"]), item["since_seq"])
    return Pending(since, datetime.fromisoformat(item["due_at"]), item["correlation_id"])


def _pending_item(pending: Pending | None) -> dict[str, Any] | None:
    if pending is None:
        return None
    return {
        "since_at": iso(pending.since.at),
        "since_seq": pending.since.seq,
        "due_at": iso(pending.due_at),
        "correlation_id": pending.correlation_id,
    }


def _alarm_row(alarm: Alarm) -> AlarmRow:
    if alarm.last is None:
        raise ValueError("an alarm is saved after its first message")
    return AlarmRow(
        f"DEVICE#{alarm.device_id}",
        f"A#{alarm.alarm_type}",
        version=alarm.version,
        active=alarm.active,
        alarm_id=alarm.alarm_id or None,
        occurrences=alarm.occurrences,
        last_at=iso(alarm.last.at),
        last_seq=alarm.last.seq,
        quiet_at=iso(alarm.quiet.at) if alarm.quiet else None,
        quiet_seq=alarm.quiet.seq if alarm.quiet else None,
        raised_at=iso(alarm.raised_at) if alarm.raised_at else None,
        cleared_at=iso(alarm.cleared.at) if alarm.cleared else None,
        cleared_seq=alarm.cleared.seq if alarm.cleared else None,
        pending=_pending_item(alarm.pending),
        generation=alarm.generation,
        published=alarm.published,
        correlation_id=alarm.correlation_id or None,
    )
