"""What the templates promise each other, and what each of them promises the operator."""

import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT

CONTEXTS = sorted(path.stem for path in (ROOT / "infra").glob("*.yaml"))
APPLICATION = "AWS::Serverless::Application"


class _Tagged(yaml.SafeLoader):
    """Reads intrinsic functions as (name, argument), so that references can be followed."""


_Tagged.add_multi_constructor(
    "!", lambda loader, suffix, node: {"!": suffix, "of": getattr(loader, f"construct_{node.id}")(node, **_deep(node))}
)


def _deep(node: yaml.Node) -> dict[str, bool]:
    return {} if isinstance(node, yaml.ScalarNode) else {"deep": True}


def load(path: Path) -> dict[str, Any]:
    return dict(yaml.load(path.read_text(encoding="utf-8"), _Tagged))


ROOT_TEMPLATE = load(ROOT / "template.yaml")
NESTED = {name: item for name, item in ROOT_TEMPLATE["Resources"].items() if item["Type"] == APPLICATION}


def nested(name: str) -> dict[str, Any]:
    return load(ROOT / NESTED[name]["Properties"]["Location"])


def references(value: Any) -> Iterator[tuple[str, str]]:
    """(kind, target) of every !Ref, !GetAtt and !Sub variable below a value."""
    if isinstance(value, dict) and set(value) == {"!", "of"}:
        kind, of = value["!"], value["of"]
        if kind in ("Ref", "GetAtt"):
            yield kind, of
        elif kind == "Sub":
            text = of if isinstance(of, str) else of[0]
            yield from (("Ref", name) for name in re.findall(r"\$\{([A-Za-z]\w*)\}", text))
            yield from (("GetAtt", name) for name in re.findall(r"\$\{(\w+\.[\w.]+)\}", text))
        yield from references(of)
    elif isinstance(value, dict):
        yield from (found for one in value.values() for found in references(one))
    elif isinstance(value, list):
        yield from (found for one in value for found in references(one))


def resources(kind: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (context, name, item)
        for context in CONTEXTS
        for name, item in load(ROOT / "infra" / f"{context}.yaml")["Resources"].items()
        if item["Type"] == kind
    ]


FUNCTIONS = resources("AWS::Serverless::Function")


def test_every_template_of_infra_is_an_application() -> None:
    assert {Path(item["Properties"]["Location"]).stem for item in NESTED.values()} == set(CONTEXTS)


@pytest.mark.parametrize("name", sorted(NESTED))
def test_a_nested_template_is_fed_what_it_asks_for_and_nothing_else(name: str) -> None:
    declared = nested(name).get("Parameters", {})
    required = {key for key, item in declared.items() if "Default" not in item}
    fed = set(NESTED[name]["Properties"].get("Parameters", {}))
    assert required <= fed <= set(declared)


@pytest.mark.parametrize("name", sorted(NESTED))
def test_every_parameter_of_a_nested_template_is_used(name: str) -> None:
    template = nested(name)
    used = {target for kind, target in references(template) if kind == "Ref"}
    conditions = {target for _, target in references(template.get("Conditions", {}))}
    assert set(template.get("Parameters", {})) <= used | conditions


def test_every_output_that_is_read_exists_and_every_reference_leads_somewhere() -> None:
    known = set(ROOT_TEMPLATE["Resources"]) | set(ROOT_TEMPLATE["Parameters"])
    for kind, target in references(ROOT_TEMPLATE):
        name, _, rest = target.partition(".")
        assert name in known or target.startswith("AWS::"), target
        if kind == "GetAtt" and name in NESTED:
            assert rest.removeprefix("Outputs.") in nested(name)["Outputs"], target


def test_the_order_of_the_applications_has_no_circle() -> None:
    graph = {
        name: {target.split(".")[0] for _, target in references(item["Properties"])} & NESTED.keys()
        for name, item in NESTED.items()
    }
    assert len(list(TopologicalSorter(graph).static_order())) == len(NESTED)


@pytest.mark.parametrize(("context", "name", "item"), FUNCTIONS, ids=lambda value: str(value)[:30])
def test_a_functions_rights_are_narrow(context: str, name: str, item: dict[str, Any]) -> None:
    statements = [one for policy in item["Properties"]["Policies"] for one in policy["Statement"]]
    for statement in statements:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert statement["Effect"] == "Allow"
        assert not [action for action in actions if "*" in action or action in ("dynamodb:Scan", "iam:PassRole")]
        if statement["Resource"] == "*":
            assert set(actions) <= {"iot:CreateKeysAndCertificate", "iot:AttachPolicy"}, (context, name)
        if context != "relay" and any(action.startswith("dynamodb:") for action in actions):
            assert {target.split(".")[0] for _, target in references(statement["Resource"])} == {"Table"}


@pytest.mark.parametrize(("context", "name", "item"), FUNCTIONS, ids=lambda value: str(value)[:30])
def test_a_function_keeps_its_log_180_days_and_is_told_apart_by_its_tag(
    context: str, name: str, item: dict[str, Any]
) -> None:
    template = load(ROOT / "infra" / f"{context}.yaml")
    group = item["Properties"]["LoggingConfig"]["LogGroup"]["of"]
    assert template["Resources"][group]["Properties"]["RetentionInDays"] == 180
    assert template["Globals"]["Function"]["Tags"] == {"context": context}


@pytest.mark.parametrize(("context", "name", "item"), resources("AWS::Events::Rule"), ids=lambda value: str(value)[:30])
def test_a_subscriber_has_a_queue_and_that_queue_a_dead_letter_queue(
    context: str, name: str, item: dict[str, Any]
) -> None:
    here = load(ROOT / "infra" / f"{context}.yaml")["Resources"]
    (target,) = item["Properties"]["Targets"]
    queue = here[target["Arn"]["of"].split(".")[0]]
    assert queue["Type"] == "AWS::SQS::Queue"
    dead = here[queue["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]["of"].split(".")[0]]
    assert dead["Properties"]["MessageRetentionPeriod"] == 1209600
    assert "DeadLetterConfig" in target


@pytest.mark.parametrize(("context", "name", "item"), resources("AWS::SQS::Queue"), ids=lambda value: str(value)[:30])
def test_a_queue_waits_six_times_its_functions_timeout(context: str, name: str, item: dict[str, Any]) -> None:
    for owner, _, function in FUNCTIONS:
        for event in function["Properties"].get("Events", {}).values():
            if owner == context and event["Type"] == "SQS" and event["Properties"]["Queue"]["of"] == f"{name}.Arn":
                assert item["Properties"]["VisibilityTimeout"] >= 6 * function["Properties"]["Timeout"]


@pytest.mark.parametrize(
    ("context", "name", "item"), resources("AWS::DynamoDB::Table"), ids=lambda value: str(value)[:30]
)
def test_a_table_is_encrypted_recoverable_and_its_indexes_carry_no_personal_data(
    context: str, name: str, item: dict[str, Any]
) -> None:
    properties = item["Properties"]
    assert item["DeletionPolicy"] == "RetainExceptOnCreate"
    assert properties["SSESpecification"]["SSEType"] == "KMS"
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    personal = {"text", "note", "payload", "phone", "subject"}
    for index in properties.get("GlobalSecondaryIndexes", []):
        assert index["Projection"]["ProjectionType"] == "INCLUDE"
        assert not personal & set(index["Projection"]["NonKeyAttributes"])


@pytest.mark.parametrize(
    ("context", "name", "item"), resources("AWS::ApiGatewayV2::Route"), ids=lambda value: str(value)[:30]
)
def test_a_route_asks_who_calls(context: str, name: str, item: dict[str, Any]) -> None:
    properties = item["Properties"]
    if properties["RouteKey"] == "GET /v1/openapi.json":
        assert "AuthorizerId" not in properties
    else:
        assert (properties["AuthorizationType"], properties["AuthorizerId"]["!"]) == ("CUSTOM", "Ref")


def test_nothing_names_a_partition_or_a_region() -> None:
    for path in [ROOT / "template.yaml", *(ROOT / "infra").glob("*.yaml")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"arn:aws[-:]", text), path.name
        assert not re.search(r"(us|eu|cn|ap)-(east|west|north|south)\w*-[0-9]", text), path.name
        assert "amazonaws.com/" not in text, path.name
