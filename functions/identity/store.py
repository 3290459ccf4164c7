"""The identity table: divisions, accounts and posts. The only module of the context that knows DynamoDB.

DIV#nbs-2023#340104002003 | D         a division, by (book, code)
LOAD#nbs-2023             | L         fingerprint of the rows a book was loaded from
SUB#subject               | A         account: staff or resident, disabled, home
SUB#subject               | POST#id   a post as its holder has it; with A, all the authorizer asks for, in one query
SUB#subject               | S#000001  step of the account's timeline, sorted behind what the authorizer reads
POST#id                   | P         the post: role, area, holder
POST#id                   | S#000001  step of the post's timeline
ADMIN                     | FIRST     the first administrator was appointed

index children: PARENT#nbs-2023#340104002 | code    the divisions directly below one
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Literal, cast

from pynamodb.attributes import (
    BooleanAttribute,
    ListAttribute,
    NumberAttribute,
    UnicodeAttribute,
)
from pynamodb.indexes import GlobalSecondaryIndex, IncludeProjection

from identity.domain import Account, Author, Division, Filling, Holding, Kind, Post, Role
from linli.clock import iso
from linli.commands import Command, CommandLog
from linli.table import Put, Row, Step, Table, TableMeta, TableName

LIST_LIMIT = 500
"""Rows one list reads at most; no division has more than 44 children."""


class ChildrenIndex(GlobalSecondaryIndex["DivisionRow"]):
    """`PARENT#book#code | code`: the children of a division in code order."""

    class Meta:
        index_name = "children"
        projection = IncludeProjection(["name", "level", "kind", "valid_from", "valid_to", "successors"])

    parent = UnicodeAttribute(hash_key=True)
    code = UnicodeAttribute(range_key=True)


class IdentityRow(Row):
    """The index stands here, not with its rows: they use this class's connection, and it knows only its own indexes."""

    class Meta(TableMeta):
        table_name = TableName("IDENTITY_TABLE")

    children = ChildrenIndex()


class DivisionRow(IdentityRow):
    """`DIV#book#code | D`: a division by its key; index `children` by its parent (the province has none)."""

    code = UnicodeAttribute()
    parent = UnicodeAttribute(null=True)
    level = NumberAttribute()
    kind = UnicodeAttribute()
    name = UnicodeAttribute()
    valid_from = UnicodeAttribute()
    valid_to = UnicodeAttribute(null=True)
    successors = ListAttribute[Any](of=UnicodeAttribute, null=True)


class LoadRow(IdentityRow):
    """`LOAD#book | L`: what the book's rows were loaded from."""

    fingerprint = UnicodeAttribute()
    row_count = NumberAttribute()
    loaded_at = UnicodeAttribute()


class SubjectRow(IdentityRow):
    """`SUB#subject | A` the account and `SUB#subject | POST#id` its posts: one class, so that one query reads both."""

    kind = UnicodeAttribute(null=True)
    disabled = BooleanAttribute(null=True)
    home = ListAttribute[Any](of=UnicodeAttribute, null=True)
    version = NumberAttribute(null=True)
    role = UnicodeAttribute(null=True)
    path = ListAttribute[Any](of=UnicodeAttribute, null=True)
    valid_from = UnicodeAttribute(null=True)
    valid_to = UnicodeAttribute(null=True)


class PostRow(IdentityRow):
    """`POST#id | P`: the post and who holds it."""

    role = UnicodeAttribute()
    book = UnicodeAttribute()
    path = ListAttribute[Any](of=UnicodeAttribute)
    holder = UnicodeAttribute()
    valid_from = UnicodeAttribute()
    valid_to = UnicodeAttribute(null=True)
    version = NumberAttribute()


class FirstRow(IdentityRow):
    """`ADMIN | FIRST`: written once, so that a second first administrator is refused."""

    post_id = UnicodeAttribute()


class DivisionStore:
    def __init__(self) -> None:
        self._table = Table(IdentityRow)

    def division(self, book: str, code: str) -> Division | None:
        row = self._table.get(DivisionRow, f"DIV#{book}#{code}", "D")
        return _division(row) if row else None

    def divisions(self, book: str, codes: Sequence[str]) -> list[Division]:
        """Those of the codes the book has, higher levels first."""
        keys = [(f"DIV#{book}#{code}", "D") for code in codes]
        found = self._table.rows(DivisionRow).batch_get(keys) if keys else []
        return sorted(map(_division, found), key=lambda division: (division.level, division.code))

    def children(self, book: str, code: str) -> list[Division]:
        _ = self._table.rows(DivisionRow)
        return [_division(row) for row in DivisionRow.children.query(f"PARENT#{book}#{code}", limit=LIST_LIMIT)]

    def fingerprint(self, book: str) -> str | None:
        row = self._table.get(LoadRow, f"LOAD#{book}", "L")
        return row.fingerprint if row else None

    def write(self, divisions: Sequence[Division]) -> int:
        """Puts rows whatever was there; safe from several threads."""
        with self._table.rows(DivisionRow).batch_write() as batch:
            for division in divisions:
                batch.save(_division_row(division))
        return len(divisions)

    def mark_loaded(self, book: str, fingerprint: str, count: int, at: datetime) -> None:
        row = self._table.rows(LoadRow)(
            f"LOAD#{book}", "L", fingerprint=fingerprint, row_count=count, loaded_at=iso(at)
        )
        row.save()


class AccountStore(CommandLog):
    def __init__(self) -> None:
        self._table = Table(IdentityRow)

    def account(self, subject: str) -> Account | None:
        """The account with all its posts, read consistently in one query."""
        query = self._table.rows(SubjectRow).query(f"SUB#{subject}", SubjectRow.sk < "S", consistent_read=True)
        rows = list(query)
        if not rows or rows[0].sk != "A":
            return None
        first, holdings = rows[0], tuple(map(_holding, rows[1:]))
        kind: Literal["staff", "resident"] = "staff" if first.kind == "staff" else "resident"
        return Account(subject, kind, int(first.version), bool(first.disabled), tuple(first.home or ()), holdings)

    def post(self, post_id: str) -> Post | None:
        row = self._table.get(PostRow, f"POST#{post_id}", "P")
        if row is None:
            return None
        valid = datetime.fromisoformat(row.valid_from), _instant(row.valid_to)
        path = tuple(row.path)
        return Post(post_id, cast(Role, row.role), row.book, path, row.holder, *valid, version=int(row.version))

    def first_administrator(self) -> str | None:
        """The post of the first administrator, if there is one."""
        row = self._table.get(FirstRow, "ADMIN", "FIRST")
        return row.post_id if row else None

    def steps(self, pk: str) -> list[Step]:
        """The timeline of `POST#id` or `SUB#subject`."""
        return self._table.steps(pk)

    def recall(self, command: Command) -> dict[str, str] | None:
        return self._table.recall(command)

    def fill_post(self, filling: Filling, *, command: Command | None = None, first: bool = False) -> None:
        """Post, timeline, the holder's row, the former holder's end and the account, all or none.

        Raises StaleVersion if the post or the account changed meanwhile, or if `first` and there is one already.
        """
        post, account = filling.post, filling.account or Account(filling.post.holder, "staff")
        held = Holding(post.post_id, post.role, post.path, post.valid_from, post.valid_to)
        step = _step("filled", filling.by, filling.at, f"holder={post.holder} valid_to={_text(post.valid_to) or '-'}")
        puts = [
            Put(
                _post_row(post), PostRow.version == post.version - 1 if filling.before else PostRow.pk.does_not_exist()
            ),
            self._table.step_put(f"POST#{post.post_id}", post.version, step),
            Put(_holding_row(post.holder, held)),
            Put(_account_row(account), _unchanged(filling.account)),
        ]
        if filling.relieved:
            puts.append(Put(_holding_row(*filling.relieved)))
        if first:
            puts.append(Put(FirstRow("ADMIN", "FIRST", post_id=post.post_id), FirstRow.pk.does_not_exist()))
        self._table.commit(puts, at=filling.at, command=command)

    def save_resident(
        self, account: Account, before: Account | None, *, by: Author, at: datetime, command: Command
    ) -> None:
        """The account and its timeline, all or none; StaleVersion if it changed meanwhile."""
        step = _step("registered", by, at, f"home={account.home[-1]}")
        puts = [
            Put(_account_row(account), _unchanged(before)),
            self._table.step_put(f"SUB#{account.subject}", account.version, step),
        ]
        self._table.commit(puts, at=at, command=command)


def _unchanged(before: Account | None):  # type: ignore[no-untyped-def]  # PynamoDB conditions
    return SubjectRow.version == before.version if before else SubjectRow.pk.does_not_exist()


def _division_row(division: Division) -> DivisionRow:
    return DivisionRow(
        f"DIV#{division.book}#{division.code}",
        "D",
        code=division.code,
        parent=f"PARENT#{division.book}#{division.parent}" if division.parent else None,
        level=division.level,
        kind=division.kind,
        name=division.name,
        valid_from=division.valid_from.isoformat(),
        valid_to=division.valid_to.isoformat() if division.valid_to else None,
        successors=list(division.successors) or None,
    )


def _division(row: DivisionRow) -> Division:
    return Division(
        book=row.pk.split("#")[1],
        code=row.code,
        level=int(row.level),
        kind=cast(Kind, row.kind),
        name=row.name,
        parent=row.parent.split("#")[2] if row.parent else None,
        valid_from=date.fromisoformat(row.valid_from),
        valid_to=date.fromisoformat(row.valid_to) if row.valid_to else None,
        successors=tuple(row.successors or ()),
    )


def _account_row(account: Account) -> SubjectRow:
    return SubjectRow(
        f"SUB#{account.subject}",
        "A",
        kind=account.kind,
        disabled=account.disabled,
        home=list(account.home) or None,
        version=account.version,
    )


def _holding_row(subject: str, holding: Holding) -> SubjectRow:
    return SubjectRow(
        f"SUB#{subject}",
        f"POST#{holding.post_id}",
        role=holding.role,
        path=list(holding.path),
        valid_from=iso(holding.valid_from),
        valid_to=_text(holding.valid_to),
    )


def _holding(row: SubjectRow) -> Holding:
    valid = datetime.fromisoformat(row.valid_from), _instant(row.valid_to)
    return Holding(row.sk.removeprefix("POST#"), row.role, tuple(row.path), *valid)


def _post_row(post: Post) -> PostRow:
    return PostRow(
        f"POST#{post.post_id}",
        "P",
        role=post.role,
        book=post.book,
        path=list(post.path),
        holder=post.holder,
        valid_from=iso(post.valid_from),
        valid_to=_text(post.valid_to),
        version=post.version,
    )


def _step(action: str, by: Author, at: datetime, note: str) -> Step:
    return Step(action, at, by.subject, by.correlation_id, post=by.post_id, note=note)


def _text(at: datetime | None) -> str | None:
    return iso(at) if at else None


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
