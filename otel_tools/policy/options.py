"""What a user decides about a tool, a client or a session: frozen, validated values."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from otel_tools.errors import ConfigError


class Mode(enum.StrEnum):
    """Whether policy acts. `OBSERVE` reports what it would have done; the kill switch works in both."""

    OBSERVE = "observe"
    ENFORCE = "enforce"


class Criticality(enum.StrEnum):
    """What a failure means for the run: a *critical* tool's failure is raised, an *optional* one's becomes a note."""

    CRITICAL = "critical"
    OPTIONAL = "optional"


def _positive(name: str, value: float | None) -> None:
    if value is not None and not value > 0:
        raise ConfigError(f"{name} must be greater than 0, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """A circuit breaker's settings (terms of resilience4j and Polly).

    Args:
        failures: Consecutive failures that open the circuit.
        reset_after: Seconds it stays open before one probe is admitted.
        max_reset_after: Upper bound of *reset_after* as it doubles with every failed probe.
        jitter: Up to this fraction is added to the open time, drawn once per opening, so that replicas spread.
        lease: Seconds a probe may take before its slot is given to another one, when the call has no timeout.

    Raises:
        ConfigError: A number is not in its range.
    """

    failures: int = 3
    reset_after: float = 60.0
    max_reset_after: float = 480.0
    jitter: float = 0.1
    lease: float = 60.0

    def __post_init__(self) -> None:
        for name in ("failures", "reset_after", "max_reset_after", "lease"):
            _positive(f"circuit {name}", getattr(self, name))
        if not 0 <= self.jitter <= 1:
            raise ConfigError(f"circuit jitter must be between 0 and 1, not {self.jitter!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What applies to the calls of one tool or LLM client.

    Args:
        timeout: Deadline of a call in seconds; `None` for none. A sync tool with a timeout runs in a worker thread.
        circuit: The circuit breaker, `None` for none.
        criticality: Whether a failure is raised or becomes a note for the model.
        fallback: Called with the tool's own arguments when an optional tool failed; gives the value instead of the
            note.
        max_in_flight: Calls of it that may run at once; further ones are refused. `None` for no limit, but a sync
            tool with a timeout never has more than 16 (that bounds the threads which hung calls can hold).
        is_failure: Given a returned value, whether it is an error returned as data.
        mode: Overrides the mode of the whole process for this tool.
        dependency: What it depends on, for people (`"search API, search.internal:8080"`).
        owner: Who looks after it, for people.

    Raises:
        ConfigError: A number is not in its range.
    """

    timeout: float | None = None
    circuit: Circuit | None = field(default_factory=Circuit)
    criticality: Criticality = Criticality.CRITICAL
    fallback: Callable[..., Any] | None = None
    max_in_flight: int | None = None
    is_failure: Callable[[Any], bool] | None = None
    mode: Mode | None = None
    dependency: str | None = None
    owner: str | None = None

    def __post_init__(self) -> None:
        _positive("timeout", self.timeout)
        _positive("max_in_flight", self.max_in_flight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one session may use. `None` is no limit.

    Args:
        max_iterations: LLM calls.
        max_tool_calls: Tool calls.
        max_tokens: Input and output tokens together.
        max_cost_usd: US dollars, for models with a known price.

    Raises:
        ConfigError: A number is not in its range.
    """

    max_iterations: int | None = None
    max_tool_calls: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_iterations", "max_tool_calls", "max_tokens", "max_cost_usd"):
            _positive(name, getattr(self, name))
