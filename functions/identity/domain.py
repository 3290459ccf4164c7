"""Divisions, posts and accounts: who answers for which area, since when, and by whose word.

Glossary:
    行政区划 division · 统计用区划代码 division code (GB/T 2260, GB/T 10114-2003; 国统字〔2009〕91号)
    代码簿 book: one published list of codes, frozen at its cut-off; 国家统计局 NBS, 民政部 MCA
    省 province · 市 city · 县 county · 乡级 township · 村级 community
    居委会 residents (committee) · 村委会 village (committee) · 类似 quasi: units that are neither, such as farms and parks
    开发区 dev_zone: counted like a county, but no administrative county
    虚拟社区 virtual: a code without residents · 直辖村级区划 fictitious: a township that stands for "directly under the county"
    网格 grid · 岗位 post · 网格员 grid_worker · 值班长 duty_officer · 管理员 administrator · 居民 resident

A place is named by (book, code): in 390 cases the NBS and MCA books give one nine-digit code to different places.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Literal

from linli.errors import Absent, Conflict, Denied, Invalid

CUTS = (2, 4, 6, 9, 12)
"""Length of a code at levels 1 to 5; codes are compared at these cuts only, never by the length of a common prefix."""

GRID_SERIAL = 3
"""Digits a grid's id has more than its community's code."""

LAST = datetime(9999, 1, 1, tzinfo=UTC)
"""Before this every term ends."""

Kind = Literal[
    "province", "city", "district", "county", "county_city", "dev_zone", "subdistrict", "town", "township", "quasi",
    "residents", "village", "quasi_residents", "quasi_village",
]  # fmt: skip
Standing = Literal["regular", "statistical", "virtual", "fictitious"]
Role = Literal["grid_worker", "duty_officer", "administrator"]

ROLE_LEVELS: dict[Role, tuple[int, ...]] = {
    "grid_worker": (6,),
    "duty_officer": (3, 4, 5),
    "administrator": (1, 2, 3, 4, 5),
}
"""Where a role can be posted; 6 is a grid. City and province see figures, not rows, so no duty officer sits there."""


class BadCode(Invalid):
    code = "division-code-malformed"
    zh = "区划代码应为 2、4、6、9 或 12 位半角数字"
    en = "a division code is 2, 4, 6, 9 or 12 digits 0-9"


class PaddedCode(Invalid):
    code = "division-code-padded"
    zh = "区划代码不以零补位，请写 {canonical}"
    en = "a division code is not padded with zeros: write {canonical}"


class UnknownBook(Invalid):
    code = "division-book-unknown"
    zh = "没有这个代码簿，可用：{known}"
    en = "no such code book, there are: {known}"


class DivisionAbsent(Absent):
    code = "division-not-found"
    zh = "代码簿中没有该区划"
    en = "the code book has no such division"


class AreaAbsent(Absent):
    code = "area-not-found"
    zh = "您管理的范围内没有该区域"
    en = "there is no such area among those you administer"


class UnfitArea(Invalid):
    code = "area-unfit"
    zh = "该区域不适用于此角色或居民"
    en = "this area does not fit the role or a resident"


class UnfitTerm(Invalid):
    code = "term-unfit"
    zh = "任期应在今后、9999 年之前结束"
    en = "the term ends in the future, before the year 9999"


class NoSelfAppointment(Denied):
    code = "self-appointment"
    zh = "不能为自己设岗"
    en = "nobody appoints themselves"


class PostDiffers(Conflict):
    code = "post-differs"
    zh = "该岗位已设立，其角色和区域不能改变"
    en = "the post exists with another role or area, which do not change"


class AccountUnfit(Conflict):
    code = "account-unfit"
    zh = "该账号已停用、属于另一类用户，或登记在您管理的范围之外"
    en = "the account is disabled, of the other kind, or registered outside what you administer"


@dataclass(frozen=True)
class Book:
    book_id: str
    zh: str
    en: str
    valid_from: date


DEFAULT_BOOK = "nbs-2023"
BOOKS = {
    book.book_id: book
    for book in (
        Book(DEFAULT_BOOK, "国家统计局统计用区划代码（2023 年）", "NBS statistical codes, 2023", date(2023, 6, 30)),
        # The source of the MCA list states the year only.
        Book("mca-2026", "民政部行政区划代码（2026 年）", "MCA administrative codes, 2026", date(2026, 1, 1)),
    )
}


def known_book(book: str) -> str:
    if book not in BOOKS:
        raise UnknownBook("book", known=", ".join(BOOKS))
    return book


@dataclass(frozen=True)
class Division:
    """One row of a book. `level` and `kind` are the registry's word: names mislead (193 residents' committees
    end in 村(民)委会), and so would a code without its level."""

    book: str
    code: str
    level: int
    kind: Kind
    name: str
    parent: str | None
    valid_from: date
    valid_to: date | None = None
    successors: tuple[str, ...] = ()

    @property
    def path(self) -> tuple[str, ...]:
        """The codes from the province to this division."""
        return tuple(self.code[:cut] for cut in CUTS[: self.level])

    @property
    def standing(self) -> Standing:
        """`regular`, or why the row is not what its level suggests; the registry marks this by serial numbers."""
        serial = self.code[-3:]
        if self.kind == "dev_zone":
            return "statistical"
        if self.level == 5 and serial in {"498", "598"}:
            return "virtual"
        return "fictitious" if self.level == 4 and serial == "198" else "regular"

    def problem(self) -> str | None:
        """What contradicts itself in the row, if anything does."""
        if not 1 <= self.level <= len(CUTS) or len(self.code) != CUTS[self.level - 1] or not self.code.isascii():
            return "code and level disagree"
        if self.parent != (self.path[-2] if self.level > 1 else None):
            return "parent is not the code's own"
        return None


def division_code(text: str, field: str = "code") -> str:
    """The code, spelt the one way there is.

    A padded code is refused with its right spelling. Whole segments are cut, not zeros: 341000 is the city 3410, and
    341 would be nobody's code but a prefix of another city's.
    """
    if not re.fullmatch("[0-9]+", text) or len(text) not in CUTS:
        raise BadCode(field)
    canonical = text
    while len(canonical) > CUTS[0]:
        shorter = CUTS[CUTS.index(len(canonical)) - 1]
        if canonical[shorter:].strip("0"):
            break
        canonical = canonical[:shorter]
    if canonical != text:
        raise PaddedCode(field, canonical=canonical)
    return text


def township_kind(code: str) -> Kind:
    """By the code's range (GB/T 10114): 街道 001-099, 镇 100-199, 乡 200-399, 类似 from 400."""
    serial = int(code[-3:])
    if serial < 100:
        return "subdistrict"
    return "town" if serial < 200 else "township" if serial < 400 else "quasi"


def split_area(area: str) -> tuple[str, str | None]:
    """The division an area is or lies in, and its grid if it is one."""
    if re.fullmatch(f"[0-9]{{{CUTS[-1] + GRID_SERIAL}}}", area):
        return area[: CUTS[-1]], area
    return division_code(area, "area"), None


def area_path(division: Division, grid: str | None) -> tuple[str, ...]:
    """From the province to the area; a grid stands below its community."""
    return (*division.path, grid) if grid else division.path


def check_role_area(role: Role, path: tuple[str, ...]) -> None:
    if len(path) not in ROLE_LEVELS[role]:
        raise UnfitArea("area")


def check_term(valid_to: datetime | None, now: datetime) -> None:
    """Later instants than the last cannot be written in UTC."""
    if valid_to is not None and not now < valid_to < LAST:
        raise UnfitTerm("valid_to")


@dataclass(frozen=True)
class Holding:
    """A post as its holder has it, from `valid_from` to before `valid_to`."""

    post_id: str
    role: str
    path: tuple[str, ...]
    valid_from: datetime
    valid_to: datetime | None = None

    def in_force(self, at: datetime) -> bool:
        return self.valid_from <= at and (self.valid_to is None or at < self.valid_to)


@dataclass(frozen=True)
class Account:
    """A subject of the issuer as this deployment knows it; residents have a home community, staff have posts."""

    subject: str
    kind: Literal["staff", "resident"]
    version: int = 1
    disabled: bool = False
    home: tuple[str, ...] = ()
    holdings: tuple[Holding, ...] = ()

    def check_usable_as(self, kind: Literal["staff", "resident"]) -> None:
        if self.disabled or self.kind != kind:
            raise AccountUnfit("subject")

    def posts_at(self, at: datetime) -> tuple[Holding, ...]:
        """A disabled account and a resident have none."""
        if self.disabled or self.kind != "staff":
            return ()
        return tuple(holding for holding in self.holdings if holding.in_force(at))


@dataclass(frozen=True)
class Post:
    """A post (岗位); its role and area are fixed, its holder changes, and each change is a version."""

    post_id: str
    role: Role
    book: str
    path: tuple[str, ...]
    holder: str
    valid_from: datetime
    valid_to: datetime | None = None
    version: int = 1

    def filled_anew(self, wanted: "Post") -> "Post":
        if (self.role, self.book, self.path) != (wanted.role, wanted.book, wanted.path):
            raise PostDiffers("post_id")
        return replace(wanted, version=self.version + 1)


@dataclass(frozen=True)
class Author:
    """Who changed something, for the timeline: a subject in a post, or the cloud identity that ran a command."""

    subject: str
    post_id: str | None
    correlation_id: str


@dataclass(frozen=True)
class Filling:
    """A post gets a holder: the post as it will be, what it and the holder's account were, by whom and when."""

    post: Post
    before: Post | None
    account: Account | None
    by: Author
    at: datetime

    @property
    def relieved(self) -> tuple[str, Holding] | None:
        """The holder until now and the end of their holding, if it is another."""
        before = self.before
        if before is None or before.holder == self.post.holder:
            return None
        ended_at = min(before.valid_to or self.at, self.at)
        return before.holder, Holding(before.post_id, before.role, before.path, before.valid_from, ended_at)
