"""The identity of a command: what makes a repetition of it a repetition."""

import hashlib
import json
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from linli.errors import Conflict, StaleVersion, Unavailable

Answer = TypeVar("Answer")
ATTEMPTS = 8

ANSWER_KEPT = timedelta(days=30)
"""Longer than any redelivery: SQS keeps 14 days."""


@dataclass(frozen=True)
class Command:
    """`key` names the command (who, what, their key); `digest` its content; `result` what a repetition is told."""

    key: str
    digest: str
    result: dict[str, str] = field(default_factory=dict)

    def with_result(self, **result: str) -> "Command":
        return Command(self.key, self.digest, result)


class Repeated(Conflict):
    """The command was carried out before, by a repetition that came first."""

    code = "repeated"
    zh = "该请求已办理"
    en = "this command was carried out already"


class CommandLog(ABC):
    """Knows which commands were carried out, and sees to it that each is carried out once."""

    @abstractmethod
    def recall(self, command: Command) -> dict[str, str] | None:
        """What the command was answered before, None if it is new; KeyReused if the key came with other content."""

    def once(self, command: Command, act: Callable[[], dict[str, str]]) -> dict[str, str]:
        """Carry the command out unless it was; either way the result of the first time."""
        result = self.recall(command)
        if result is not None:
            return result
        try:
            return act()
        except Repeated:
            return self.recall(command) or {}

    def first_time(self, command: Command, act: Callable[[], Answer]) -> Answer | None:
        """For messages: as `once`, but None if it was carried out, and decided again when another message was faster."""
        if self.recall(command) is not None:
            return None
        for attempt in range(ATTEMPTS):
            try:
                return act()
            except Repeated:
                return None
            except StaleVersion:
                pause(attempt)
        raise Unavailable()


def command(*key: str, content: Any = None) -> Command:
    """A command keyed on the parts of `key`; `content` is JSON-serialisable and is compared when the key comes again."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return Command(_sha256("\x1f".join(key)), _sha256(canonical))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def pause(attempt: int) -> None:
    """Full jitter, at most 0.05 s · 2^attempt and half a second."""
    time.sleep(random.uniform(0, min(0.5, 0.05 * 2**attempt)))
