"""The routes as the templates wire them and as the OpenAPI document describes them."""

import json
from functools import cache
from typing import Any

from tests.support import ROOT, template


@cache
def routes() -> dict[str, str]:
    """Every route of the templates and the context that answers it."""
    return {
        item["Properties"]["RouteKey"]: path.stem
        for path in sorted((ROOT / "infra").glob("*.yaml"))
        for item in template(path.stem)["Resources"].values()
        if item["Type"] == "AWS::ApiGatewayV2::Route"
    }


@cache
def operations() -> dict[str, dict[str, Any]]:
    """The OpenAPI operation of each route."""
    document = json.loads((ROOT / "functions" / "identity" / "openapi.json").read_text(encoding="utf-8"))
    return {f"{method.upper()} {path}": one for path, item in document["paths"].items() for method, one in item.items()}
