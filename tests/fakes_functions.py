"""Functions that can be invoked by name, in memory, each answering as Lambda would."""

import io
import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

Handler = Callable[[dict[str, Any]], Any]


class FakeFunctions:
    """`invoked` notes who was asked for how many wakes; a function that is `down` cannot be invoked at all."""

    def __init__(self, **handlers: Handler) -> None:
        self.handlers = handlers
        self.down: set[str] = set()
        self.invoked: list[tuple[str, int]] = []

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - boto3's names
        event = json.loads(Payload)
        self.invoked.append((FunctionName, len(event["wakes"])))
        if FunctionName in self.down:
            raise ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")
        try:
            answer = json.dumps(self.handlers[FunctionName](event))
        except Exception as error:  # noqa: BLE001 as Lambda does
            said = json.dumps({"errorMessage": str(error), "errorType": type(error).__name__})
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(said.encode())}
        return {"Payload": io.BytesIO(answer.encode())}
