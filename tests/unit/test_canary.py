"""The canary is well formed, and whoever prints it is found."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from linli.log import MaskingFormatter
from tests.canary import CANARY, ID_NUMBER, NAME, NOTE, PHONE, TEXT, seen_in, serial
from tests.support import ROOT

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def test_its_citizen_number_has_the_right_check_digit() -> None:
    total = sum(int(digit) * weight for digit, weight in zip(ID_NUMBER, WEIGHTS, strict=False))
    assert ID_NUMBER[-1] == "10X98765432"[total % 11]


@pytest.mark.parametrize("one", CANARY)
@pytest.mark.parametrize("spelt", [str, json.dumps, quote, str.lower, lambda one: json.dumps(json.dumps([one]))])
def test_it_is_seen_however_it_is_spelt(one: str, spelt: object) -> None:
    assert seen_in(f"before {spelt(one)} after")  # type: ignore[operator]


def test_all_of_it_stands_in_what_the_suites_write() -> None:
    assert {one for one in CANARY if one in TEXT} == set(CANARY)
    assert PHONE in NOTE and NAME in NOTE
    assert seen_in(serial("1"))
    assert not seen_in("楼道灯不亮 34010418800307")


def test_the_log_masks_its_numbers() -> None:
    assert not seen_in(MaskingFormatter().serialize({"message": f"{ID_NUMBER} {PHONE}"}))


@pytest.mark.parametrize(
    ("body", "exit_code"),
    [
        ("print('nothing')", 0),
        (f"print('{PHONE}')", 1),
        (f"import sys; print('{NAME}', file=sys.stderr)", 1),
        (f"import logging; logging.warning('{ID_NUMBER}')", 1),
    ],
)
def test_a_test_that_prints_it_fails_the_session(tmp_path: Path, body: str, exit_code: int) -> None:
    (tmp_path / "test_talks.py").write_text(f"def test_talks() -> None:\n    {body}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "tests.conftest", "test_talks.py"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == exit_code, ran.stdout
    assert ("the canary was sighted" in ran.stdout) == bool(exit_code)
