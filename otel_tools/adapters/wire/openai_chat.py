"""The chat completions API of OpenAI, which most other services speak, too."""

from __future__ import annotations

from typing import Any

from otel_tools.adapters.wire.openai_chat_stream import ChatChunks, failure, response_fields
from otel_tools.adapters.wire.openai_messages import output_message
from otel_tools.adapters.wire.openai_usage import read_usage
from otel_tools.adapters.wire.reading import count, get, items, number, strings, text
from otel_tools.model import LLMResponse

_OUTPUT_TYPES = {"json_object": "json", "json_schema": "json", "text": "text"}


def request_fields(body: dict[str, Any]) -> dict[str, Any]:
    """What a request body says beyond model and messages."""
    choices = count(body.get("n"))
    limit = count(body.get("max_completion_tokens"))
    tier = body.get("service_tier")
    effort = body.get("reasoning_effort") or get(body.get("reasoning"), "effort")
    return {
        "choice_count": None if choices == 1 else choices,
        "frequency_penalty": number(body.get("frequency_penalty")),
        "max_tokens": count(body.get("max_tokens")) if limit is None else limit,
        "openai_service_tier": None if tier == "auto" else tier,
        "output_type": _output_type(body),
        "presence_penalty": number(body.get("presence_penalty")),
        "reasoning_level": text(effort),
        "seed": count(body.get("seed")),
        "stop_sequences": strings(body.get("stop")),
        "temperature": number(body.get("temperature")),
        "top_k": count(body.get("top_k")),
        "top_p": number(body.get("top_p")),
    }


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
