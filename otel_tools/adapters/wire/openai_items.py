"""Items of the responses API (input and output alike) in the structure of the GenAI JSON schemas."""

from __future__ import annotations

from typing import Any

from otel_tools.adapters.wire.openai_messages import content_parts
from otel_tools.adapters.wire.openai_messages import part as chat_part
from otel_tools.adapters.wire.reading import described, from_json, get, items, media, plain, text
from otel_tools.model import Content

_ASSISTANT = "assistant"
_CLIENT_CALLS = frozenset({"computer_call", "local_shell_call", "shell_call", "apply_patch_call"})
_SERVER_RESULTS = ("output", "outputs", "results", "result", "error")


def read_content(body: dict[str, Any]) -> Content:
    """Instructions, input items and tool definitions of a request body."""
    instructions, given = body.get("instructions"), body.get("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    return Content(
        system_instructions=[{"type": "text", "content": instructions}] if isinstance(instructions, str) else None,
        input_messages=[message(item) for item in items(given)] or None,
        tool_definitions=[definition(tool) for tool in items(body.get("tools"))] or None,
    )


def tool_names(body: dict[str, Any]) -> list[str]:
    """Names of the functions (and custom tools) that the model may call, those inside namespaces included."""
    tools = [inner for tool in items(body.get("tools")) for inner in (tool, *items(get(tool, "tools")))]
    named = [tool for tool in tools if get(tool, "type") in {"function", "custom"}]
    return [name for tool in named if (name := text(get(tool, "name")))]


def definition(tool: Any) -> dict[str, Any]:
    """A tool definition; the tools of OpenAI itself have a type only."""
    kind = get(tool, "type") or "function"
    name = get(tool, "name") or get(tool, "server_label") or kind
    return described(
        type=kind, name=name, description=get(tool, "description"), parameters=plain(get(tool, "parameters"))
    )


def message(item: Any) -> dict[str, Any]:
    """One input item as a message."""
    if (role := get(item, "role")) is not None:
        return {"role": role, "parts": parts(item)}
    is_result = (get(item, "type") or "").endswith("_output")
    return {"role": "tool" if is_result else _ASSISTANT, "parts": parts(item)}


def output_messages(output: Any, finish_reason: str | None) -> list[dict[str, Any]]:
    """The output items as the one message that they are."""
    found = [part for item in output for part in parts(item)]
    if not found:
        return []
    finish = "tool_call" if finish_reason == "tool_calls" else finish_reason
    return [described(role=_ASSISTANT, parts=found, finish_reason=finish)]


def parts(item: Any) -> list[dict[str, Any]]:
    """What one item says."""
    kind = get(item, "type") or "message"
    if kind == "message":
        content = get(item, "content")
        return content_parts(content) if isinstance(content, str) else [_part(piece) for piece in items(content)]
    if kind == "reasoning":
        said = [*items(get(item, "content")), *items(get(item, "summary"))]
        return [{"type": "reasoning", "content": get(piece, "text") or ""} for piece in said]
    if kind == "compaction":
        return [described(type="compaction", id=get(item, "id"))]
    if kind.endswith("_output"):
        return [_result(item)]
    return _calls(kind, item)


def _part(piece: Any) -> dict[str, Any]:
    match get(piece, "type"):
        case "input_text" | "output_text" | "summary_text":
            return {"type": "text", "content": get(piece, "text") or ""}
        case "input_image":
            return _file("image", get(piece, "file_id"), get(piece, "image_url"))
        case "input_file":
            return _file("document", get(piece, "file_id"), get(piece, "file_url") or get(piece, "file_data"))
        case _:
            return chat_part(piece)


def _file(modality: str, file_id: str | None, url: str | None) -> dict[str, Any]:
    if file_id is not None:
        return {"type": "file", "modality": modality, "file_id": file_id}
    return media(modality, url or "")


def _calls(kind: str, item: Any) -> list[dict[str, Any]]:
    """The call of a tool: ours to run, or run by OpenAI, in which case the item may hold the result, too."""
    call_id = get(item, "call_id") or get(item, "id")
    name = get(item, "name") or kind.removesuffix("_call")
    if kind in {"function_call", "custom_tool_call"}:
        arguments = get(item, "input") if kind == "custom_tool_call" else from_json(get(item, "arguments"))
        return [described(type="tool_call", id=call_id, name=name, arguments=arguments)]
    if kind in _CLIENT_CALLS:
        action = plain(get(item, "action") or get(item, "operation"))
        return [described(type="tool_call", id=call_id, name=name, arguments=action)]
    if kind == "image_generation_call":
        return [{"type": "blob", "modality": "image", "mime_type": "image/png", "content": get(item, "result") or ""}]
    if kind.endswith("_call"):
        return _server_call(name, call_id, plain(item))
    return [dict(plain(item))]


def _server_call(name: str, call_id: str | None, fields: dict[str, Any]) -> list[dict[str, Any]]:
    result = {key: fields.pop(key) for key in _SERVER_RESULTS if key in fields}
    fields.pop("id", None)
    found = [described(type="server_tool_call", id=call_id, name=name, server_tool_call=fields)]
    if result:
        answer = {"type": fields["type"], **result}
        found.append(described(type="server_tool_call_response", id=call_id, server_tool_call_response=answer))
    return found


def _result(item: Any) -> dict[str, Any]:
    output = get(item, "output")
    response = from_json(output) if isinstance(output, str) else [_part(piece) for piece in items(output)]
    return described(type="tool_call_response", id=get(item, "call_id"), response=response or plain(output))
