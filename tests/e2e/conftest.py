"""An own MiniStack on free ports with everything deployed and seeded, for the whole session."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.build import LOCAL_TEMPLATE
from infra.local.deploy import deployed
from infra.local.process import write_json
from infra.local.seed import Demonstration
from tests.e2e.world import World

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def linli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demonstration]:
    folder = tmp_path_factory.mktemp("linli")
    with deployed(folder, LOCAL_TEMPLATE) as (runtime, outputs):
        write_json(folder / "run.json", {"complete": True, "outputs": outputs})
        path = os.pathsep.join(str(ROOT / part) for part in ("", "functions", "layers/shared/python"))
        environment = {**os.environ, **runtime.environment(), "PYTHONPATH": path}
        subprocess.run([sys.executable, "-m", "infra.local.seed", str(folder)], check=True, env=environment, cwd=ROOT)
        yield Demonstration(runtime, outputs)


@pytest.fixture(scope="session")
def world(linli: Demonstration) -> World:
    return World(linli)
