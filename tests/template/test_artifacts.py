"""Gates on what `make build` made: right machine, nothing missing from a layer, small enough for Lambda."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.artifacts import BuiltFunction, fits_python313, functions_of, machine_of, size_of
from infra.local.build import CLOUD_MARK, CLOUD_TEMPLATE, HOST_LAYERS, ROOT
from infra.local.process import read_json

MEGABYTE = 1_000_000
BUDGET = 80 * MEGABYTE
BUDGET_WITH_GEOMETRY = 160 * MEGABYTE
TABLE = ROOT / ".local" / "artifacts.txt"
# What the managed runtime brings besides the standard library; layers leave it out.
RUNTIME_MODULES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")
IMPORT = """
import sys, time, importlib
sys.path[:0] = sys.argv[2:]
started = time.perf_counter()
importlib.import_module(sys.argv[1])
print(round((time.perf_counter() - started) * 1000))
"""

pytestmark = pytest.mark.skipif(not CLOUD_TEMPLATE.exists(), reason="run `make test`, which builds for the cloud")
FUNCTIONS = functions_of(CLOUD_TEMPLATE) if CLOUD_TEMPLATE.exists() else []
# A module that imports geometry only when a point is asked for is held to its layer as well.
MODULES = sorted(
    {
        (module, function.layers): function
        for function in FUNCTIONS
        for module in [function.module, *(["grid.geometry"] if "GeoLayer" in function.layers else [])]
    }.items()
)
CLOUD = CLOUD_TEMPLATE.parent
times: dict[tuple[str, tuple[str, ...]], int] = {}


@pytest.fixture(scope="module")
def managed_runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that shows only the packages the managed runtime has."""
    folder = tmp_path_factory.mktemp("runtime")
    for name in RUNTIME_MODULES:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        source = Path(spec.origin)
        source = source.parent if source.name == "__init__.py" else source
        (folder / source.name).symlink_to(source)
    return folder


@pytest.fixture(scope="module", autouse=True)
def table() -> object:
    """Write the table of sizes and import times when the gates are through."""
    yield
    lines = [f"{'function':<40} {'code+layers MB':>14} {'import ms':>10}  layers"]
    for function in sorted(FUNCTIONS, key=lambda item: item.name):
        spent = times.get((function.module, function.layers), -1)
        lines.append(
            f"{function.name:<40} {unzipped(function) / MEGABYTE:>14.1f} {spent:>10}  {' '.join(function.layers)}"
        )
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join(lines) + "\n")


def unzipped(function: BuiltFunction) -> int:
    """Bytes Lambda counts for one function."""
    return size_of(function.code) + sum(size_of(CLOUD / layer) for layer in function.layers)


def test_there_are_functions() -> None:
    assert FUNCTIONS


def test_extension_modules_are_for_the_cloud() -> None:
    architecture = (read_json(CLOUD_MARK) or {})["architecture"]
    libraries = sorted(CLOUD.rglob("*.so"))
    assert libraries
    assert [str(path) for path in libraries if machine_of(path) != architecture] == []
    # What stands in a `.libs` folder is a plain library that extension modules bring along.
    modules = [path for path in libraries if not path.parent.name.endswith(".libs")]
    assert [str(path) for path in modules if not fits_python313(path)] == []


def test_compiled_files_are_for_python_313() -> None:
    pyc = bool((read_json(CLOUD_MARK) or {})["pyc"])
    compiled = [path for layer in CLOUD.glob("*Layer") for path in layer.rglob("*.pyc")]
    assert bool(compiled) == pyc
    assert [str(path) for path in compiled if ".cpython-313." not in path.name] == []
    # Flags 0b01: checked by nothing, so no clock and no source is looked at on a cold start.
    assert [str(path) for path in compiled if path.read_bytes()[4:8] != b"\x01\x00\x00\x00"] == []


def test_packages_hold_no_caches_and_no_tests() -> None:
    folders = {function.code for function in FUNCTIONS}
    extra = [
        path for folder in folders for path in folder.rglob("*") if path.name in ("__pycache__", "tests", "Makefile")
    ]
    assert [str(path) for path in extra] == []


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda item: item.name)
def test_size(function: BuiltFunction) -> None:
    assert unzipped(function) <= (BUDGET_WITH_GEOMETRY if "GeoLayer" in function.layers else BUDGET)


@pytest.mark.parametrize(("key", "function"), MODULES, ids=[key[0] for key, _ in MODULES])
def test_handler_imports_with_its_layers_only(
    key: tuple[str, tuple[str, ...]], function: BuiltFunction, managed_runtime: Path
) -> None:
    layers = [HOST_LAYERS / layer / "python" for layer in function.layers]
    assert [str(layer) for layer in layers if not layer.is_dir()] == []
    paths = [str(function.code), *map(str, layers), str(managed_runtime)]
    # Modules may read their settings when they are imported, so names are there, values are not.
    environment = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": "us-east-1"}
    command = [sys.executable, "-I", "-S", "-B", "-c", IMPORT, key[0], *paths]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=function.code, check=False)
    assert done.returncode == 0, done.stderr
    times[key] = int(done.stdout.split()[-1])


@pytest.mark.parametrize("name", ["core", "web", "geo"])
def test_layer_pins_are_those_of_the_product_lock(name: str) -> None:
    def pins(path: Path) -> dict[str, str]:
        lines = [line.split(";")[0].split()[0] for line in path.read_text().splitlines() if "==" in line.split(";")[0]]
        return dict(line.split("==", 1) for line in lines)

    product = pins(ROOT / "infra" / "local" / "locks" / "product.txt")
    layer = pins(ROOT / "layers" / "deps" / f"{name}.txt")
    assert layer
    assert {package: pin for package, pin in layer.items() if product.get(package) != pin} == {}
