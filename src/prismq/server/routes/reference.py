"""The API's own documentation: OpenAPI, and a page that shows it without anything from elsewhere."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader

from prismq.server.auth import PUBLIC

router = APIRouter()

_HERE = Path(__file__).parent


@router.get("/docs", include_in_schema=False, dependencies=[PUBLIC])
async def docs(request: Request) -> HTMLResponse:
    """Every route, what it takes and gives, as HTML without scripts."""
    app: FastAPI = request.app
    root = request.scope.get("root_path", "")
    page = _template().render(root=root, **_content(json.dumps(app.openapi(), sort_keys=False)))
    return HTMLResponse(page)


@router.get("/docs/style.css", include_in_schema=False, dependencies=[PUBLIC])
async def style() -> HTMLResponse:
    """Its style sheet: the Content-Security-Policy allows none within a page."""
    text = (_HERE / "reference.css").read_text(encoding="utf-8")
    return HTMLResponse(text, media_type="text/css", headers={"Cache-Control": "max-age=3600"})


@lru_cache(maxsize=1)
def _template() -> Any:
    return Environment(loader=FileSystemLoader(_HERE), autoescape=True).get_template("reference.html")


@lru_cache(maxsize=4)
def _content(openapi: str) -> dict[str, Any]:
    """What the page shows, from the OpenAPI document."""
    document = json.loads(openapi)
    schemas = document.get("components", {}).get("schemas", {})
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation.get("tags", ["other"])[0], []).append(
                {
                    "method": method.upper(),
                    "path": path,
                    "id": operation["operationId"],
                    "summary": operation.get("summary", ""),
                    "description": operation.get("description", ""),
                    "parameters": [
                        {**one, "type": _type(one.get("schema", {}))} for one in operation.get("parameters", [])
                    ],
                    "body": _body(operation, schemas),
                    "responses": {
                        status: {"description": one["description"], "model": _model(one)}
                        for status, one in operation["responses"].items()
                    },
                }
            )
    models = [
        {
            "name": name,
            "description": schema.get("description", ""),
            "fields": [
                {
                    "name": field,
                    "type": _type(about),
                    "required": field in schema.get("required", ()),
                    "description": about.get("description", ""),
                }
                for field, about in schema.get("properties", {}).items()
            ],
        }
        for name, schema in sorted(schemas.items())
        if schema.get("properties")
    ]
    return {"info": document["info"], "groups": groups, "models": models}


def _body(operation: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any] | None:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    name = _type(content["schema"])
    examples = schemas.get(name, {}).get("examples", [])
    return {"model": name, "examples": [json.dumps(one, ensure_ascii=False) for one in examples]}


def _model(response: dict[str, Any]) -> str:
    for content in response.get("content", {}).values():
        if "schema" in content:
            return _type(content["schema"])
    return ""


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for several in ("anyOf", "allOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_type(one) for one in schema[several]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    return str(schema.get("format") or schema.get("type") or "anything")
