"""One line a decision, ids only; what looks like a citizen number or a phone number is masked all the same."""

import re
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

_PERSONAL = re.compile(r"(?<![0-9])(?:[1-9][0-9]{16}[0-9Xx]|1[3-9][0-9]{9})(?![0-9Xx])")


class MaskingFormatter(LambdaPowertoolsFormatter):
    def serialize(self, log: Any) -> str:
        return _PERSONAL.sub("***", super().serialize(log))


def logger(context: str) -> Logger:
    return Logger(service=context, logger_formatter=MaskingFormatter())
