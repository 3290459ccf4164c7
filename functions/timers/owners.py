"""Owners behind an invocation: each is one function, named in `WAKE_OWNERS` (`context=function`, separated by commas)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from linli.errors import Unavailable
from linli.wake import Answer, Answered, Asked, Wake
from timers.drain import Owner, OwnerFailed


class InvokedOwner:
    def __init__(self, function: str, functions: Any) -> None:
        self._function = function
        self._functions = functions

    def wake(self, wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]:
        """Raises Unavailable if the function cannot be invoked, OwnerFailed if it failed or answers what is no answer."""
        asked = Asked(at=at, wakes=[wake.sort_key for wake in wakes])
        try:
            answer = self._functions.invoke(FunctionName=self._function, Payload=asked.model_dump_json().encode())
            payload = answer["Payload"].read()
        except (BotoCoreError, ClientError) as error:
            raise Unavailable() from error
        if "FunctionError" in answer:
            raise OwnerFailed(answer["FunctionError"])
        try:
            said = Answered.model_validate_json(payload).answers
            return [Answer(Wake.parse(one.wake), Wake.parse(one.then) if one.then else None) for one in said]
        except ValueError as error:
            raise OwnerFailed("unreadable answer") from error


def invoked_owners(named: str, functions: Any) -> Mapping[str, Owner]:
    pairs = (pair.partition("=") for pair in named.split(","))
    return {context: InvokedOwner(function, functions) for context, _, function in pairs}
