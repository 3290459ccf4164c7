"""Before a deploy to a real account: what is missing, and which parameters need a choice in this region."""

import argparse
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local.build import CLOUD_MARK, ROOT, find_python313
from infra.local.process import LocalError, read_json


@dataclass(frozen=True)
class Lack:
    """Something a partition does not have, and the parameter that must then be chosen, if any."""

    what: str
    then: str
    parameter: str | None = None


DEFAULT_STACK = "linli"

# Facts about the China regions, by partition; the note says what Linli does instead.
LACKS = {
    "aws-cn": (
        Lack("Cognito user pools", "give the issuer of another OIDC provider", "OidcIssuer"),
        Lack("SNS text messages and mobile push", "messages go through a gateway of your own, called by a Lambda"),
        Lack("X-Ray for Lambda", "no traces; logs and metrics carry the correlation id"),
        Lack("configurable IoT endpoints", "give the makers of devices the account's IoT data endpoint"),
        Lack("edge-optimised APIs", "the API is regional and its domain needs an ICP licence"),
        Lack("SnapStart for Python", "cold starts are as measured"),
    )
}


@dataclass(frozen=True)
class Situation:
    """All that the decision looks at."""

    region: str
    account: str
    parameters: dict[str, str]
    declared: frozenset[str]
    python313: str | None
    built: dict[str, Any] | None
    architecture: str = "arm64"
    stack: str = DEFAULT_STACK
    deployed: dict[str, str] = field(default_factory=dict)
    """What the stack in the account has now; a parameter that is not given keeps it."""

    def effective(self, name: str) -> str:
        """The value a parameter will have, as far as somebody has chosen one."""
        return self.parameters.get(name, self.deployed.get(name, ""))


@dataclass
class Verdict:
    """What stops the deploy, and what to know before it."""

    blockers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def partition_of(region: str) -> str:
    """The partition a region belongs to."""
    prefixes = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
    return next((name for prefix, name in prefixes.items() if region.startswith(prefix)), "aws")


def decide(situation: Situation) -> Verdict:
    """Judge a situation; pure."""
    verdict = Verdict()
    _judge_account(situation, verdict)
    _judge_build(situation, verdict)
    _judge_watch(situation, verdict)
    _judge_stack(situation, verdict)
    for unknown in sorted(situation.parameters.keys() - situation.declared):
        verdict.blockers.append(f"template.yaml has no parameter {unknown}")
    if situation.effective("OidcIssuer") and not situation.effective("OidcAudience"):
        verdict.blockers.append("OidcIssuer needs OidcAudience, what an access token must be meant for")
    for lack in LACKS.get(partition_of(situation.region), ()):
        chosen = situation.effective(lack.parameter or "")
        if lack.parameter in situation.declared and not chosen:
            verdict.blockers.append(f"{situation.region} has no {lack.what}: {lack.then} ({lack.parameter}=…)")
        else:
            verdict.notes.append(f"{situation.region} has no {lack.what}: {lack.then}")
    return verdict


def _judge_account(situation: Situation, verdict: Verdict) -> None:
    if not situation.region:
        verdict.blockers.append("no region: set AWS_REGION, or region in the AWS profile")
    if not situation.account:
        verdict.blockers.append("no valid AWS credentials: sign in, or set AWS_PROFILE")


def _judge_build(situation: Situation, verdict: Verdict) -> None:
    if not situation.python313:
        verdict.blockers.append("no Python 3.13, so the layers would have no .pyc: install it, or set PYTHON313=…")
    if situation.built is None:
        verdict.blockers.append("nothing is built for the cloud: make build-cloud")
    elif situation.built.get("architecture") != situation.architecture:
        verdict.blockers.append(
            f"built for {situation.built.get('architecture')}, not {situation.architecture}: make build-cloud"
        )
    elif not situation.built.get("pyc"):
        verdict.blockers.append("the cloud build has no .pyc files: make build-cloud with a Python 3.13")


def _judge_watch(situation: Situation, verdict: Verdict) -> None:
    if situation.effective("OperatorEmail"):
        if not situation.effective("MonthlyBudget"):
            verdict.notes.append("no MonthlyBudget: spend is not watched")
        return
    verdict.notes.append("no OperatorEmail: alarms tell nobody, they show on the dashboard only")
    if situation.effective("MonthlyBudget"):
        verdict.blockers.append("MonthlyBudget needs OperatorEmail, who is told")


def _judge_stack(situation: Situation, verdict: Verdict) -> None:
    wanted, has = situation.effective("Prefix"), situation.deployed.get("Prefix", "")
    if has and wanted != has:
        verdict.blockers.append(
            f"the stack {situation.stack} is the deployment with Prefix {has}, not {wanted}: name another (STACK=…)"
        )


def configured_parameters(config: Path, given: list[str]) -> dict[str, str]:
    """Parameter overrides of samconfig.toml, then those given on the command line."""
    settings = tomllib.loads(config.read_text()) if config.exists() else {}
    listed = settings.get("default", {}).get("deploy", {}).get("parameters", {}).get("parameter_overrides", [])
    pairs = [*(listed.split() if isinstance(listed, str) else listed), *given]
    parts = (pair.partition("=") for pair in pairs)
    return {name: value.strip('"') for name, _, value in parts if name}


def declared_parameters(template: Path) -> frozenset[str]:
    """The parameters of the root template."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads CloudFormation's short forms as nothing."""

    Loader.add_multi_constructor("!", lambda *_: None)
    return frozenset(yaml.load(template.read_text(), Loader).get("Parameters", {}))  # the loader is a safe one


def deployed_parameters(cloudformation: Any, stack: str) -> dict[str, str]:
    """The parameters of a stack of the account, none if it is not there; LocalError if nobody can tell."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return {}
        raise LocalError(f"The stack {stack} cannot be read: {error}") from error
    except BotoCoreError as error:
        raise LocalError(f"The stack {stack} cannot be read: {error}") from error
    return {one["ParameterKey"]: one["ParameterValue"] for one in found.get("Parameters", [])}


def look_up(given: list[str]) -> Situation:
    """Gather the situation from this machine and the account."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    account, region = "", ""
    stack = os.environ.get("STACK") or DEFAULT_STACK
    try:
        session = boto3.Session()
        region = session.region_name or os.environ.get("AWS_REGION", "")
        account = session.client("sts", region_name=region or "us-east-1").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError):
        pass
    deployed = (
        deployed_parameters(boto3.client("cloudformation", region_name=region), stack) if account and region else {}
    )
    parameters = configured_parameters(ROOT / "samconfig.toml", given)
    return Situation(
        region=region,
        account=account,
        parameters=parameters,
        declared=declared_parameters(ROOT / "template.yaml"),
        python313=find_python313(),
        built=read_json(CLOUD_MARK),
        architecture=(deployed | parameters).get("Architecture", "arm64"),
        stack=stack,
        deployed=deployed,
    )


def main() -> int:
    """Print the verdict; with --deploy go on to `sam deploy`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deploy", action="store_true")
    parser.add_argument("parameters", nargs="*", help="Name=value for the root template")
    options = parser.parse_args()
    try:
        situation = look_up(options.parameters)
    except LocalError as error:
        print(f"  {error}", file=sys.stderr)
        return 1
    verdict = decide(situation)
    print(f"  account {situation.account or '-'}, region {situation.region or '-'}, stack {situation.stack}")
    for note in verdict.notes:
        print(f"  note: {note}")
    for blocker in verdict.blockers:
        print(f"  stop: {blocker}", file=sys.stderr)
    if verdict.blockers:
        return 1
    return sam_deploy(situation) if options.deploy else 0


def sam_deploy(situation: Situation) -> int:
    """Hand over to sam, which asks before it changes anything."""
    from infra.local.build import sam_environment

    return subprocess.run(deploy_command(situation), cwd=ROOT, env=sam_environment({}), check=False).returncode


def deploy_command(situation: Situation) -> list[str]:
    """sam's command; a value stands in quotes, or sam would not read an empty one."""
    from infra.local.build import CLOUD_TEMPLATE, SAM

    command = [str(SAM), "deploy", "--config-file", str(ROOT / "samconfig.toml"), "--region", situation.region]
    command += ["--template-file", str(CLOUD_TEMPLATE), "--stack-name", situation.stack]
    if situation.parameters:
        command += ["--parameter-overrides", *(f'{name}="{value}"' for name, value in situation.parameters.items())]
    return command


if __name__ == "__main__":
    sys.exit(main())
