"""`make admin ARGS="--username U --area 34"`: the first administrator of the deployment in use.

With AWS_PROFILE or AWS_ACCESS_KEY_ID that is the stack `linli` (STACK names another) of the account, else the running
local Linli.
"""

import os
import sys
from collections.abc import Mapping

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.runtime import running


def account_is_meant(environment: Mapping[str, str]) -> bool:
    """Whether whoever calls has chosen an account; empty variables choose none."""
    return bool(environment.get("AWS_PROFILE") or environment.get("AWS_ACCESS_KEY_ID"))


def outputs_of(stack: str) -> dict[str, str]:
    described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {one["OutputKey"]: one["OutputValue"] for one in described["Outputs"]}


def account_outputs() -> dict[str, str]:
    """The outputs of the stack in the account; SystemExit with the reason if they cannot be read."""
    stack = os.environ.get("STACK") or "linli"
    try:
        outputs = outputs_of(stack)
        account = boto3.client("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"  读不到堆栈 {stack} / the stack {stack} cannot be read: {error}")
    print(f"  账号 {account} 的堆栈 {stack} / stack {stack} of account {account}")
    return outputs


def local_outputs() -> dict[str, str]:
    """The outputs of the running local Linli, with the environment pointed at it; SystemExit if none runs."""
    live = running()
    if live is None:
        sys.exit(
            "  本机没有运行中的 Linli：请先 make run；若指云上账号，请设置 AWS_PROFILE\n"
            "  No Linli runs here: start one with make run, or set AWS_PROFILE if you mean an account"
        )
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        os.environ.pop(name, None)
    os.environ.update(live[0].environment())
    print(f"  本机的 Linli，{live[0].endpoint} / the local Linli at {live[0].endpoint}")
    return live[1]


def outputs_in_use() -> dict[str, str]:
    """The outputs of the account's stack if an account is meant, else those of the running local Linli."""
    return account_outputs() if account_is_meant(os.environ) else local_outputs()


def main(arguments: list[str]) -> int:
    outputs = outputs_in_use()
    os.environ["IDENTITY_TABLE"] = outputs["IdentityTable"]
    os.environ["USER_POOL_ID"] = outputs["UserPoolId"]
    from identity.admin import main as appoint

    return appoint(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
