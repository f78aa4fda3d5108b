"""What the Messages API of Anthropic answers, as JSON bodies and server-sent events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

MODEL = "claude-test"
SERVED = "claude-test-20260101"
MESSAGES = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOL = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 64,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
    "output_tokens": 25,
    "output_tokens_details": {"thinking_tokens": 8},
    "service_tier": "standard",
}
"""10 fresh, 64 read from the cache and 30 written to it are 104 billed input tokens."""


# --- whole responses ------------------------------------------------------------------------------------------------
def message(*content: dict[str, Any], stop_reason: str | None = "end_turn", **fields: Any) -> dict[str, Any]:
    """A message, by default with one text block."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": SERVED,
        "content": list(content) or [text()],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": USAGE,
        **fields,
    }


def text(content: str = "It is sunny.") -> dict[str, Any]:
    """A text block."""
    return {"type": "text", "text": content}


def tool_use(name: str = "get_weather", call_id: str = "toolu_1", **arguments: Any) -> dict[str, Any]:
    """A block that asks for a tool call."""
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def error(message: str = "Overloaded", kind: str = "overloaded_error") -> dict[str, Any]:
    """The body of a failed request, and an error event of a stream."""
    return {"type": "error", "error": {"type": kind, "message": message}}


# --- streams --------------------------------------------------------------------------------------------------------
def stream(*content: dict[str, Any], stop_reason: str = "end_turn") -> list[dict[str, Any]]:
    """The events of a streamed message, by default with one text block in two pieces."""
    blocks = content or (text(),)
    return [
        start(),
        {"type": "ping"},
        *(event for index, block in enumerate(blocks) for event in _block(index, block)),
        delta(stop_reason),
        {"type": "message_stop"},
    ]


def start() -> dict[str, Any]:
    """The first event: what is known of the input, and placeholders for the rest."""
    usage = {name: value for name, value in USAGE.items() if name != "output_tokens_details"} | {"output_tokens": 1}
    return {"type": "message_start", "message": message(stop_reason=None) | {"content": [], "usage": usage}}


def delta(stop_reason: str = "end_turn", **usage: Any) -> dict[str, Any]:
    """The event with the final counts."""
    counts = {"output_tokens": 25, "output_tokens_details": {"thinking_tokens": 8}, **usage}
    return {"type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": None}, "usage": counts}


def _block(index: int, block: dict[str, Any]) -> list[dict[str, Any]]:
    empty, deltas = _pieces(block)
    at = {"index": index}
    return [
        {"type": "content_block_start", **at, "content_block": empty},
        *({"type": "content_block_delta", **at, "delta": piece} for piece in deltas),
        {"type": "content_block_stop", **at},
    ]


def _pieces(block: dict[str, Any]) -> tuple[dict[str, Any], Sequence[dict[str, Any]]]:
    match block["type"]:
        case "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": half} for half in _halves(block["text"])]
        case "thinking":
            halves = [{"type": "thinking_delta", "thinking": half} for half in _halves(block["thinking"])]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [*halves, signed]
        case "tool_use":
            halves = _halves(json.dumps(block["input"]))
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": half} for half in halves]
        case _:
            return block, []


def _halves(content: str) -> tuple[str, str]:
    middle = len(content) // 2
    return content[:middle], content[middle:]
