"""Create the virtual environments from their locks; a stamp makes a second run cost nothing.

Runs on the newcomer's own interpreter before anything is installed, so any Python from 3.6 must parse it.
"""

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "infra" / "local" / "locks"
LOGS = ROOT / ".local" / "logs"
FOLDERS = {"product": ".venv", "sam": ".venv-sam", "checkov": ".venv-checkov", "bench": ".venv-bench"}
OLDEST = (3, 11)


def fail(*lines: str) -> None:
    """Say what to do and stop."""
    sys.stderr.write("".join(f"  {line}\n" for line in lines))
    sys.exit(1)


def check_interpreter() -> None:
    """Stop on a Python that is too old."""
    major, minor = sys.version_info[:2]
    if (major, minor) < OLDEST:
        fail(
            f"Python 3.11 or newer is needed; {sys.executable} is {major}.{minor}.",
            "Name another one: make PYTHON=python3.13",
        )


def wanted_stamp(lock: Path) -> str:
    """The stamp of an environment: the digest of its lock."""
    return hashlib.sha256(lock.read_bytes()).hexdigest() + "\n"


def works(folder: Path) -> bool:
    """Whether the interpreter an environment was made with is still there."""
    python = folder / "bin" / "python"
    return python.exists() and subprocess.call([str(python), "-c", ""]) == 0


def read(path: Path) -> str:
    """The content of a small file, empty when it is not there."""
    try:
        return path.read_text()
    except OSError:
        return ""


def run(command: "list[str]", log: Path) -> bool:
    """Run quietly into the log; True when it worked."""
    with log.open("a") as target:
        return subprocess.call(command, stdout=target, stderr=subprocess.STDOUT, cwd=str(ROOT)) == 0


def create(name: str, folder: Path, lock: Path, stamp: str) -> None:
    """Make one environment from scratch."""
    log = LOGS / f"pip-{name}.log"
    log.write_text("")
    shutil.rmtree(str(folder), ignore_errors=True)
    if not run([sys.executable, "-m", "venv", str(folder)], log):
        fail("python -m venv failed; on Debian and Ubuntu: apt-get install python3-venv", f"Log: {log}")
    # The lock is complete, so pip has nothing to resolve.
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    if not run([*pip, "--progress-bar", "off", "--no-deps", "--require-hashes", "-r", str(lock)], log):
        last = [line for line in read(log).splitlines() if line.strip()][-4:]
        fail(
            f"pip could not install {lock.relative_to(ROOT)}:",
            *(f"  {line}" for line in last),
            "Is the package registry reachable? Behind a proxy or with a mirror, set it for pip",
            f"(HTTPS_PROXY, PIP_INDEX_URL or pip.conf) and run make again. Log: {log.relative_to(ROOT)}",
        )
    (folder / ".stamp").write_text(stamp)


def ensure(name: str) -> None:
    """Bring one environment up to date."""
    lock, folder = LOCKS / f"{name}.txt", ROOT / FOLDERS[name]
    stamp = wanted_stamp(lock)
    if read(folder / ".stamp") == stamp and works(folder):
        return
    check_interpreter()
    started = time.time()
    sys.stdout.write(f"  environment {name:<8} ")
    sys.stdout.flush()
    create(name, folder, lock, stamp)
    sys.stdout.write(f"{time.time() - started:5.1f} s\n")


def main(names: "list[str]") -> None:
    """Bring every environment named up to date."""
    LOGS.mkdir(parents=True, exist_ok=True)
    for name in names or sorted(FOLDERS):
        ensure(name)


if __name__ == "__main__":
    main(sys.argv[1:])
