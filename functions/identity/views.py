"""What identity takes and answers over HTTP."""

from datetime import date
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, RootModel

from identity.domain import DEFAULT_BOOK, Division, Kind, Role, Standing
from linli.access import Caller
from linli.http import Model

Subject = Annotated[str, Field(pattern=r"^[0-9A-Za-z._|:-]{1,255}$", description="the `sub` of the issuer's tokens")]
PostId = Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{3,64}$")]


class Book(Model):
    book: str = DEFAULT_BOOK


class ChildrenFilter(Book):
    name: str | None = Field(default=None, min_length=1, max_length=50)


class DivisionView(Model):
    """A division as its book has it. `standing` says why a row is not what its level suggests: `statistical` is a
    development zone, `virtual` has no residents, `fictitious` stands for "directly under the county"."""

    book: str
    code: str
    level: int
    kind: Kind
    standing: Standing
    name: str
    parent: str | None = None
    valid_from: date
    valid_to: date | None = None
    successors: list[str]

    @classmethod
    def of(cls, division: Division) -> "DivisionView":
        return cls(
            book=division.book,
            code=division.code,
            level=division.level,
            kind=division.kind,
            standing=division.standing,
            name=division.name,
            parent=division.parent,
            valid_from=division.valid_from,
            valid_to=division.valid_to,
            successors=list(division.successors),
        )


class DivisionList(Model):
    book: str
    code: str
    items: list[DivisionView]


class PostView(Model):
    post_id: str
    role: str
    area: str
    path: list[str]


class Me(Model):
    subject: str
    posts: list[PostView]
    home: str | None = None

    @classmethod
    def of(cls, caller: Caller) -> "Me":
        posts = [PostView(post_id=p.post_id, role=p.role, area=p.area, path=list(p.path)) for p in caller.posts]
        return cls(subject=caller.subject, posts=posts, home=caller.home)


class AppointmentIn(Model):
    post_id: PostId
    role: Role
    area: Annotated[
        str, Field(pattern=r"^[0-9]{2,15}$", description="a division's code; a grid's id for a grid_worker")
    ]
    subject: Subject
    valid_to: AwareDatetime | None = None


class Appointed(Model):
    post_id: str
    version: int
    valid_from: AwareDatetime


class ResidentIn(Model):
    subject: Subject
    community: Annotated[str, Field(pattern=r"^[0-9]{12}$")]


class Registered(Model):
    subject: str
    home: str
    version: int


class Document(RootModel[dict[str, Any]]):
    """An OpenAPI 3.1 document."""
