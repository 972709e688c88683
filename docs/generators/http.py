"""The HTTP interface as a page, from the OpenAPI description that the application makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emostream.config import load_settings
from emostream.service.api.app import build_api

_SUCCESS = "Successful Response"  # FastAPI's text where none was given


def http_text() -> str:
    """Every path with its parameters, body and answers, then every schema with its fields."""
    document = build_api(load_settings(), redis_url="redis://127.0.0.1:9/0").openapi()  # nothing connects
    lines = ["\n## Paths\n"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            lines += _operation(method.upper(), path, operation)
    lines.append("\n## Schemas\n")
    for name, schema in document["components"]["schemas"].items():
        lines += _schema(name, schema)
    return "\n".join(lines)


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"\n### `{method} {path}`\n\n{operation['description']}\n"
    if parameters := operation.get("parameters"):
        yield "| parameter | in | type | meaning |\n|---|---|---|---|"
        for item in parameters:
            star = ", required" if item["required"] else ""
            meaning = _cell(item.get("description", ""))
            yield f"| `{item['name']}` | {item['in']}{star} | {schema_type(item['schema'])} | {meaning} |"
        yield ""
    if body := operation.get("requestBody"):
        kinds = [f"`{kind}`: {schema_type(content['schema'])}" for kind, content in body["content"].items()]
        yield "Body: " + "; ".join(kinds) + ".\n"
    yield "| answer | body | meaning |\n|---|---|---|"
    for status, response in operation["responses"].items():
        shown = {schema_type(content.get("schema", {})) or f"`{kind}`" for kind, content in _contents(response)}
        meaning = "Done." if response["description"] == _SUCCESS else _cell(response["description"])
        yield f"| {status} | {', '.join(sorted(shown))} | {meaning} |"
    yield ""


def _contents(response: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(response.get("content", {}).items())


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"\n### {name}\n\n{schema.get('description', '')}\n"
    if "enum" in schema:
        yield "One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + ".\n"
        return
    yield "| field | type | meaning |\n|---|---|---|"
    for field, definition in schema["properties"].items():
        star = " (required)" if field in schema.get("required", ()) else ""
        yield f"| `{field}`{star} | {schema_type(definition)} | {_cell(definition.get('description', ''))} |"
    yield ""


def schema_type(schema: dict[str, Any]) -> str:  # noqa: PLR0911 - one line for each kind of type
    """A JSON Schema type in words, with a link where it has a name.

    >>> schema_type({"type": "array", "items": {"type": "integer", "minimum": 0}})
    'list of integer ≥ 0'
    """
    if name := schema.get("$ref", "").rpartition("/")[2]:
        return f"[{name}](#{name.lower()})"
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(schema_type(part) for part in schema[union])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {schema_type(schema['items'])}" if "items" in schema else "list"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"names to {schema_type(schema['additionalProperties'])}"
    if schema.get("type") == "object" and "properties" in schema:
        return "object with " + ", ".join(f"`{name}`" for name in schema["properties"])
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[name]:g}" for name, sign in signs.items() if name in schema]
    words = " ".join(part for part in (schema.get("type", ""), schema.get("format", ""), ", ".join(bounds)) if part)
    return words + (f" (default `{schema['default']}`)" if schema.get("default") not in (None, "") else "")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
