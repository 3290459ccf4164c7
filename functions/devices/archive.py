"""Raw telemetry into S3: a record of the delivery stream holds the messages of one class that came on one day.

Firehose counts each record as at least 5 KB, so messages are packed; the stream makes the class and the day of receipt the
partition. What is sensitive (L4) never comes here.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from devices.domain import Reading
from devices.state import Told
from linli.aws import PATIENCE
from linli.clock import BEIJING, iso
from linli.commands import ATTEMPTS, pause
from linli.deviceclass import DeviceClass
from linli.log import logger

log = logger("devices")
RECORD_BYTES = 900 * 1024
"""Firehose takes 1,000 KiB a record, 500 records and 4 MiB a request."""
RECORDS_TOGETHER = 4


@dataclass
class _Record:
    places: list[int] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    size: int = 0


class FirehoseArchive:
    """The stream is named by the environment; its client is made when it is first needed."""

    def __init__(self) -> None:
        self._firehose: Any = None

    def add(self, told: Sequence[tuple[Told, DeviceClass]]) -> set[int]:
        """Hand the messages over; the positions of those it stayed too busy for."""
        records = [(places, data) for places, data in _records(told)]
        left: set[int] = set()
        for start in range(0, len(records), RECORDS_TOGETHER):
            left |= self._put(records[start : start + RECORDS_TOGETHER])
        return left

    def _put(self, records: list[tuple[list[int], bytes]]) -> set[int]:
        self._firehose = self._firehose or boto3.client("firehose", config=PATIENCE)
        stream = os.environ["ARCHIVE_STREAM"]
        for attempt in range(ATTEMPTS):
            wanted = [{"Data": data} for _, data in records]
            try:
                answer = self._firehose.put_record_batch(DeliveryStreamName=stream, Records=wanted)
            except (BotoCoreError, ClientError) as error:
                log.warning("archive refused", records=len(records), error=type(error).__name__)
                break  # the client has tried again already
            answers = zip(records, answer["RequestResponses"], strict=True)
            records = [record for record, said in answers if "ErrorCode" in said]
            if not records:
                return set()
            pause(attempt)
        return {place for places, _ in records for place in places}


def _records(told: Sequence[tuple[Told, DeviceClass]]) -> Iterator[tuple[list[int], bytes]]:
    open_records: dict[tuple[str, str], _Record] = {}
    for place, (message, of) in enumerate(told):
        key = of.name, f"{message.received_at.astimezone(BEIJING):%Y-%m-%d}"
        text = json.dumps(_message(message), separators=(",", ":"))
        record = open_records.setdefault(key, _Record())
        if record.messages and record.size + len(text) > RECORD_BYTES:
            yield record.places, _line(key, record)
            record = open_records[key] = _Record()
        record.places.append(place)
        record.messages.append(text)
        record.size += len(text) + 1
    for key, record in open_records.items():
        yield record.places, _line(key, record)


def _line(key: tuple[str, str], record: _Record) -> bytes:
    class_name, day = key
    return f'{{"class":"{class_name}","day":"{day}","messages":[{",".join(record.messages)}]}}\n'.encode()


def _message(told: Told) -> dict[str, Any]:
    return {
        "thing": told.thing,
        "received_at": iso(told.received_at),
        "readings": [_reading(reading) for reading in told.readings],
    }


def _reading(reading: Reading) -> dict[str, Any]:
    entry = {"t": iso(reading.at), "seq": reading.seq, "v": reading.values}
    return entry | ({"suspect": reading.suspect} if reading.suspect else {})
