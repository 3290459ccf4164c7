"""The one clock: a budget of time, the ledger of what stopped or stretched it, and the next rung to climb.

It is stored in the item it measures (`to_item`) and changes only in that item's transaction, by the functions here;
whatever else is edited leaves it alone. `generation` grows with every change of the plan, so a wake row of an older
plan is known to be stale: cancelling is lazy.

Glossary: 期限 deadline; 挂账 defer (a ticket set aside with approval); 中止 suspend; 恢复 resume; 延期 extend;
转办 transfer; 补正 correction; 超期 breach; 督办节点 rung.

- What passes while suspended is not counted: 行政许可法 Art 45, which wants the applicant told in writing how long.
- An extension is approved by the head of the authority before the term has run out (行政许可法 Art 42); after it, it is
  refused (ours). Rungs reached under the old budget and not yet under the new come again (ours).
- A breach stays one: once `due_at` has passed or rung 100 was reached, neither a suspension, though it be dated back, nor
  a change of the calendar moves it. What is stopped at `due_at` itself is in time (ours).
- A rung reached before a suspension still comes during it; after the stop none comes: what is done is not urged (ours).
- How often and how long an item may be extended or suspended, and who may approve, is the item's own rule.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from linli.errors import Conflict, Invalid
from linli.workcalendar import DAY, NOTHING, Calendar, Unit, YearUnknown, next_day

SCHEMA = 1
RUNGS = (50, 80, 100, 150)
"""Per cent of the budget."""


class Going(StrEnum):
    RUNNING = "running"
    SUSPENDED = "suspended"
    STOPPED = "stopped"


ACTIONS: Mapping[str, Mapping[Going, Going]] = {
    "suspend": {Going.RUNNING: Going.SUSPENDED},
    "resume": {Going.SUSPENDED: Going.RUNNING},
    "extend": {Going.RUNNING: Going.RUNNING, Going.SUSPENDED: Going.SUSPENDED},
    "transfer": {Going.RUNNING: Going.RUNNING, Going.SUSPENDED: Going.SUSPENDED},
    "stop": {Going.RUNNING: Going.STOPPED, Going.SUSPENDED: Going.STOPPED},
}
"""Action → {before: after}; what is not here is refused."""


class Pause(StrEnum):
    """Why a clock may stand still; the first eight are 行政许可法 Art 45's."""

    HEARING = "hearing"  # 听证
    TENDER = "tender"  # 招标
    AUCTION = "auction"  # 拍卖
    INSPECTION = "inspection"  # 检验
    TESTING = "testing"  # 检测
    QUARANTINE = "quarantine"  # 检疫
    APPRAISAL = "appraisal"  # 鉴定
    EXPERT_REVIEW = "expert_review"  # 专家评审
    DEFERRED = "deferred"  # 挂账
    CORRECTION = "correction"  # 待申请人补正


class ClockForbids(Conflict):
    code = "clock-forbids"
    zh = "计时状态为“{going}”，不能执行“{action}”"
    en = "a clock that is {going} does not allow {action}"


class AlreadyBreached(Conflict):
    code = "deadline-already-breached"
    zh = "期限已届满，不能延期"
    en = "the term has run out and can no longer be extended"


class EarlierThanLedger(Conflict):
    code = "earlier-than-ledger"
    zh = "时间早于上一次计时变更"
    en = "that is earlier than the clock's last change"


class NobodyNamed(Invalid):
    code = "nobody-named"
    zh = "须写明经办人或接办人"
    en = "this needs who does it, and to whom it goes"


class PauseUnknown(Invalid):
    code = "pause-reason-unknown"
    zh = "不是可以停止计时的事由"
    en = "a clock cannot stand still for this reason"


class ApprovalMissing(Invalid):
    code = "approval-missing"
    zh = "须填写批准人、理由和延长的时间"
    en = "this needs who approved it, the reason and the time added"


@dataclass(frozen=True)
class Entry:
    """One line of the ledger: `by` did it or approved it; `to` is the new holder, `extra_seconds` what was added."""

    action: str
    at: datetime
    by: str
    reason: str | None = None
    to: str | None = None
    extra_seconds: int | None = None


@dataclass(frozen=True)
class Deadline:
    """`budget` and `consumed` are amounts of the unit (`Calendar`); a working day is one day.

    `due_at` is None while it is suspended, unless it had passed before. `next_rung_at` is when to look at it next: the
    next rung, or the end of the calendar known where the rung lies beyond; the suspension where the rung was reached
    before it. `rungs` are those reached.
    """

    unit: Unit
    budget: timedelta
    started_at: datetime
    calendar: str
    """The version its times were last computed with."""
    running_since: datetime | None
    consumed: timedelta = NOTHING
    """What was used up before `running_since`."""
    going: Going = Going.RUNNING
    generation: int = 1
    due_at: datetime | None = None
    next_rung_at: datetime | None = None
    rungs: tuple[int, ...] = ()
    ledger: tuple[Entry, ...] = ()

    @property
    def next_rung(self) -> int | None:
        return next((rung for rung in RUNGS if rung not in self.rungs), None)

    def breached(self, at: datetime) -> bool:
        """Whether it has run out by then, or had when it was stopped."""
        if 100 in self.rungs:
            return True
        if self.due_at is None:
            return False
        return self.due_at < self.ledger[-1].at if self.going is Going.STOPPED else self.due_at <= at

    def to_item(self) -> dict[str, Any]:
        """JSON-able; amounts in microseconds, instants RFC 3339 in UTC."""
        item = asdict(self) | {"v": SCHEMA, "budget": _micros(self.budget), "consumed": _micros(self.consumed)}
        item |= {name: _text(item[name]) for name in INSTANTS}
        ledger = [entry | {"at": _text(entry["at"])} for entry in item["ledger"]]
        return item | {"rungs": list(self.rungs), "ledger": ledger}

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> "Deadline":
        if item["v"] != SCHEMA:
            raise ValueError(f"a deadline of schema version {item['v']}")
        instants = {name: datetime.fromisoformat(item[name]) if item[name] else None for name in INSTANTS}
        entries = (Entry(**(entry | {"at": datetime.fromisoformat(entry["at"])})) for entry in item["ledger"])
        fields = {name: value for name, value in item.items() if name != "v"} | instants
        fields |= {"unit": Unit(item["unit"]), "going": Going(item["going"])}
        fields |= {name: timedelta(microseconds=int(item[name])) for name in ("budget", "consumed")}
        fields |= {"generation": int(item["generation"]), "rungs": tuple(map(int, item["rungs"]))}
        return cls(**fields | {"ledger": tuple(entries)})


INSTANTS = ("started_at", "running_since", "due_at", "next_rung_at")


def start(budget: timedelta, unit: Unit, calendar: Calendar, *, at: datetime) -> Deadline:
    """A clock running from `at`; in working days from the next day. Raises YearUnknown if it is due in such a year."""
    if not _is_amount(budget, unit):
        raise ValueError(f"a budget of {budget} in {unit}")
    started = Deadline(unit, budget, at.astimezone(UTC), calendar.version, running_since=None, generation=0)
    return replan(_run(started, at), calendar, at=at)


def suspend(deadline: Deadline, reason: Pause, calendar: Calendar, *, by: str, at: datetime) -> Deadline:
    """Stand still from `at` on. Raises ClockForbids, EarlierThanLedger, NobodyNamed, PauseUnknown, YearUnknown."""
    after = _entered(deadline, Entry("suspend", at, by, _pause(reason)))
    still = replace(after, consumed=_consumed(deadline, calendar, at), running_since=None)
    planned = replan(still, calendar, at=at)
    # A share of a day reached today is not in `consumed`, which has whole days only.
    rung = deadline.next_rung
    reached = rung is not None and _reached(deadline, rung, calendar, at)
    return replace(planned, next_rung_at=at.astimezone(UTC)) if reached else planned


def resume(deadline: Deadline, calendar: Calendar, *, by: str, at: datetime) -> Deadline:
    """Run again from `at` on. Raises ClockForbids, EarlierThanLedger, NobodyNamed, YearUnknown."""
    return replan(_run(_entered(deadline, Entry("resume", at, by)), at), calendar, at=at)


def extend(
    deadline: Deadline, extra: timedelta, calendar: Calendar, *, approved_by: str, reason: str, at: datetime
) -> Deadline:
    """A larger budget. Raises AlreadyBreached, ApprovalMissing, ClockForbids, EarlierThanLedger, YearUnknown."""
    if not (approved_by.strip() and reason.strip() and _is_amount(extra, deadline.unit)):
        raise ApprovalMissing("extension")
    added = Entry("extend", at, approved_by, reason, extra_seconds=int(extra.total_seconds()))
    after = _entered(deadline, added)
    if deadline.breached(at):
        raise AlreadyBreached("extension")
    larger = replace(after, budget=deadline.budget + extra)
    still = tuple(rung for rung in deadline.rungs if _reached(larger, rung, calendar, at))
    return replan(replace(larger, rungs=still), calendar, at=at)


def transfer(deadline: Deadline, to: str, *, by: str, at: datetime) -> Deadline:
    """Another holder, the same clock. Raises ClockForbids, EarlierThanLedger, NobodyNamed."""
    if not to.strip():
        raise NobodyNamed("to")
    return _entered(deadline, Entry("transfer", at, by, to=to))


def stop(deadline: Deadline, *, by: str, at: datetime) -> Deadline:
    """Done: no rung comes any more, not even one reached before; `due_at` stays to be compared with.

    Raises ClockForbids, EarlierThanLedger, NobodyNamed.
    """
    after = _entered(deadline, Entry("stop", at, by))
    return replace(after, running_since=None, next_rung_at=None, generation=deadline.generation + 1)


def wake(deadline: Deadline, generation: int, calendar: Calendar, *, at: datetime) -> tuple[Deadline, int | None]:
    """What a wake row of this generation does: the rung reached, or None.

    The same object if the row is stale or early; planned anew if the rung has moved, because the calendar has changed
    or did not reach so far.
    """
    rung = deadline.next_rung
    due = deadline.next_rung_at is not None and deadline.next_rung_at <= at
    if generation != deadline.generation or rung is None or not due:
        return deadline, None
    # A clock that stands still wants to be looked at only if the rung was reached before.
    if deadline.running_since and not _reached(deadline, rung, calendar, at):
        return replan(deadline, calendar, at=at), None
    climbed = replace(deadline, rungs=tuple(sorted({*deadline.rungs, rung})))
    return replan(climbed, calendar, at=at), rung


def replan(deadline: Deadline, calendar: Calendar, *, at: datetime) -> Deadline:
    """The next generation, with the times as the calendar has them now; what is past stays. Raises YearUnknown."""
    if deadline.going is Going.STOPPED:
        return deadline
    due_at = deadline.due_at
    if due_at is None or (due_at > at and 100 not in deadline.rungs):
        due_at = _instant(deadline, 100, calendar)
    return replace(
        deadline,
        calendar=calendar.version,
        generation=deadline.generation + 1,
        due_at=due_at,
        next_rung_at=_next_look(deadline, calendar, at),
    )


def _entered(deadline: Deadline, entry: Entry) -> Deadline:
    if not entry.by.strip():
        raise NobodyNamed("by")
    after = ACTIONS[entry.action].get(deadline.going)
    if after is None:
        raise ClockForbids("action", going=deadline.going.value, action=entry.action)
    last = deadline.ledger[-1].at if deadline.ledger else deadline.started_at
    if entry.at < last:
        raise EarlierThanLedger("at")
    entry = replace(entry, at=entry.at.astimezone(UTC))
    return replace(deadline, going=after, ledger=(*deadline.ledger, entry))


def _pause(reason: str) -> Pause:
    try:
        return Pause(reason)
    except ValueError as error:
        raise PauseUnknown("reason") from error


def _run(deadline: Deadline, at: datetime) -> Deadline:
    """Running from `at`, but in working days not before the day after the first."""
    begins_at = next_day(deadline.started_at) if deadline.unit is Unit.WORKING_DAYS else deadline.started_at
    return replace(deadline, running_since=max(at.astimezone(UTC), begins_at))


def _next_look(deadline: Deadline, calendar: Calendar, at: datetime) -> datetime | None:
    if deadline.next_rung is None:
        return None
    if deadline.running_since is None:
        return at.astimezone(UTC) if _reached(deadline, deadline.next_rung, calendar, at) else None
    try:
        return _instant(deadline, deadline.next_rung, calendar)
    except YearUnknown:
        known_until = calendar.known_until(at)
        return (known_until if known_until > at else at + DAY).astimezone(UTC)


def _instant(deadline: Deadline, rung: int, calendar: Calendar) -> datetime | None:
    """When so many per cent of the budget are used up, if nothing stops the clock; None while it stands still."""
    if deadline.running_since is None:
        return None
    missing = deadline.budget * rung / 100 - deadline.consumed
    if missing <= NOTHING:
        return deadline.running_since
    return calendar.advance(deadline.unit, deadline.running_since, missing)


def _reached(deadline: Deadline, rung: int, calendar: Calendar, at: datetime) -> bool:
    if deadline.running_since is None:
        return deadline.budget * rung / 100 <= deadline.consumed
    try:
        instant = _instant(deadline, rung, calendar)
    except YearUnknown:
        return False
    return instant is not None and instant <= at


def _consumed(deadline: Deadline, calendar: Calendar, at: datetime) -> timedelta:
    if deadline.running_since is None:
        return deadline.consumed
    return deadline.consumed + calendar.elapsed(deadline.unit, deadline.running_since, at)


def _is_amount(amount: timedelta, unit: Unit) -> bool:
    """Working days are whole."""
    return amount > NOTHING and not (unit is Unit.WORKING_DAYS and amount % DAY)


def _micros(amount: timedelta) -> int:
    return amount // timedelta(microseconds=1)


def _text(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat() if at else None
