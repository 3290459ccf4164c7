"""Appoint the first administrator: `python -m identity.admin --subject S --area 34`, for operators, once.

With a user pool (environment USER_POOL_ID) `--username U` creates the user there first and prints the password to be
changed at first sign-in. Whoever runs it stands in the post's timeline by their cloud identity.
"""

import argparse
import secrets
from collections.abc import Callable, Sequence
from os import environ
from typing import Any

import boto3

from identity.commands import Accounts, Appointment, Divisions, appoint_first
from identity.domain import Author
from identity.store import AccountStore, DivisionStore
from linli.clock import Clock, new_id, utc_now
from linli.errors import LinliError

Client = Callable[[str], Any]


def appoint_first_administrator(
    options: argparse.Namespace,
    *,
    accounts: Accounts,
    divisions: Divisions,
    clock: Clock = utc_now,
    client: Client = boto3.client,
) -> str:
    """What was done, as a sentence; SystemExit with the reason if nothing was."""
    existing = accounts.first_administrator()
    if existing:
        raise SystemExit(f"已有首位管理员，岗位 {existing} / there is a first administrator: {existing}")
    subject = _user(options.username, client("cognito-idp")) if options.username else options.subject
    ran_by = client("sts").get_caller_identity()["Arn"]
    wanted = Appointment(options.post_id or f"administrator-{options.area}", "administrator", options.area, subject)
    author = Author(ran_by, None, new_id(clock()))
    try:
        post = appoint_first(wanted, author=author, accounts=accounts, divisions=divisions, clock=clock)
    except LinliError as error:
        raise SystemExit(f"{error.text('zh')} / {error.text('en')}") from error
    return f"管理员岗位 {post.post_id} 已由 {subject} 担任 / {subject} holds {post.post_id}"


def _user(username: str, cognito: Any) -> str:
    """The subject of a new user, whose password is printed, or of one that is there after an interrupted run."""
    pool = environ.get("USER_POOL_ID")
    if not pool:
        raise SystemExit("USER_POOL_ID is not set: give --subject, the `sub` of the issuer's tokens")
    password = f"{secrets.token_urlsafe(18)}aA1!"
    try:
        attributes = cognito.admin_create_user(
            UserPoolId=pool, Username=username, TemporaryPassword=password, MessageAction="SUPPRESS"
        )["User"]["Attributes"]
        print(f"初始密码，首次登录时须更改 / first password, to be changed at first sign-in: {password}")
    except cognito.exceptions.UsernameExistsException:
        attributes = cognito.admin_get_user(UserPoolId=pool, Username=username)["UserAttributes"]
    return str(next(one["Value"] for one in attributes if one["Name"] == "sub"))


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m identity.admin", description="Appoint the first administrator.")
    who = options.add_mutually_exclusive_group(required=True)
    who.add_argument("--subject", help="the `sub` of the issuer's tokens")
    who.add_argument("--username", help="a user to be created in the user pool USER_POOL_ID")
    options.add_argument("--area", required=True, help="the division's code, 34 for the province")
    options.add_argument("--post-id", help="default: administrator-<area>")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    print(appoint_first_administrator(options, accounts=AccountStore(), divisions=DivisionStore()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
