"""Readings over a range: raw, by the hour, by the day; before and after a day was closed; never what is sensitive."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

import pytest

from devices.domain import Device, Reading
from devices.figures import day_start, hours_of, of_day
from devices.queries import MetricUnknown, Range, RangeEmpty, readings_page
from devices.state import SILENCE, Told
from devices.telemetry import keep_telemetry
from devices.watching import look
from linli.clock import BEIJING, iso
from linli.cursor import CursorExpired, Cursors
from linli.wake import Wake
from tests.fakes_devices import FakeArchive, FakeTelemetryStore, RealStore
from tests.support import CONTEXT, NOW, OFFICER, PLACE, RESIDENT, request, table_on_moto

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MIDNIGHT = datetime(2026, 11, 23, tzinfo=BEIJING)
METER = Device("01ARZ3NDEKTSV4RRFFQ69G5FAW", "water_meter", "SN-1", PLACE, MIDNIGHT, "certificate")
BAND = Device("01ARZ3NDEKTSV4RRFFQ69G5FAX", "heart_rate_band", "SN-2", PLACE, MIDNIGHT, "certificate")
CURSORS = Cursors(lambda: "secret")


@pytest.fixture(params=["fake", "real"])
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    with table_on_moto("devices") if request.param == "real" else nullcontext():
        store: Any = RealStore() if request.param == "real" else FakeTelemetryStore()
        store.add_device(METER)
        store.add_device(BAND)
        yield store


def say(store: Any, hours: list[float], *, received: float, value: float | None = None) -> None:
    readings = [
        Reading(MIDNIGHT + h * HOUR, int(h * 60) + 10_000, {"flow": h if value is None else value}) for h in hours
    ]
    at = MIDNIGHT + received * HOUR
    told = Told(METER.device_id, readings, at, "trace-1")
    assert keep_telemetry([told], store=store, archive=FakeArchive(), clock=lambda: at) == {}


def pages(
    store: Any, start: float, end: float, resolution: str = "raw", *, limit: int = 100, now: float = 200
) -> list[Any]:
    cursor, found = None, []
    while True:
        wanted = Range("flow", MIDNIGHT + start * HOUR, MIDNIGHT + end * HOUR, resolution, limit, cursor)
        page, cursor = readings_page(
            METER.device_id,
            "water_meter",
            wanted,
            subject="s",
            store=store,
            cursors=CURSORS,
            now=MIDNIGHT + now * HOUR,
        )
        assert len(page.readings) + len(page.buckets) <= limit
        found += [*page.readings, *page.buckets]
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_a_range_over_messages_and_days_is_read_whole_in_any_pages(store: Any, limit: int) -> None:
    for start in range(0, 60, 12):
        say(store, [float(hour) for hour in range(start, start + 12)], received=start + 12)
    shown = pages(store, 5, 50, limit=limit)
    assert [(reading.at - MIDNIGHT) / HOUR for reading in shown] == list(range(5, 50))
    assert all(reading.trusted and not reading.suspect for reading in shown)


def test_what_is_doubted_and_what_is_out_of_range_is_shown_as_such(store: Any) -> None:
    say(store, [1, 2], received=30)
    say(store, [3], received=4, value=-5)
    shown = {reading.at: (reading.trusted, reading.suspect) for reading in pages(store, 0, 24)}
    assert list(shown.values()) == [(False, False), (False, False), (True, True)]
    assert [bucket.figures.n for bucket in pages(store, 0, 24, "day")] == [2]


def test_hours_and_days_are_counted_from_readings_each_once_and_without_what_is_suspect(store: Any) -> None:
    say(store, [1.0, 1.25, 1.5], received=2)
    say(store, [1.5, 1.75, 3.0], received=3)
    say(store, [1.6], received=3, value=99_999)
    hours = pages(store, 0, 24, "hour")
    assert [((b.at - MIDNIGHT) / HOUR, b.figures.n, b.figures.last) for b in hours] == [(1, 4, 1.75), (3, 1, 3.0)]
    assert (hours[0].figures.minimum, hours[0].figures.maximum, hours[0].figures.mean) == (1.0, 1.75, 1.375)
    (day,) = pages(store, 0, 24, "day")
    assert (day.at, day.figures.n, day.figures.mean, day.figures.last) == (MIDNIGHT, 5, 1.7, 3.0)


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_figures_in_pages_are_the_same(store: Any, limit: int) -> None:
    for day in range(4):
        say(store, [day * 24.0 + hour for hour in (1, 5, 23)], received=day * 24 + 23)
    found = pages(store, 0, 96, "hour", limit=limit)
    assert [(b.at - MIDNIGHT) / HOUR for b in found] == [d * 24 + h for d in range(4) for h in (1, 5, 23)]
    assert [b.figures.n for b in pages(store, 0, 96, "day", limit=limit)] == [3, 3, 3, 3]


def close(store: Any, hours: float) -> None:
    """A wake comes, as it does all the time."""
    at = MIDNIGHT + hours * HOUR
    state = store.states([METER.device_id])[METER.device_id]
    (answer,) = look(
        [Wake("devices", METER.device_id, SILENCE, state.watch, at, "minor")], at=at, store=store, clock=lambda: at
    )
    if answer.then:
        look([answer.then], at=answer.then.fire_at, store=store, clock=lambda: at)


def closed(store: Any, now: float) -> list[str]:
    found = store.closed_days(METER.device_id, "20200101", "20300101", limit=500, now=MIDNIGHT + now * HOUR)
    return sorted(found)


def test_figures_outlive_the_readings_and_are_the_same_as_before(store: Any) -> None:
    for day in range(14):
        say(store, [day * 24.0 + hour for hour in (1, 5, 23)], received=day * 24 + 23)
    before = pages(store, 0, 24 * 9, "hour", now=14 * 24)
    assert closed(store, 14 * 24) == []
    close(store, 14 * 24)
    assert closed(store, 14 * 24)[0] == "20261123"
    assert len(closed(store, 14 * 24)) == 9  # of ten days, the first of which it was not there
    later = 24 * 120  # 90 days are a meter's readings kept, whether they were deleted by then or not
    assert pages(store, 0, 24 * 9, now=later) == []
    assert pages(store, 0, 24 * 9, "hour", now=later) == before
    assert len(before) == 27
    assert pages(store, 0, 24 * 9, "hour", now=24 * 800) == []


def test_what_a_silent_device_left_is_closed_too(store: Any) -> None:
    say(store, [1.0, 2.0], received=2)
    say(store, [25.0], received=25)
    close(store, 51)  # silent after 25 hours, closed three days later
    assert closed(store, 200) == ["20261123", "20261124"]
    assert store.states([METER.device_id])[METER.device_id].active("silent")


def test_a_late_reading_of_a_closed_day_is_counted_in_and_a_clock_years_off_closes_nothing(store: Any) -> None:
    say(store, [1.0], received=2)
    say(store, [24.0 * 5], received=24 * 5)
    say(store, [2.0], received=24 * 6)
    say(store, [-24.0 * 2000], received=24 * 6)
    assert closed(store, 200) == ["20261123"]
    assert [b.figures.n for b in pages(store, 0, 24, "day", now=24 * 120)] == [2]


def test_a_request_reads_at_most_500_rows_and_says_where_to_go_on() -> None:
    store: Any = FakeTelemetryStore()
    store.add_device(METER)
    for number in range(700):
        say(store, [number / 60], received=number / 60)
    asked: list[int] = []
    day = store.day

    def counted(*args: Any, **more: Any) -> Any:
        rows, after = day(*args, **more)
        asked[-1] += len(rows)
        return rows, after

    store.day = counted
    cursor, found = None, 0
    while True:
        asked.append(0)
        wanted = Range("flow", MIDNIGHT + 11 * HOUR, MIDNIGHT + 24 * HOUR, "raw", 100, cursor)
        page, cursor = readings_page(
            METER.device_id, "water_meter", wanted, subject="s", store=store, cursors=CURSORS, now=NOW + DAY
        )
        found += len(page.readings)
        if cursor is None:
            break
    assert found == 40
    assert max(asked) <= 500


def test_a_range_that_cannot_be_read_names_its_field(store: Any) -> None:
    def ask(metric: str, end: float, cursor: str | None = None, device_class: str = "water_meter") -> Any:
        wanted = Range(metric, MIDNIGHT, MIDNIGHT + end * HOUR, "raw", 10, cursor)
        return readings_page(METER.device_id, device_class, wanted, subject="s", store=store, cursors=CURSORS, now=NOW)

    with pytest.raises(MetricUnknown, match="metric"):
        ask("pressure", 1)
    with pytest.raises(RangeEmpty, match="from"):
        ask("flow", 0)
    with pytest.raises(CursorExpired):
        ask("flow", 1, "AAAA")
    page, cursor = ask("heart_rate", 1, device_class="heart_rate_band")
    assert (page.hidden, page.readings, page.buckets, cursor) == (True, (), (), None)


def test_the_days_figures_are_its_hours_together() -> None:
    readings = [Reading(day_start("20261123") + n * HOUR / 7, n, {"flow": float(n % 5)}) for n in range(160)]
    whole = of_day(hours_of(readings)["flow"])
    values = [r.values["flow"] for r in readings]
    assert whole is not None
    assert (whole.n, whole.minimum, whole.maximum, whole.last) == (160, min(values), max(values), values[-1])
    assert whole.mean == pytest.approx(sum(values) / 160)


def test_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    from devices import api

    with table_on_moto("devices"):
        store = RealStore()
        store.add_device(METER)
        store.add_device(BAND)
        say(store, [1.0, 2.0], received=2)
        band = Told(BAND.device_id, [Reading(MIDNIGHT, 1, {"heart_rate": 61.0})], MIDNIGHT, "t")
        keep_telemetry([band], store=store, archive=FakeArchive(), clock=lambda: MIDNIGHT)
        monkeypatch.setattr(api, "cursors", CURSORS)

        def get(device: Device, caller: Any = OFFICER, **query: str) -> Any:
            span = {"from": iso(MIDNIGHT), "to": iso(MIDNIGHT + DAY)} | query
            event = request("GET", f"/v1/devices/{device.device_id}/readings", caller, query=span)
            answer = api.handler(event, CONTEXT)
            return answer["statusCode"], json.loads(answer["body"])

        status, body = get(METER, metric="flow")
        assert (status, body["unit"], [r["value"] for r in body["readings"]]) == (200, "L/s", [1.0, 2.0])
        status, body = get(METER, metric="flow", resolution="day")
        assert body["figures"][0] | {"at": ""} == {"at": "", "n": 2, "min": 1.0, "max": 2.0, "mean": 1.5, "last": 2.0}
        status, body = get(BAND, metric="heart_rate")
        assert (status, body["values_hidden"], body["readings"], body["figures"]) == (200, True, [], [])
        assert "61" not in json.dumps(body)
        assert get(METER, RESIDENT, metric="flow")[0] == 404
        assert get(METER, metric="flow", **{"from": "yesterday"})[1]["field"] == "from"
        assert get(METER, metric="flow", resolution="week")[1]["field"] == "resolution"
