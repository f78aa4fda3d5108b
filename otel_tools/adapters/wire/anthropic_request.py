"""The Anthropic Messages API: the body of a request, whichever client sends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_tools.adapters.wire.anthropic_content import Part, parts
from otel_tools.adapters.wire.reading import count, described, get, items, number, plain, strings, text
from otel_tools.model import Content


def request_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of `semconv.REQUEST_FIELDS`; a value of an unexpected type is left out."""
    output = body.get("output_config")
    formats = (get(output, "format"), body.get("output_format"))
    return {
        "max_tokens": count(body.get("max_tokens")),
        "temperature": number(body.get("temperature")),
        "top_p": number(body.get("top_p")),
        "top_k": count(body.get("top_k")),
        "stop_sequences": strings(body.get("stop_sequences")),
        "reasoning_level": text(get(output, "effort")),
        "output_type": "json" if any(get(form, "type") == "json_schema" for form in formats) else None,
        "anthropic_service_tier": text(body.get("service_tier")),
        "previous_response_id": text(get(body.get("thread"), "previous_message_id")),
    }


def conversation_id(client: Any) -> str | None:
    """The conversation that the user gave the client's own tracing (`open_telemetry=`), since 2.0."""
    return text(getattr(getattr(client, "_otel", None), "conversation_id", None))


def read_content(body: Mapping[str, Any]) -> Content:
    """Messages, system instructions and tool definitions."""
    return Content(
        system_instructions=parts(body.get("system")) or None,
        input_messages=[
            {"role": get(message, "role"), "parts": parts(get(message, "content"))}
            for message in items(body.get("messages"))
        ]
        or None,
        tool_definitions=[_definition(tool) for tool in items(body.get("tools"))] or None,
    )


def tool_names(body: Mapping[str, Any]) -> list[str]:
    """Names of the user's own functions among the tools; the server's tools are not called here."""
    return [name for tool in items(body.get("tools")) if _is_function(tool) and (name := text(get(tool, "name")))]


def _is_function(tool: Any) -> bool:
    return get(tool, "type") in {None, "custom"}


def _definition(tool: Any) -> Part:
    if not _is_function(tool):
        return described(type=get(tool, "type"), name=get(tool, "name"))
    return described(
        type="function",
        name=get(tool, "name"),
        description=get(tool, "description"),
        parameters=plain(get(tool, "input_schema")),
    )
