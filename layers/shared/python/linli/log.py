"""One line a decision, ids only; what looks like a citizen number or a phone number is masked all the same."""

import re
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

_PERSONAL = re.compile(r"(?<![0-9A-Za-z])(?:[1-9][0-9]{16}[0-9Xx]|1[3-9][0-9]{9})(?![0-9A-Za-z])")


class MaskingFormatter(LambdaPowertoolsFormatter):
    def serialize(self, log: Any) -> str:
        return super().serialize(_masked(log))


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return _PERSONAL.sub("***", value)
    if isinstance(value, dict):
        return {name: _masked(one) for name, one in value.items()}
    return [_masked(one) for one in value] if isinstance(value, list | tuple) else value


def logger(context: str) -> Logger:
    return Logger(service=context, logger_formatter=MaskingFormatter())
