"""What an operator sees of the running deployment: alarms that ring, and who is told.

The local runtime does not read metrics from logs as CloudWatch does, so the test carries them over; what the functions say,
the alarms and the topic are the deployed ones.
"""

import json
import secrets
from datetime import UTC, datetime
from typing import Any

from linli.metrics import Metric
from tests.e2e.world import World, until
from tests.support import emitted


def carry_over(world: World, group: str) -> set[str]:
    """Put every metric a function has logged where CloudWatch would; their names."""
    events = world.linli.runtime.client("logs").filter_log_events(logGroupName=f"/linli/linli/{group}")["events"]
    found = emitted("\n".join(line for event in events for line in event["message"].splitlines()))
    for namespace, metric, value, said in found:
        one = {"MetricName": metric, "Value": value, "Dimensions": [{"Name": "context", "Value": said["context"]}]}
        world.linli.runtime.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[one])
    return {metric for _, metric, _, _ in found}


def state(world: World, alarm: str) -> str:
    found = world.linli.runtime.client("cloudwatch").describe_alarms(AlarmNames=[f"linli-{alarm}"])["MetricAlarms"]
    return str(found[0]["StateValue"])


def told(world: World) -> tuple[Any, str]:
    """A queue that hears what the operators' topic says."""
    queues, topics = world.linli.runtime.client("sqs"), world.linli.runtime.client("sns")
    (topic,) = [
        one["TopicArn"] for one in topics.list_topics()["Topics"] if one["TopicArn"].endswith(":linli-operators")
    ]
    statement = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    statement |= {"Resource": "*", "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    queue = queues.create_queue(QueueName=f"told-{secrets.token_hex(4)}", Attributes={"Policy": policy})["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return queues, queue


def said_of(alarm: str, queues: Any, queue: str) -> dict[str, Any] | None:
    """What was said of this alarm among what waits in the queue; other alarms may have spoken as well."""
    messages = queues.receive_message(QueueUrl=queue, WaitTimeSeconds=1, MaxNumberOfMessages=10).get("Messages", [])
    said = [json.loads(json.loads(message["Body"])["Message"]) for message in messages]
    return next((one for one in said if one["AlarmName"] == alarm), None)


def test_a_message_nobody_can_read_rings_and_the_operator_is_told(world: World) -> None:
    queues, queue = told(world)
    device_id = world.register()
    before = len(world.parked("alarms"))
    with world.device(device_id) as detector:
        detector.publish_event({"at": datetime.now(UTC).isoformat(), "seq": 1, "event": "smoke", "state": "burning"})
        until("a parked message", lambda: len(world.parked("alarms")) > before)
    until("its metric", lambda: Metric.PARKED in carry_over(world, "alarms-on-device-event"))
    until("the alarm", lambda: state(world, "parked-messages-alarms") == "ALARM")
    said = until("the word", lambda: said_of("linli-parked-messages-alarms", queues, queue))
    assert said["NewStateValue"] == "ALARM"
    assert said["AlarmDescription"].endswith("docs/runbook.md#parked-messages")
    queues.delete_queue(QueueUrl=queue)


def test_a_dead_letter_rings_by_its_queues_own_depth(world: World) -> None:
    queues, metrics = world.linli.runtime.client("sqs"), world.linli.runtime.client("cloudwatch")
    url = queues.get_queue_url(QueueName="linli-tickets-on-alarm-raised-dead")["QueueUrl"]
    queues.send_message(QueueUrl=url, MessageBody="{}")  # as SQS moves a message after its twentieth failure
    try:
        found = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        depth = float(found["Attributes"]["ApproximateNumberOfMessages"])
        queue = [{"Name": "QueueName", "Value": "linli-tickets-on-alarm-raised-dead"}]
        one = {"MetricName": "ApproximateNumberOfMessagesVisible", "Value": depth, "Dimensions": queue}
        metrics.put_metric_data(Namespace="AWS/SQS", MetricData=[one])
        until("the alarm", lambda: state(world, "dead-letters-tickets-on-alarm-raised") == "ALARM")
    finally:
        queues.purge_queue(QueueUrl=url)


def test_the_sweeper_the_certificates_and_both_halves_of_a_ticket_are_measured(world: World) -> None:
    device_id = world.register()
    with world.device(device_id) as detector:
        detector.event("smoke", "active")
        world.ticket_of(device_id)
    world.linli.runtime.client("lambda").invoke(FunctionName="linli-devices-count-certificates", Payload=b"{}")
    expected = {
        "devices-count-certificates": ({Metric.CERTIFICATES_EXPIRING}, "certificates-expiring"),
        "alarms-on-device-event": ({Metric.ALARM_DELAY}, "ticket-p95-alarm"),
        "tickets-on-alarm-raised": ({Metric.TICKET_DELAY}, "ticket-p95-ticket"),
        "timers-on-minute": ({Metric.TIMERS_LATE}, "timers-late"),
        "relay-sweep": ({Metric.OUTBOX_OLDEST, Metric.OUTBOX_MISSED}, "outbox-age"),
    }
    for group, (metrics, alarm) in expected.items():
        until(group, lambda metrics=metrics, group=group: metrics <= carry_over(world, group))
        until(alarm, lambda alarm=alarm: state(world, alarm) in {"OK", "ALARM"})
