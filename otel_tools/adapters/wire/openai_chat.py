"""The chat completions API of OpenAI, which most other services speak, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from otel_tools.adapters.wire.openai_chat_stream import ChatChunks, failure, response_fields
from otel_tools.adapters.wire.openai_messages import output_message
from otel_tools.adapters.wire.openai_usage import read_usage
from otel_tools.adapters.wire.reading import count, get, items, number, strings, text
from otel_tools.model import LLMResponse

_OUTPUT_TYPES = {"json_object": "json", "json_schema": "json", "text": "text"}


_FIELDS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "frequency_penalty": ("frequency_penalty", number),
    "max_tokens": ("max_tokens", count),
    "presence_penalty": ("presence_penalty", number),
    "reasoning_effort": ("reasoning_level", text),
    "seed": ("seed", count),
    "service_tier": ("openai_service_tier", lambda tier: None if tier == "auto" else tier),
    "stop": ("stop_sequences", strings),
    "temperature": ("temperature", number),
    "top_k": ("top_k", count),
    "top_p": ("top_p", number),
    "n": ("choice_count", lambda choices: None if choices == 1 else count(choices)),
}
"""Parameter -> field, and how its value is read."""


def request_fields(body: dict[str, Any]) -> dict[str, Any]:
    """What a request body says beyond model and messages."""
    fields: dict[str, Any] = {}
    for name, value in body.items():
        if name in _FIELDS:
            field, read = _FIELDS[name]
            fields[field] = read(value)
    if "max_completion_tokens" in body:
        fields["max_tokens"] = count(body["max_completion_tokens"])
    if "reasoning" in body:
        fields["reasoning_level"] = fields.get("reasoning_level") or text(get(body["reasoning"], "effort"))
    if "response_format" in body or "modalities" in body:
        fields["output_type"] = _output_type(body)
    return fields


def _output_type(body: dict[str, Any]) -> str | None:
    if "audio" in items(body.get("modalities")):
        return "speech"
    return _OUTPUT_TYPES.get(get(body.get("response_format"), "type") or "")


class ChatWire:
    """Reads chat completions and their chunks."""

    def response(self, payload: Any) -> LLMResponse:
        """Read a whole chat completion."""
        choices = items(get(payload, "choices"))
        reasons = [text(get(choice, "finish_reason")) or "error" for choice in choices]
        return LLMResponse(
            id=text(get(payload, "id")),
            model=text(get(payload, "model")),
            finish_reasons=reasons,
            usage=read_usage(get(payload, "usage")),
            fields=response_fields(payload),
            output=lambda: [
                output_message(get(choice, "message"), reason) for choice, reason in zip(choices, reasons, strict=True)
            ],
            error_type=failure(payload),
        )

    def chunks(self) -> ChatChunks:
        """A new collector."""
        return ChatChunks()


CHAT = ChatWire()
