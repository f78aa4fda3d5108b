"""Fields of Gemini's values: a model of the SDK, or a dictionary in snake or camel case.

The SDK takes dictionaries in both spellings, and the service sends the latter (seen where a caller asks for the raw
response).
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


def read(value: Any, name: str) -> Any:
    """Field *name* of a model, or of a dictionary in either spelling; `None` where there is none."""
    if isinstance(value, dict):
        found = value.get(name)
        return value.get(_camel(name)) if found is None else found
    return getattr(value, name, None)


@cache
def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.title() for word in tail)


def word(value: Any) -> str:
    """The string that an enum member stands for."""
    return str(getattr(value, "value", value))
