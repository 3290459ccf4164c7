"""`make admin ARGS="--username U --area 34"`: the first administrator of the deployment in use.

That is the running local one, or the stack `linli` (STACK names another) of the account the AWS profile points at.
"""

import os
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.runtime import running


def outputs_of(stack: str) -> dict[str, str]:
    described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {one["OutputKey"]: one["OutputValue"] for one in described["Outputs"]}


def main(arguments: list[str]) -> int:
    live = running()
    if live:
        os.environ.update(live[0].environment())
    try:
        outputs = live[1] if live else outputs_of(os.environ.get("STACK", "linli"))
    except (BotoCoreError, ClientError) as error:
        sys.exit(
            f"  No running Linli here and no stack to be read: {error}\n  Start one with make run, or set AWS_PROFILE"
        )
    os.environ["IDENTITY_TABLE"] = outputs["IdentityTable"]
    os.environ["USER_POOL_ID"] = outputs["UserPoolId"]
    from identity.admin import main as appoint

    return appoint(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
