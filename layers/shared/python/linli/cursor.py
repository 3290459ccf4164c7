"""Where a list goes on: sealed, so that it can be neither read nor changed, and bound to its caller and its query."""

import base64
import hashlib
import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import boto3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from linli.aws import PATIENCE
from linli.errors import Invalid

GOOD_FOR = timedelta(hours=24)
_NONCE_BYTES = 12


class CursorExpired(Invalid):
    code = "cursor-not-valid"
    zh = "分页游标无效或已过期，请从第一页重新查询"
    en = "the cursor is not valid for this query or has expired: start from the first page"


class Cursors:
    """Seals with AES-256-GCM; `secret` is asked for once, when the first cursor is needed."""

    def __init__(self, secret: Callable[[], str]) -> None:
        self._secret = secret
        self._cipher: AESGCM | None = None

    def seal(self, position: dict[str, Any] | None, *, bound_to: str, now: datetime) -> str | None:
        if position is None:
            return None
        nonce = os.urandom(_NONCE_BYTES)
        text = json.dumps([int((now + GOOD_FOR).timestamp()), position], separators=(",", ":"))
        sealed = self._aead().encrypt(nonce, text.encode(), bound_to.encode())
        return _written(nonce + sealed)

    def unseal(self, cursor: str | None, *, bound_to: str, now: datetime) -> dict[str, Any] | None:
        if cursor is None:
            return None
        try:
            sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            if _written(sealed) != cursor:
                raise ValueError("the decoder left something out")
            text = self._aead().decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode())
        except (ValueError, InvalidTag) as error:
            raise CursorExpired("cursor") from error
        expires_at, position = json.loads(text)
        if now.timestamp() > expires_at:
            raise CursorExpired("cursor")
        return dict(position)

    def _aead(self) -> AESGCM:
        if self._cipher is None:
            self._cipher = AESGCM(hashlib.sha256(self._secret().encode()).digest())
        return self._cipher


def _written(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def secret_from_manager() -> str:
    """The deployment's cursor secret, from Secrets Manager."""
    client = boto3.client("secretsmanager", config=PATIENCE)
    return str(client.get_secret_value(SecretId=os.environ["CURSOR_SECRET"])["SecretString"])
