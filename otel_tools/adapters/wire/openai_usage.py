"""Token usage as the OpenAI APIs and the many services that copy them report it."""

from __future__ import annotations

from typing import Any

from otel_tools.adapters.wire.reading import count, get, number
from otel_tools.model import Quality, Usage

_XAI_TICKS_PER_USD = 10_000_000_000


def read_usage(usage: Any, quality: Quality = "exact") -> Usage | None:
    """Read a `usage` object of chat completions, responses or embeddings; `None` if there is none."""
    input_tokens = _first(usage, "prompt_tokens", "input_tokens")
    output_tokens = _first(usage, "completion_tokens", "output_tokens")
    if input_tokens is None and output_tokens is None:
        return None
    read = Usage(input_tokens=input_tokens, output_tokens=output_tokens, quality=quality, cost=_cost(usage))
    _read_sent(read, usage, get(usage, "prompt_tokens_details") or get(usage, "input_tokens_details"))
    made = get(usage, "completion_tokens_details") or get(usage, "output_tokens_details")
    if made is not None:
        _read_made(read, usage, made)
    return read


def _read_sent(read: Usage, usage: Any, sent: Any) -> None:
    if sent is not None:
        read.cache_read_tokens = _first(sent, "cached_tokens")
        read.cache_write_tokens = _first(sent, "cache_write_tokens")
        read.text_input_tokens = _first(sent, "text_tokens")
        read.image_input_tokens = _first(sent, "image_tokens")
        read.audio_input_tokens = _first(sent, "audio_tokens")
    if read.cache_read_tokens is None:  # DeepSeek and Moonshot have names of their own for what the cache gave
        read.cache_read_tokens = _first(usage, "prompt_cache_hit_tokens", "cached_tokens")


def _read_made(read: Usage, usage: Any, made: Any) -> None:
    read.reasoning_tokens = _first(made, "reasoning_tokens")
    read.text_output_tokens = _first(made, "text_tokens")
    read.image_output_tokens = _first(made, "image_tokens")
    read.audio_output_tokens = _first(made, "audio_tokens")
    read.output_tokens = _with_reasoning(usage, read.input_tokens, read.output_tokens, read.reasoning_tokens)


def _first(value: Any, *names: str) -> int | None:
    if value is not None:
        for name in names:
            if (found := count(get(value, name))) is not None:
                return found
    return None


def _with_reasoning(usage: Any, sent: int | None, made: int | None, reasoning: int | None) -> int | None:
    """The output tokens including reasoning. xAI counts it apart, which shows in the total."""
    total = _first(usage, "total_tokens")
    if reasoning and made is not None and total == (sent or 0) + made + reasoning:
        return made + reasoning
    return made


def _cost(usage: Any) -> float | None:
    """USD as reported by OpenRouter (`cost`), Perplexity (`cost.total_cost`) or xAI (`cost_in_usd_ticks`)."""
    if (ticks := number(get(usage, "cost_in_usd_ticks"))) is not None:
        return ticks / _XAI_TICKS_PER_USD
    cost = get(usage, "cost")
    return number(get(cost, "total_cost") if isinstance(cost, dict) else cost)
