"""Lists straight from their index: one query each, the partition key made from the caller's scope."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from linli.access import Actor, grid_resource
from linli.cursor import Cursors
from linli.errors import Absent, Denied, Invalid
from tickets.store import Summary, TicketStore

GRID_DIGITS = 15


@dataclass(frozen=True)
class ListWanted:
    """`of` is whose: `mine` (the post's), `grid`, or `reported` (by the caller, whatever post they hold now)."""

    of: str
    grid_id: str | None
    limit: int
    cursor: str | None


class GridMissing(Invalid):
    code = "grid-missing"
    zh = "请指明网格"
    en = "say which grid"


class GridAbsent(Absent):
    code = "grid-not-found"
    zh = "未找到该网格"
    en = "there is no such grid"


def list_page(
    wanted: ListWanted, *, actor: Actor, store: TicketStore, cursors: Cursors, now: datetime
) -> tuple[list[Summary], str | None]:
    """A page and the cursor of the next. Raises Denied without a post, GridAbsent out of scope, CursorExpired."""
    query: Callable[..., tuple[list[Summary], Any]]
    if wanted.of == "reported":
        key, query = actor.subject, store.reported_by
    elif wanted.of == "grid":
        key, query = _grid_seen_by(actor, wanted.grid_id), store.open_in_grid
    elif actor.post:
        key, query = actor.post.post_id, store.waiting_for_post
    else:
        raise Denied("list")
    bound_to = f"{actor.subject}|{wanted.of}|{key}"
    after = cursors.unseal(wanted.cursor, bound_to=bound_to, now=now)
    page, position = query(key, limit=wanted.limit, after=after)
    return page, cursors.seal(position, bound_to=bound_to, now=now)


def _grid_seen_by(actor: Actor, grid_id: str | None) -> str:
    """The grid asked for, or the one the caller's post is for."""
    if grid_id is None and actor.post and len(actor.post.area) == GRID_DIGITS:
        grid_id = actor.post.area
    if grid_id is None:
        raise GridMissing("grid_id")
    actor.require("list_grid_work", grid_resource(grid_id), seen_by="list_grid_work", absent=GridAbsent("grid_id"))
    return grid_id
