"""What changes posts and accounts: an administrator appoints staff and registers residents, inside their own area."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Protocol

from identity.domain import (
    DEFAULT_BOOK,
    Account,
    AccountUnfit,
    AreaAbsent,
    Author,
    Division,
    Filling,
    NoSelfAppointment,
    Post,
    Role,
    UnfitArea,
    area_path,
    check_role_area,
    check_term,
    division_code,
    split_area,
)
from linli.access import Actor, Resource
from linli.clock import Clock, iso
from linli.commands import Command, command


class Divisions(Protocol):
    def division(self, book: str, code: str) -> Division | None: ...


class Accounts(Protocol):
    def account(self, subject: str) -> Account | None: ...
    def post(self, post_id: str) -> Post | None: ...
    def first_administrator(self) -> str | None: ...
    def once(self, command: Command, act: Callable[[], dict[str, str]]) -> dict[str, str]: ...
    def fill_post(self, filling: Filling, *, command: Command | None = None, first: bool = False) -> None: ...
    def save_resident(
        self, account: Account, before: Account | None, *, by: Author, at: datetime, command: Command
    ) -> None: ...


@dataclass(frozen=True)
class Appointment:
    """Who is to hold which post, in which area (a division's code or a grid's id), and until when."""

    post_id: str
    role: Role
    area: str
    subject: str
    valid_to: datetime | None = None


def appoint(
    wanted: Appointment,
    *,
    actor: Actor,
    key: str,
    correlation_id: str,
    accounts: Accounts,
    divisions: Divisions,
    clock: Clock,
) -> dict[str, str]:
    """Create the post or give it a new holder, from now; whoever held it before holds it no more."""
    asked = command("appoint", actor.subject, key, content=asdict(wanted))

    def act() -> dict[str, str]:
        now = clock()
        path = _path(wanted.area, divisions)
        _require(actor, wanted.post_id, path)
        if wanted.subject == actor.subject:
            raise NoSelfAppointment("subject")
        by = Author(actor.subject, actor.post_id, correlation_id)
        filling = _filling(wanted, path, by=by, now=now, accounts=accounts)
        post = filling.post
        result = {"post_id": post.post_id, "version": str(post.version), "valid_from": iso(post.valid_from)}
        accounts.fill_post(filling, command=asked.with_result(**result))
        return result

    return accounts.once(asked, act)


def appoint_first(
    wanted: Appointment, *, author: Author, accounts: Accounts, divisions: Divisions, clock: Clock
) -> Post:
    """The first administrator, appointed from outside; StaleVersion if there is one already."""
    path = _path(wanted.area, divisions)
    filling = _filling(wanted, path, by=author, now=clock(), accounts=accounts)
    accounts.fill_post(filling, first=True)
    return filling.post


def register_resident(
    subject: str,
    community: str,
    *,
    actor: Actor,
    key: str,
    correlation_id: str,
    accounts: Accounts,
    divisions: Divisions,
    clock: Clock,
) -> dict[str, str]:
    """Give a subject a home, or another one if both homes lie in the administrator's area."""
    asked = command("register", actor.subject, key, content=[subject, community])

    def act() -> dict[str, str]:
        division = divisions.division(DEFAULT_BOOK, division_code(community, "community"))
        if division is None:
            raise AreaAbsent("community")
        _require(actor, subject, division.path, field="community")
        if division.level != 5 or division.standing == "virtual":
            raise UnfitArea("community")
        before = accounts.account(subject)
        account = _moved(before, division.path, actor) if before else Account(subject, "resident", home=division.path)
        result = {"subject": subject, "home": community, "version": str(account.version)}
        by = Author(actor.subject, actor.post_id, correlation_id)
        accounts.save_resident(account, before, by=by, at=clock(), command=asked.with_result(**result))
        return result

    return accounts.once(asked, act)


def _moved(before: Account, home: tuple[str, ...], actor: Actor) -> Account:
    before.check_usable_as("resident")
    if not actor.may("appoint", Resource("Appointment", before.subject, before.home)):
        raise AccountUnfit("subject")
    return replace(before, home=home, version=before.version + 1)


def _filling(wanted: Appointment, path: tuple[str, ...], *, by: Author, now: datetime, accounts: Accounts) -> Filling:
    check_role_area(wanted.role, path)
    check_term(wanted.valid_to, now)
    account = accounts.account(wanted.subject)
    if account:
        account.check_usable_as("staff")
    before = accounts.post(wanted.post_id)
    post = Post(wanted.post_id, wanted.role, DEFAULT_BOOK, path, wanted.subject, now, wanted.valid_to)
    return Filling(before.filled_anew(post) if before else post, before, account, by, now)


def _path(area: str, divisions: Divisions) -> tuple[str, ...]:
    code, grid = split_area(area)
    division = divisions.division(DEFAULT_BOOK, code)
    if division is None:
        raise AreaAbsent("area")
    return area_path(division, grid)


def _require(actor: Actor, resource_id: str, path: tuple[str, ...], *, field: str = "area") -> None:
    resource = Resource("Appointment", resource_id, path)
    actor.require("appoint", resource, seen_by="appoint", absent=AreaAbsent(field))
