"""What may be seen of devices: those of a grid, and of what they say the last state."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from devices.domain import Reading, class_named
from devices.figures import Figures, day_start, hours_of, of_day
from devices.history import DAY, ROWS_A_PAGE, Figured, History, Kept, whole_day
from devices.state import DeviceState
from devices.store import DeviceStore, DeviceSummary
from devices.telemetry import States, last_state
from linli.access import Actor, grid_resource
from linli.clock import beijing_day, iso
from linli.cursor import Cursors
from linli.devicetime import trusted
from linli.errors import Absent, Invalid

DAYS_A_PAGE = 31
FIGURE_DAYS_A_PAGE = 100
"""Days of which one request asks at most, whether there is anything in them or not."""


class GridAbsent(Absent):
    code = "grid-not-found"
    zh = "未找到该网格"
    en = "there is no such grid"


@dataclass(frozen=True)
class SeenState:
    """`hidden`: the class's values are sensitive (L4), nobody is shown them here."""

    last: Reading | None
    hidden: bool
    conditions: tuple[str, ...]


def seen_state(state: DeviceState, *, store: States, now: datetime) -> SeenState:
    if class_named(state.device_class).privacy == "L4":
        return SeenState(None, True, ())
    last = last_state(state, store=store, now=now)
    return SeenState(last, False, tuple(sorted(name for name in state.conditions if state.active(name))))


@dataclass(frozen=True)
class Range:
    """Which readings are wanted: of one metric, from one moment to before another."""

    metric: str
    start: datetime
    end: datetime
    resolution: str
    limit: int
    cursor: str | None


@dataclass(frozen=True)
class Bucket:
    """What an hour or a day that begins `at` came to."""

    at: datetime
    figures: Figures


@dataclass(frozen=True)
class Shown:
    """A reading of the metric: flagged if its value is out of range or its time was not to be trusted when it came."""

    at: datetime
    seq: int
    value: float
    suspect: bool
    trusted: bool


@dataclass(frozen=True)
class Page:
    hidden: bool
    unit: str
    readings: Sequence[Shown] = ()
    buckets: Sequence[Bucket] = ()


class MetricUnknown(Invalid):
    code = "metric-unknown"
    zh = "该设备类别没有此量，可用：{known}"
    en = "the device's class has no such metric, known: {known}"


class RangeEmpty(Invalid):
    code = "range-empty"
    zh = "时间范围为空：起始须早于结束"
    en = "the range is empty: from must be before to"


def readings_page(
    device_id: str, class_name: str, wanted: Range, *, subject: str, store: Figured, cursors: Cursors, now: datetime
) -> tuple[Page, str | None]:
    """A page and the cursor of the next; a page may be short, or empty, and yet not the last.

    Raises MetricUnknown, RangeEmpty, CursorExpired.
    """
    of = class_named(class_name)
    if wanted.metric not in of.metrics:
        raise MetricUnknown("metric", known=", ".join(of.metrics))
    if wanted.start >= wanted.end:
        raise RangeEmpty("from")
    unit = of.metrics[wanted.metric].unit
    if of.privacy == "L4":
        return Page(True, unit), None
    bound_to = f"{subject}|{device_id}|{wanted.metric}|{wanted.start}|{wanted.end}|{wanted.resolution}"
    after = cursors.unseal(wanted.cursor, bound_to=bound_to, now=now)
    if wanted.resolution == "raw":
        shown, position = _raw(device_id, wanted, after, history=store, now=now)
        page = Page(False, unit, readings=shown)
    else:
        buckets, position = _figures(device_id, wanted, after, raw_days=of.raw_days, store=store, now=now)
        page = Page(False, unit, buckets=buckets)
    return page, cursors.seal(position, bound_to=bound_to, now=now)


def _raw(
    device_id: str, wanted: Range, after: dict[str, Any] | None, *, history: History, now: datetime
) -> tuple[list[Shown], dict[str, Any] | None]:
    """Readings in the order of their messages. The position is the row last read and how many of its readings were shown."""
    days = _days(wanted, after["day"] if after else None)
    key, skip = (after["key"], after["skip"]) if after else (None, 0)
    shown: list[Shown] = []
    budget = ROWS_A_PAGE
    for number, day in enumerate(days):
        if number == DAYS_A_PAGE or budget <= 0:
            return shown, {"day": day, "key": None, "skip": 0}
        while True:
            rows, more = history.day(device_id, day, limit=min(budget, ROWS_A_PAGE), after=key or iso(wanted.start))
            budget -= len(rows)
            for row in rows:
                found = list(_in_range(row, wanted, now=now))[skip:]
                room = wanted.limit - len(shown)
                shown += found[:room]
                if len(found) >= room:
                    return shown, {"day": day, "key": key, "skip": skip + room}
                key, skip = row.key, 0
            if more is None:
                break
            if budget <= 0:
                return shown, {"day": day, "key": more, "skip": 0}
        key = None
    return shown, None


def _in_range(row: Kept, wanted: Range, *, now: datetime) -> Iterator[Shown]:
    if row.expires_at is not None and row.expires_at <= now:
        return
    for reading in row.readings:
        if wanted.metric in reading.values and wanted.start <= reading.at < wanted.end:
            yield Shown(
                reading.at,
                reading.seq,
                reading.values[wanted.metric],
                wanted.metric in reading.suspect,
                trusted(reading.at, received_at=row.received_at),
            )


def _figures(
    device_id: str,
    wanted: Range,
    after: dict[str, Any] | None,
    *,
    raw_days: int,
    store: Figured,
    now: datetime,
) -> tuple[list[Bucket], dict[str, Any] | None]:
    """Hours or days, from the closed days' figures and, where there are none, from the readings. A day is counted whole."""
    days = list(_days(wanted, after["day"] if after else None))[: FIGURE_DAYS_A_PAGE + 1]
    page_days = days[:FIGURE_DAYS_A_PAGE]
    skip = after["skip"] if after else 0
    if not page_days:
        return [], None
    closed = store.closed_days(device_id, page_days[0], page_days[-1], limit=FIGURE_DAYS_A_PAGE, now=now)
    buckets: list[Bucket] = []
    budget = ROWS_A_PAGE - len(closed)
    oldest_raw = beijing_day(now - raw_days * DAY)
    for day in page_days:
        hours = closed.get(day)
        if hours is None and day >= oldest_raw:
            if budget <= 0:
                return buckets, {"day": day, "skip": skip}
            rows = whole_day(device_id, day, history=store)
            budget -= len(rows) + 1
            hours = hours_of(r for row in rows if row.expires_at is None or row.expires_at > now for r in row.readings)
        found = _buckets(day, (hours or {}).get(wanted.metric, {}), wanted)[skip:]
        room = wanted.limit - len(buckets)
        buckets += found[:room]
        if len(found) > room:
            return buckets, {"day": day, "skip": skip + room}
        skip = 0
    return buckets, {"day": days[-1], "skip": 0} if len(days) > len(page_days) else None


def _buckets(day: str, hours: Mapping[int, Figures], wanted: Range) -> list[Bucket]:
    """Those that begin in the range."""
    start = day_start(day)
    if wanted.resolution == "day":
        whole = of_day(hours)
        found = [Bucket(start, whole)] if whole else []
    else:
        found = [Bucket(start + timedelta(hours=hour), hours[hour]) for hour in sorted(hours)]
    return [bucket for bucket in found if wanted.start <= bucket.at < wanted.end]


def _days(wanted: Range, first: str | None) -> Iterator[str]:
    day = day_start(first or beijing_day(wanted.start))
    while day < wanted.end:
        yield beijing_day(day)
        day += DAY


def devices_of_grid(
    grid_id: str,
    *,
    limit: int,
    cursor: str | None,
    actor: Actor,
    store: DeviceStore,
    cursors: Cursors,
    now: datetime,
) -> tuple[list[DeviceSummary], str | None]:
    """A page and the cursor of the next. Raises GridAbsent out of scope, CursorExpired."""
    absent = GridAbsent("grid_id")
    actor.require("list_grid_devices", grid_resource(grid_id), seen_by="list_grid_devices", absent=absent)
    bound_to = f"{actor.subject}|devices|{grid_id}"
    after = cursors.unseal(cursor, bound_to=bound_to, now=now)
    page, position = store.in_grid(grid_id, limit=limit, after=after)
    return page, cursors.seal(position, bound_to=bound_to, now=now)
