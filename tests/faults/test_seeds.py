"""Days of a community in bad weather: whatever fails, nothing is lost and nothing doubled. A failing seed prints its replay."""

import os
import subprocess
import sys

import pytest

from tests.support import ROOT

SEEDS = ["9", "11", "22"]
SOAK = "1001-1200"


def played(*arguments: str) -> str:
    """A process of its own: the suite takes time, chance and every client of its process in hand."""
    path = os.pathsep.join(str(ROOT / part) for part in ("", "functions", "layers/shared/python"))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.run", *arguments],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_every_point_a_function_may_die_at() -> None:
    assert "deaths kept every promise" in played("deaths")


@pytest.mark.parametrize("fault", ["poison", "versions", "hot", "minutes"])
def test_a_single_fault(fault: str) -> None:
    assert f"{fault} kept every promise" in played(fault)


def test_a_few_seeds() -> None:
    assert played(*SEEDS).count("kept every promise") == len(SEEDS)


@pytest.mark.soak
def test_two_hundred_seeds() -> None:
    assert played(SOAK).count("kept every promise") == 200
