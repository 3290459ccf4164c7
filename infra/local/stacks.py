"""Create or update one CloudFormation stack on the local runtime and read it back."""

import json
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from infra.local.process import LocalError

CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
GOOD = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
# A stack in one of these never came to life: nothing in it can be kept.
STILLBORN = {"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS"}
WAIT_SECONDS = 300
BODY_LIMIT = 51_200
INTERRUPTED_SECONDS = 10


class Stacks:
    """The stacks of one deployment."""

    def __init__(self, cloudformation: Any, upload: Callable[[bytes], str]) -> None:
        self._api = cloudformation
        self._upload = upload

    def deploy(self, name: str, template: dict[str, Any], parameters: dict[str, str]) -> str:
        """Bring one stack to the template; says 'created', 'updated' or 'unchanged'."""
        status = self._settled_status(name)
        body = json.dumps(template, separators=(",", ":"))
        large = len(body.encode()) > BODY_LIMIT
        request = {
            "StackName": name,
            **({"TemplateURL": self._upload(body.encode())} if large else {"TemplateBody": body}),
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            "Capabilities": CAPABILITIES,
        }
        if status is None:
            self._api.create_stack(**request)
            self._wait(name)
            return "created"
        try:
            self._api.update_stack(**request)
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return "unchanged"
            raise
        self._wait(name)
        return "updated"

    def delete(self, name: str) -> None:
        """Delete one stack and wait."""
        self._api.delete_stack(StackName=name)
        end = time.monotonic() + WAIT_SECONDS
        while self.status(name) not in (None, "DELETE_FAILED") and time.monotonic() < end:
            time.sleep(0.1)

    def status(self, name: str) -> str | None:
        """The status of a stack, None when there is none."""
        try:
            status = str(self._api.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return None if status == "DELETE_COMPLETE" else status

    def outputs(self, name: str) -> dict[str, str]:
        """The outputs of a stack."""
        stack = self._api.describe_stacks(StackName=name)["Stacks"][0]
        return {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])}

    def physical_ids(self, name: str, kind: str) -> dict[str, str]:
        """Logical to physical id of the resources of one type."""
        resources = self._api.describe_stack_resources(StackName=name)["StackResources"]
        return {
            item["LogicalResourceId"]: item["PhysicalResourceId"] for item in resources if item["ResourceType"] == kind
        }

    def _settled_status(self, name: str) -> str | None:
        status = self.status(name)
        end = time.monotonic() + INTERRUPTED_SECONDS
        while status and status.endswith("_IN_PROGRESS") and time.monotonic() < end:
            time.sleep(0.2)
            status = self.status(name)
        if status in STILLBORN or status == "CREATE_IN_PROGRESS":
            self.delete(name)
            return None
        if status and status.endswith("_IN_PROGRESS"):
            raise LocalError(f"Stack {name} is stuck in {status} after an interrupted deploy. Start empty: make reset")
        return status

    def _wait(self, name: str) -> None:
        end = time.monotonic() + WAIT_SECONDS
        status = self.status(name)
        while status and status.endswith("_IN_PROGRESS") and time.monotonic() < end:
            time.sleep(0.05)
            status = self.status(name)
        if status not in GOOD:
            raise LocalError(f"Stack {name}: {status}\n" + "\n".join(self._failures(name)))

    def _failures(self, name: str) -> list[str]:
        events = self._api.describe_stack_events(StackName=name)["StackEvents"]
        failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
        lines = [
            f"{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', '')}"
            for event in failed
        ]
        return list(dict.fromkeys(lines))[:5]
