"""The contracts others build against, generated from code: the OpenAPI document, the schema of every fact, and what
makers of devices need.

`python -m infra.local.contracts` writes them, `--check` fails if what is in the repository differs.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
API_CONTEXTS = ("identity", "grid", "devices", "tickets")
FACT_CONTEXTS = ("grid", "devices", "alarms", "tickets")
OPENAPI = ROOT / "functions" / "identity" / "openapi.json"
SCHEMAS = ROOT / "events" / "schemas"
CLASSES_PAGE = ROOT / "docs" / "device-classes.md"


def openapi() -> dict[str, Any]:
    """The one document: every context's routes, sorted."""
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "邻里 Linli",
            "version": "1",
            "description": "社区服务与治理平台接口。The API of a province's smart communities. "
            "Refusals are application/problem+json, in Chinese unless Accept-Language asks for English. "
            "A caller with several posts names the one they act in with the header Linli-Post.",
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": {},
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": {},
        },
    }
    for context in API_CONTEXTS:
        api = importlib.import_module(f"{context}.api").api
        part = json.loads(api.app.get_openapi_schema().model_dump_json(by_alias=True, exclude_none=True))
        for path in api.public:
            for operation in part["paths"][path].values():
                operation["security"] = []
        _add(document["paths"], part["paths"], context)
        _add(document["components"]["schemas"], part["components"]["schemas"], context)
    used = json.dumps(document["paths"])
    schemas = document["components"]["schemas"]
    reached: set[str] = set()
    while found := {name for name in schemas if f'schemas/{name}"' in used} - reached:
        reached |= found
        used = json.dumps([schemas[name] for name in sorted(found)])
    document["components"]["schemas"] = {name: schemas[name] for name in sorted(reached)}
    document["paths"] = dict(sorted(document["paths"].items()))
    return document


def fact_schemas() -> dict[str, dict[str, Any]]:
    """File name → schema of the envelope with the fact's data in it."""
    from linli.facts import Envelope, Fact

    schemas = {}
    for context in FACT_CONTEXTS:
        module = importlib.import_module(f"{context}.events")
        own = (v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__)
        for fact in (v for v in own if issubclass(v, Fact)):
            schema = Envelope.model_json_schema()
            data = fact.model_json_schema()
            schema["$defs"] = data.pop("$defs", {})
            schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
            schema["title"] = f"{fact.__name__} v{fact.version}"
            schema["description"] = fact.__doc__
            schema["properties"] |= {
                "type": {"const": fact.__name__},
                "version": {"const": fact.version},
                "context": {"const": context},
                "data": data,
            }
            schemas[f"{fact.__name__}-v{fact.version}.json"] = schema
    return schemas


def files() -> dict[Path, str]:
    from infra.local.device_contract import classes_page, message_schemas

    generated = {OPENAPI: openapi()} | {SCHEMAS / name: schema for name, schema in fact_schemas().items()}
    generated |= {SCHEMAS / "mqtt" / name: schema for name, schema in message_schemas().items()}
    written = {path: json.dumps(content, ensure_ascii=False, indent=1) + "\n" for path, content in generated.items()}
    return {**written, CLASSES_PAGE: classes_page()}


def _add(into: dict[str, Any], part: dict[str, Any], context: str) -> None:
    for key, value in part.items():
        if into.setdefault(key, value) != value:
            raise SystemExit(f"{context}: {key} is defined twice, differently")


def main() -> int:
    wanted = files()
    differing = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv:
        for path in differing:
            print(f"{path.relative_to(ROOT)} is not what the code says: run `make contracts`")
        return 1 if differing else 0
    for path in differing:
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
