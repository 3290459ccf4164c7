"""Dead letters: what a queue gave up, and what a rule could not put on it, counted and put back."""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from infra.local.parked import BATCH, Queues
from linli.clock import new_id, utc_now

DEAD = "-dead"
HELD_SECONDS = 120
"""How long a letter is out of others' sight while it is moved; the tool that dies leaves it where it was."""
_BASIC_INGEST = re.compile(r"^\$aws/rules/[^/]+/")
PRESENCE = "$aws/events/presence/"
LIFECYCLE = ("clientId", "eventType", "timestamp", "versionNumber")
A_REQUEST = (
    "没有设备的证书，请让设备重新请求 / the report does not say over which certificate: let the device ask again"
)
A_RUN = "是一次失败的运行，下一次会补上 / a run that failed: the next makes it good"
UNKNOWN = "无法还原为消息 / not what a rule of ours sends"


class NotAMessage(Exception):
    """A letter that cannot become the message it was; says why."""


@dataclass(frozen=True)
class DeadLetters:
    """A dead-letter queue; `source` is the queue it serves, None if its letters are copies of what is kept elsewhere."""

    name: str
    count: int
    source: str | None


@dataclass(frozen=True)
class Redriven:
    """How many letters went back, and how many stay where they are, by the reason why."""

    moved: int
    left: Mapping[str, int]


def dead_letters(queues: Queues) -> Iterator[DeadLetters]:
    """Every dead-letter queue of the deployment and how much stands in it."""
    pages = queues.sqs.get_paginator("list_queues").paginate(QueueNamePrefix=f"{queues.prefix}-")
    urls = [url for page in pages for url in page.get("QueueUrls", [])]
    names = {url.rpartition("/")[2]: url for url in urls}
    for name in sorted(one for one in names if one.endswith(DEAD)):
        asked = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = queues.sqs.get_queue_attributes(QueueUrl=names[name], AttributeNames=asked)["Attributes"]
        source = name.removesuffix(DEAD)
        yield DeadLetters(name, sum(map(int, counts.values())), source if source in names else None)


def redrive(queues: Queues, name: str) -> Redriven:
    """Move the letters of a dead-letter queue back to the queue it serves. Raises LookupError without one.

    A letter is deleted here after the queue has taken it: interrupted in between it is moved twice, never lost.
    """
    source = name.removesuffix(DEAD)
    if not name.endswith(DEAD):
        raise LookupError(name)
    try:
        dead, alive = queues.url(name), queues.url(source)
    except ClientError as error:
        raise LookupError(name) from error
    moved = 0
    left: dict[str, tuple[str, str]] = {}
    while letters := _received(queues.sqs, dead):
        bodies: dict[str, str] = {}
        receipts = {one["MessageId"]: str(one["ReceiptHandle"]) for one in letters}
        if receipts.keys() <= left.keys():
            break
        for one in letters:
            try:
                bodies[one["MessageId"]] = _as_sent(one)
            except NotAMessage as why:
                left[one["MessageId"]] = (receipts[one["MessageId"]], str(why))
        moved += _moved(queues, dead, alive, bodies, receipts)
    _give_back(queues.sqs, dead, [receipt for receipt, _ in left.values()])
    return Redriven(moved, Counter(why for _, why in left.values()))


def _moved(queues: Queues, dead: str, alive: str, bodies: dict[str, str], receipts: dict[str, str]) -> int:
    if not bodies:
        return 0
    refused = queues.send(alive, list(bodies.values()))
    done = [receipts[one] for place, one in enumerate(bodies) if place not in refused]
    entries = [{"Id": str(place), "ReceiptHandle": receipt} for place, receipt in enumerate(done)]
    if entries:
        queues.sqs.delete_message_batch(QueueUrl=dead, Entries=entries)
    return len(done)


def _give_back(sqs: Any, url: str, receipts: list[str]) -> None:
    """Show the letters again at once, so that whoever looks next sees them."""
    for start in range(0, len(receipts), BATCH):
        entries = [
            {"Id": str(place), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
            for place, receipt in enumerate(receipts[start : start + BATCH])
        ]
        sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)


def _received(sqs: Any, url: str) -> list[dict[str, Any]]:
    answer = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=BATCH,
        WaitTimeSeconds=1,
        VisibilityTimeout=HELD_SECONDS,
        AttributeNames=["SentTimestamp"],
    )
    return list(answer.get("Messages", []))


def _as_sent(letter: dict[str, Any]) -> str:
    """The letter as its queue knows it. Raises NotAMessage for one that says what failed, but not in full what was sent."""
    body = str(letter["Body"])
    try:
        said = json.loads(body)
    except ValueError:
        return body
    if not isinstance(said, dict):
        return body
    if "base64OriginalPayload" in said:
        return _as_the_rule_says(said, int(letter["Attributes"]["SentTimestamp"]))
    if "requestContext" in said or said.get("detail-type") == "Scheduled Event":
        raise NotAMessage(A_RUN)
    return body


def _as_the_rule_says(report: dict[str, Any], sent_ms: int) -> str:
    """What the rule would have sent (`iot_rules`); IoT Core reports in a form of its own what could not be delivered."""
    trace = report.get("cloudwatchTraceId") or new_id(utc_now())
    topic = _BASIC_INGEST.sub("", str(report.get("topic")))
    if topic.startswith(PRESENCE):
        return json.dumps(_lifecycle(str(report["base64OriginalPayload"])) | {"trace": trace})
    _, _, thing, kind = topic.split("/") if topic.count("/") == 3 else ("", "", "", "")
    if kind == "requests":
        raise NotAMessage(A_REQUEST)
    if kind not in ("events", "telemetry"):
        raise NotAMessage(UNKNOWN)
    return json.dumps(
        {"payload": report["base64OriginalPayload"], "thing": thing, "received_ms": sent_ms, "trace": trace}
    )


def _lifecycle(payload: str) -> dict[str, Any]:
    """Of the broker's event what `iot_rules/presence.yaml` picks: the rest is an address nobody needs."""
    try:
        said = json.loads(base64.b64decode(payload, validate=True))
        return {name: said[name] for name in LIFECYCLE if name in said}
    except (ValueError, TypeError) as error:
        raise NotAMessage(UNKNOWN) from error
