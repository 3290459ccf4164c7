"""What the suite does and sees itself, past the gate: tables, the bus and its queue, streams, rows."""

import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from infra.local.runtime import Runtime
from tests.faults.gate import Entrance
from tests.support import template

STREAMED = ("alarms", "devices", "grid", "tickets")
"""Those that publish."""
CONTEXTS = (*STREAMED, "timers")
"""Whose tables, functions and queues make the loop."""
POLICY = "faults-device"


class Operator:
    """One deployment's resources on a runtime, under a prefix of their own."""

    def __init__(self, runtime: Runtime, prefix: str) -> None:
        with Entrance.bypass():
            self.database = runtime.client("dynamodb")
            self._streams = runtime.client("dynamodbstreams")
            self._queues = runtime.client("sqs")
            self._bus = runtime.client("events")
            self._iot = runtime.client("iot")
            self._kms = runtime.client("kms")
            self._buckets = runtime.client("s3")
            self._deliveries = runtime.client("firehose")
        self._prefix = prefix
        self._positions: dict[str, tuple[str, str]] = {}
        self._facts = self._key = ""
        self.unsent: set[tuple[str, str]] = set()
        """Outbox rows by context and event id, as far as the streams were read."""

    def environment(self) -> dict[str, str]:
        """What the templates give the functions."""
        tables = {f"{context.upper()}_TABLE": self.table(context) for context in CONTEXTS}
        return {
            **tables,
            "OUTBOX_TABLES": ",".join(self.table(context) for context in STREAMED),
            "BUS_NAME": self._prefix,
            "DEVICE_POLICY": POLICY,
            "ARCHIVE_STREAM": self._prefix,
            "PERSONAL_KEY": self._key,
            "SEAL_ALGORITHM": "SM4-GCM",
            "MQTT_ENDPOINT": "mqtt.faults",
            "TOPIC_PREFIX": self._prefix,
            "MINUTES_QUEUE": f"{self._prefix}-minutes",
            "WAKE_OWNERS": "alarms=alarms.on_wake.handler,devices=devices.on_wake.handler",
        }

    def table(self, context: str) -> str:
        return f"{self._prefix}-{context}"

    def build(self) -> None:
        names = (
            "BillingMode",
            "AttributeDefinitions",
            "KeySchema",
            "GlobalSecondaryIndexes",
            "StreamSpecification",
        )
        for context in CONTEXTS:
            described = template(context)["Resources"]["Table"]["Properties"]
            wanted = {name: described[name] for name in names if name in described}
            if "StreamSpecification" in wanted:
                wanted["StreamSpecification"] = {"StreamEnabled": True, **wanted["StreamSpecification"]}
            made = self.database.create_table(TableName=self.table(context), **wanted)["TableDescription"]
            if context in STREAMED:
                self._positions[context] = (made["LatestStreamArn"], self._start(made["LatestStreamArn"]))
        self._build_bus()
        self._build_archive()
        self._key = self._kms.create_key()["KeyMetadata"]["Arn"]
        try:
            self._iot.create_policy(policyName=POLICY, policyDocument='{"Version": "2012-10-17", "Statement": []}')
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                raise

    def _build_bus(self) -> None:
        self._facts = self._queues.create_queue(QueueName=f"{self._prefix}-facts")["QueueUrl"]
        arn = self._queues.get_queue_attributes(QueueUrl=self._facts, AttributeNames=["QueueArn"])
        self._bus.create_event_bus(Name=self._prefix)
        pattern = '{"source": [{"prefix": "linli."}]}'
        self._bus.put_rule(Name=self._prefix, EventBusName=self._prefix, EventPattern=pattern)
        target = {"Id": "facts", "Arn": arn["Attributes"]["QueueArn"]}
        self._bus.put_targets(Rule=self._prefix, EventBusName=self._prefix, Targets=[target])

    def _build_archive(self) -> None:
        """The bucket and the delivery stream of the raw archive, without its partitions."""
        self._buckets.create_bucket(Bucket=self._prefix)
        target = {
            "RoleARN": f"arn:aws:iam::000000000000:role/{self._prefix}",
            "BucketARN": f"arn:aws:s3:::{self._prefix}",
        }
        self._deliveries.create_delivery_stream(
            DeliveryStreamName=self._prefix, ExtendedS3DestinationConfiguration=target
        )

    def remove(self) -> None:
        self._bus.remove_targets(Rule=self._prefix, EventBusName=self._prefix, Ids=["facts"])
        self._bus.delete_rule(Name=self._prefix, EventBusName=self._prefix)
        self._bus.delete_event_bus(Name=self._prefix)
        self._queues.delete_queue(QueueUrl=self._facts)
        self._deliveries.delete_delivery_stream(DeliveryStreamName=self._prefix)
        for context in CONTEXTS:
            self.database.delete_table(TableName=self.table(context))

    def _start(self, stream: str) -> str:
        (shard,) = self._streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]
        return str(
            self._streams.get_shard_iterator(
                StreamArn=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
        )

    def new_outbox_rows(self, context: str) -> list[dict[str, Any]]:
        """Stream records since the last look that the relay's filter lets through; `unsent` follows."""
        arn, position = self._positions[context]
        found: list[dict[str, Any]] = []
        while True:
            page = self._streams.get_records(ShardIterator=position)
            position = page["NextShardIterator"]
            if not page["Records"]:
                break
            found += page["Records"]
        self._positions[context] = (arn, position)
        for one in found:
            keys = one["dynamodb"]["Keys"]
            if keys["pk"]["S"].startswith("OUT#"):
                change = self.unsent.discard if one["eventName"] == "REMOVE" else self.unsent.add
                change((context, keys["sk"]["S"]))
        return [
            {
                "eventName": one["eventName"],
                "eventSourceARN": arn,
                "dynamodb": {"NewImage": one["dynamodb"]["NewImage"]},
            }
            for one in found
            if one["eventName"] == "INSERT" and one["dynamodb"]["Keys"]["pk"]["S"].startswith("OUT#")
        ]

    def accepted(self) -> Iterator[str]:
        """What the bus accepted since the last look."""
        while messages := self._queues.receive_message(QueueUrl=self._facts, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                yield message["Body"]
                self._queues.delete_message(QueueUrl=self._facts, ReceiptHandle=message["ReceiptHandle"])

    def rows(self, context: str, pk: str = "") -> list[dict[str, Any]]:
        """Every row whose partition key begins so."""
        pages = self.database.get_paginator("scan").paginate(TableName=self.table(context), ConsistentRead=True)
        return [row for page in pages for row in page["Items"] if row["pk"]["S"].startswith(pk)]

    def outbox(self, context: str) -> list[dict[str, Any]]:
        return self.rows(context, "OUT#")

    def put(self, context: str, row: dict[str, Any]) -> None:
        self.database.put_item(TableName=self.table(context), Item=row)

    def delete(self, context: str, row: dict[str, Any]) -> None:
        self.database.delete_item(TableName=self.table(context), Key={"pk": row["pk"], "sk": row["sk"]})

    def put_fact(self, context: str, pk: str, fact: dict[str, Any]) -> None:
        """An outbox row, as the context itself would have committed it."""
        row = {"pk": {"S": pk}, "sk": {"S": fact["event_id"]}, "fact": {"S": json.dumps(fact)}, "v": {"N": "1"}}
        self.put(context, row)
