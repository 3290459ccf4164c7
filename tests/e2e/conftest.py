"""An own MiniStack on free ports with everything deployed and seeded, for the whole session; searched for leaks at its end."""

from collections.abc import Iterator

import pytest

from infra.local.client import Client
from infra.local.seed import Demonstration
from tests.e2e import leaks
from tests.e2e.world import World, demonstration


@pytest.fixture(scope="session")
def linli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demonstration]:
    refusals = leaks.Refusals()
    with demonstration(tmp_path_factory.mktemp("linli")) as running, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "send", lambda *asked: refusals.watched(*asked))
        leaks.hear_all_facts(running.runtime)
        yield running
        found = [*refusals.found, *leaks.everywhere(running.runtime)]
        assert not found, "\n".join(["the canary was sighted", *found])


@pytest.fixture(scope="session")
def world(linli: Demonstration) -> World:
    return World(linli)
