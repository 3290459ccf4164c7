"""`make run`: build, start, deploy, seed, show the addresses, stay until Ctrl-C. `--reset` removes the state."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from infra.local.build import build_local
from infra.local.process import HOST, LocalError, is_ours, read_json, tail, write_json
from infra.local.runtime import FOLDER, Runtime, running

# Everything else below .local is state and goes with `make reset`.
KEPT = {"build", "logs", "sam"}
DEPLOYED = FOLDER / "run.json"
Result = TypeVar("Result")


def main(arguments: list[str]) -> int:
    """Run or reset; foreseeable failures print what to do."""
    try:
        return reset() if "--reset" in arguments else run(once="--once" in arguments)
    except LocalError as error:
        print("\n  " + str(error).replace("\n", "\n  "), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def run(*, once: bool = False) -> int:
    """The whole of `make run`; `once` stops again when everything is up."""
    with started() as (runtime, outputs, lines):
        _show(runtime, outputs, lines)
        if not once:
            _stay(runtime)
    return 0


@contextlib.contextmanager
def live() -> Iterator[tuple[Runtime, dict[str, str]]]:
    """The running Linli, or one started for as long as it is needed."""
    found = running()
    if found:
        yield found
        return
    with started() as (runtime, outputs, _):
        yield runtime, outputs


@contextlib.contextmanager
def started() -> Iterator[tuple[Runtime, dict[str, str], list[str]]]:
    """Build, start, deploy and seed; stop with the state saved at the end, whatever happens."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    runtime = Runtime(FOLDER, _port("LINLI_PORT", 4566), _port("LINLI_MQTT_PORT", 8883))
    runtime.check()
    template = step("build", build_local)
    _drop_half_made_state(runtime)
    try:
        step("start MiniStack", runtime.start)
        for note in runtime.notes:
            print(f"  note: {note}")
        outputs, lines = _bring_up(runtime, template)
        yield runtime, outputs, lines
    finally:
        _stop(runtime)


def reset() -> int:
    """Remove the state so that the next run starts empty; refuses while a run is alive."""
    recorded = read_json(FOLDER / "runtime.json")
    if recorded and is_ours(int(recorded["owner"]), "infra.local"):
        raise LocalError(f"Linli is running (pid {recorded['owner']}); stop it first: kill {recorded['owner']}")
    if recorded:
        Runtime(FOLDER, int(recorded["gateway_port"]), int(recorded["mqtt_port"])).stop()
    _remove_state()
    print("  state removed; the next make run starts empty")
    return 0


def step(name: str, work: Callable[[], Result]) -> Result:
    """Name a step, do it, and print on the same line how long it took."""
    print(f"  {name:<40} ", end="", flush=True)
    started = time.monotonic()
    result = work()
    print(f"{time.monotonic() - started:5.1f} s", flush=True)
    return result


def steps(name: str, done: str, work: Callable[[], Result]) -> Result:
    """As `step`, for work that prints lines of its own."""
    print(f"  {name}", flush=True)
    started = time.monotonic()
    result = work()
    print(f"  {done:<40} {time.monotonic() - started:5.1f} s", flush=True)
    return result


def _bring_up(runtime: Runtime, template: Path) -> tuple[dict[str, str], list[str]]:
    from infra.local.deploy import deploy, local_parameters
    from infra.local.seed import seed

    complete = bool((read_json(DEPLOYED) or {}).get("complete"))
    write_json(DEPLOYED, {"complete": complete, "outputs": {}})
    outputs = steps("deploy", "deployed", lambda: deploy(runtime, template, local_parameters(runtime, template)))
    lines = steps("seed", "seeded", lambda: seed(runtime, outputs))
    write_json(DEPLOYED, {"complete": True, "outputs": outputs})
    return outputs, lines


def _show(runtime: Runtime, outputs: dict[str, str], lines: list[str]) -> None:
    base = outputs.get("ApiBaseUrl", "")
    print(f"\n  API       {base}")
    print(f"  OpenAPI   {outputs.get('OpenApiUrl', base + '/v1/openapi.json')}")
    print(f"  MQTT      mqtts://{HOST}:{runtime.mqtt_port}   CA {runtime.endpoint}/_ministack/iot/ca.pem")
    print("\n".join(f"  {line}" for line in lines), flush=True)


def _stay(runtime: Runtime) -> None:
    print("\n  Ctrl-C stops it; the data stays for the next make run.", flush=True)
    try:
        while runtime.process_alive:
            time.sleep(1)
    except KeyboardInterrupt:
        return
    raise LocalError(f"MiniStack ended by itself. The end of {runtime.log}:\n{tail(runtime.log, 4)}")


def _stop(runtime: Runtime) -> None:
    if not runtime.process_alive:
        return
    # A second Ctrl-C must not cut the saving short.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    started = time.monotonic()
    runtime.stop()
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(f"\n  {'stopped, state saved':<40} {time.monotonic() - started:5.1f} s", flush=True)


def _drop_half_made_state(runtime: Runtime) -> None:
    """A first deploy that never finished left tables without data; an empty start is the repair."""
    deployed = read_json(DEPLOYED)
    if deployed is not None and not deployed.get("complete"):
        runtime.stop()
        _remove_state()
        print("  note: the first deploy was interrupted; starting empty")


def _remove_state() -> None:
    for path in FOLDER.iterdir() if FOLDER.exists() else []:
        if path.name in KEPT:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _port(variable: str, default: int) -> int:
    value = os.environ.get(variable) or str(default)
    if not value.isdigit() or not 1024 <= int(value) <= 65535:
        raise LocalError(f"{variable}={value} is not a port from 1024 to 65535")
    return int(value)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.SubprocessError as error:
        sys.exit(f"  {error}")
