"""Translate every built template to plain CloudFormation, for the checks that do not know SAM."""

import copy
import json
import logging
import sys
from pathlib import Path
from typing import Any

import yaml
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from infra.local.build import LOCAL_TEMPLATE, ROOT
from infra.local.package import PROPERTIES
from infra.local.runtime import REGION

TRANSLATED = ROOT / ".local" / "build" / "translated"
PLACEHOLDER = {"Bucket": "artifacts", "Key": "content"}
APPLICATION = "AWS::Serverless::Application"


class Region:
    """What the translator wants to know of a boto3 session."""

    region_name = REGION


def translate(path: Path) -> dict[str, Any]:
    """One built template as plain CloudFormation."""
    template = yaml.safe_load(path.read_text())
    values = {name: item.get("Default", name) for name, item in template.get("Parameters", {}).items()}
    # No template names a managed policy by its short name, so their map is empty.
    translator = Translator({}, Parser(), boto_session=Region())
    return dict(translator.translate(located(template, path.parent), values))


def located(template: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The template with placeholders for what a deployment would have uploaded, and its includes inlined."""
    result = inlined(copy.deepcopy(template), folder)
    for resource in result["Resources"].values():
        properties = resource.get("Properties", {})
        name, _ = PROPERTIES.get(resource["Type"], ("", False))
        if isinstance(properties.get(name), str):
            properties[name] = PLACEHOLDER
        if resource["Type"] == APPLICATION:
            properties["Location"] = "https://artifacts.s3.amazonaws.com/template"
    return dict(result)


def inlined(value: Any, folder: Path) -> Any:
    """A value with every AWS::Include replaced by the file it names."""
    if isinstance(value, list):
        return [inlined(item, folder) for item in value]
    if not isinstance(value, dict):
        return value
    transform = value.get("Fn::Transform")
    if isinstance(transform, dict) and transform.get("Name") == "AWS::Include":
        return yaml.safe_load((folder / transform["Parameters"]["Location"]).read_text())
    return {key: inlined(item, folder) for key, item in value.items()}


def main() -> int:
    """Write every translated template below .local/build/translated."""
    # The translator counts for its own service and complains that nobody collects it.
    logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)
    TRANSLATED.mkdir(parents=True, exist_ok=True)
    for old in TRANSLATED.glob("*.json"):
        old.unlink()
    folder = LOCAL_TEMPLATE.parent
    for path in [LOCAL_TEMPLATE, *sorted(folder.glob("*/template.yaml"))]:
        name = "root" if path == LOCAL_TEMPLATE else path.parent.name
        (TRANSLATED / f"{name}.json").write_text(json.dumps(translate(path), indent=1, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
