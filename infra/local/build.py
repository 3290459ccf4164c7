"""`sam build` and the layers: for this machine's runtime, for its import gates, or for Lambda."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from infra.local.process import LocalError, read_json, tail, write_json

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".local" / "build"
LOGS = ROOT / ".local" / "logs"
SAM = ROOT / ".venv-sam" / "bin" / "sam"
LOCAL_TEMPLATE = BUILD / "local" / "sam" / "template.yaml"
CLOUD_TEMPLATE = BUILD / "cloud" / "sam" / "template.yaml"
CLOUD_MARK = BUILD / "cloud" / "linli.json"
HOST_LAYERS = BUILD / "host"


def build_local() -> Path:
    """Build for the local runtime: real kernel, empty dependency layers; returns the root template."""
    return _sam_build("local", {"LINLI_LAYERS": "none"})


def build_cloud(architecture: str = "arm64") -> Path:
    """Build for Lambda; without a Python 3.13 the layers carry no .pyc files."""
    python313 = find_python313() or ""
    variant = {"architecture": architecture, "pyc": bool(python313)}
    if read_json(CLOUD_MARK) != variant:
        # sam's cache knows the sources, not these settings.
        shutil.rmtree(BUILD / "cloud", ignore_errors=True)
    template = _sam_build("cloud", {"LINLI_LAYERS": "cloud", "ARCH": architecture, "PYTHON313": python313})
    write_json(CLOUD_MARK, variant)
    return template


def build_host() -> Path:
    """Build the layers for this machine, for the import gates; returns their folder."""
    source = ROOT / "layers"
    lists = sorted(path.stem for path in (source / "deps").glob("*.txt"))
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.read_bytes())
    stamp = BUILD / "host.json"
    if (read_json(stamp) or {}).get("digest") == digest.hexdigest():
        return HOST_LAYERS
    shutil.rmtree(HOST_LAYERS, ignore_errors=True)
    targets = [(source / "deps", f"{name.capitalize()}Layer") for name in lists]
    for folder, layer in [*targets, (source / "shared", "KernelLayer")]:
        _make_layer(folder, layer)
    write_json(stamp, {"digest": digest.hexdigest()})
    return HOST_LAYERS


def find_python313() -> str | None:
    """A Python 3.13: named by PYTHON313, the running one, on the PATH, or installed by pyenv."""
    named = os.environ.get("PYTHON313")
    if named:
        if not _is_python313(named):
            raise LocalError(f"PYTHON313={named} is not a Python 3.13")
        return named
    on_path = [str(Path(folder) / "python3.13") for folder in os.environ.get("PATH", "").split(os.pathsep)]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    by_pyenv = [str(path) for path in sorted(pyenv.glob("versions/3.13*/bin/python3.13"))]
    return next((path for path in [sys.executable, *on_path, *by_pyenv] if _is_python313(path)), None)


def _is_python313(path: str) -> bool:
    # Asked by running it: a pyenv shim exists without the version behind it.
    if not shutil.which(path):
        return False
    command = [path, "-c", "import sys; print(*sys.version_info[:2])"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stdout.split() == ["3", "13"]


def _make_layer(folder: Path, layer: str) -> None:
    log = LOGS / f"layer-{layer}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "LINLI_LAYERS": "host",
        "PYTHON": sys.executable,
        "ARTIFACTS_DIR": str(HOST_LAYERS / layer),
    }
    with log.open("wb") as target:
        done = subprocess.run(
            ["make", "-C", str(folder), f"build-{layer}"],
            env=environment,
            stdout=target,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise LocalError(f"Building {layer} failed; is the package registry reachable?\n{tail(log, 6)}")


def _sam_build(name: str, settings: dict[str, str]) -> Path:
    log = LOGS / f"sam-build-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [
        str(SAM),
        "build",
        "--template-file",
        str(ROOT / "template.yaml"),
        "--build-dir",
        str(BUILD / name / "sam"),
        "--cached",
        "--cache-dir",
        str(BUILD / name / "cache"),
    ]
    with log.open("wb") as target:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=sam_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise LocalError(f"sam build failed. The end of {log.relative_to(ROOT)}:\n{tail(log, 8)}")
    return BUILD / name / "sam" / "template.yaml"


def sam_environment(settings: dict[str, str]) -> dict[str, str]:
    """Variables for sam: no telemetry, no look for a newer version, its own folder."""
    folder = ROOT / ".local" / "sam"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.json").write_text(json.dumps({"telemetryEnabled": False, "lastVersionCheck": time.time()}))
    return {
        **os.environ,
        "AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(folder),
        "PYTHON": sys.executable,
        **settings,
    }


def main(names: list[str]) -> int:
    """Build what is named: local, cloud, host."""
    steps = {"local": build_local, "cloud": lambda: build_cloud(os.environ.get("ARCH", "arm64")), "host": build_host}
    for name in names or ["local"]:
        started = time.monotonic()
        try:
            steps[name]()
        except LocalError as error:
            print(f"  {error}", file=sys.stderr)
            return 1
        print(f"  build {name:<8} {time.monotonic() - started:5.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
