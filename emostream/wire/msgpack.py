"""Events in MessagePack, a little smaller than JSON and read without a JSON parser.

Names and structure are those of the JSON. Numbers in faces are single precision, all others double.
"""

from __future__ import annotations

from typing import Any

import msgpack
from pydantic_core import to_json

_SINGLE_DIGITS = 7  # what single precision holds


def pack(content: dict[str, Any]) -> bytes:
    """The content of an event as MessagePack."""
    double, single = msgpack.Packer(), msgpack.Packer(use_single_float=True)
    parts = [double.pack_map_header(len(content))]
    for name, value in content.items():
        parts.append(double.pack(name))
        parts.append((single if name == "faces" else double).pack(value))
    return b"".join(parts)


def json_from_packed(packed: bytes) -> bytes:
    """MessagePack from anywhere → JSON of the same content.

    Raises:
        ValueError: it is not MessagePack, or holds what JSON cannot.
    """
    try:
        content = msgpack.unpackb(packed, strict_map_key=True)
        if isinstance(content, dict) and "faces" in content:
            content["faces"] = _shortened(content["faces"])
        return to_json(content, inf_nan_mode="constants")
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as exc:
        raise ValueError(f"not MessagePack of an event: {exc}") from exc


def _shortened(value: Any) -> Any:
    """Single precision floats as the short numbers they were: 0.0123, not 0.012299999594688416."""
    if isinstance(value, float):
        return float(f"{value:.{_SINGLE_DIGITS}g}")
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    if isinstance(value, dict):
        return {name: _shortened(item) for name, item in value.items()}
    return value
