"""The Anthropic Messages API: responses and stream events, whichever client carries them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from otel_tools.adapters.wire.anthropic_content import blocks, parts
from otel_tools.adapters.wire.reading import count, get, items, text
from otel_tools.model import LLMResponse, Usage

_FINISH_REASONS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_call"}
_INPUT_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation")
_OUTPUT_COUNTS = ("output_tokens", "output_tokens_details", "iterations")
_STARTED_EMPTY = frozenset({"text", "thinking", "fallback"})


# --- usage ----------------------------------------------------------------------------------------------------------
def read_usage(usage: Any, *, final: bool = True) -> Usage | None:
    """Billed tokens: `input_tokens` of the wire excludes the cache, and both totals exclude server-side compactions.

    The tokens of an advisor are left out: they are another model's.

    Args:
        usage: A `usage` object.
        final: Whether it holds the provider's final counts.
    """
    if usage is None:
        return None
    billed = [usage, *(entry for entry in items(get(usage, "iterations")) if get(entry, "type") == "compaction")]
    fresh, read = _sum(billed, "input_tokens"), _sum(billed, "cache_read_input_tokens")
    written = _sum(billed, "cache_creation_input_tokens")
    return Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (written or 0),
        output_tokens=_sum(billed, "output_tokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=_sum([get(entry, "cache_creation") for entry in billed], "ephemeral_1h_input_tokens"),
        reasoning_tokens=count(get(get(usage, "output_tokens_details"), "thinking_tokens")),
        quality="exact" if final else "partial",
    )


def _sum(entries: Iterable[Any], name: str) -> int | None:
    counts = [found for entry in entries if (found := count(get(entry, name))) is not None]
    return sum(counts) if counts else None


# --- responses ------------------------------------------------------------------------------------------------------
class AnthropicMessages:
    """The `Wire` of the Messages API."""

    def response(self, payload: Any) -> LLMResponse:
        """Read a `Message`, of whichever flavour, or its JSON."""
        usage, reasons = get(payload, "usage"), _finish_reasons(get(payload, "stop_reason"))
        return LLMResponse(
            id=text(get(payload, "id")),
            model=text(get(payload, "model")),
            finish_reasons=reasons,
            usage=read_usage(usage),
            fields={"anthropic_service_tier": text(get(usage, "service_tier"))},
            output=lambda: [_message(get(payload, "content"), reasons)],
        )

    def chunks(self) -> MessageEvents:
        """A collector of raw stream events."""
        return MessageEvents()


def _finish_reasons(stop_reason: Any) -> tuple[str, ...]:
    reason = text(stop_reason)
    return (_FINISH_REASONS.get(reason, reason),) if reason else ()


def _message(content: Any, reasons: tuple[str, ...]) -> dict[str, Any]:
    return {"role": "assistant", "parts": parts(content), "finish_reason": reasons[0] if reasons else "error"}


class MessageEvents:
    """Collects the events of a stream. `message_start` has placeholders for what only `message_delta` knows."""

    def __init__(self) -> None:
        self._message: dict[str, str | None] | None = None
        self._stop_reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._final = False
        self._content: list[Any] = []

    def add(self, event: Any) -> bool:
        """Take in *event*; true for deltas and for blocks that arrive whole."""
        match get(event, "type"):
            case "content_block_delta":
                self._content.append(event)
                return True
            case "content_block_start":
                return self._begin(event)
            case "message_start":
                self._start(get(event, "message"))
            case "message_delta":
                self._finish(event)
        return False

    def _start(self, message: Any) -> None:
        usage = get(message, "usage")
        self._message = {"id": text(get(message, "id")), "model": text(get(message, "model"))}
        self._message["tier"] = text(get(usage, "service_tier"))
        self._count(usage, _INPUT_COUNTS)

    def _begin(self, event: Any) -> bool:
        block = get(event, "content_block")
        self._content.append(event)
        if self._message and (model := text(get(get(block, "to"), "model"))):
            # a `fallback` block: another model goes on with the answer
            self._message["model"] = model
        return get(block, "type") not in _STARTED_EMPTY

    def _finish(self, event: Any) -> None:
        self._final = True
        self._stop_reason = text(get(get(event, "delta"), "stop_reason")) or self._stop_reason
        self._count(get(event, "usage"), _INPUT_COUNTS + _OUTPUT_COUNTS)

    def _count(self, usage: Any, names: Iterable[str]) -> None:
        self._usage.update({name: found for name in names if (found := get(usage, name)) is not None})

    def response(self, complete: bool) -> LLMResponse:
        """What has arrived. A stream that ends by itself without a stop reason was cut short on the way."""
        message, reasons = self._message or {}, _finish_reasons(self._stop_reason)
        return LLMResponse(
            id=message.get("id"),
            model=message.get("model"),
            finish_reasons=reasons,
            usage=read_usage(self._usage or None, final=self._final),
            fields={"anthropic_service_tier": message.get("tier")},
            output=lambda: [_message(blocks(self._content), reasons)],
            error_type="stream_incomplete" if complete and message and not reasons else None,
        )
