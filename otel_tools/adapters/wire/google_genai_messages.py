"""Gemini's contents and parts, in the structure of the GenAI JSON schemas.

A part may also be given as what the SDK makes one of: a string, an uploaded file, an image.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from otel_tools.adapters.wire.google_genai_fields import Json, read, word
from otel_tools.adapters.wire.reading import described

_ROLES = {"model": "assistant", "function": "tool"}
_MEDIA = frozenset({"image", "video", "audio"})


def messages(contents: Any) -> list[Json]:
    """What is sent to the model. Parts that stand alone make up one message of the user, as the SDK groups them."""
    found: list[Json] = []
    alone = False
    for item in contents if isinstance(contents, list | tuple) else [contents]:
        was_alone, alone = alone, not (_is_content(item) or isinstance(item, list))
        new = _message(item)
        if alone and was_alone and found[-1]["role"] == new["role"]:
            found[-1]["parts"] += new["parts"]
        else:
            found.append(new)
    return found


def system_instructions(instruction: Any) -> list[Json]:
    """The text parts of a system instruction (the schema has no others)."""
    return [part for message in messages(instruction) for part in message["parts"] if part["type"] == "text"]


def output_message(parts: list[Any], finish_reason: str) -> Json:
    """One candidate. A streamed text comes in pieces, which are joined."""
    joined: list[Json] = []
    for new in map(_part, parts):
        if joined and new["type"] in {"text", "reasoning"} and joined[-1]["type"] == new["type"]:
            joined[-1]["content"] += new["content"]
        else:
            joined.append(new)
    return {"role": "assistant", "parts": joined, "finish_reason": finish_reason}


def _is_content(item: Any) -> bool:
    return read(item, "parts") is not None or read(item, "role") is not None


def _message(item: Any) -> Json:
    if isinstance(item, list):
        parts, role = item, None
    elif _is_content(item):
        parts, role = read(item, "parts") or [], read(item, "role")
    else:
        parts, role = [item], None
    converted = [_part(part) for part in parts]
    kinds = {part["type"] for part in converted}
    if kinds == {"tool_call_response"}:
        return {"role": "tool", "parts": converted}
    role = role or ("model" if "tool_call" in kinds else "user")
    return {"role": _ROLES.get(role, role), "parts": converted}


def _part(value: Any) -> Json:
    text = value if isinstance(value, str) else read(value, "text")
    if isinstance(text, str):
        return {"type": "reasoning" if read(value, "thought") else "text", "content": text}
    for name, convert in _PARTS.items():
        if (found := read(value, name)) is not None:
            return convert(found)
    if read(value, "uri") or read(value, "file_uri"):
        return _uri(value)
    return {"type": type(value).__name__.lower()}


def _blob(data: Any) -> Json:
    content = read(data, "data")
    if isinstance(content, bytes):
        content = base64.b64encode(content).decode()
    return described(type="blob", **_media(data), content=content)


def _uri(file: Any) -> Json:
    return described(type="uri", **_media(file), uri=read(file, "uri") or read(file, "file_uri"))


def _media(value: Any) -> Json:
    mime_type = read(value, "mime_type") or ""
    kind = mime_type.partition("/")[0]
    return {"modality": kind if kind in _MEDIA else "document", "mime_type": mime_type or None}


def _tool_call(call: Any) -> Json:
    return described(type="tool_call", id=read(call, "id"), name=read(call, "name"), arguments=read(call, "args"))


def _tool_call_response(response: Any) -> Json:
    return described(type="tool_call_response", id=read(response, "id"), response=read(response, "response"))


def _server_call(call: Any) -> Json:
    name = word(read(call, "tool_type") or "code_execution").lower()
    detail = described(type=name, arguments=read(call, "args"), code=read(call, "code"))
    return described(type="server_tool_call", id=read(call, "id"), name=name, server_tool_call=detail)


def _server_response(result: Any) -> Json:
    name = word(read(result, "tool_type") or "code_execution").lower()
    detail = described(type=name, response=read(result, "response"), output=read(result, "output"))
    return described(type="server_tool_call_response", id=read(result, "id"), server_tool_call_response=detail)


_PARTS: dict[str, Callable[[Any], Json]] = {
    "function_call": _tool_call,
    "function_response": _tool_call_response,
    "inline_data": _blob,
    "file_data": _uri,
    "executable_code": _server_call,
    "code_execution_result": _server_response,
    "tool_call": _server_call,
    "tool_response": _server_response,
}
"""Fields of a part of which one is set, beside `text`."""

CARRIES = ("text", *_PARTS)
"""Fields of a part that carry content (a chunk may hold a signature alone)."""
