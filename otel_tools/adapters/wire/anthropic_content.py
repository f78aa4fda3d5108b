"""Anthropic content blocks as message parts of the GenAI JSON schemas; read only when content is captured.

Blocks are dicts (what a user wrote) or models (what the API returned), in one list side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from otel_tools.adapters.wire.reading import described, from_json, get, items, plain

Part = dict[str, Any]
_DELTA_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "compaction_delta": "content"}


def parts(content: Any) -> list[Part]:
    """The parts of a message's content: a string or a list of blocks."""
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    return [part for block in items(content) for part in _block(block)]


def _block(block: Any) -> list[Part]:
    kind = get(block, "type") or "unknown"
    if kind in {"image", "document"}:
        return _file(kind, get(block, "source"))
    if reader := _READERS.get(kind):
        return [described(**reader(block))]
    if kind.endswith("_tool_result"):
        return [described(**_server_result(block))]
    return [{"type": kind}]


def _text(block: Any) -> Part:
    return {"type": "text", "content": get(block, "text") or ""}


def _thinking(block: Any) -> Part:
    return {"type": "reasoning", "content": get(block, "thinking") or ""}


def _compaction(block: Any) -> Part:
    return {"type": "compaction", "content": get(block, "content")}


def _tool_use(block: Any) -> Part:
    return {"type": "tool_call", "id": get(block, "id"), "name": get(block, "name"), "arguments": get(block, "input")}


def _tool_result(block: Any) -> Part:
    result = get(block, "content")
    response = result if isinstance(result, str) else parts(result)
    return {"type": "tool_call_response", "id": get(block, "tool_use_id"), "response": response}


def _server_tool_use(block: Any) -> Part:
    name, server = get(block, "name"), get(block, "server_name")
    call = described(type="mcp" if server else name, server_name=server, input=plain(get(block, "input")))
    return {"type": "server_tool_call", "id": get(block, "id"), "name": name, "server_tool_call": call}


def _server_result(block: Any) -> Part:
    kind = get(block, "type").removesuffix("_tool_result")
    response = {"type": kind, "content": _legible(plain(get(block, "content")))}
    return {
        "type": "server_tool_call_response",
        "id": get(block, "tool_use_id"),
        "server_tool_call_response": response,
    }


def _legible(value: Any) -> Any:
    """*value* without the opaque `encrypted_` fields."""
    if isinstance(value, list):
        return [_legible(item) for item in value]
    if isinstance(value, dict):
        return {key: _legible(item) for key, item in value.items() if not key.startswith("encrypted_")}
    return value


_READERS: dict[str, Callable[[Any], Part]] = {
    "text": _text,
    "thinking": _thinking,
    "compaction": _compaction,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "server_tool_use": _server_tool_use,
    "mcp_tool_use": _server_tool_use,
}


def _file(modality: str, source: Any) -> list[Part]:
    common = {"modality": modality, "mime_type": get(source, "media_type")}
    match get(source, "type"):
        case "base64":
            part = {"type": "blob", **common, "content": get(source, "data")}
        case "url":
            part = {"type": "uri", **common, "uri": get(source, "url")}
        case "file":
            part = {"type": "file", **common, "file_id": get(source, "file_id")}
        case "text":
            part = {"type": "text", "content": get(source, "data")}
        case _:
            return parts(get(source, "content"))
    return [described(**part)]


# --- events of a stream ---------------------------------------------------------------------------------------------
def blocks(events: Iterable[Any]) -> list[Part]:
    """The content blocks that *events* make."""
    found: dict[int, Part] = {}
    for event in events:
        if (block := get(event, "content_block")) is not None:
            found[get(event, "index")] = dict(block)
        else:
            _extend(found.setdefault(get(event, "index"), {}), get(event, "delta"))
    return [_with_input(block) for block in found.values()]


def _extend(block: Part, delta: Any) -> None:
    kind = get(delta, "type")
    if name := _DELTA_TEXTS.get(kind):
        block[name] = (block.get(name) or "") + (get(delta, name) or "")
    elif kind == "input_json_delta":
        block["json"] = block.get("json", "") + get(delta, "partial_json")


def _with_input(block: Part) -> Part:
    text = block.pop("json", "")
    return {**block, "input": from_json(text)} if text else block
