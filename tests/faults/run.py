"""Play seeds and single faults: `python -m tests.faults.run 101 1-20 deaths`. Each in a process of its own, on one MiniStack."""

import importlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from infra.local.process import free_port
from infra.local.runtime import Runtime
from tests.faults import invariants
from tests.faults.deaths import deaths
from tests.faults.gate import Entrance
from tests.faults.minutes import minutes
from tests.faults.operations import Operator
from tests.faults.people import People
from tests.faults.scenario import play
from tests.faults.singles import hot, poison, versions
from tests.faults.world import World, handlers

FORK = multiprocessing.get_context("fork")
SINGLE: dict[str, Callable[[World], People]] = {
    "deaths": deaths,
    "poison": poison,
    "versions": versions,
    "hot": hot,
    "minutes": minutes,
}
SETTINGS = {"POWERTOOLS_LOG_LEVEL": "CRITICAL", "POWERTOOLS_SERVICE_NAME": "faults", "API_BASE_URL": "http://grid"}


def main(arguments: list[str]) -> int:
    """The number of those that broke a promise."""
    failed = 0
    with laid_out() as runtime:
        for name in _wanted(arguments):
            failed += not apart(partial(play_one, runtime, name))
    print(f"{failed} with violations", flush=True)
    return min(failed, 100)


def play_one(runtime: Runtime, name: str) -> None:
    operator = Operator(runtime, f"faults-{name}")
    operator.build()
    began = time.perf_counter()
    world = World(int(name), operator) if name.isdigit() else World(0, operator, clocks_wrong=name != "minutes")
    try:
        invariants.check(SINGLE.get(name, play)(world))
    except BaseException:
        print(f"{name} broke a promise; replay it: make faults SEED={name}", flush=True)
        raise
    finally:
        operator.remove()
    fates = " ".join(f"{fate} {count}" for fate, count in sorted(world.gate.fates.items()))
    print(
        f"{name} kept every promise: {fates}, killed {len(world.timed_out)}; {len(world.published)} facts, "
        f"{time.perf_counter() - began:.1f} s, outcome {invariants.fingerprint(world)}",
        flush=True,
    )


def apart(work: Callable[[], None]) -> bool:
    """Whether the work ends well in a process of its own, which it may turn upside down."""
    process = FORK.Process(target=work)
    process.start()
    process.join()
    return process.exitcode == 0


@contextmanager
def laid_out() -> Iterator[Runtime]:
    """A MiniStack of its own; every handler is imported behind the gate and has talked to nobody yet."""
    with (
        tempfile.TemporaryDirectory(prefix="linli-faults-") as folder,
        Runtime(Path(folder), free_port(), free_port()) as runtime,
    ):
        os.environ.update(runtime.environment() | SETTINGS)
        Entrance.install()
        for dotted in handlers():
            importlib.import_module(dotted.rpartition(".")[0])
        yield runtime


def _wanted(arguments: list[str]) -> Iterator[str]:
    for one in arguments:
        first, dash, last = one.partition("-")
        yield from map(str, range(int(first), int(last) + 1)) if dash else [one]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
