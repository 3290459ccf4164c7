"""Play seeds: `python -m tests.faults.run 101 102` or `1-200`. Each in a process of its own, on one MiniStack."""

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
from tests.faults.gate import Entrance
from tests.faults.operator import Operator
from tests.faults.scenario import play
from tests.faults.world import World, handlers

FORK = multiprocessing.get_context("fork")
SETTINGS = {"POWERTOOLS_LOG_LEVEL": "CRITICAL", "POWERTOOLS_SERVICE_NAME": "faults", "API_BASE_URL": "http://grid"}


def main(arguments: list[str]) -> int:
    """The number of seeds with a violation."""
    failed = 0
    with laid_out() as runtime:
        for seed in _seeds(arguments):
            failed += not apart(partial(play_seed, runtime, seed))
    print(f"{failed} with violations", flush=True)
    return min(failed, 100)


def play_seed(runtime: Runtime, seed: int) -> None:
    operator = Operator(runtime, f"faults-{seed}")
    operator.build()
    began = time.perf_counter()
    world = World(seed, operator)
    try:
        invariants.check(play(world))
    except BaseException:
        print(f"seed {seed} broke a promise; replay it: make faults SEED={seed}", flush=True)
        raise
    finally:
        operator.remove()
    fates = " ".join(f"{fate} {count}" for fate, count in sorted(world.gate.fates.items()))
    print(
        f"seed {seed} kept every promise: {fates}, killed {len(world.timed_out)}; {len(world.published)} facts, "
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


def _seeds(arguments: list[str]) -> Iterator[int]:
    for one in arguments:
        first, _, last = one.partition("-")
        yield from range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
