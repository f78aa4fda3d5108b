"""How many tokens an LLM call may use, worked out from its request, so that they can be reserved before it is made."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, Final

from otel_tools.errors import internal_error
from otel_tools.model import LLMRequest

OUTPUT_TOKENS: Final = 4096
"""Output tokens that are expected of a request that names no maximum."""

_BYTES_PER_TOKEN: Final = 4
_MEDIA_BYTES: Final = 4096
"""An image or file counts as so much text (1024 tokens), whatever its size."""

_MEDIA: Final = frozenset({"blob", "uri", "file"})
_OTHER_BYTES: Final = 4


def expected_tokens(request: LLMRequest) -> tuple[int, int]:
    """Input and output tokens: the size of messages, instructions and tools, and the most that may be answered.

    The size says about how many tokens (4 bytes each) there are. Nothing of the content is kept.
    """
    if request.operation == "embeddings":
        return _input_tokens(request), 0
    most = request.fields.get("max_tokens") or OUTPUT_TOKENS
    return _input_tokens(request), most * (request.fields.get("choice_count") or 1)


def _input_tokens(request: LLMRequest) -> int:
    if request.content is None:
        return 0
    try:
        content = request.content()
        return tokens_of([content.system_instructions, content.input_messages, content.tool_definitions])
    except Exception:
        internal_error("estimating the tokens of a request")
        return 0


def tokens_of(value: Any) -> int:
    """About how many tokens there are in messages, rounded up."""
    return ceil(_bytes_of(value) / _BYTES_PER_TOKEN)


def _bytes_of(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, Mapping):
        if value.get("type") in _MEDIA:
            return _MEDIA_BYTES
        return sum(_bytes_of(key) + _bytes_of(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return sum(map(_bytes_of, value))
    return 0 if value is None else _OTHER_BYTES
