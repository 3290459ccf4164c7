"""The authorizer of every route: whose token it is, and which posts they hold now (docs/adr/0003-authorizer-answers.md)."""

import os
from functools import cache
from typing import Any

from identity.domain import Account
from identity.store import AccountStore
from identity.tokens import Issuer, KeySet, Refused, Verifier, fetch_keys
from linli.access import Caller, Post
from linli.clock import utc_now
from linli.log import logger
from linli.metrics import Metric, emit

log = logger("identity")
accounts = AccountStore()
clock = utc_now


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Always authorized, with a principal or with why there is none; raises when the question cannot be answered."""
    try:
        caller = _caller(event)
    except Refused as refused:
        log.info("token refused", reason=refused.reason, route=event.get("routeKey"))
        emit(Metric.TOKENS_REFUSED, 1, context="identity", reason=refused.reason)
        return {"isAuthorized": True, "context": {"refused": refused.reason}}
    log.info("token accepted", subject=caller.subject, route=event.get("routeKey"))
    return {"isAuthorized": True, "context": {"principal": caller.to_context()}}


def _caller(event: dict[str, Any]) -> Caller:
    scheme, _, token = (event.get("headers") or {}).get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refused("no-token")
    subject = verifier().subject(token.strip())
    account = accounts.account(subject)
    if account is None:
        raise Refused("no-account")
    if account.disabled:
        raise Refused("disabled")
    return _as_caller(account)


def _as_caller(account: Account) -> Caller:
    posts = tuple(Post(held.post_id, held.role, held.path) for held in account.posts_at(clock()))
    home = account.home[-1] if account.kind == "resident" and account.home else None
    return Caller(account.subject, posts, home)


@cache
def verifier() -> Verifier:
    """One for the life of the process, so that the issuer's keys are fetched seldom."""
    env = os.environ
    issuer = Issuer(env["OIDC_ISSUER"], env["OIDC_AUDIENCE"], env["OIDC_ALGORITHM"])
    keys = KeySet(fetch_keys(env["OIDC_JWKS_URL"]), algorithm=issuer.algorithm, clock=clock)
    return Verifier(issuer, keys)
