"""The rules a device is checked by: each fails for its own fault, and says nothing where nothing can be judged."""

from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from devices.store import DeviceStore
from infra.local import device_check
from infra.local.client import Device, new_key
from infra.local.device_check import _parser, main, report
from infra.local.device_rules import RULES, HeardEvent, HeardReading, Received, verdicts
from linli.deviceclass import device_class
from tests.support import NOW

SMOKE, BUTTON = device_class("smoke_detector"), device_class("sos_button")
SECOND = timedelta(seconds=1)


def event(name: str, number: int, *, active: bool, outcome: str = "raised", ahead: timedelta = SECOND) -> HeardEvent:
    at = NOW + number * SECOND
    return HeardEvent(name, at + ahead - SECOND, number, active, outcome, at)


def reading(number: int, *, late: timedelta = SECOND, **changed: object) -> HeardReading:
    at = NOW + number * SECOND
    whole = HeardReading(at - late, number, ("battery", "temperature"), (), at)
    return replace(whole, **changed)  # type: ignore[arg-type]


EVENTS = tuple(
    event(name, 2 * number + (not active), active=active)
    for number, name in enumerate(("smoke", "fault", "tamper"), 20)
    for active in (True, False)
)
GOOD = Received(
    events=EVENTS,
    messages=((reading(1, late=timedelta(hours=2)), reading(2, late=timedelta(hours=1))), (reading(3),)),
    confirmed=True,
    foreign_refused=True,
)
BAD: list[tuple[str, Received]] = [
    ("foreign-topic", replace(GOOD, foreign_refused=False)),
    ("readable", replace(GOOD, parked=(("json_invalid", None),))),
    ("events", replace(GOOD, events=EVENTS[:-1])),
    ("sequence", replace(GOOD, messages=(*GOOD.messages, (reading(4, seq=0),)))),
    (
        "sequence",
        replace(GOOD, events=(*EVENTS, event("smoke", 90, active=False), replace(EVENTS[0], at=NOW + 91 * SECOND))),
    ),
    ("retry", replace(GOOD, events=(*EVENTS, event("smoke", 60, active=True, outcome="repeated")))),
    (
        "metrics",
        replace(GOOD, messages=tuple(tuple(replace(r, metrics=("battery",)) for r in m) for m in GOOD.messages)),
    ),
    ("range", replace(GOOD, messages=(*GOOD.messages, (reading(4, suspect=("battery",)),)))),
    ("several", replace(GOOD, messages=tuple((one,) for one in GOOD.readings))),
    ("buffer", replace(GOOD, messages=((reading(1), reading(2)),))),
    ("clock", replace(GOOD, events=(*EVENTS, event("smoke", 61, active=False, ahead=timedelta(hours=1))))),
    ("renewal", replace(GOOD, confirmed=False)),
]


def failed(received: Received) -> set[str]:
    assert SMOKE is not None
    return {one.rule for one in verdicts(received, SMOKE, {}) if one.outcome == "fail"}


def test_a_good_device_fails_no_rule() -> None:
    assert SMOKE is not None
    assert {one.outcome for one in verdicts(GOOD, SMOKE, {})} == {"pass"}


@pytest.mark.parametrize(("rule", "received"), BAD, ids=[rule for rule, _ in BAD])
def test_a_fault_fails_its_rule_and_no_other(rule: str, received: Received) -> None:
    assert failed(received) == {rule}


def test_of_nothing_only_what_shows_in_nothing_is_said() -> None:
    assert failed(Received()) == {"connected", "events", "metrics", "several", "buffer", "renewal"}


def test_a_momentary_event_needs_no_end() -> None:
    assert BUTTON is not None
    pressed = Received(events=(event("sos", 1, active=True, outcome="passed"),))
    assert "events" not in {one.rule for one in verdicts(pressed, BUTTON, {}) if one.outcome == "fail"}


def test_what_is_skipped_says_why_and_every_rule_is_named_in_both_languages() -> None:
    assert SMOKE is not None
    found = {one.rule: one for one in verdicts(GOOD, SMOKE, {"renewal": "kept for next year"})}
    assert (found["renewal"].outcome, found["renewal"].detail) == ("skip", "kept for next year")
    assert {rule.name for rule in RULES} == {"connected", *(rule for rule, _ in BAD)}
    assert all(rule.zh and rule.en for rule in RULES)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--class", "a", "--device-id", "b"],
        ["--class", "a", "--skip", "renewal"],
        ["--class", "a", "--skip", "silence=unknown rule"],
        ["--device-id", "b", "--credentials", "folder"],
    ],
)
def test_a_command_line_that_says_too_little_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_a_rule_is_skipped_with_its_reason() -> None:
    assert _parser().parse_args(["--class", "lift", "--skip", "renewal=no clock"]).skip == [("renewal", "no clock")]


def test_what_was_not_tried_is_not_told_as_passed(capsys: pytest.CaptureFixture[str]) -> None:
    assert SMOKE is not None
    whole = verdicts(GOOD, SMOKE, {})
    assert report(whole) == 0
    assert f"全部 {len(RULES)} 项通过 / all {len(RULES)} rules passed" in capsys.readouterr().out
    assert report(verdicts(GOOD, SMOKE, {"renewal": "no", "buffer": "no"})) == 0
    assert "无未通过项，2 项未测 / nothing failed, 2 not tried" in capsys.readouterr().out
    assert report(verdicts(replace(GOOD, confirmed=False), SMOKE, {"buffer": "no"})) == 1
    assert f"1 项未通过，1 项未测 / 1 of {len(RULES)} rules failed, 1 not tried" in capsys.readouterr().out


def test_credentials_that_do_not_connect_or_are_not_there_are_said_before_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device_check, "use", lambda _: None)
    monkeypatch.setattr(device_check, "local_outputs", dict)
    monkeypatch.setattr(device_check, "account_is_meant", lambda _: False)
    monkeypatch.setattr(DeviceStore, "__init__", lambda _: None)
    known = SimpleNamespace(device_id="device-1", device_class="smoke_detector")
    monkeypatch.setattr(DeviceStore, "device", lambda *_: known)
    monkeypatch.setattr(device_check.time, "sleep", lambda _: pytest.fail("waited"))
    given = ["--device-id", "device-1", "--endpoint", "127.0.0.1", "--port", "9"]
    assert main([*given, "--credentials", str(tmp_path)]) == 2
    assert "lacks certificate.pem, private.key, ca.pem" in capsys.readouterr().err
    new_key(tmp_path)
    for name in ("certificate.pem", "ca.pem"):
        (tmp_path / name).write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    assert main([*given, "--credentials", str(tmp_path)]) == 2
    assert "do not connect" in capsys.readouterr().err
    refused: Future[None] = Future()
    refused.set_exception(Exception("not authorized"))
    monkeypatch.setattr(Device, "__init__", lambda *_: None)
    monkeypatch.setattr(Device, "connect", lambda _: refused)
    assert main([*given, "--credentials", str(tmp_path)]) == 2
    assert "not authorized" in capsys.readouterr().err
