"""Small readers for values of unknown make: plain dictionaries, pydantic models, protobuf-like objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, Final

_NO_MODEL: Final = object()


def get(value: Any, name: str) -> Any:
    """Field *name* of a dictionary or an object, `None` if it has none.

    The fields of a pydantic model are looked up where it keeps them (its properties are no fields): asking it for an
    attribute that it does not have costs some fifty times as much.
    """
    if isinstance(value, dict):
        return value.get(name)
    extra: Any = getattr(value, "__pydantic_extra__", _NO_MODEL)
    if extra is _NO_MODEL:
        return getattr(value, name, None)
    found = value.__dict__.get(name)
    return extra.get(name) if found is None and extra else found


def present(value: Any) -> Iterator[tuple[str, Any]]:
    """Name and value of the fields of a dictionary or an object that are not `None`."""
    fields = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    extra = getattr(value, "__pydantic_extra__", None)
    for known in (fields, extra) if extra else (fields,):
        for name, item in known.items():
            if item is not None:
                yield name, item


def items(value: Any) -> Sequence[Any]:
    """*value* if it is a list or tuple, else nothing: an iterator belongs to the caller and must not be used up."""
    return value if isinstance(value, list | tuple) else ()


def count(value: Any) -> int | None:
    """*value* as a whole number, `None` if it is no number."""
    return int(value) if _is_number(value) else None


def number(value: Any) -> float | None:
    """*value* as a number with a fraction, `None` if it is no number."""
    return float(value) if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isfinite(value) if isinstance(value, float) else isinstance(value, int) and not isinstance(value, bool)


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
