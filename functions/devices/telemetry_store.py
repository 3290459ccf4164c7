"""What devices say, in the devices table.

    THING#id            | STATE         the last state that was worth writing, conditional on its revision: see state.py
    THING#id#yyyymmdd   | t#seq#t#seq   the readings of one message on one Beijing day, under the last and the first one's
                                        time and sequence: written again it is the same row, and the newest row of a day
                                        holds its newest reading

    THING#id#HOURLY     | yyyymmdd      the hourly figures of a closed day, kept for the class's `hourly_days`

The last state of a device is the newer of its STATE and of the newest trusted row: one get and one or two queries.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute

from devices.domain import Reading
from devices.figures import Figures, Hours
from devices.history import Kept
from devices.state import Condition, DeviceState, Presence
from devices.store import DeviceRow, DevicesRow
from devices.versions import UPCASTS
from linli.clock import iso
from linli.errors import Unreadable
from linli.facts import Envelope
from linli.table import Put, Table
from linli.versions import current

ITEM_LIMIT = 390 * 1024
"""Bytes of readings a row may hold; DynamoDB takes 400 KB an item."""


class StateRow(DevicesRow):
    """One without `revision` was written in version 1, and knows the last reading only."""

    v = NumberAttribute(default=current("state", UPCASTS))
    at = UnicodeAttribute(null=True)
    seq = NumberAttribute(null=True)
    values = JSONAttribute(null=True)
    device_class = UnicodeAttribute(null=True)
    heard_at = UnicodeAttribute(null=True)
    conditions = JSONAttribute(null=True)
    watch = NumberAttribute(null=True)
    presence = JSONAttribute(null=True)
    barred = UnicodeAttribute(null=True)
    closed_to = UnicodeAttribute(null=True)
    revision = NumberAttribute(null=True)


class ReadingsRow(DevicesRow):
    readings = JSONAttribute()
    received_at = UnicodeAttribute()
    expires_at = NumberAttribute(null=True)


class HourlyRow(DevicesRow):
    """`hours`: metric → hour → [n, minimum, maximum, total, last]."""

    hours = JSONAttribute()
    expires_at = NumberAttribute()


class TelemetryStore:
    def __init__(self) -> None:
        self.table = Table(DevicesRow)

    def states(self, device_ids: Iterable[str]) -> dict[str, DeviceState]:
        """The states of those that are registered. Raises Unavailable."""
        wanted = list(dict.fromkeys(device_ids))
        rows = self.table.get_many(StateRow, ((f"THING#{one}", "STATE") for one in wanted))
        known = {pk.removeprefix("THING#"): row for (pk, _), row in rows.items()}
        unwritten = [one for one in wanted if one not in known or known[one].revision is None]
        registered = self.table.get_many(DeviceRow, ((f"THING#{one}", "D") for one in unwritten)) if unwritten else {}
        states = {one: _state(one, row) for one, row in known.items() if row.revision is not None}
        for (pk, _), row in registered.items():
            device_id = pk.removeprefix("THING#")
            states[device_id] = _first_state(device_id, row, known.get(device_id))
        return states

    def save(self, state: DeviceState, *, facts: Iterable[Envelope], at: datetime) -> None:
        """The state that follows the one of its revision, with the facts. Raises StaleVersion, Unavailable."""
        self.table.commit([self.put(state)], at=at, facts=facts)

    def put(self, state: DeviceState) -> Put:
        """The state's row as part of a larger change."""
        row = self.table.rows(StateRow)(
            f"THING#{state.device_id}",
            "STATE",
            device_class=state.device_class,
            heard_at=iso(state.heard_at),
            conditions={name: [one.active, one.version, iso(one.at)] for name, one in state.conditions.items()},
            watch=state.watch,
            barred=state.barred,
            closed_to=state.closed_to,
            revision=state.revision + 1,
        )
        if state.last:
            row.at, row.seq, row.values = iso(state.last.at), state.last.seq, dict(state.last.values)
        if state.presence:
            said = state.presence
            row.presence = [said.connected, said.number, iso(said.at), said.generation]
        unchanged = StateRow.revision == state.revision if state.revision else StateRow.revision.does_not_exist()
        return Put(row, unchanged)

    def keep(self, kept: Sequence[Kept]) -> set[tuple[str, str]]:
        """Keep rows in batches; (device, key) of those the table stayed too busy for."""
        self.table.rows(ReadingsRow)
        rows = {(one.device_id, one.key): _row(one) for one in kept}
        busy = self.table.put_many(rows.values())
        return {named for named, row in rows.items() if (row.pk, row.sk) in busy}

    def keep_first(self, kept: Kept) -> None:
        """Keep a row unless it is there."""
        self.table.save_if(_row(kept), ReadingsRow.pk.does_not_exist())

    def day(
        self,
        device_id: str,
        day: str,
        *,
        limit: int,
        newest_first: bool = False,
        after: str | None = None,
    ) -> tuple[list[Kept], str | None]:
        """At most `limit` rows of a Beijing day (`yyyymmdd`) beyond a key, and the key to go on from (None at the end)."""
        beyond = None
        if after is not None:
            beyond = ReadingsRow.sk < after if newest_first else ReadingsRow.sk > after
        rows = self.table.rows(ReadingsRow).query(
            f"THING#{device_id}#{day}",
            beyond,
            consistent_read=True,
            limit=limit,
            page_size=limit,
            scan_index_forward=not newest_first,
        )
        found = [_kept(device_id, row) for row in rows]
        return found, found[-1].key if len(found) == limit else None

    def keep_hours(self, device_id: str, day: str, hours: Hours, *, expires_at: datetime) -> None:
        """Keep a day's figures; counted again, they replace the ones before."""
        figures = {m: {str(hour): list(vars(f).values()) for hour, f in of_m.items()} for m, of_m in hours.items()}
        self.table.rows(HourlyRow)(
            f"THING#{device_id}#HOURLY", day, hours=figures, expires_at=int(expires_at.timestamp())
        ).save()

    def closed_days(self, device_id: str, first: str, last: str, *, limit: int, now: datetime) -> dict[str, Hours]:
        """The figures of the first closed days from one day to another, as far as they have not expired."""
        rows = self.table.rows(HourlyRow).query(
            f"THING#{device_id}#HOURLY", HourlyRow.sk.between(first, last), consistent_read=True, limit=limit
        )
        return {row.sk: _hours(row.hours) for row in rows if row.expires_at > now.timestamp()}


def _row(kept: Kept) -> ReadingsRow:
    """Raises Unreadable for readings no item takes."""
    row = ReadingsRow(
        f"THING#{kept.device_id}#{kept.day}",
        kept.key,
        readings=[_entry(reading) for reading in kept.readings],
        received_at=iso(kept.received_at),
        expires_at=int(kept.expires_at.timestamp()) if kept.expires_at else None,
    )
    if len(row.serialize()["readings"]["S"]) > ITEM_LIMIT:
        raise Unreadable("readings", reason="too many bytes to be kept")
    return row


def _entry(reading: Reading) -> dict[str, Any]:
    entry = {"t": iso(reading.at), "seq": reading.seq, "v": dict(reading.values)}
    return entry | ({"suspect": list(reading.suspect)} if reading.suspect else {})


def _kept(device_id: str, row: ReadingsRow) -> Kept:
    readings = [
        Reading(datetime.fromisoformat(one["t"]), one["seq"], one["v"], tuple(one.get("suspect", ())))
        for one in row.readings
    ]
    expires_at = datetime.fromtimestamp(row.expires_at, UTC) if row.expires_at else None
    return Kept(device_id, tuple(readings), datetime.fromisoformat(row.received_at), expires_at)


def _hours(kept: dict[str, dict[str, list[Any]]]) -> Hours:
    return {metric: {int(hour): Figures(*f) for hour, f in of_metric.items()} for metric, of_metric in kept.items()}


def _state(device_id: str, row: StateRow) -> DeviceState:
    presence = row.presence
    return DeviceState(
        device_id=device_id,
        device_class=row.device_class,
        heard_at=datetime.fromisoformat(row.heard_at),
        last=_last(row),
        conditions={
            name: Condition(active, version, datetime.fromisoformat(at))
            for name, (active, version, at) in (row.conditions or {}).items()
        },
        watch=int(row.watch),
        presence=Presence(presence[0], presence[1], datetime.fromisoformat(presence[2]), presence[3])
        if presence
        else None,
        barred=row.barred,
        closed_to=row.closed_to,
        revision=int(row.revision),
    )


def _first_state(device_id: str, registered: DeviceRow, row: StateRow | None) -> DeviceState:
    """Of a device that has said nothing yet, or whose row is of version 1."""
    heard_at = row.heard_at if row else registered.registered_at
    last = _last(row) if row else None
    return DeviceState(device_id, registered.device_class, datetime.fromisoformat(heard_at), last)


def _last(row: StateRow) -> Reading | None:
    return Reading(datetime.fromisoformat(row.at), int(row.seq), row.values) if row.at else None
