"""Messages of the chat completions API in the structure of the GenAI JSON schemas."""

from __future__ import annotations

from typing import Any

from otel_tools.adapters.wire.reading import described, from_json, get, items, media, plain, text
from otel_tools.model import Content

_AUDIO_TYPES = {"mp3": "audio/mpeg"}
_TOOL_CALLS = frozenset({"tool_calls", "function_call"})


def read_content(body: dict[str, Any]) -> Content:
    """Messages and tool definitions of a request body."""
    return Content(
        input_messages=[message(item) for item in items(body.get("messages"))] or None,
        tool_definitions=[definition(tool) for tool in tools(body)] or None,
    )


def tools(body: dict[str, Any]) -> list[Any]:
    """The tools of a request body, those of the older `functions` parameter included."""
    return [*items(body.get("tools")), *({"type": "function", "function": f} for f in items(body.get("functions")))]


def tool_names(body: dict[str, Any]) -> list[str]:
    """Names of the functions (and custom tools) that the model may call."""
    return [name for tool in tools(body) if (name := _tool_name(tool))]


def definition(tool: Any) -> dict[str, Any]:
    """A tool definition."""
    kind = get(tool, "type") or "function"
    function = get(tool, kind)
    return described(
        type=kind,
        name=_tool_name(tool) or kind,
        description=get(function, "description"),
        parameters=plain(get(function, "parameters")),
    )


def _tool_name(tool: Any) -> str | None:
    return text(get(get(tool, get(tool, "type") or "function"), "name"))


def message(item: Any) -> dict[str, Any]:
    """One message of the history."""
    role = get(item, "role") or "user"
    parts = [_tool_result(item)] if role in {"tool", "function"} else message_parts(item)
    return described(role=role, parts=parts, name=get(item, "name"))


def output_message(item: Any, finish_reason: str) -> dict[str, Any]:
    """The message of one choice."""
    finish = "tool_call" if finish_reason in _TOOL_CALLS else finish_reason
    return {"role": get(item, "role") or "assistant", "parts": message_parts(item), "finish_reason": finish}


def message_parts(item: Any) -> list[dict[str, Any]]:
    """Everything a message says: reasoning, text and media, refusal, audio, tool calls."""
    parts = [{"type": "reasoning", "content": said} for said in [reasoning(item)] if said]
    parts += content_parts(get(item, "content"))
    parts += [{"type": "text", "content": refusal} for refusal in [text(get(item, "refusal"))] if refusal]
    parts += [_audio(audio) for audio in [get(item, "audio")] if audio]
    parts += [tool_call(call) for call in items(get(item, "tool_calls"))]
    if (function := get(item, "function_call")) is not None:
        parts.append(tool_call({"function": function}))
    return parts


def reasoning(item: Any) -> str | None:
    """The reasoning in a message or delta, under the names that the compatible services use for it."""
    return text(get(item, "reasoning_content")) or text(get(item, "reasoning"))


def content_parts(content: Any) -> list[dict[str, Any]]:
    """The parts of a message's `content`, which is a string or a list."""
    if isinstance(content, str):
        return [{"type": "text", "content": content}] if content else []
    return [part(item) for item in items(content)]


def part(item: Any) -> dict[str, Any]:
    """One part of a message."""
    match get(item, "type"):
        case "text" | "refusal" as kind:
            return {"type": "text", "content": get(item, kind) or ""}
        case "image_url":
            image = get(item, "image_url")
            return media("image", image if isinstance(image, str) else get(image, "url") or "")
        case "input_audio":
            sound = get(item, "input_audio")
            kind = get(sound, "format")
            mime_type = _AUDIO_TYPES.get(kind, f"audio/{kind}")
            return {"type": "blob", "modality": "audio", "mime_type": mime_type, "content": get(sound, "data")}
        case "file":
            return _file(get(item, "file"))
        case _:
            return {"type": "text", "content": item} if isinstance(item, str) else dict(plain(item))


def _file(item: Any) -> dict[str, Any]:
    if (file_id := get(item, "file_id")) is not None:
        return {"type": "file", "modality": "document", "file_id": file_id}
    return media("document", get(item, "file_data") or "")


def _audio(item: Any) -> dict[str, Any]:
    """Audio of the model: its data in an answer, its id in the history."""
    if (data := get(item, "data")) is None:
        return {"type": "file", "modality": "audio", "file_id": get(item, "id")}
    return described(type="blob", modality="audio", content=data, transcript=get(item, "transcript"))


def _tool_result(item: Any) -> dict[str, Any]:
    content = get(item, "content")
    response = from_json(content) if isinstance(content, str) else content_parts(content)
    return described(type="tool_call_response", id=get(item, "tool_call_id"), response=response)


def tool_call(call: Any) -> dict[str, Any]:
    """A tool call of the model; arguments that are JSON become the object they stand for."""
    custom = get(call, "custom")
    called = custom or get(call, "function")
    arguments = get(custom, "input") if custom else from_json(get(called, "arguments"))
    return described(type="tool_call", id=get(call, "id"), name=get(called, "name") or "", arguments=arguments)
