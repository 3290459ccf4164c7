"""Read the built templates and layers: which function takes which code, and what is inside."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MACHINES = {0x3E: "x86_64", 0xB7: "arm64"}
APPLICATION = "AWS::Serverless::Application"
FUNCTION = "AWS::Serverless::Function"


@dataclass(frozen=True)
class BuiltFunction:
    """A function of a built template, with the logical ids of its layers in the root."""

    name: str
    handler: str
    code: Path
    layers: tuple[str, ...]

    @property
    def module(self) -> str:
        """The module that holds the handler."""
        return self.handler.rpartition(".")[0]


def functions_of(root_template: Path) -> list[BuiltFunction]:
    """Every function of the root and its applications."""
    root = yaml.safe_load(root_template.read_text())
    found = _functions_in(root, root_template.parent, "root", {})
    for name, resource in root["Resources"].items():
        if resource["Type"] == APPLICATION:
            path = root_template.parent / resource["Properties"]["Location"]
            template = yaml.safe_load(path.read_text())
            found += _functions_in(template, path.parent, name, resource["Properties"].get("Parameters", {}))
    return found


def _functions_in(
    template: dict[str, Any], folder: Path, where: str, parameters: dict[str, Any]
) -> list[BuiltFunction]:
    shared = template.get("Globals", {}).get("Function", {})
    found = []
    for name, resource in template["Resources"].items():
        if resource["Type"] != FUNCTION:
            continue
        properties = {**shared, **resource["Properties"]}
        # SAM appends a function's own layers to those of Globals.
        listed = [*shared.get("Layers", []), *resource["Properties"].get("Layers", [])]
        layers = tuple(dict.fromkeys(_layer_name(item, parameters) for item in listed))
        code = folder / properties["CodeUri"]
        found.append(BuiltFunction(f"{where}/{name}", properties["Handler"], code, layers))
    return found


def _layer_name(item: Any, parameters: dict[str, Any]) -> str:
    name = item["Ref"]
    return str(parameters[name]["Ref"]) if name in parameters else str(name)


def size_of(folder: Path) -> int:
    """Bytes in all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def machine_of(library: Path) -> str:
    """The machine an ELF file is for, by its header."""
    head = library.read_bytes()[:20]
    if head[:4] != b"\x7fELF":
        return "not ELF"
    # Both machines of Lambda are little-endian.
    return MACHINES.get(int.from_bytes(head[18:20], "little"), "other")


def fits_python313(library: Path) -> bool:
    """Whether an extension module is for CPython 3.13 or the stable interface."""
    return ".cpython-313-" in library.name or ".abi3." in library.name
