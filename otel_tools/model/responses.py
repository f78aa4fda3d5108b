"""What came of a call, as an adapter reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal, Protocol, TypeAlias

from otel_tools.policy.outcome import Outcome

Quality: TypeAlias = Literal["exact", "partial", "absent"]


@dataclass(slots=True)
class Usage:
    """Billed tokens of one LLM call. The two totals include all details (cached, reasoning, per modality).

    Args:
        cache_write_1h_tokens: The part of *cache_write_tokens* that is kept for an hour (priced differently).
        quality: `exact` from the provider's final count, `partial` from a stream that ended early (a placeholder of
            the provider never counts as output tokens), `absent` when the provider said nothing.
        cost: USD that the provider itself reports, if it does.

    A total or a cost that cannot be one (negative, not a number) is as good as none: budgets and counters add them up.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    text_input_tokens: int | None = None
    image_input_tokens: int | None = None
    audio_input_tokens: int | None = None
    text_output_tokens: int | None = None
    image_output_tokens: int | None = None
    audio_output_tokens: int | None = None
    text_cache_read_tokens: int | None = None
    image_cache_read_tokens: int | None = None
    audio_cache_read_tokens: int | None = None
    quality: Quality = "exact"
    cost: float | None = None

    def __post_init__(self) -> None:
        for name in ("input_tokens", "output_tokens", "cost"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < inf:
                setattr(self, name, None)


@dataclass(slots=True)
class LLMResponse:
    """What an LLM client returned.

    Args:
        finish_reasons: One per choice, in order.
        usage: `None` is the same as quality `absent`.
        fields: Keys of `semconv.RESPONSE_FIELDS` -> value.
        output: Gives the output messages, called only when capture is on.
        error_type: Set when the response itself says that the call failed (the Responses API's `status: failed`).
    """

    id: str | None = None
    model: str | None = None
    finish_reasons: Sequence[str] = ()
    usage: Usage | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    output: Callable[[], list[dict[str, Any]]] | None = None
    error_type: str | None = None


@dataclass(slots=True)
class ToolResponse:
    """What a tool returned.

    Args:
        outcome: `OK`, `TOOL_ERROR` (an error returned as data) or `INTERRUPTED` (waits for a human).
        neutral: The error says nothing about the dependency (bad arguments).
        result: What goes back to the model, to be measured (UTF-8 bytes) and, if capture is on, recorded.
        error_type: A more precise `error.type` than `tool_error`, of low cardinality.
        fields: Keys of `semconv.TOOL_FIELDS` -> value.
    """

    outcome: Outcome = Outcome.OK
    neutral: bool = False
    result: Any = None
    error_type: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class AgentResponse:
    """What an agent run returned: a value of `semconv.SESSION_OUTCOMES`, and its output for capture."""

    outcome: str = "completed"
    conversation_id: str | None = None


Response: TypeAlias = LLMResponse | ToolResponse | AgentResponse


class Chunks(Protocol):
    """Collects the chunks of one stream."""

    def add(self, chunk: Any) -> bool:
        """Take in *chunk*; true when it carries content (text, reasoning, a tool call), which starts the clock of
        time to first chunk. Role-only, ping and start events do not."""

    def response(self, complete: bool) -> LLMResponse:
        """What has arrived; *complete* is false when the stream was left early or failed."""


class Wire(Protocol):
    """Reads one wire format, whichever client speaks it."""

    def response(self, payload: Any) -> LLMResponse:
        """Read a whole response."""

    def chunks(self) -> Chunks:
        """A new collector for a streamed response."""
