"""Fakes of identity's stores, and the real books to fill them with."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from identity.domain import Account, Author, Division, Filling, Holding, Post
from identity.load import nbs_rows
from identity.store import AccountStore, DivisionStore
from linli.access import Actor, Caller
from linli.access import Post as HeldPost
from linli.commands import Command, CommandLog, Repeated
from linli.errors import KeyReused, StaleVersion
from linli.table import Step
from tests.support import SEED, table_on_moto


class FakeDivisions:
    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Division] = {}
        self.loaded: dict[str, str] = {}
        self.writes = 0

    def division(self, book: str, code: str) -> Division | None:
        return self.rows.get((book, code))

    def divisions(self, book: str, codes: Sequence[str]) -> list[Division]:
        found = [self.rows[book, code] for code in codes if (book, code) in self.rows]
        return sorted(found, key=lambda division: (division.level, division.code))

    def children(self, book: str, code: str) -> list[Division]:
        found = [row for row in self.rows.values() if (row.book, row.parent) == (book, code)]
        return sorted(found, key=lambda division: division.code)

    def fingerprint(self, book: str) -> str | None:
        return self.loaded.get(book)

    def write(self, divisions: Sequence[Division]) -> int:
        assert len(divisions) <= 25
        self.rows |= {(division.book, division.code): division for division in divisions}
        self.writes += 1
        return len(divisions)

    def mark_loaded(self, book: str, fingerprint: str, count: int, at: datetime) -> None:
        self.loaded[book] = fingerprint


class FakeAccounts(CommandLog):
    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._posts: dict[str, Post] = {}
        self._held: dict[tuple[str, str], Holding] = {}
        self._steps: dict[str, list[Step]] = {}
        self._commands: dict[str, Command] = {}
        self._first: str | None = None

    def __contains__(self, subject: str) -> bool:
        return subject in self._accounts

    def account(self, subject: str) -> Account | None:
        held = sorted((post_id, holding) for (owner, post_id), holding in self._held.items() if owner == subject)
        account = self._accounts.get(subject)
        return replace(account, holdings=tuple(holding for _, holding in held)) if account else None

    def post(self, post_id: str) -> Post | None:
        return self._posts.get(post_id)

    def first_administrator(self) -> str | None:
        return self._first

    def steps(self, pk: str) -> list[Step]:
        return self._steps.get(pk, [])

    def recall(self, command: Command) -> dict[str, str] | None:
        known = self._commands.get(command.key)
        if known and known.digest != command.digest:
            raise KeyReused("Idempotency-Key")
        return known.result if known else None

    def fill_post(self, filling: Filling, *, command: Command | None = None, first: bool = False) -> None:
        post = filling.post
        self._check(command, self._posts.get(post.post_id) != filling.before, filling.account, post.holder)
        if first and self._first:
            raise StaleVersion("expected_version")
        self._first = post.post_id if first else self._first
        self._accounts[post.holder] = self._accounts.get(post.holder, Account(post.holder, "staff"))
        self._posts[post.post_id] = post
        held = Holding(post.post_id, post.role, post.path, post.valid_from, post.valid_to)
        self._held[post.holder, post.post_id] = held
        if filling.relieved:
            former, ended = filling.relieved
            self._held[former, post.post_id] = ended
        self._step(f"POST#{post.post_id}", "filled", filling.by, filling.at)
        self._remember(command)

    def save_resident(
        self, account: Account, before: Account | None, *, by: Author, at: datetime, command: Command
    ) -> None:
        self._check(command, False, before, account.subject)
        self._accounts[account.subject] = account
        self._step(f"SUB#{account.subject}", "registered", by, at)
        self._remember(command)

    def _check(self, command: Command | None, stale: bool, seen: Account | None, subject: str) -> None:
        if command and command.key in self._commands:
            raise Repeated()
        now = self._accounts.get(subject)
        if stale or (now and now.version) != (seen and seen.version):
            raise StaleVersion("expected_version")

    def _step(self, pk: str, action: str, by: Author, at: datetime) -> None:
        self._steps.setdefault(pk, []).append(Step(action, at, by.subject, by.correlation_id, by.post_id))

    def _remember(self, command: Command | None) -> None:
        if command:
            self._commands[command.key] = command


@contextmanager
def stores(kind: str) -> Iterator[tuple[Any, Any]]:
    """Divisions and accounts: `fake`, or the `real` ones on moto."""
    if kind == "fake":
        yield FakeDivisions(), FakeAccounts()
    else:
        with table_on_moto("identity"):
            yield DivisionStore(), AccountStore()


def anhui(*under: str) -> list[Division]:
    """The NBS rows of Anhui whose path touches one of the codes, from above or below; all of them without codes."""
    rows = nbs_rows(SEED / "anhui-divisions.csv")
    if not under:
        return rows
    lineage = {code[:cut] for code in under for cut in (2, 4, 6, 9, 12)}
    return [row for row in rows if row.code in lineage or set(row.path) & set(under)]


def administrator(path: tuple[str, ...] = ("34",), subject: str = "admin-1") -> Caller:
    return Caller(subject, (HeldPost(f"administrator-{path[-1]}", "administrator", path),))


def acting(caller: Caller) -> Actor:
    return caller.acting(None)
