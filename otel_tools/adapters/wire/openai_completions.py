"""The legacy completions API of OpenAI, still spoken by many servers of open models."""

from __future__ import annotations

from typing import Any

from otel_tools.adapters.wire.openai_chat import ChatWire
from otel_tools.adapters.wire.openai_chat_stream import ChatChunks
from otel_tools.adapters.wire.reading import get, items
from otel_tools.model import Content, LLMResponse


def read_content(body: dict[str, Any]) -> Content:
    """The prompts of a request body (text only, not those given as tokens)."""
    prompt = body.get("prompt")
    prompts = [item for item in ([prompt] if isinstance(prompt, str) else items(prompt)) if isinstance(item, str)]
    parts = [{"type": "text", "content": item} for item in prompts]
    return Content(input_messages=[{"role": "user", "parts": parts}] if parts else None)


class CompletionsWire(ChatWire):
    """Reads completions: chat completions whose choices hold plain `text`."""

    def response(self, payload: Any) -> LLMResponse:
        """Read a whole completion."""
        return super().response(_as_chat(payload, "message"))

    def chunks(self) -> CompletionChunks:
        """A new collector."""
        return CompletionChunks()


class CompletionChunks(ChatChunks):
    """Collects the chunks of a completion."""

    __slots__ = ()

    def add(self, chunk: Any) -> bool:
        """Take in a chunk."""
        return super().add(_as_chat(chunk, "delta"))


def _as_chat(payload: Any, message: str) -> dict[str, Any]:
    """*payload* as a chat completion would be, with the text as the content of each choice's *message*."""
    choices = [
        {
            "index": get(choice, "index"),
            "finish_reason": get(choice, "finish_reason"),
            message: {"content": get(choice, "text")},
        }
        for choice in items(get(payload, "choices"))
    ]
    names = ("id", "model", "usage", "service_tier", "system_fingerprint", "error")
    return {name: get(payload, name) for name in names} | {"choices": choices}


COMPLETIONS = CompletionsWire()
