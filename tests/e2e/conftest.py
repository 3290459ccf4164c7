"""An own MiniStack on free ports with everything deployed and seeded, for the whole session."""

from collections.abc import Iterator

import pytest

from infra.local.seed import Demonstration
from tests.e2e.world import World, demonstration


@pytest.fixture(scope="session")
def linli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demonstration]:
    with demonstration(tmp_path_factory.mktemp("linli")) as running:
        yield running


@pytest.fixture(scope="session")
def world(linli: Demonstration) -> World:
    return World(linli)
