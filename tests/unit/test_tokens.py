"""Tokens that must not pass, the classic cases one by one, and keys that change."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from identity.tokens import Issuer, KeySet, KeysUnreachable, Refused, Verifier
from linli.clock import utc_now

ISSUER = "https://issuer.example/pool"
AUDIENCE = "linli-api"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
PUBLIC_PEM = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def jwk(key: Any, key_id: str, **more: str) -> dict[str, Any]:
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "use": "sig", **more}


def claims(**changed: Any) -> dict[str, Any]:
    """What a good token says; a timedelta becomes an instant, counted from when the token is made."""
    usual = {"sub": "subject-1", "iss": ISSUER, "aud": AUDIENCE, "iat": seconds(0), "exp": seconds(600)}
    return {name: value for name, value in (usual | changed).items() if value is not None}


def seconds(count: int) -> timedelta:
    return timedelta(seconds=count)


def instants(payload: dict[str, Any]) -> dict[str, Any]:
    now = int(time.time())
    return {
        name: now + int(value.total_seconds()) if isinstance(value, timedelta) else value
        for name, value in payload.items()
    }


def cognito(**changed: Any) -> dict[str, Any]:
    return claims(**({"aud": None, "token_use": "access", "client_id": AUDIENCE} | changed))


def token(payload: dict[str, Any], key: Any = KEY, algorithm: str = "RS256", **header: Any) -> str:
    return jwt.encode(instants(payload), key, algorithm, headers={"kid": "k1", **header})


def raw(header: dict[str, Any], payload: dict[str, Any], sign: Callable[[bytes], bytes] = lambda _: b"") -> str:
    """A token no library would make."""
    parts = b".".join(_b64(json.dumps(part).encode()) for part in (header, instants(payload)))
    return b".".join([parts, _b64(sign(parts))]).decode()


def _b64(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


class Published:
    """The issuer's key document; counts how often it is asked for."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.fetched = 0
        self.reachable = True

    def __call__(self) -> dict[str, Any]:
        self.fetched += 1
        if not self.reachable:
            raise KeysUnreachable("down")
        return {"keys": self.keys}


def verifier(algorithm: str = "RS256", published: Published | None = None) -> Verifier:
    found = published or Published(jwk(KEY, "k1"), jwk(CURVE, "e1"))
    return Verifier(Issuer(ISSUER, AUDIENCE, algorithm), KeySet(found, algorithm=algorithm, clock=utc_now))


def refused(text: str, algorithm: str = "RS256") -> str:
    with pytest.raises(Refused) as why:
        verifier(algorithm).subject(text)
    return why.value.reason


@pytest.mark.parametrize(
    "payload",
    [
        claims(),
        claims(aud=["other", AUDIENCE]),
        cognito(),
        claims(exp=seconds(-30)),
        claims(nbf=seconds(30)),
    ],
)
def test_a_good_token_names_its_subject(payload: dict[str, Any]) -> None:
    assert verifier().subject(token(payload)) == "subject-1"


def test_an_elliptic_issuer_is_a_matter_of_configuration() -> None:
    signed = token(claims(), CURVE, "ES256", kid="e1")
    assert verifier("ES256").subject(signed) == "subject-1"
    assert refused(signed) == "algorithm"
    assert refused(token(claims()), "ES256") == "algorithm"


@pytest.mark.parametrize("algorithm", ["HS256", "none", "", "RS512"])
def test_another_algorithm_cannot_be_configured(algorithm: str) -> None:
    with pytest.raises(ValueError, match="OIDC_ALGORITHM"):
        Issuer(ISSUER, AUDIENCE, algorithm)


@pytest.mark.parametrize("missing", [("", AUDIENCE), (ISSUER, "")])
def test_issuer_and_audience_must_be_configured(missing: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="OIDC_ISSUER"):
        Issuer(*missing, "RS256")


@pytest.mark.parametrize("spelling", ["none", "None", "NONE", "nOnE", "", None, 0, ["RS256"], "RS256 "])
def test_no_algorithm_in_any_spelling(spelling: Any) -> None:
    header = {"alg": spelling, "kid": "k1", "typ": "JWT"}
    assert refused(raw(header, claims())) in {"algorithm", "malformed"}
    assert refused(raw({"kid": "k1"}, claims())) in {"algorithm", "malformed"}


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_the_public_key_is_no_shared_secret(algorithm: str) -> None:
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    forged = raw({"alg": algorithm, "kid": "k1"}, claims(), lambda body: hmac.new(PUBLIC_PEM, body, digest).digest())
    assert refused(forged) == "algorithm"


def test_a_symmetric_key_in_the_key_document_signs_nothing() -> None:
    secret = {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "s1"}
    signed = raw({"alg": "RS256", "kid": "s1"}, claims())
    with pytest.raises(Refused, match="key-unknown"):
        verifier(published=Published(secret, jwk(KEY, "k1"))).subject(signed)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (claims(exp=seconds(-61)), "expired"),
        (claims(exp=0), "expired"),
        (claims(exp=None), "claims"),
        (claims(exp="soon"), "malformed"),
        (claims(exp=float("inf")), "malformed"),
        (claims(nbf=seconds(90)), "not-yet-valid"),
        (claims(iat=seconds(90)), "not-yet-valid"),
        (claims(iss="https://issuer.example/other"), "issuer"),
        (claims(iss=ISSUER + "/"), "issuer"),
        (claims(iss=None), "claims"),
        (claims(aud="other"), "audience"),
        (claims(aud=None), "audience"),
        (claims(aud=[]), "audience"),
        (claims(aud=AUDIENCE + "2"), "audience"),
        (claims(aud={AUDIENCE: 1}), "audience"),
        (claims(aud=None, client_id=AUDIENCE), "audience"),
        (claims(sub=None), "claims"),
        (claims(sub=""), "claims"),
        (claims(sub=7), "claims"),
        (claims(sub="s" * 256), "claims"),
        (cognito(token_use="id", aud=AUDIENCE), "token-use"),
        (cognito(token_use="id", client_id=None, aud=AUDIENCE), "token-use"),
        (cognito(token_use=None), "audience"),
        (cognito(token_use="ACCESS"), "token-use"),
        (cognito(client_id="other"), "audience"),
        (cognito(client_id="other", aud=AUDIENCE), "audience"),
        (cognito(client_id=None, aud=AUDIENCE), "audience"),
    ],
)
def test_every_claim_counts(payload: dict[str, Any], reason: str) -> None:
    try:
        signed = token(payload)
    except TypeError:  # the library itself does not write this subject
        signed = raw({"alg": "RS256", "kid": "k1"}, payload, _rs256(KEY))
    assert refused(signed) == reason


def _rs256(key: rsa.RSAPrivateKey) -> Callable[[bytes], bytes]:
    algorithm = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
    return lambda body: algorithm.sign(body, key)


def test_another_key_under_the_same_id() -> None:
    assert refused(token(claims(), OTHER)) == "signature"


@pytest.mark.parametrize(
    "key_id",
    ["k2", "", "../../dev/null", "k1' OR '1'='1", "k1\u0000", "/etc/passwd", "https://elsewhere.example/keys", "K1"],
)
def test_a_key_id_only_looks_up(key_id: str) -> None:
    assert refused(token(claims(), OTHER, kid=key_id)) == "key-unknown"


@pytest.mark.parametrize("key_id", [None, 1, ["k1"], {"k": 1}])
def test_a_key_id_is_text(key_id: Any) -> None:
    assert refused(raw({"alg": "RS256", "kid": key_id}, claims(), _rs256(KEY))) == "malformed"


def test_keys_brought_along_mean_nothing() -> None:
    own = {"jwk": jwk(OTHER, "k1"), "jku": "https://elsewhere.example/keys", "x5u": "https://elsewhere.example/c"}
    assert refused(token(claims(), OTHER, **own)) == "signature"
    assert verifier().subject(token(claims(), **own)) == "subject-1"


def test_a_header_that_must_be_understood_is_not() -> None:
    assert refused(raw({"alg": "RS256", "kid": "k1", "crit": ["x"]}, claims(), _rs256(KEY))) == "malformed"


def test_tampering_shows() -> None:
    head, body, signature = token(claims()).split(".")
    other = _b64(json.dumps(instants(claims(sub="subject-2"))).encode()).decode()
    assert refused(f"{head}.{other}.{signature}") == "signature"
    assert refused(f"{head}.{body}.{signature[:-4]}AAAA") == "signature"
    assert refused(f"{head}.{body}.") == "signature"
    assert refused(f"{head}.{body}") == "malformed"


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "...", "garbage", "a.b.c", "é.é.é", "\ud800", "e30.e30.e30", "bnVsbA.e30.", "W10.e30.", "x" * 9000],
)
def test_garbage_is_refused(text: str) -> None:
    assert refused(text) in {"malformed", "algorithm"}


def test_a_deeply_nested_header_is_refused() -> None:
    assert refused(f"{_b64(b'[' * 5000).decode()}.e30.") == "malformed"


@given(st.text(max_size=200))
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    assert refused(text) in {"malformed", "algorithm"}


class Ticking:
    def __init__(self) -> None:
        self.now = datetime.fromisoformat("2026-11-23T01:00:00+00:00")

    def __call__(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def key_set(published: Published, clock: Ticking) -> KeySet:
    return KeySet(published, algorithm="RS256", clock=clock)


def test_keys_are_fetched_once_and_again_after_an_hour() -> None:
    published, clock = Published(jwk(KEY, "k1")), Ticking()
    keys = key_set(published, clock)
    for _ in range(10):
        keys.key("k1")
    assert published.fetched == 1
    clock.pass_seconds(3600)
    keys.key("k1")
    assert published.fetched == 2


def test_a_new_key_is_found_and_invented_ids_fetch_once_a_minute_at_most() -> None:
    published, clock = Published(jwk(KEY, "k1")), Ticking()
    keys = key_set(published, clock)
    keys.key("k1")
    published.keys.append(jwk(OTHER, "k2"))
    for number in range(50):
        clock.pass_seconds(1)
        with pytest.raises(Refused, match="key-unknown"):
            keys.key(f"invented-{number}")
    assert published.fetched == 1
    clock.pass_seconds(10)
    assert keys.key("k2").key_id == "k2"
    assert published.fetched == 2
    for _ in range(50):
        with pytest.raises(Refused):
            keys.key("invented")
    assert published.fetched == 2


def test_a_withdrawn_key_ends_within_the_hour() -> None:
    published, clock = Published(jwk(KEY, "k1"), jwk(OTHER, "k2")), Ticking()
    keys = key_set(published, clock)
    keys.key("k2")
    published.keys.pop()
    clock.pass_seconds(3600)
    with pytest.raises(Refused, match="key-unknown"):
        keys.key("k2")


def test_an_unreachable_issuer_is_no_refusal() -> None:
    published, clock = Published(jwk(KEY, "k1")), Ticking()
    keys = key_set(published, clock)
    published.reachable = False
    for _ in range(2):
        with pytest.raises(KeysUnreachable):
            keys.key("k1")
    assert published.fetched == 1
    clock.pass_seconds(5)
    published.reachable = True
    assert keys.key("k1").key_id == "k1"


def test_known_keys_outlive_an_issuer_that_is_down_for_less_than_a_day() -> None:
    published, clock = Published(jwk(KEY, "k1")), Ticking()
    keys = key_set(published, clock)
    keys.key("k1")
    published.reachable = False
    clock.pass_seconds(3600)
    for _ in range(60):
        assert keys.key("k1").key_id == "k1"
        clock.pass_seconds(1)
    assert published.fetched == 2
    with pytest.raises(KeysUnreachable):  # it may be a new one
        keys.key("k2")
    assert published.fetched == 3
    clock.pass_seconds(23 * 3600 - 61)
    assert keys.key("k1").key_id == "k1"
    clock.pass_seconds(1)
    for _ in range(3):
        with pytest.raises(KeysUnreachable):
            keys.key("k1")
    published.reachable = True
    clock.pass_seconds(5)
    assert keys.key("k1").key_id == "k1"


def test_an_answer_without_keys_is_no_key_document() -> None:
    keys = KeySet(lambda: {"error": "later"}, algorithm="RS256", clock=Ticking())
    with pytest.raises(KeysUnreachable):
        keys.key("k1")


def test_keys_for_other_purposes_are_passed_over() -> None:
    published = Published(
        jwk(KEY, "enc") | {"use": "enc"}, jwk(KEY, "ps", alg="PS256"), {"kid": "odd"}, {"kty": "RSA"}, jwk(CURVE, "e1")
    )
    published.keys += ["text", None]  # type: ignore[list-item]
    keys = key_set(published, Ticking())
    for key_id in ("enc", "ps", "odd", "e1"):
        with pytest.raises(Refused, match="key-unknown"):
            keys.key(key_id)
