"""Tokens of an OIDC issuer: the signature, by the issuer's published keys, and every claim we rely on."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import urllib3

from linli.clock import Clock
from linli.metrics import Metric, emit

LEEWAY_SECONDS = 60
KEYS_FRESH_FOR = timedelta(hours=1)
KEYS_GOOD_FOR = timedelta(hours=24)
FETCH_PAUSE = timedelta(minutes=1)
RETRY_PAUSE = timedelta(seconds=5)
"""Between attempts while no usable keys are there at all and nobody can be told from anybody."""
TOKEN_LIMIT = 8 * 1024
"""Characters of a token; API Gateway takes no longer headers than 10 KB together."""


class Refused(Exception):
    """The token is not accepted; `reason` is a stable code and holds nothing of the token."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class KeysUnreachable(Exception):
    """The issuer's keys cannot be had: nobody can be told from anybody, so the call fails and raises an alarm."""


@dataclass(frozen=True)
class Issuer:
    """`algorithm` is the one the issuer signs with (RS256 or ES256); what a token says about it only has to agree."""

    issuer: str
    audience: str
    algorithm: str

    def __post_init__(self) -> None:
        if self.algorithm not in {"RS256", "ES256"}:
            raise ValueError(f"OIDC_ALGORITHM is RS256 or ES256, not {self.algorithm}")
        if not self.issuer or not self.audience:
            raise ValueError("OIDC_ISSUER and OIDC_AUDIENCE are needed")


class KeySet:
    """The issuer's signing keys by key id, fetched again after an hour; without an answer they stay good for a day.

    A key id not in the set fetches it too. Either way it is tried at most once a minute: new keys are found, invented
    ids cost nothing, and an issuer that is down costs one attempt a minute.
    """

    def __init__(self, fetch: Callable[[], dict[str, Any]], *, algorithm: str, clock: Clock) -> None:
        self._fetch = fetch
        self._algorithm = algorithm
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = datetime.min.replace(tzinfo=UTC)

    def key(self, key_id: str) -> jwt.PyJWK:
        """Refused if the issuer has no such key, KeysUnreachable if that cannot be told."""
        now = self._clock()
        age = now - self._fetched_at
        if age >= KEYS_GOOD_FOR:
            if now - self._tried_at < RETRY_PAUSE:
                raise KeysUnreachable("the last attempt failed")
            self._refresh(now)
        elif (age >= KEYS_FRESH_FOR or key_id not in self._keys) and now - self._tried_at >= FETCH_PAUSE:
            with suppress(KeysUnreachable):
                self._refresh(now)
        if key_id in self._keys:
            return self._keys[key_id]
        if self._tried_at > self._fetched_at:
            raise KeysUnreachable("the last attempt failed")
        raise Refused("key-unknown")

    def _refresh(self, now: datetime) -> None:
        """A failure is counted also where the keys at hand are still good: they are so for a day at most."""
        self._tried_at = now
        try:
            published = self._fetch().get("keys")
            if not isinstance(published, list):
                raise KeysUnreachable("the answer holds no keys")
        except KeysUnreachable as error:
            emit(Metric.ISSUER_UNREACHABLE, 1, context="identity", reason=str(error))
            raise
        self._keys = dict(filter(None, map(self._usable, published)))
        self._fetched_at = now

    def _usable(self, published: Any) -> tuple[str, jwt.PyJWK] | None:
        """None for a key of another kind, use or algorithm; issuers publish such side by side."""
        try:
            if published.get("use", "sig") != "sig" or published.get("alg", self._algorithm) != self._algorithm:
                return None
            return str(published["kid"]), jwt.PyJWK(published, self._algorithm)
        except (AttributeError, KeyError, jwt.PyJWTError):
            return None


class Verifier:
    def __init__(self, issuer: Issuer, keys: KeySet) -> None:
        self._issuer = issuer
        self._keys = keys

    def subject(self, token: str) -> str:
        """The subject of a token that holds in every respect; Refused or KeysUnreachable otherwise."""
        claims = self._claims(token)
        self._check_audience(claims)
        subject = claims["sub"]
        if not isinstance(subject, str) or not 1 <= len(subject) <= 255:
            raise Refused("claims")
        return subject

    def _claims(self, token: str) -> dict[str, Any]:
        key = self._keys.key(self._key_id(token))
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[self._issuer.algorithm],
                issuer=self._issuer.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "sub"], "verify_aud": False},
            )
        except jwt.PyJWTError as error:
            raise Refused(_reason(error)) from error

    def _key_id(self, token: str) -> str:
        """Of the header nothing else is read: keys in it, or addresses of keys, mean nothing."""
        if len(token) > TOKEN_LIMIT:
            raise Refused("malformed")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise Refused("malformed") from error
        if header.get("alg") != self._issuer.algorithm:
            raise Refused("algorithm")
        if header.get("crit") or not isinstance(header.get("kid"), str):
            raise Refused("malformed")
        return str(header["kid"])

    def _check_audience(self, claims: dict[str, Any]) -> None:
        """Cognito's access tokens name their client instead of an audience, and say what they are in `token_use`."""
        if "token_use" in claims:
            if claims["token_use"] != "access":  # noqa: S105
                raise Refused("token-use")
            meant_for = [claims.get("client_id")]
        else:
            said = claims.get("aud")
            meant_for = said if isinstance(said, list) else [said]
        if self._issuer.audience not in meant_for:
            raise Refused("audience")


_REASONS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "expired"),
    (jwt.ImmatureSignatureError, "not-yet-valid"),
    (jwt.InvalidIssuerError, "issuer"),
    (jwt.InvalidAlgorithmError, "algorithm"),
    (jwt.InvalidSignatureError, "signature"),
    (jwt.DecodeError, "malformed"),
)


def _reason(error: jwt.PyJWTError) -> str:
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "claims")


def fetch_keys(url: str) -> Callable[[], dict[str, Any]]:
    """Reads the published keys; KeysUnreachable unless they come, as JSON, within five seconds and unredirected."""
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=2, read=3), retries=False)

    def fetch() -> dict[str, Any]:
        try:
            answer = pool.request("GET", url, redirect=False)
            body = answer.json() if answer.status == 200 else None
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise KeysUnreachable(type(error).__name__) from error
        if not isinstance(body, dict):
            raise KeysUnreachable(f"status {answer.status}")
        return body

    return fetch
