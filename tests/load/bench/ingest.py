"""Taking in telemetry: CPU a message, requests and write units a thousand messages, the list price of a million.

Arrivals are Poisson: 10^5 devices, each once a quarter-hour on average. A batch is what one of Lambda's pollers has gathered when
the window of the template is over, or when it is full.
"""

import json
import random
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from devices import on_telemetry
from devices.state import DeviceState
from devices.telemetry_store import TelemetryStore
from linli.clock import beijing_day, iso
from tests.fakes_devices import FakeArchive
from tests.load.bench.ground import Ratio, cpu_ms, paired
from tests.load.bench.meter import Meter
from tests.support import CONTEXT, NOW, delivery, sqs, template

DEVICES = 100_000
EVERY_SECONDS = 900
POLLERS = 5
"""With which Lambda begins to read a queue (AWS, "Scaling SQS event source mappings")."""
MESSAGES = 2_000
DAYS_LEFT = 6
"""A state is written once a week, so a message meets one that is due for it once in so many messages."""
RECEIPT = "AQEB" + "x" * 400

# List prices of us-east-1 in dollars for a million (Firehose: a GB), from memory and to be checked before they are relied on.
PLAIN_TOPIC, RULE_AND_ACTION, SQS_CALL, LAMBDA_CALL = 1.00, 0.30, 0.40, 0.20
LAMBDA_GB_SECOND, WRITE_UNIT, READ_UNIT, FIREHOSE_GB, S3_PUT = 13.3334, 0.625, 0.125, 0.029, 5.00
PROVISIONED_WRITE = 0.00065 / 3600 * 1_000_000 / 0.7
"""A million writes on provisioned capacity that is used to 70 %, which steady arrivals allow."""
NAIVE_SECONDS, NAIVE_GB = 0.010, 0.128
"""Of one Lambda call for each message: the naive design."""


def batch_sizes(rng: random.Random, count: int) -> list[int]:
    """Sizes of the batches in which so many messages come."""
    mapping = template("devices")["Resources"]["OnTelemetryMessages"]["Properties"]
    rate = DEVICES / EVERY_SECONDS / POLLERS
    sizes: list[int] = []
    while sum(sizes) < count:
        waited, size = rng.expovariate(rate), 1
        window_ends = waited + mapping["MaximumBatchingWindowInSeconds"]
        while size < mapping["BatchSize"] and (waited := waited + rng.expovariate(rate)) < window_ends:
            size += 1
        sizes.append(min(size, count - sum(sizes)))
    return sizes


def messages(count: int) -> list[str]:
    reading = {"flow": 100.59, "battery": 88}
    return [
        delivery(f"device-{number:06d}", {"readings": [{"t": iso(NOW), "seq": number, "v": reading}]})
        for number in range(count)
    ]


def event(bodies: list[str]) -> dict[str, Any]:
    """As SQS hands it over, with everything it says of a message."""
    made = sqs(*bodies)
    for record in made["Records"]:
        record["receiptHandle"] = RECEIPT
        record["md5OfBody"] = "0" * 32
        record["messageId"] = f"{record['messageId']:0>36}"
        record["attributes"] |= {"SentTimestamp": "1", "SenderId": "AIDA", "ApproximateFirstReceiveTimestamp": "1"}
        record |= {"awsRegion": "us-east-1", "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:linli-telemetry"}
    return made


def understanding() -> Ratio:
    """Reading and checking every message of a batch, nothing written, against parsing the SQS event it came in."""
    bodies = messages(1000)
    text = json.dumps(event(bodies))

    def ours() -> None:
        for body in bodies:
            on_telemetry.told(body)

    return Ratio(
        "telemetry understood, not written ÷ json.loads of its SQS event (1,000 messages)",
        *paired(40, cpu_ms(ours, 1), cpu_ms(lambda: json.loads(text), 1)),
        "ms CPU",
        1.6,
    )


def measure() -> tuple[Ratio, list[str]]:
    """The ratio, and lines on requests and money."""
    store = TelemetryStore()
    for number in range(MESSAGES):
        # Written at different times of the last week, as the states of many devices are.
        written_at = NOW - timedelta(seconds=number / MESSAGES * DAYS_LEFT * 86_400)
        closed = beijing_day(NOW - timedelta(days=3))
        state = DeviceState(f"device-{number:06d}", "water_meter", written_at, closed_to=closed)
        store.save(state, facts=[], at=written_at)
    rng, meter = random.Random(1), Meter({})
    sizes = batch_sizes(rng, MESSAGES)
    waiting = messages(MESSAGES)
    with (
        meter.counting(),
        patch.object(on_telemetry, "archive", FakeArchive()),
        patch.object(on_telemetry, "utc_now", lambda: NOW),
    ):
        for size in sizes:
            batch, waiting = waiting[:size], waiting[size:]
            if on_telemetry.handler(event(batch), CONTEXT)["batchItemFailures"]:
                raise AssertionError("a message was not kept")
    per_thousand = sum(meter.requests.values()) * 1000 / MESSAGES
    units = meter.total / MESSAGES
    asked = ", ".join(
        f"{operation} {count * 1000 / MESSAGES:.1f}" for operation, count in sorted(meter.requests.items())
    )
    ours, provisioned = _ours(units, MESSAGES / len(sizes))
    naive = PLAIN_TOPIC + RULE_AND_ACTION + LAMBDA_CALL + NAIVE_SECONDS * NAIVE_GB * LAMBDA_GB_SECOND + WRITE_UNIT
    total = sum(ours.values())
    parts = ", ".join(f"{name} {dollars:.2f}" for name, dollars in ours.items())
    batch = MESSAGES / len(sizes)
    return understanding(), [
        f"| database requests per 1,000 messages (goal 60) | {per_thousand:.0f} | batches of {batch:.0f}: {asked} |",
        f"| write units a message | {units:.2f} | |",
        f"| list price, million messages | ${total:.2f} | {parts} |",
        f"| naive: plain topic, rule, Lambda, one put each | ${naive:.2f} | |",
        f"| ours ÷ naive, same messages (goal 0.60) | {total / naive:.2f} | with writes provisioned: {provisioned / naive:.2f} |",
        f"| ours ÷ naive, same readings, sent four at a time as the contract asks | {total / 4 / naive:.2f} | |",
    ]


def _ours(units: float, batch: float) -> tuple[dict[str, float], float]:
    """Dollars for a million messages, service by service; and the sum with provisioned writes."""
    ours = {
        "Basic Ingest": 0.0,
        "rule and action": RULE_AND_ACTION,
        "SQS": SQS_CALL * (1 + 2 / 10),
        "Lambda": LAMBDA_CALL / batch + 0.15 * LAMBDA_GB_SECOND / batch,
        "DynamoDB writes": WRITE_UNIT * units,
        "DynamoDB reads": READ_UNIT * 0.5,
        "Firehose and S3": FIREHOSE_GB * 0.3 + S3_PUT * 0.001,
    }
    return ours, sum(ours.values()) - (WRITE_UNIT - PROVISIONED_WRITE) * units
