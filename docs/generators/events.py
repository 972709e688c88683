"""The tables of fields in `docs/events.md`, from the JSON Schemas of the events.

`python -m docs.generators.schemas` writes them, together with the files of `docs/schemas`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from emostream.wire.schema import EVENT_KINDS, schema_of

PAGE = Path(__file__).parents[1] / "events.md"

_TABLE = re.compile(r"(<!-- fields: (\w+) -->\n\n).*?(\n\n<!-- end of fields -->)", re.DOTALL)


def renewed_page(text: str) -> str:
    """The page with its tables as the schemas have them now."""
    schemas = {kind: schema_of(kind) for kind in EVENT_KINDS}
    definitions = {name: item for schema in schemas.values() for name, item in schema.get("$defs", {}).items()}
    shown: dict[str, Any] = {str(kind): schema for kind, schema in schemas.items()}
    shown["face"] = definitions["FaceWire"]
    return _TABLE.sub(lambda match: f"{match[1]}{_table(shown[match[2]], definitions)}{match[3]}", text)


def _table(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    rows = ["| field | type | meaning |", "|---|---|---|"]
    for name, field in schema["properties"].items():
        absent = "" if name in schema["required"] else ", or absent"
        kind = type_text(field, definitions).replace("|", "\\|")
        rows.append(f"| `{name}` | {kind}{absent} | {field['description']} |")
    return "\n".join(rows)


def type_text(schema: dict[str, Any], definitions: dict[str, Any]) -> str:  # noqa: PLR0911 - one line for each kind
    """A type of a JSON Schema in words.

    >>> type_text({"type": "array", "items": {"type": "number"}}, {})
    'list of number'
    """
    if reference := schema.get("$ref"):
        definition = definitions[reference.rpartition("/")[2]]
        return type_text(definition, definitions) if "enum" in definition else "faces, below"
    if "anyOf" in schema:
        return " or ".join(type_text(part, definitions) for part in schema["anyOf"])
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " | ".join(f"`{value}`" for value in schema["enum"])
    if "prefixItems" in schema:
        return f"{len(schema['prefixItems'])} {type_text(schema['prefixItems'][0], definitions)}s"
    if schema["type"] == "array":
        return f"list of {type_text(schema['items'], definitions)}"
    if schema["type"] == "object":
        return f"name → {type_text(schema['additionalProperties'], definitions)}"
    if schema.get("format") == "date-time":
        return "time (RFC 3339)"
    examples = ", ".join(f"`{value}`" for value in schema.get("examples", ()))
    return f"{schema['type']}: {examples}" if examples else str(schema["type"])
