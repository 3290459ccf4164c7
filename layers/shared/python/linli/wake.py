"""Wakes: an item whose clock is to be looked at later asks `timers` for one, and its owner answers when it comes.

Glossary:

    督办节点 rung       how far the clock is, in per cent of its budget (50, 80, 100, 150)
    唤醒 wake          asks the owner of an item to look at its clock; the clock itself lives in the item
    承办方 owner        the context the item belongs to

An owner publishes `<Owner>WakeWanted`, a subclass of `WakeWanted`, in the transaction that changes its item. Once the
wake is due, `timers` invokes the owner's `on_wake.handler` with the keys of many wakes; it answers each with the wake
wanted next. A wake that is not answered is asked again in the next minute.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from pydantic import AwareDatetime, BaseModel

from linli.clock import iso
from linli.deadline import Deadline
from linli.facts import Fact

RANKS = {"critical": 0, "major": 1, "minor": 2, "warning": 3}
SEVERITIES = {str(rank): severity for severity, rank in RANKS.items()}
UNRANKED = len(RANKS)


@dataclass(frozen=True)
class Wake:
    """`ref` is the item's id with its owner, `rung` in per cent; `severity` None where the item has none.

    `generation` counts the changes of the item's plan: a wake of an older one is stale, and its owner says so.
    """

    owner: str
    ref: str
    rung: int
    generation: int
    fire_at: datetime
    severity: str | None = None

    @property
    def sort_key(self) -> str:
        """severity rank, then time, so that the order of the rows is the order of the work."""
        rank = RANKS.get(self.severity or "", UNRANKED)
        return f"{rank}#{iso(self.fire_at)}#{self.owner}#{self.ref}#{self.rung}#{self.generation}"

    @classmethod
    def parse(cls, sort_key: str) -> "Wake":
        """The wake a sort key tells of; `ref` may hold #. Raises ValueError if it is none."""
        rank, fire_at, owner, rest = sort_key.split("#", 3)
        ref, rung, generation = rest.rsplit("#", 2)
        severity = SEVERITIES.get(rank)
        wake = cls(owner, ref, int(rung), int(generation), datetime.fromisoformat(fire_at), severity)
        if wake.sort_key != sort_key:
            raise ValueError("a sort key of another form")
        return wake


@dataclass(frozen=True)
class Answer:
    """`then` is the wake the clock wants now; None if it wants none. The wake itself again means: not yet."""

    wake: Wake
    then: Wake | None


class WakeWanted(Fact):
    """The item at `ref` is to be looked at, at `fire_at`; the owner is the envelope's context."""

    ref: str
    rung: int
    generation: int
    fire_at: AwareDatetime
    severity: str | None


class Asked(BaseModel):
    """What `timers` invokes an owner with: the keys of wakes that are due, and the time by which they are."""

    at: AwareDatetime
    wakes: list[str]


class Said(BaseModel):
    """One answer, in keys."""

    wake: str
    then: str | None


class Answered(BaseModel):
    """What the owner answers."""

    answers: list[Said]


class Look(Protocol):
    """Look at the items and answer each wake; one that could not be looked at is left out."""

    def __call__(self, wakes: Sequence[Wake], *, at: datetime) -> Sequence[Answer]: ...


def answer_wakes(event: dict[str, Any], look: Look) -> dict[str, Any]:
    """The owner's side of an invocation.

    What `look` raises fails the invocation: `timers` then asks for each wake alone, so one item that fails leaves its
    own wake unanswered and no other.
    """
    asked = Asked.model_validate(event)
    answers = look([Wake.parse(key) for key in asked.wakes], at=asked.at)
    said = [Said(wake=one.wake.sort_key, then=one.then and one.then.sort_key) for one in answers]
    return Answered(answers=said).model_dump()


def next_wake(deadline: Deadline, *, owner: str, ref: str, severity: str | None) -> Wake | None:
    """The wake the clock wants to have; None while it wants none."""
    if deadline.next_rung is None or deadline.next_rung_at is None:
        return None
    return Wake(owner, ref, deadline.next_rung, deadline.generation, deadline.next_rung_at, severity)
