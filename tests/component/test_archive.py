"""The raw archive: messages packed by class and day of receipt, what is not taken is named, nothing breaks the intake."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from devices.archive import RECORD_BYTES, FirehoseArchive
from devices.domain import Reading
from devices.state import Told
from linli.deviceclass import DeviceClass, device_class
from tests.support import ARCHIVE, NOW, table_on_moto


@pytest.fixture
def archive() -> Iterator[FirehoseArchive]:
    with table_on_moto("devices"):
        yield FirehoseArchive()


def told(name: str, number: int, *, hours: float = 0, readings: int = 1) -> tuple[Told, DeviceClass]:
    of = device_class(name)
    assert of is not None
    at = NOW + timedelta(hours=hours)
    found = [
        Reading(at + timedelta(seconds=n), n, {"battery": 50.0}, ("battery",) if n == 1 else ())
        for n in range(readings)
    ]
    return Told(f"device-{number}", found, at, "trace-1"), of


def records() -> list[dict[str, Any]]:
    files = boto3.client("s3")
    bodies = (
        files.get_object(Bucket=ARCHIVE, Key=item["Key"])["Body"].read()
        for item in files.list_objects_v2(Bucket=ARCHIVE).get("Contents", [])
    )
    return [json.loads(line) for body in bodies for line in body.splitlines()]


def test_a_record_is_of_one_class_and_one_beijing_day(archive: FirehoseArchive) -> None:
    sent = [told("lift", 1), told("water_meter", 2, readings=2), told("lift", 3), told("lift", 4, hours=16)]
    assert archive.add(sent) == set()
    found = {(r["class"], r["day"]): [m["thing"] for m in r["messages"]] for r in records()}
    assert found == {
        ("lift", "2026-11-23"): ["device-1", "device-3"],
        ("water_meter", "2026-11-23"): ["device-2"],
        ("lift", "2026-11-24"): ["device-4"],
    }
    (meter,) = [m for r in records() for m in r["messages"] if m["thing"] == "device-2"]
    assert meter["received_at"] == "2026-11-23T01:00:00.000Z"
    assert meter["readings"][1] == {
        "t": "2026-11-23T01:00:01.000Z",
        "seq": 1,
        "v": {"battery": 50.0},
        "suspect": ["battery"],
    }


def test_no_record_is_larger_than_the_stream_takes(archive: FirehoseArchive) -> None:
    sent = [told("lift", number, readings=1000) for number in range(60)]
    assert archive.add(sent) == set()
    assert all(len(json.dumps(record, separators=(",", ":"))) <= RECORD_BYTES + 2000 for record in records())
    assert sorted(m["thing"] for r in records() for m in r["messages"]) == sorted(f"device-{n}" for n in range(60))


def test_what_the_stream_stays_too_busy_for_is_named(archive: FirehoseArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy:
        calls: list[int] = []  # noqa: RUF012

        def put_record_batch(self, DeliveryStreamName: str, Records: list[Any]) -> Any:  # noqa: N803
            self.calls.append(len(Records))
            busy = [b'"class":"lift"' in record["Data"] for record in Records]
            return {"RequestResponses": [{"ErrorCode": "ServiceUnavailable"} if one else {} for one in busy]}

    monkeypatch.setattr("devices.archive.pause", lambda _: None)
    archive._firehose = Busy()
    assert archive.add([told("lift", 1), told("water_meter", 2), told("lift", 3)]) == {0, 2}
    assert Busy.calls == [2] + [1] * 7


def test_a_stream_that_does_not_answer_takes_nothing_and_raises_nothing(archive: FirehoseArchive) -> None:
    class Gone:
        def put_record_batch(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": ""}}, "PutRecordBatch")

    archive._firehose = Gone()
    assert archive.add([told("lift", 1), told("water_meter", 2)]) == {0, 1}
    assert archive.add([]) == set()
