"""The authorizer's answers, on the fake and on the real store, and the keys over a real connection."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from identity import api, authorizer
from identity.domain import DEFAULT_BOOK, Account, Author, Filling, Post
from identity.tokens import Issuer, KeySet, KeysUnreachable, Verifier, fetch_keys
from linli.access import Caller
from linli.clock import utc_now
from linli.commands import command
from tests.fakes_identity import stores
from tests.support import CONTEXT, NOW, request

ISSUER, AUDIENCE = "https://issuer.example/pool", "linli-api"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
JWKS = {"keys": [{**jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k1"}]}
BY = Author("admin-1", "administrator-34", "request-1")
PATH = ("34", "3401", "340104", "340104002")


def bearer(subject: str = "staff-1", **claims: Any) -> str:
    now = int(time.time())
    payload = {"sub": subject, "iss": ISSUER, "aud": AUDIENCE, "exp": now + 3600, **claims}
    return "Bearer " + jwt.encode(payload, KEY, "RS256", headers={"kid": "k1"})


@pytest.fixture(params=["fake", "real"])
def accounts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    keys = KeySet(lambda: JWKS, algorithm="RS256", clock=utc_now)
    with stores(request.param) as (_, accounts):
        monkeypatch.setattr(authorizer, "accounts", accounts)
        monkeypatch.setattr(authorizer, "clock", lambda: NOW)
        monkeypatch.setattr(authorizer, "verifier", lambda: Verifier(Issuer(ISSUER, AUDIENCE, "RS256"), keys))
        yield accounts


def ask(authorization: str | None) -> dict[str, Any]:
    headers = {"authorization": authorization} if authorization is not None else {}
    event = {"version": "2.0", "type": "REQUEST", "routeKey": "GET /v1/identity/me", "headers": headers}
    answer = authorizer.handler(event, CONTEXT)
    assert answer["isAuthorized"] is True
    return dict(answer["context"])


def caller(authorization: str) -> Caller:
    said = ask(authorization)
    assert said.keys() == {"principal"}
    return Caller.from_context(said["principal"])


def post(**changed: Any) -> Post:
    return Post(**{
        "post_id": "duty-1", "role": "duty_officer", "book": DEFAULT_BOOK, "path": PATH, "holder": "staff-1",
        "valid_from": NOW, **changed,
    })  # fmt: skip


def fill(accounts: Any, wanted: Post) -> None:
    accounts.fill_post(Filling(wanted, None, accounts.account(wanted.holder), BY, NOW))


def test_staff_come_with_their_posts_in_force(accounts: Any) -> None:
    fill(accounts, post())
    fill(accounts, post(post_id="duty-2", valid_to=NOW))
    fill(accounts, post(post_id="duty-3", valid_from=NOW + timedelta(seconds=1)))
    fill(accounts, post(post_id="duty-4", valid_to=NOW + timedelta(seconds=1)))
    found = caller(bearer())
    assert (found.subject, found.home) == ("staff-1", None)
    assert [(held.post_id, held.role, held.path) for held in found.posts] == [
        ("duty-1", "duty_officer", PATH),
        ("duty-4", "duty_officer", PATH),
    ]


def test_a_changed_post_is_felt_at_once(accounts: Any) -> None:
    fill(accounts, post())
    assert len(caller(bearer()).posts) == 1
    before = accounts.post("duty-1")
    accounts.fill_post(Filling(before.filled_anew(post(holder="staff-2")), before, None, BY, NOW))
    assert caller(bearer()).posts == ()
    assert len(caller(bearer("staff-2")).posts) == 1


def test_residents_come_with_their_home(accounts: Any) -> None:
    home = Account("resident-1", "resident", home=(*PATH, "340104002003"))
    accounts.save_resident(home, None, by=BY, at=NOW, command=command("r", "1"))
    assert caller(bearer("resident-1")) == Caller("resident-1", (), "340104002003")


def test_a_disabled_account_gives_nothing(accounts: Any) -> None:
    home = Account("resident-1", "resident", disabled=True, home=(*PATH, "340104002003"))
    accounts.save_resident(home, None, by=BY, at=NOW, command=command("r", "1"))
    assert ask(bearer("resident-1")) == {"refused": "disabled"}


def test_a_subject_without_account_gives_nothing(accounts: Any) -> None:
    assert ask(bearer("stranger")) == {"refused": "no-account"}
    assert ask(bearer("staff-1#x")) == {"refused": "no-account"}


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (None, "no-token"),
        ("", "no-token"),
        ("Bearer", "no-token"),
        ("Bearer ", "no-token"),
        ("Basic dXNlcjpwYXNz", "no-token"),
        ("Bearer garbage", "malformed"),
        (bearer(exp=1), "expired"),
        (bearer(aud="other"), "audience"),
        (bearer(token_use="id"), "token-use"),
        (bearer().removeprefix("Bearer "), "no-token"),
    ],
)
def test_a_refusal_names_a_reason_and_no_principal(accounts: Any, authorization: str | None, reason: str) -> None:
    fill(accounts, post())
    assert ask(authorization) == {"refused": reason}


def test_the_api_takes_the_authorizers_word(accounts: Any) -> None:
    fill(accounts, post())
    said = ask(bearer())
    event = request("GET", "/v1/identity/me", None)
    event["requestContext"]["authorizer"] = {"lambda": said}
    answer = api.handler(event, CONTEXT)
    assert json.loads(answer["body"])["posts"][0]["area"] == PATH[-1]


def test_unreachable_keys_fail_the_call(accounts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable() -> dict[str, Any]:
        raise KeysUnreachable("down")

    keys = KeySet(unreachable, algorithm="RS256", clock=utc_now)
    monkeypatch.setattr(authorizer, "verifier", lambda: Verifier(Issuer(ISSUER, AUDIENCE, "RS256"), keys))
    with pytest.raises(KeysUnreachable):
        ask(bearer())


def test_nothing_of_the_token_is_logged(accounts: Any, caplog: pytest.LogCaptureFixture) -> None:
    authorization = bearer("stranger")
    with caplog.at_level("INFO"):
        ask(authorization)
    logged = [vars(record) for record in caplog.records]
    assert [record["reason"] for record in logged] == ["no-account"]
    assert not [part for part in authorization.removeprefix("Bearer ").split(".") if part in str(logged)]


def test_configuration_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    authorizer.verifier.cache_clear()
    for name, value in (
        ("ISSUER", ISSUER),
        ("JWKS_URL", "http://127.0.0.1:9/"),
        ("AUDIENCE", AUDIENCE),
        ("ALGORITHM", "ES256"),
    ):
        monkeypatch.setenv(f"OIDC_{name}", value)
    assert authorizer.verifier() is authorizer.verifier()
    authorizer.verifier.cache_clear()
    monkeypatch.setenv("OIDC_ALGORITHM", "none")
    with pytest.raises(ValueError, match="OIDC_ALGORITHM"):
        authorizer.verifier()


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, tuple[int, bytes]]]]:
    answers: dict[str, tuple[int, bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            status, body = answers[self.path]
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/keys")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}", answers
    listening.shutdown()
    listening.server_close()


def test_keys_are_read_over_the_network(server: tuple[str, dict[str, tuple[int, bytes]]]) -> None:
    url, answers = server
    answers |= {
        "/keys": (200, json.dumps(JWKS).encode()),
        "/gone": (404, json.dumps(JWKS).encode()),
        "/moved": (302, b""),
        "/text": (200, b"<html>"),
        "/list": (200, b"[]"),
        "/broken": (503, b""),
    }
    assert fetch_keys(f"{url}/keys")() == JWKS
    for path in ("gone", "moved", "text", "list", "broken"):
        with pytest.raises(KeysUnreachable):
            fetch_keys(f"{url}/{path}")()


def test_nobody_listening_is_unreachable(server: tuple[str, dict[str, tuple[int, bytes]]]) -> None:
    with pytest.raises(KeysUnreachable):
        fetch_keys("http://127.0.0.1:1/keys")()


def test_an_account_is_not_what_a_post_says() -> None:
    with_home = Account("s", "staff", home=("34",))
    assert authorizer._as_caller(with_home).home is None
    assert authorizer._as_caller(replace(with_home, kind="resident")).home == "34"
