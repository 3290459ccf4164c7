"""The rules of docs/device.md as far as they show in what the platform received from a device: pure, each with its verdict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from linli.deviceclass import DeviceClass
from linli.devicetime import trusted

CLOCK = timedelta(minutes=5)
"""How far the newest message's time may be from its receipt."""
BUFFERED = timedelta(minutes=1)
"""From which age on a reading was kept by the device before it was sent."""

Outcome = Literal["pass", "fail", "skip"]


@dataclass(frozen=True)
class HeardEvent:
    """An event as the platform counted it, once however often it came; `outcome` is what it did to its alarm."""

    event: str
    at: datetime
    seq: int
    active: bool
    outcome: str
    received_at: datetime


@dataclass(frozen=True)
class HeardReading:
    at: datetime
    seq: int
    metrics: tuple[str, ...]
    suspect: tuple[str, ...]
    received_at: datetime


@dataclass(frozen=True)
class Received:
    """All that came from a device during the check; `messages` are its telemetry messages, `parked` reasons with their field."""

    events: Sequence[HeardEvent] = ()
    messages: Sequence[Sequence[HeardReading]] = ()
    parked: Sequence[tuple[str, str | None]] = ()
    confirmed: bool = False
    foreign_refused: bool | None = None

    @property
    def readings(self) -> list[HeardReading]:
        return [reading for message in self.messages for reading in message]


@dataclass(frozen=True)
class Verdict:
    rule: str
    zh: str
    en: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True)
class Rule:
    """`judge` says what is wrong, "" if nothing; None where nothing came that could be judged."""

    name: str
    zh: str
    en: str
    judge: Callable[[Received, DeviceClass], str | None]


def verdicts(received: Received, of: DeviceClass, skipped: dict[str, str]) -> list[Verdict]:
    """Every rule's verdict; `skipped` gives the reason for those that are not tried."""
    judged = []
    for rule in RULES:
        if rule.name in skipped:
            judged.append(Verdict(rule.name, rule.zh, rule.en, "skip", skipped[rule.name]))
            continue
        wrong = rule.judge(received, of)
        outcome: Outcome = "skip" if wrong is None else "fail" if wrong else "pass"
        detail = "没有可判的内容 nothing to judge by" if wrong is None else wrong
        judged.append(Verdict(rule.name, rule.zh, rule.en, outcome, detail))
    return judged


def _connected(received: Received, of: DeviceClass) -> str:
    return "" if received.events or received.messages or received.parked else "收不到任何消息 nothing came"


def _foreign(received: Received, of: DeviceClass) -> str | None:
    if received.foreign_refused is None:
        return None
    return "" if received.foreign_refused else "能发布到别的设备的主题 could publish as another device"


def _readable(received: Received, of: DeviceClass) -> str:
    return "; ".join(sorted({f"{field or 'message'}: {reason}" for reason, field in received.parked}))


def _events(received: Received, of: DeviceClass) -> str | None:
    if not of.events:
        return None
    lacking = []
    for name, event in of.events.items():
        said = {one.active for one in received.events if one.event == name}
        wanted = {True} if event.momentary else {True, False}
        lacking += [f"{name} {'active' if state else 'clear'}" for state in sorted(wanted - said, reverse=True)]
    return ", ".join(lacking) and f"没有收到 not received: {', '.join(lacking)}"


def _sequence(received: Received, of: DeviceClass) -> str | None:
    if not received.events and not received.messages:
        return None
    events = sorted(received.events, key=lambda event: (event.at, event.seq))
    readings = sorted(received.readings, key=lambda reading: (reading.at, reading.seq))
    pairs = [*pairwise((one.at, one.seq) for one in events), *pairwise((one.at, one.seq) for one in readings)]
    wrong = [f"{at.isoformat()} seq {seq} ≤ {before}" for (_, before), (at, seq) in pairs if seq <= before]
    return "; ".join(wrong[:3])


def _retry(received: Received, of: DeviceClass) -> str | None:
    if not received.events:
        return None
    again = sorted({one.event for one in received.events if one.outcome == "repeated"})
    return f"重发时换了 (at, seq) sent again under another (at, seq): {', '.join(again)}" if again else ""


def _metrics(received: Received, of: DeviceClass) -> str | None:
    if not of.metrics:
        return None
    lacking = of.metrics.keys() - {metric for reading in received.readings for metric in reading.metrics}
    return f"没有收到 not received: {', '.join(sorted(lacking))}" if lacking else ""


def _range(received: Received, of: DeviceClass) -> str | None:
    if not received.readings:
        return None
    suspect = sorted({metric for reading in received.readings for metric in reading.suspect})
    return f"超出量程 out of range: {', '.join(suspect)}" if suspect else ""


def _several(received: Received, of: DeviceClass) -> str | None:
    if not of.metrics:
        return None
    return (
        "" if any(len(message) > 1 for message in received.messages) else "每条消息只有一个读数 one reading a message"
    )


def _buffer(received: Received, of: DeviceClass) -> str | None:
    if not of.metrics:
        return None
    late = [one for one in received.readings if one.received_at - one.at >= BUFFERED and _believed(one)]
    return "" if late else "没有补发断线期间的读数 no reading from before the connection"


def _clock(received: Received, of: DeviceClass) -> str | None:
    heard: list[HeardEvent | HeardReading] = [*received.events, *received.readings]
    if not heard:
        return None
    wrong = [one for one in heard if not _believed(one)]
    newest = min(abs(one.received_at - one.at) for one in heard)
    if wrong:
        return f"{len(wrong)} 个时间不可信 times beyond -24 h/+10 min, first {wrong[0].at.isoformat()}"
    return "" if newest <= CLOCK else f"最新消息与平台时间相差 newest is off by {newest}"


def _renewal(received: Received, of: DeviceClass) -> str:
    return "" if received.confirmed else "没有用新证书确认 no confirmation over a renewed certificate"


def _believed(one: HeardEvent | HeardReading) -> bool:
    return trusted(one.at, received_at=one.received_at)


RULES = (
    Rule("connected", "用自己的证书和编号连接", "connects with its own certificate and client id", _connected),
    Rule("foreign-topic", "不能冒充别的设备", "is refused on another device's topic", _foreign),
    Rule(
        "readable",
        "消息可识别：UTF-8 JSON、字段、事件、量",
        "is understood: UTF-8 JSON, fields, events, metrics",
        _readable,
    ),
    Rule("events", "每种事件有发生也有解除", "tells of every event its beginning and its end", _events),
    Rule("sequence", "序号只增不减", "counts upwards only", _sequence),
    Rule("retry", "重发同一消息时 (at, seq) 不变", "sends again under the same (at, seq)", _retry),
    Rule("metrics", "上报全部量", "reports every metric", _metrics),
    Rule("range", "数值在量程内", "stays within the ranges", _range),
    Rule("several", "一条消息可带多个读数", "sends several readings in a message", _several),
    Rule("buffer", "断线期间的读数会补发", "sends what it kept while it was away", _buffer),
    Rule("clock", "时钟准确", "has the right time", _clock),
    Rule("renewal", "自行更新证书并确认", "renews its certificate by itself", _renewal),
)
