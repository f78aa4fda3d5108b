"""Small readers for values of unknown make: plain dictionaries, pydantic models, protobuf-like objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def get(value: Any, name: str) -> Any:
    """Field *name* of a dictionary or an object, `None` if it has none."""
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def items(value: Any) -> Sequence[Any]:
    """*value* if it is a list or tuple, else nothing: an iterator belongs to the caller and must not be used up."""
    return value if isinstance(value, list | tuple) else ()


def count(value: Any) -> int | None:
    """*value* as a whole number, `None` if it is no number."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def number(value: Any) -> float | None:
    """*value* as a number with a fraction, `None` if it is no number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def text(value: Any) -> str | None:
    """*value* if it is a string that is not empty."""
    return value if isinstance(value, str) and value else None


def strings(value: Any) -> list[str] | None:
    """A string or a list of strings as a list; `None` if there is none."""
    found = [value] if isinstance(value, str) else [item for item in items(value) if isinstance(item, str)]
    return found or None


def from_json(value: Any) -> Any:
    """What the JSON text *value* holds; *value* itself where it is no JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def plain(value: Any) -> Any:
    """*value* with its models (at any depth) turned into dictionaries, fields that are `None` left out."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True, warnings=False)
    return value


def described(**fields: Any) -> dict[str, Any]:
    """A dictionary of *fields* without those that are `None`."""
    return {name: value for name, value in fields.items() if value is not None}


def media(kind: str, url: str) -> dict[str, Any]:
    """The part of a message for a URL: a blob where it is a `data:` URL, else a reference."""
    if not url.startswith("data:"):
        return {"type": "uri", "modality": kind, "uri": url}
    header, _, data = url.removeprefix("data:").partition(",")
    return described(type="blob", modality=kind, mime_type=header.partition(";")[0] or None, content=data)
