"""Chunks of the chat completions API, and what they have in common with whole answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from otel_tools.adapters.wire.openai_messages import output_message, reasoning
from otel_tools.adapters.wire.openai_usage import read_usage
from otel_tools.adapters.wire.reading import count, get, items, text
from otel_tools.model import LLMResponse, Usage


def response_fields(payload: Any) -> dict[str, Any]:
    """What a response or chunk says beyond id, model, choices and usage."""
    return {
        "openai_service_tier": text(get(payload, "service_tier")),
        "openai_system_fingerprint": text(get(payload, "system_fingerprint")),
    }


def failure(payload: Any) -> str | None:
    """The code of an error that came with status 200, as OpenRouter and other gateways send it."""
    error = get(payload, "error")
    return str(get(error, "code") or get(error, "type") or "error") if error else None


@dataclass(slots=True)
class _ToolCall:
    id: str | None = None
    name: str | None = None
    arguments: list[str] = field(default_factory=list)

    def message(self) -> dict[str, Any]:
        return {"id": self.id, "function": {"name": self.name, "arguments": "".join(self.arguments)}}


@dataclass(slots=True)
class _Choice:
    """What has arrived of one choice."""

    finish_reason: str | None = None
    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    audio: list[str] = field(default_factory=list)
    transcript: list[str] = field(default_factory=list)
    tool_calls: dict[int, _ToolCall] = field(default_factory=dict)

    def add(self, choice: Any) -> bool:
        """Take in one piece; true when it carries content."""
        delta = get(choice, "delta")
        audio = get(delta, "audio")
        self.finish_reason = text(get(choice, "finish_reason")) or self.finish_reason
        pieces = (
            (self.content, text(get(delta, "content"))),
            (self.reasoning, reasoning(delta)),
            (self.refusal, text(get(delta, "refusal"))),
            (self.audio, text(get(audio, "data"))),
            (self.transcript, text(get(audio, "transcript"))),
        )
        for collected, piece in pieces:
            if piece is not None:
                collected.append(piece)
        return self._add_calls(delta) or any(piece is not None for _, piece in pieces)

    def _add_calls(self, delta: Any) -> bool:
        calls = items(get(delta, "tool_calls"))
        if function := get(delta, "function_call"):
            calls = [{"index": 0, "function": function}]
        for call in calls:
            self._add_call(call, get(call, "function"))
        return bool(calls)

    def _add_call(self, piece: Any, function: Any) -> None:
        index, call_id = get(piece, "index"), text(get(piece, "id"))
        if not isinstance(index, int):  # services that send each call whole leave the index out
            index = len(self.tool_calls) if call_id else max(len(self.tool_calls) - 1, 0)
        call = self.tool_calls.setdefault(index, _ToolCall())
        call.id = call_id or call.id
        call.name = text(get(function, "name")) or call.name
        call.arguments.append(text(get(function, "arguments")) or "")

    def message(self) -> dict[str, Any]:
        """The message as a whole answer would hold it."""
        audio = {"data": "".join(self.audio), "transcript": "".join(self.transcript) or None}
        return {
            "reasoning": "".join(self.reasoning),
            "content": "".join(self.content),
            "refusal": "".join(self.refusal),
            "audio": audio if self.audio or self.transcript else None,
            "tool_calls": [call.message() for _, call in sorted(self.tool_calls.items())],
        }


class ChatChunks:
    """Collects the chunks of a chat completion, one message per choice."""

    __slots__ = ("_choices", "_error", "_fields", "_id", "_model", "_usage")

    def __init__(self) -> None:
        self._id: str | None = None
        self._model: str | None = None
        self._error: str | None = None
        self._usage: Any = None
        self._fields: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}

    def add(self, chunk: Any) -> bool:
        """Take in a chunk; role-only, usage-only and content filter chunks carry no content."""
        self._id = self._id or text(get(chunk, "id"))
        self._model = self._model or text(get(chunk, "model"))
        self._error = self._error or failure(chunk)
        self._usage = get(chunk, "usage") or get(get(chunk, "x_groq"), "usage") or self._usage
        self._fields.update((name, value) for name, value in response_fields(chunk).items() if value is not None)
        content = False
        for choice in items(get(chunk, "choices")):
            content = self._choice(choice).add(choice) or content
        return content

    def _choice(self, choice: Any) -> _Choice:
        return self._choices.setdefault(count(get(choice, "index")) or 0, _Choice())

    def response(self, complete: bool) -> LLMResponse:
        """What has arrived; a choice cut short has the finish reason `error`."""
        choices = [choice for _, choice in sorted(self._choices.items())]
        return LLMResponse(
            id=self._id,
            model=self._model,
            finish_reasons=self._reasons(choices, complete),
            usage=self._read_usage(choices, complete),
            fields=self._fields,
            output=lambda: [output_message(choice.message(), choice.finish_reason or "error") for choice in choices],
            error_type=self._error,
        )

    def _reasons(self, choices: list[_Choice], complete: bool) -> Sequence[str]:
        if not choices and not complete:
            return ["error"]
        return [choice.finish_reason or "error" for choice in choices]

    def _read_usage(self, choices: list[_Choice], complete: bool) -> Usage | None:
        """The last count; it is final when the stream, or at least every choice in it, came to its end."""
        final = complete or (bool(choices) and all(choice.finish_reason for choice in choices))
        return read_usage(self._usage, "exact" if final else "partial")
