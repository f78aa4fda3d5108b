"""Chunks of the chat completions API, and what they have in common with whole answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from otel_tools.adapters.wire.openai_messages import output_message
from otel_tools.adapters.wire.openai_usage import read_usage
from otel_tools.adapters.wire.reading import count, get, items, present, text
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


_TEXTS = {"content": "content", "refusal": "refusal", "reasoning_content": "reasoning", "reasoning": "reasoning"}
"""Fields of a delta that are text -> what they are collected under."""


@dataclass(slots=True)
class _Choice:
    """What has arrived of one choice."""

    finish_reason: str | None = None
    texts: dict[str, list[str]] = field(default_factory=dict)
    tool_calls: dict[int, _ToolCall] = field(default_factory=dict)

    def add(self, choice: Any) -> bool:
        """Take in one piece; true when it carries content."""
        self.finish_reason = text(get(choice, "finish_reason")) or self.finish_reason
        content = False
        for name, value in present(get(choice, "delta")):
            if name in _TEXTS:
                content = self._add_text(_TEXTS[name], value) or content
            elif name == "tool_calls":
                content = self._add_calls(items(value)) or content
            elif name == "function_call":
                content = self._add_calls([{"index": 0, "function": value}])
            elif name == "audio":
                said = [self._add_text(part, get(value, part)) for part in ("data", "transcript")]
                content = any(said) or content
        return content

    def _add_text(self, kind: str, piece: Any) -> bool:
        if not isinstance(piece, str) or not piece:
            return False
        self.texts.setdefault(kind, []).append(piece)
        return True

    def _add_calls(self, calls: Sequence[Any]) -> bool:
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
        said = {kind: "".join(pieces) for kind, pieces in self.texts.items()}
        audio = {"data": said.get("data", ""), "transcript": said.get("transcript")}
        return {
            "reasoning": said.get("reasoning", ""),
            "content": said.get("content", ""),
            "refusal": said.get("refusal", ""),
            "audio": audio if "data" in said or "transcript" in said else None,
            "tool_calls": [call.message() for _, call in sorted(self.tool_calls.items())],
        }


_FIRST = frozenset({"id", "model", "error"})
_LAST = frozenset({"usage", "x_groq", "service_tier", "system_fingerprint"})
"""Fields of a chunk of which the first, or the last that says anything, counts."""


class ChatChunks:
    """Collects the chunks of a chat completion, one message per choice."""

    __slots__ = ("_choices", "_said")

    def __init__(self) -> None:
        self._said: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}

    def add(self, chunk: Any) -> bool:
        """Take in a chunk; role-only, usage-only and content filter chunks carry no content."""
        content = False
        for name, value in present(chunk):
            if name == "choices":
                for choice in items(value):
                    content = self._choice(choice).add(choice) or content
            elif name in _FIRST:
                self._said.setdefault(name, value)
            elif name in _LAST and value:
                self._said[name] = value
        return content

    def _choice(self, choice: Any) -> _Choice:
        return self._choices.setdefault(count(get(choice, "index")) or 0, _Choice())

    def response(self, complete: bool) -> LLMResponse:
        """What has arrived; a choice cut short has the finish reason `error`."""
        choices = [choice for _, choice in sorted(self._choices.items())]
        return LLMResponse(
            id=text(self._said.get("id")),
            model=text(self._said.get("model")),
            finish_reasons=self._reasons(choices, complete),
            usage=self._read_usage(choices, complete),
            fields=response_fields(self._said),
            output=lambda: [output_message(choice.message(), choice.finish_reason or "error") for choice in choices],
            error_type=failure(self._said),
        )

    def _reasons(self, choices: list[_Choice], complete: bool) -> Sequence[str]:
        return [choice.finish_reason or "error" for choice in choices] or ([] if complete else ["error"])

    def _read_usage(self, choices: list[_Choice], complete: bool) -> Usage | None:
        """The last count; it is final when the stream, or at least every choice in it, came to its end."""
        final = complete or (bool(choices) and all(choice.finish_reason for choice in choices))
        usage = self._said.get("usage") or get(self._said.get("x_groq"), "usage")
        return read_usage(usage, "exact" if final else "partial")
