"""Personal free text (class L3) under seal: each text opens only in the row and attribute it was sealed for.

    envelope    format 1 | algorithm 1 | kid 4 | data key 12 | nonce 12 | ciphertext and tag (16)      bytes
    bound to    table|pk|sk|attribute|class|v1

Data keys: one for each county and month, made and wrapped by KMS under the deployment's key for personal data, with the
county and the class as encryption context. A process keeps an opened data key for five minutes or a thousand uses.

    DEK#L3#340104202611 | kid#algorithm     a wrapped data key, in the table of the context that seals (county, yyyymm)

`table` is the context's name, not the table's, so that what was restored under another name opens. `kid` tells apart the
KMS keys a deployment has had; `v1` is the envelope's own version, so that rows can be rewritten without their key.
"""

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from pynamodb.attributes import BinaryAttribute, UnicodeAttribute

from linli.aws import PATIENCE
from linli.clock import beijing_day, iso
from linli.errors import LinliError, Unavailable
from linli.table import Row, Table

FORMAT = 1
CLASS = "L3"
KEPT = timedelta(minutes=5)
USES = 1000
_NONCE = slice(18, 30)
_TAG_BYTES = 16


@dataclass(frozen=True)
class Algorithm:
    number: int
    key_bytes: int
    cipher: Callable[[bytes], Any]


ALGORITHMS: Mapping[str, Algorithm] = {
    "AES-256-GCM": Algorithm(1, 32, algorithms.AES),
    "SM4-GCM": Algorithm(2, 16, algorithms.SM4),
}
_BY_NUMBER = {one.number: one for one in ALGORITHMS.values()}


class SealUnavailable(Unavailable):
    """KMS does not answer, or its key is disabled: nothing personal is shown, nothing is kept unsealed."""

    code = "seal-unavailable"
    zh = "个人信息密钥服务暂不可用，请稍后重试"
    en = "the key of personal data cannot be used now, try again later"


class SealBroken(LinliError):
    """Changed, moved from another row, or sealed under another key than it says."""

    code = "seal-broken"
    zh = "加密内容校验失败，请联系管理员"
    en = "what is under seal does not open where it stands: tell the operator"


@dataclass(frozen=True)
class Spot:
    """Where a sealed text stands: the context, the row's key, the attribute."""

    table: str
    pk: str
    sk: str
    attribute: str

    @property
    def bound(self) -> bytes:
        return "|".join((self.table, self.pk, self.sk, self.attribute, CLASS, f"v{FORMAT}")).encode()


class DataKeyRow(Row):
    wrapped = BinaryAttribute(legacy_encoding=False)
    kms_key = UnicodeAttribute()
    made_at = UnicodeAttribute()


class Kms:
    """Makes and unwraps data keys. Raises SealUnavailable, SealBroken."""

    def __init__(self, key: Callable[[], str]) -> None:
        self._key = key
        self._client: Any = None

    @property
    def key(self) -> str:
        """ARN of the key that wraps new data keys."""
        return self._key()

    def new(self, size: int, context: Mapping[str, str]) -> tuple[bytes, bytes]:
        """A data key, plain and wrapped."""
        answer = self._call("generate_data_key", KeyId=self.key, NumberOfBytes=size, EncryptionContext=context)
        return answer["Plaintext"], answer["CiphertextBlob"]

    def unwrap(self, wrapped: bytes, key: str, context: Mapping[str, str]) -> bytes:
        answer = self._call("decrypt", KeyId=key, CiphertextBlob=wrapped, EncryptionContext=context)
        return bytes(answer["Plaintext"])

    def _call(self, operation: str, **request: Any) -> Any:
        if self._client is None:
            self._client = boto3.client("kms", config=PATIENCE)
        try:
            return getattr(self._client, operation)(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("InvalidCiphertextException", "IncorrectKeyException"):
                raise SealBroken() from error
            raise SealUnavailable() from error
        except BotoCoreError as error:
            raise SealUnavailable() from error


@dataclass
class _Opened:
    key: bytes
    until: float
    uses: int = 0


class Seals:
    """Seals new texts under `algorithm`, and opens those of every algorithm."""

    def __init__(
        self, table: Table, kms: Kms, *, algorithm: Callable[[], str], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._table = table
        self._rows = table.bind(DataKeyRow)
        self._kms = kms
        self._algorithm = algorithm
        self._monotonic = monotonic
        self._opened: dict[tuple[str, str], _Opened] = {}

    def seal(self, text: str, spot: Spot, *, county: str, at: datetime) -> bytes:
        """Raises SealUnavailable."""
        algorithm = ALGORITHMS[self._algorithm()]
        kid = _kid(self._kms.key)
        data_key = f"{county}{beijing_day(at)[:6]}"
        key = self._data_key(data_key, f"{kid.hex()}#{algorithm.number}", algorithm, make_at=at)
        nonce = os.urandom(12)
        head = bytes((FORMAT, algorithm.number)) + kid + data_key.encode()
        encryptor = Cipher(algorithm.cipher(key), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(spot.bound)
        return head + nonce + encryptor.update(text.encode()) + encryptor.finalize() + encryptor.tag

    def open(self, envelope: bytes, spot: Spot) -> str:
        """Raises SealUnavailable, SealBroken."""
        algorithm = _BY_NUMBER.get(envelope[1]) if len(envelope) >= _NONCE.stop + _TAG_BYTES else None
        if algorithm is None or envelope[0] != FORMAT:
            raise SealBroken()
        kid, data_key = envelope[2:6], envelope[6:18].decode("ascii", "replace")
        key = self._data_key(data_key, f"{kid.hex()}#{algorithm.number}", algorithm)
        mode = modes.GCM(envelope[_NONCE], envelope[-_TAG_BYTES:])
        decryptor = Cipher(algorithm.cipher(key), mode).decryptor()
        decryptor.authenticate_additional_data(spot.bound)
        try:
            return (decryptor.update(envelope[_NONCE.stop : -_TAG_BYTES]) + decryptor.finalize()).decode()
        except InvalidTag as error:
            raise SealBroken() from error

    def _data_key(self, name: str, sk: str, algorithm: Algorithm, *, make_at: datetime | None = None) -> bytes:
        """The opened data key; made if `make_at` is given and it is not there."""
        now = self._monotonic()
        known = self._opened.get((name, sk))
        if known is None or known.uses >= USES or now >= known.until:
            key = self._unwrapped(name, sk, algorithm, make_at)
            known = self._opened[name, sk] = _Opened(key, now + KEPT.total_seconds())
        known.uses += 1
        return known.key

    def _unwrapped(self, name: str, sk: str, algorithm: Algorithm, make_at: datetime | None) -> bytes:
        context = {"division6": name[:6], "class": CLASS}
        row = self._table.get(self._rows, f"DEK#{CLASS}#{name}", sk)
        if row is None and make_at is not None:
            made = self._make(name, sk, algorithm, make_at, context)
            if made is not None:
                return made
            row = self._table.get(self._rows, f"DEK#{CLASS}#{name}", sk)
        if row is None:
            raise SealBroken()
        return self._kms.unwrap(row.wrapped, row.kms_key, context)

    def _make(self, name: str, sk: str, algorithm: Algorithm, at: datetime, context: Mapping[str, str]) -> bytes | None:
        """A new data key; None if another process was faster (or our own request was, unheard)."""
        key, wrapped = self._kms.new(algorithm.key_bytes, context)
        row = self._rows(f"DEK#{CLASS}#{name}", sk, wrapped=wrapped, kms_key=self._kms.key, made_at=iso(at))
        return key if self._table.save_if(row, self._rows.pk.does_not_exist()) else None


def _kid(kms_key: str) -> bytes:
    return hashlib.sha256(kms_key.encode()).digest()[:4]


def deployed_seals(table: Table) -> Seals:
    """Under the deployment's key and algorithm, asked for when they are first needed."""
    return Seals(table, Kms(lambda: os.environ["PERSONAL_KEY"]), algorithm=lambda: os.environ["SEAL_ALGORITHM"])
