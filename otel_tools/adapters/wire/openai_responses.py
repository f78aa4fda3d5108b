"""The responses API of OpenAI."""

from __future__ import annotations

from typing import Any

from otel_tools.adapters.wire.openai_items import output_messages
from otel_tools.adapters.wire.openai_usage import read_usage
from otel_tools.adapters.wire.reading import count, get, items, number, text
from otel_tools.model import LLMResponse

_OUTPUT_TYPES = {"json_object": "json", "json_schema": "json", "text": "text"}
_INCOMPLETE = {"max_output_tokens": "length"}
_CALLS = frozenset({"function_call", "custom_tool_call"})
_FINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


def request_fields(body: dict[str, Any]) -> dict[str, Any]:
    """What a request body says beyond model and input."""
    tier, prompt = body.get("service_tier"), body.get("prompt")
    return {
        "conversation_id": _id(body.get("conversation")),
        "max_tokens": count(body.get("max_output_tokens")),
        "openai_service_tier": None if tier == "auto" else tier,
        "output_type": _OUTPUT_TYPES.get(get(get(body.get("text"), "format"), "type") or ""),
        "previous_response_id": text(body.get("previous_response_id")),
        "prompt_name": _id(prompt),
        "prompt_version": text(get(prompt, "version")),
        "reasoning_level": text(get(body.get("reasoning"), "effort")),
        "temperature": number(body.get("temperature")),
        "top_p": number(body.get("top_p")),
    }


def _id(value: Any) -> str | None:
    """The id of something that is given as its id or as an object with an id."""
    return text(value) or text(get(value, "id"))


class ResponsesWire:
    """Reads responses and their events."""

    def response(self, payload: Any) -> LLMResponse:
        """Read a whole response; one that runs in the background has no usage and no finish reason yet."""
        output = items(get(payload, "output"))
        reason = _finish_reason(payload, output)
        return LLMResponse(
            id=text(get(payload, "id")),
            model=text(get(payload, "model")),
            finish_reasons=[reason] if reason else [],
            usage=read_usage(get(payload, "usage")),
            fields={
                "conversation_id": _id(get(payload, "conversation")),
                "openai_service_tier": text(get(payload, "service_tier")),
            },
            output=lambda: output_messages(output, reason),
            error_type=_failure(payload),
        )

    def chunks(self) -> ResponsesChunks:
        """A new collector."""
        return ResponsesChunks()


def _finish_reason(payload: Any, output: Any) -> str | None:
    """Why the model stopped, in the words of chat completions (a response has a status instead)."""
    match get(payload, "status"):
        case "completed":
            return "tool_calls" if any(get(item, "type") in _CALLS for item in output) else "stop"
        case "incomplete":
            reason = text(get(get(payload, "incomplete_details"), "reason"))
            return _INCOMPLETE.get(reason or "", reason) or "error"
        case "failed" | "cancelled":
            return "error"
        case _:
            return None


def _failure(payload: Any) -> str | None:
    """The error code of a response that failed, `error` if it has none."""
    if get(payload, "status") != "failed" and get(payload, "error") is None:
        return None
    error = get(payload, "error")
    return text(get(error, "code")) or text(get(error, "type")) or "error"


class ResponsesChunks:
    """Collects the events of a streamed response. The last one holds it whole; until then, what has arrived."""

    __slots__ = ("_created", "_error", "_final", "_items", "_texts")

    def __init__(self) -> None:
        self._created: Any = None
        self._final: Any = None
        self._error: str | None = None
        self._items: dict[int, Any] = {}
        self._texts: dict[int, list[str]] = {}

    def add(self, event: Any) -> bool:
        """Take in an event; deltas and partial images carry content."""
        kind = get(event, "type") or ""
        if kind.endswith((".delta", ".partial_image")):
            if kind == "response.output_text.delta":
                self._texts.setdefault(get(event, "output_index") or 0, []).append(get(event, "delta") or "")
            return True
        if kind == "response.output_item.done":
            self._items[get(event, "output_index") or 0] = get(event, "item")
        elif kind in _FINAL:
            self._final = get(event, "response")
        elif kind == "response.created":
            self._created = get(event, "response")
        elif kind == "error":
            self._error = text(get(event, "code")) or "error"
        return False

    def response(self, complete: bool) -> LLMResponse:  # noqa: ARG002  the last event says it
        """The whole response if its last event arrived, else its beginning."""
        if self._final is not None:
            return RESPONSES.response(self._final)
        read = RESPONSES.response(self._created)
        read.finish_reasons, read.error_type = ["error"], self._error
        read.output = lambda: output_messages(self._arrived(), "error")
        return read

    def _arrived(self) -> list[Any]:
        """Finished items, and the text of those that were cut short."""
        partial = {
            index: {"type": "message", "content": [{"type": "output_text", "text": "".join(pieces)}]}
            for index, pieces in self._texts.items()
        }
        return [item for _, item in sorted({**partial, **self._items}.items())]


RESPONSES = ResponsesWire()
