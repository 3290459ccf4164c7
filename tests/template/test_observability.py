"""What is watched: everything that can stop, by metrics somebody emits, with a page that says what to do."""

import ast
import json
import re
from collections import Counter
from itertools import pairwise
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from linli.metrics import Metric
from tests.support import ROOT, template

TEMPLATES = {path.stem: template(path.stem) for path in (ROOT / "infra").glob("*.yaml")}
OBSERVABILITY = TEMPLATES["observability"]["Resources"]
NAMESPACE = "Linli/${Prefix}"
ORDERED = {
    "parked-messages", "dead-letters", "stream-age", "outbox-age", "authorizer-errors", "timers-late", "throttles",
    "ticket-p95", "certificates-expiring", "spend", "function-errors",
}  # fmt: skip
Watched = tuple[str, str, frozenset[tuple[str, str]]]


def resources(kind: str) -> list[tuple[str, dict[str, Any]]]:
    """(context, properties) of every resource of one type."""
    return [
        (context, item["Properties"])
        for context, found in TEMPLATES.items()
        for item in found["Resources"].values()
        if item["Type"] == kind
    ]


ALARMS = {item["AlarmName"].removeprefix("${Prefix}-"): item for _, item in resources("AWS::CloudWatch::Alarm")}
FUNCTIONS = {item["FunctionName"]: context for context, item in resources("AWS::Serverless::Function")}
DEAD = {item["QueueName"] for _, item in resources("AWS::SQS::Queue") if item["QueueName"].endswith("-dead")}
DASHBOARD = OBSERVABILITY["Dashboard"]["Properties"]["DashboardBody"]


def watched(alarm: dict[str, Any]) -> set[Watched]:
    """(namespace, metric, dimensions) of every metric an alarm looks at."""
    if "Metrics" in alarm:
        metrics = [query["MetricStat"]["Metric"] for query in alarm["Metrics"] if "MetricStat" in query]
    else:
        metrics = [alarm]
    return {
        (one["Namespace"], one["MetricName"], frozenset((d["Name"], d["Value"]) for d in one.get("Dimensions", [])))
        for one in metrics
    }


ALL_WATCHED = set().union(*map(watched, ALARMS.values()))


def named(dimension: str, metric: str) -> set[str]:
    """The values of a dimension with which a metric is watched."""
    return {dict(dims)[dimension] for _, name, dims in ALL_WATCHED if name == metric and dimension in dict(dims)}


def calls(name: str) -> list[tuple[str, ast.Call]]:
    """Every call of a function of ours whose name begins so: the folder it stands in (a context, or the kernel) and the call."""
    found = []
    for path in [*(ROOT / "functions").glob("*/*.py"), *(ROOT / "layers/shared/python/linli").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith(name):
                found.append((path.parent.name, node))
    return found


def emissions() -> list[tuple[str, str]]:
    """(metric, context) of every place in the code that emits one; the batch runner does it for who calls it."""
    found = []
    consumers = sorted({folder for folder, _ in calls("consume") if folder != "linli"})
    for folder, call in calls("emit"):
        member = call.args[0]
        assert isinstance(member, ast.Attribute), ast.unparse(call)
        (context,) = [keyword.value for keyword in call.keywords if keyword.arg == "context"]
        said = context.value if isinstance(context, ast.Constant) else None
        assert said == (folder if folder != "linli" else None), ast.unparse(call)
        found += [(str(Metric[member.attr]), one) for one in ([said] if said else consumers)]
    return found


EMITTED = set(emissions())
FILTERED = {
    one["MetricName"] for _, item in resources("AWS::Logs::MetricFilter") for one in item["MetricTransformations"]
}


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_an_alarm_says_what_is_seen_what_to_do_and_tells_somebody(name: str) -> None:
    alarm = ALARMS[name]
    chinese, slash, english = alarm["AlarmDescription"].partition(" / ")
    text, _, anchor = english.partition(" docs/runbook.md#")
    assert slash and re.match(r"[\u4e00-\u9fff]", chinese)
    assert text.isascii() and text.endswith(".")
    assert name == anchor or name.startswith(f"{anchor}-")
    assert len(alarm["AlarmDescription"]) <= 1024
    assert alarm["AlarmActions"] == ["Topic"]
    silence_is_told = {"breaching": [], "notBreaching": [], "missing": ["Topic"]}
    assert alarm.get("InsufficientDataActions", []) == silence_is_told[alarm["TreatMissingData"]]


def test_every_alarm_has_its_section_in_the_runbook_and_every_section_its_alarm() -> None:
    anchors = {alarm["AlarmDescription"].rpartition("#")[2] for alarm in ALARMS.values()}
    anchors |= {
        item["Budget"]["BudgetName"].removeprefix("${Prefix}-") for _, item in resources("AWS::Budgets::Budget")
    }
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    assert anchors == ORDERED == set(re.findall(r"^## ([a-z0-9-]+)$", runbook, re.MULTILINE))


def test_the_commands_of_the_runbook_are_such_and_name_what_exists() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    commands = [line.strip() for line in re.sub(r"\\\n\s+", "", runbook).split("\n") if re.match(r"    aws \w", line)]
    assert len(commands) >= 15
    session = botocore.session.get_session()
    for command in commands:
        _, service, name, *rest = command.split()
        if (service, name) == ("logs", "tail"):  # the command line's own
            continue
        model = session.get_service_model(service)
        operations = {xform_name(one, "-"): model.operation_model(one) for one in model.operation_names}
        known = {xform_name(member, "-") for member in operations[name].input_shape.members}
        asked = {word.removeprefix("--").removeprefix("no-") for word in rest if word.startswith("--")}
        assert asked <= known | {"query", "output"}, command
    groups = {item["LogGroupName"] for _, item in resources("AWS::Logs::LogGroup")}
    named_groups = set(re.findall(r"/linli/linli/([a-z-]+[a-z])", runbook))
    assert named_groups and {f"/linli/${{Prefix}}/{name}" for name in named_groups} <= groups
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", runbook)) - {"redrive"} <= targets


def test_every_log_is_kept_180_days() -> None:
    groups = resources("AWS::Logs::LogGroup")
    assert len(groups) > len(FUNCTIONS)
    assert {item["RetentionInDays"] for _, item in groups} == {180}


def test_the_reason_of_every_threshold_stands_above_it() -> None:
    lines = (ROOT / "infra" / "observability.yaml").read_text(encoding="utf-8").split("\n")
    above: dict[str, str] = {}
    for before, line in pairwise(lines):
        if re.fullmatch(r"  \w+:", line):
            above[line.strip(" :")] = before
    families = {item["Properties"]["AlarmDescription"].rpartition("#")[2] for item in alarm_resources().values()}
    reasoned = {
        item["Properties"]["AlarmDescription"].rpartition("#")[2]
        for logical, item in alarm_resources().items()
        if above[logical].startswith("  # ")
    }
    assert reasoned == families


def alarm_resources() -> dict[str, dict[str, Any]]:
    return {name: item for name, item in OBSERVABILITY.items() if item["Type"] == "AWS::CloudWatch::Alarm"}


def test_every_dead_letter_queue_is_watched_by_depth_and_by_age_and_no_other_queue_is_named() -> None:
    assert len(DEAD) >= 8
    targets = {
        context_resources(context)[item["RedrivePolicy"]["deadLetterTargetArn"].removesuffix(".Arn")]["QueueName"]
        for context, item in resources("AWS::SQS::Queue")
        if "RedrivePolicy" in item
    }
    assert targets <= DEAD
    assert named("QueueName", "ApproximateNumberOfMessagesVisible") == DEAD
    assert named("QueueName", "ApproximateAgeOfOldestMessage") == DEAD


def context_resources(context: str) -> dict[str, dict[str, Any]]:
    return {name: item.get("Properties", {}) for name, item in TEMPLATES[context]["Resources"].items()}


def test_every_function_is_watched_for_errors_and_all_together_for_throttles() -> None:
    assert named("FunctionName", "Errors") == set(FUNCTIONS)
    assert ("AWS/Lambda", "Throttles", frozenset()) in ALL_WATCHED
    streams = {
        context_resources(context)[item["FunctionName"]]["FunctionName"]
        for context, item in resources("AWS::Lambda::EventSourceMapping")
        if not item["EventSourceArn"].endswith(".Arn")
    }
    assert named("FunctionName", "IteratorAge") == streams


def test_every_table_and_every_index_is_watched_for_throttles_and_the_table_for_errors() -> None:
    tables = {f"{context.title()}Table": item for context, item in resources("AWS::DynamoDB::Table")}
    fed = {name for name in TEMPLATES["observability"]["Parameters"] if name.endswith("Table")}
    assert fed == set(tables)
    for metric in ("ReadThrottleEvents", "WriteThrottleEvents", "SystemErrors"):
        assert named("TableName", metric) == fed, metric
    for table, item in tables.items():
        for index in item.get("GlobalSecondaryIndexes", []):
            dims = frozenset({("TableName", table), ("GlobalSecondaryIndexName", index["IndexName"])})
            assert ("AWS/DynamoDB", "WriteThrottleEvents", dims) in ALL_WATCHED


def test_an_alarm_over_several_metrics_has_at_most_ten_and_only_it_needs_metric_math() -> None:
    for name, item in alarm_resources().items():
        queries = item["Properties"].get("Metrics", [])
        assert len([query for query in queries if "MetricStat" in query]) <= 10, name
        assert (item.get("Condition") == "HasMetricMath") == bool(queries), name


def test_an_alarm_on_a_metric_of_ours_is_on_one_that_is_emitted() -> None:
    ours = {(name, dict(dims).get("context")) for space, name, dims in ALL_WATCHED if space == NAMESPACE}
    assert ours
    assert ours <= EMITTED | {(name, None) for name in FILTERED}


def test_what_the_batch_runner_parks_is_watched_in_every_context() -> None:
    assert named("context", Metric.PARKED) == {folder for folder, _ in calls("consume")}


def test_every_metric_of_ours_is_emitted_in_one_place_and_looked_at() -> None:
    places = Counter(call.args[0].attr for _, call in calls("emit") if isinstance(call.args[0], ast.Attribute))
    assert set(places) == {metric.name for metric in Metric}
    assert set(places.values()) == {1}
    looked_at = {name for _, name, _ in ALL_WATCHED} | set(re.findall(r'\["Linli/\$\{Prefix\}", "(\w+)"', DASHBOARD))
    assert {str(metric) for metric in Metric} <= looked_at


def test_metrics_go_through_the_kernel_into_the_deployments_own_namespace() -> None:
    for path in [*(ROOT / "functions").glob("*/*.py"), *(ROOT / "layers/shared/python/linli").glob("*.py")]:
        if path.name != "metrics.py":
            assert "powertools.metrics" not in path.read_text(encoding="utf-8"), path
    for context in set(FUNCTIONS.values()):
        variables = TEMPLATES[context]["Globals"]["Function"]["Environment"]["Variables"]
        assert variables["POWERTOOLS_METRICS_NAMESPACE"] == NAMESPACE, context
    spaces = {space for space, _, _ in ALL_WATCHED}
    assert spaces == {NAMESPACE, "AWS/SQS", "AWS/Lambda", "AWS/DynamoDB", "AWS/Firehose"}


def test_the_archives_stream_is_watched_by_its_age() -> None:
    streams = {item["DeliveryStreamName"] for _, item in resources("AWS::KinesisFirehose::DeliveryStream")}
    assert streams and named("DeliveryStreamName", "DeliveryToS3.DataFreshness") == streams


def test_the_filter_on_the_access_log_asks_for_fields_that_are_logged() -> None:
    logged = json.loads(context_resources("api")["Stage"]["AccessLogSettings"]["Format"])
    pattern = context_resources("observability")["ThrottledCalls"]["FilterPattern"]
    asked = set(re.findall(r"\$\.(\w+)", pattern))
    assert asked == {"status", "integration_status"} <= set(logged)


def test_the_dashboard_shows_every_alarm_and_only_metrics_and_logs_that_exist() -> None:
    widgets = json.loads(re.sub(r"\$\{([\w:]+)\}", r"<\1>", DASHBOARD))["widgets"]
    (status,) = [one["properties"]["alarms"] for one in widgets if one["type"] == "alarm"]
    assert {arn.rpartition(":<Prefix>-")[2] for arn in status} == set(ALARMS)
    shown = re.findall(r'\["Linli/\$\{Prefix\}", "(\w+)"(?:, "context", "(\w+)")?', DASHBOARD)
    assert set(shown) <= EMITTED | {(name, "") for name in FILTERED}
    groups = {item["LogGroupName"] for _, item in resources("AWS::Logs::LogGroup")}
    asked = set(re.findall(r"SOURCE '([^']+)'", DASHBOARD))
    assert asked and asked <= groups
    runner = (ROOT / "layers/shared/python/linli/batch.py").read_text(encoding="utf-8")
    assert "filter message = 'message refused'" in DASHBOARD and '"message refused"' in runner
    for text in re.findall(r'"title": "([^"]+)"', DASHBOARD):
        assert re.match(r"\d+ .*[\u4e00-\u9fff].* / [A-Z]", text), text
