"""The decision of the deploy preflight."""

from dataclasses import replace
from pathlib import Path

import pytest

from infra.local.preflight import Situation, configured_parameters, decide, partition_of

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
