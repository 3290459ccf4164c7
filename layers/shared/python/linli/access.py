"""Who may do what: Cedar policies in files, default deny, and what is out of scope is answered as absent."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cedarpy import Decision, PolicySet, Schema, is_authorized

from linli.errors import Absent, Denied, PostUnclear

POLICIES = Path(__file__).parent / "policies"
DIVISION_CUTS = (2, 4, 6, 9, 12)
"""Digits of a division's code by level (GB/T 2260, GB/T 10114); a grid's id is its community's code and three more."""


@dataclass(frozen=True)
class Post:
    """A post (岗位): role and the area it is responsible for; `path` leads from the province to that area.

    The area is a division code, or a grid below a community.
    """

    post_id: str
    role: str
    path: tuple[str, ...]

    @property
    def area(self) -> str:
        return self.path[-1]


@dataclass(frozen=True)
class Caller:
    """Who calls, by the authorizer's word: a member of staff with posts, or a resident with a home community."""

    subject: str
    posts: tuple[Post, ...] = ()
    home: str | None = None

    @classmethod
    def from_context(cls, principal: str) -> "Caller":
        data = json.loads(principal)
        posts = tuple(Post(p["post_id"], p["role"], tuple(p["path"])) for p in data["posts"])
        return cls(subject=data["subject"], posts=posts, home=data["home"])

    def to_context(self) -> str:
        posts = [{"post_id": p.post_id, "role": p.role, "path": p.path} for p in self.posts]
        return json.dumps({"subject": self.subject, "posts": posts, "home": self.home}, separators=(",", ":"))

    def acting(self, post_id: str | None) -> "Actor":
        """The caller in one of their posts: the named one, or the only one; residents have none."""
        if post_id is None and len(self.posts) <= 1:
            return Actor(self, self.posts[0] if self.posts else None)
        for post in self.posts:
            if post.post_id == post_id:
                return Actor(self, post)
        raise PostUnclear("Linli-Post", posts=", ".join(p.post_id for p in self.posts) or "-")


@dataclass(frozen=True)
class Resource:
    """What is acted upon: its type in the policy, the areas it lies in, and the attributes policies look at."""

    type: str
    resource_id: str
    within: Sequence[str]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Actor:
    caller: Caller
    post: Post | None

    @property
    def subject(self) -> str:
        return self.caller.subject

    @property
    def post_id(self) -> str | None:
        return self.post.post_id if self.post else None

    def may(self, action: str, resource: Resource) -> bool:
        """Anything but a clean permit is a denial, an evaluation error too."""
        principal, about = self._entity()
        request = {
            "principal": principal,
            "action": {"type": "Action", "id": action},
            "resource": {"type": resource.type, "id": resource.resource_id},
            "context": {},
        }
        entities = [about, _resource_entity(resource), *_areas([*resource.within, *self._own_areas()])]
        policies, schema = _policies()
        result = is_authorized(request, policies, json.dumps(entities), schema=schema)
        return result.decision == Decision.Allow and not result.diagnostics.errors

    def require(self, action: str, resource: Resource, *, seen_by: str, absent: Absent) -> None:
        """`absent` unless the caller may do `seen_by` (reading it), then Denied unless they may do `action`."""
        if not self.may(seen_by, resource):
            raise absent
        if action != seen_by and not self.may(action, resource):
            raise Denied()

    def _own_areas(self) -> list[str]:
        return [self.post.area] if self.post else [self.caller.home] if self.caller.home else []

    def _entity(self) -> tuple[dict[str, str], dict[str, Any]]:
        if self.post:
            uid = {"type": "Post", "id": self.post.post_id}
            attributes: dict[str, Any] = {"role": self.post.role, "area": entity("Area", self.post.area)}
        else:
            uid = {"type": "Resident", "id": self.subject}
            attributes = {"home": entity("Area", self.caller.home)} if self.caller.home else {}
        return uid, {"uid": uid, "attrs": attributes, "parents": []}


def grid_resource(grid_id: str) -> Resource:
    """A grid as what is acted upon; its id says what it lies in."""
    return Resource("Grid", grid_id, [*(grid_id[:cut] for cut in DIVISION_CUTS), grid_id])


def entity(type_: str, entity_id: str) -> dict[str, Any]:
    """A reference to another entity, as an attribute's value."""
    return {"__entity": {"type": type_, "id": entity_id}}


def _areas(codes: Sequence[str]) -> list[dict[str, Any]]:
    return [{"uid": {"type": "Area", "id": code}, "attrs": {}, "parents": []} for code in dict.fromkeys(codes)]


def _resource_entity(resource: Resource) -> dict[str, Any]:
    return {
        "uid": {"type": resource.type, "id": resource.resource_id},
        "attrs": dict(resource.attributes),
        "parents": [{"type": "Area", "id": code} for code in resource.within],
    }


@cache
def _policies() -> tuple[PolicySet, Schema]:
    policies = PolicySet.from_str((POLICIES / "access.cedar").read_text(encoding="utf-8"))
    schema = Schema.from_str((POLICIES / "access.cedarschema").read_text(encoding="utf-8"))
    return policies, schema
