"""Content, when its capture is switched on: messages, arguments and results, shortened with their structure kept."""

from __future__ import annotations

import json
from typing import Any

from otel_tools import semconv as names
from otel_tools.model import LLMRequest, LLMResponse

_DEPTH = 16
_ITEMS = 256


def size(value: Any) -> int | None:
    """UTF-8 bytes of what a tool gives back to the model: text as it is, anything else as compact JSON.

    Nothing to give back, or what cannot be written as JSON, has no size. Never raises.
    """
    if value is None:
        return None
    try:
        if isinstance(value, (bytes, bytearray)):
            return len(value)
        text = value if isinstance(value, str) else as_json(value)
        return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    except Exception:  # circular, with keys that JSON does not know, or an object that cannot show itself
        return None


def as_json(value: Any) -> str:
    """*value* as compact JSON; what JSON does not know is written as `str()` gives it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_foreign)


def _foreign(value: Any) -> Any:
    for method in ("model_dump", "dict", "_asdict"):
        dump = getattr(value, method, None)
        if callable(dump) and not isinstance(value, type):
            try:
                return dump()
            except Exception:  # noqa: S112  a value that cannot be dumped is shown by its text
                continue
    return str(value)


def shortened(value: Any, limit: int, depth: int = _DEPTH) -> Any:
    """*value* with every text in it cut to *limit* characters and long lists cut short; the structure stays."""
    if isinstance(value, str):
        return value if len(value) <= limit else f"{value[:limit]}… [{len(value) - limit} more characters]"
    if depth == 0 or value is None or isinstance(value, (bool, int, float)):
        return value if depth else "…"
    if isinstance(value, dict):
        return {str(key): shortened(item, limit, depth - 1) for key, item in list(value.items())[:_ITEMS]}
    if isinstance(value, (list, tuple)):
        return [shortened(item, limit, depth - 1) for item in value[:_ITEMS]]
    if isinstance(value, (bytes, bytearray)):
        return f"[{len(value)} bytes]"
    foreign = _foreign(value)
    return shortened(foreign, limit, depth - 1)


def messages(request: LLMRequest, response: LLMResponse | None, limit: int) -> dict[str, Any]:
    """The content of an LLM call by attribute name, structured as the GenAI schemas say, shortened to *limit*."""
    found: dict[str, Any] = {}
    if request.content is not None:
        content = request.content()
        found[names.SYSTEM_INSTRUCTIONS] = content.system_instructions
        found[names.INPUT_MESSAGES] = content.input_messages
        found[names.TOOL_DEFINITIONS] = content.tool_definitions
    if response is not None and response.output is not None:
        found[names.OUTPUT_MESSAGES] = response.output()
    return {name: shortened(value, limit) for name, value in found.items() if value}
