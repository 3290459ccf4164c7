"""Dead letters: what a queue gave up, and what a rule could not put on it, counted and put back."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from infra.local.parked import BATCH, Queues
from linli.clock import new_id, utc_now

DEAD = "-dead"
HELD_SECONDS = 120
"""How long a letter is out of others' sight while it is moved; the tool that dies leaves it where it was."""
_BASIC_INGEST = re.compile(r"^\$aws/rules/[^/]+/")


@dataclass(frozen=True)
class DeadLetters:
    """A dead-letter queue; `source` is the queue it serves, None if its letters are copies of what is kept elsewhere."""

    name: str
    count: int
    source: str | None


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


def redrive(queues: Queues, name: str) -> int:
    """Move the letters of a dead-letter queue back to the queue it serves; how many. Raises LookupError without one.

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
    while letters := _received(queues.sqs, dead):
        refused = queues.send(alive, [_as_sent(one) for one in letters])
        done = [one for place, one in enumerate(letters) if place not in refused]
        entries = [{"Id": str(place), "ReceiptHandle": one["ReceiptHandle"]} for place, one in enumerate(done)]
        if entries:
            queues.sqs.delete_message_batch(QueueUrl=dead, Entries=entries)
        moved += len(done)
    return moved


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
    """The letter as the queue knows it: IoT Core reports what a rule could not deliver in a form of its own."""
    body = str(letter["Body"])
    try:
        said = json.loads(body)
        topic = _BASIC_INGEST.sub("", said["topic"]).split("/")
        payload = said["base64OriginalPayload"]
    except (ValueError, TypeError, KeyError):
        return body
    return json.dumps(
        {
            "payload": payload,
            "thing": topic[2],
            "received_ms": int(letter["Attributes"]["SentTimestamp"]),
            "trace": said.get("cloudwatchTraceId") or new_id(utc_now()),
        }
    )
