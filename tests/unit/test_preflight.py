"""The decision of the deploy preflight."""

from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber

from infra.local.preflight import (
    Situation,
    configured_parameters,
    decide,
    deploy_command,
    deployed_parameters,
    partition_of,
)
from infra.local.process import LocalError

READY = Situation(
    region="eu-central-1",
    account="123456789012",
    parameters={"OperatorEmail": "operators@example.org", "MonthlyBudget": "1000"},
    declared=frozenset({"OidcIssuer", "OidcAudience", "Architecture", "OperatorEmail", "MonthlyBudget"}),
    python313="/usr/bin/python3.13",
    built={"architecture": "arm64", "pyc": True},
)


def test_a_ready_situation_passes_without_notes() -> None:
    verdict = decide(READY)
    assert (verdict.blockers, verdict.notes) == ([], [])


@pytest.mark.parametrize("region", ["cn-north-1", "cn-northwest-1"])
def test_china_needs_an_issuer_because_cognito_is_missing(region: str) -> None:
    assert any("OidcIssuer" in line for line in decide(replace(READY, region=region)).blockers)


def test_china_with_an_issuer_passes_and_says_what_is_missing() -> None:
    chosen = {"OidcIssuer": "https://issuer.example", "OidcAudience": "linli"}
    verdict = decide(replace(READY, region="cn-north-1", parameters=chosen))
    assert verdict.blockers == []
    assert any("Cognito" in line for line in verdict.notes)
    assert any("text messages" in line for line in verdict.notes)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"region": ""}, "region"),
        ({"account": ""}, "credentials"),
        ({"python313": None}, "3.13"),
        ({"built": None}, "build-cloud"),
        ({"built": {"architecture": "arm64", "pyc": False}}, ".pyc"),
        ({"architecture": "x86_64"}, "x86_64"),
        ({"parameters": {"Oidcissuer": "x"}}, "Oidcissuer"),
        ({"parameters": {"OidcIssuer": "https://issuer.example"}}, "OidcAudience"),
        ({"parameters": {"MonthlyBudget": "1000"}}, "OperatorEmail"),
    ],
)
def test_each_lack_stops_the_deploy(changed: dict[str, object], word: str) -> None:
    blockers = decide(replace(READY, **changed)).blockers  # type: ignore[arg-type]
    assert len(blockers) == 1
    assert word in blockers[0]


@pytest.mark.parametrize(
    ("parameters", "word"), [({}, "OperatorEmail"), ({"OperatorEmail": "operators@example.org"}, "MonthlyBudget")]
)
def test_what_nobody_is_told_of_is_said_and_stops_nothing(parameters: dict[str, str], word: str) -> None:
    verdict = decide(replace(READY, parameters=parameters))
    assert verdict.blockers == []
    assert [word in line for line in verdict.notes] == [True]


def test_partitions() -> None:
    assert [partition_of(region) for region in ("cn-north-1", "us-gov-west-1", "eu-west-1")] == [
        "aws-cn",
        "aws-us-gov",
        "aws",
    ]


def test_parameters_of_the_command_line_win(tmp_path: Path) -> None:
    config = tmp_path / "samconfig.toml"
    config.write_text('[default.deploy.parameters]\nparameter_overrides = ["A=1", "B=2"]\n')
    assert configured_parameters(config, ["B=3"]) == {"A": "1", "B": "3"}
    assert configured_parameters(tmp_path / "none.toml", []) == {}


def test_what_the_stack_has_counts_as_given() -> None:
    first = {"OidcIssuer": "https://issuer.example", "OidcAudience": "linli", "Gone": "x"}
    later = replace(READY, region="cn-north-1", deployed=first)
    assert decide(later).blockers == []
    assert any("no Cognito" in line for line in decide(replace(later, parameters={"OidcIssuer": ""})).blockers)
    emailed = replace(READY, parameters={}, deployed=READY.parameters)
    assert decide(emailed).notes == []


@pytest.mark.parametrize(
    ("has", "given", "stops"), [("a", "b", True), ("a", "a", False), ("a", None, False), ("", "b", False)]
)
def test_a_stack_of_another_prefix_is_left_alone(has: str, given: str | None, stops: bool) -> None:
    parameters = READY.parameters | ({"Prefix": given} if given else {})
    declared = READY.declared | {"Prefix"}
    deployed = {"Prefix": has} if has else {}
    blockers = decide(replace(READY, parameters=parameters, declared=declared, deployed=deployed)).blockers
    assert ["STACK=" in line for line in blockers] == [True] * stops


def test_sam_is_told_the_stack_and_only_what_was_given_an_empty_value_too() -> None:
    parameters = {"RestoredTickets": "", "OperatorEmail": "a@example.org"}
    command = deploy_command(replace(READY, parameters=parameters, stack="second", deployed={"Prefix": "b"}))
    assert command[command.index("--stack-name") + 1] == "second"
    assert command[command.index("--parameter-overrides") + 1 :] == [
        'RestoredTickets=""',
        'OperatorEmail="a@example.org"',
    ]


def test_a_stack_is_read_is_missing_or_cannot_be_read() -> None:
    cloudformation = boto3.client(
        "cloudformation", region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    with Stubber(cloudformation) as stub:
        found = {
            "StackName": "linli", "CreationTime": "2026-11-23T00:00:00Z", "StackStatus": "UPDATE_COMPLETE",
            "Parameters": [{"ParameterKey": "Prefix", "ParameterValue": "b"}],
        }  # fmt: skip
        stub.add_response("describe_stacks", {"Stacks": [found]}, {"StackName": "linli"})
        assert deployed_parameters(cloudformation, "linli") == {"Prefix": "b"}
        stub.add_client_error("describe_stacks", "ValidationError", "Stack with id linli does not exist")
        assert deployed_parameters(cloudformation, "linli") == {}
        stub.add_client_error("describe_stacks", "AccessDenied", "not allowed")
        with pytest.raises(LocalError, match="cannot be read"):
            deployed_parameters(cloudformation, "linli")
