"""What a user decides about a tool, a client or a session: frozen, validated values."""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeAlias

from otel_tools.errors import ConfigError


class Mode(enum.StrEnum):
    """Whether policy acts. `OBSERVE` reports what it would have done; the kill switch works in both."""

    OBSERVE = "observe"
    ENFORCE = "enforce"


class Criticality(enum.StrEnum):
    """What a failure means for the run: a *critical* tool's failure is raised, an *optional* one's becomes a note."""

    CRITICAL = "critical"
    OPTIONAL = "optional"


class Unpriced(enum.StrEnum):
    """What a cost limit does about a model without a known price: such calls cannot be counted in money.

    `DENY` refuses them, `COUNT_TOKENS` leaves them to the token limit (which must be set), `WARN` lets them go on and
    says so once per session.
    """

    DENY = "deny"
    COUNT_TOKENS = "count_tokens"
    WARN = "warn"


Key: TypeAlias = str | Callable[[Mapping[str, Any]], Hashable | None]
"""What tells the circuits of one tool apart: the name of an argument, or a function of the arguments."""


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
        min_span: Seconds that must lie between the starts of the first and the last of the failures that open it, so
            that one blip under parallel calls does not.
        slow_after: A call that takes this many seconds or more counts as a failure; `None`: time does not count.
        failure_rate: Share of failures among the last *window* calls, at least *minimum_calls*, that opens it, too;
            `None`: only consecutive failures do. It is looked at when a call fails.
        window: Calls that *failure_rate* looks at.
        minimum_calls: How many there must be.

    Raises:
        ConfigError: A number is not in its range.
    """

    failures: int = 3
    reset_after: float = 60.0
    max_reset_after: float = 480.0
    jitter: float = 0.1
    lease: float = 60.0
    min_span: float = 0.0
    slow_after: float | None = None
    failure_rate: float | None = None
    window: int = 20
    minimum_calls: int = 10

    def __post_init__(self) -> None:
        for name in ("failures", "reset_after", "max_reset_after", "lease", "slow_after", "window", "minimum_calls"):
            _positive(f"circuit {name}", getattr(self, name))
        if not 0 <= self.jitter <= 1:
            raise ConfigError(f"circuit jitter must be between 0 and 1, not {self.jitter!r}")
        if not self.min_span >= 0:
            raise ConfigError(f"circuit min_span must be 0 or more, not {self.min_span!r}")
        if self.failure_rate is not None and not 0 < self.failure_rate <= 1:
            raise ConfigError(f"circuit failure_rate must be greater than 0 and at most 1, not {self.failure_rate!r}")
        if self.minimum_calls > self.window:
            raise ConfigError(f"circuit minimum_calls ({self.minimum_calls}) is more than its window ({self.window})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What applies to the calls of one tool or LLM client.

    Args:
        timeout: Deadline of a call in seconds; `None` for none. A sync tool with a timeout runs in a worker thread. For
            a generator or a streamed answer it is all that its reader may wait; the reader's own time is free. On event
            loops other than asyncio's nothing is enforced: a late call is only marked.
        circuit: The circuit breaker, `None` for none.
        criticality: Whether a failure is raised or becomes a note for the model.
        fallback: Called with the tool's own arguments when an optional tool failed; gives the value instead of the
            note.
        max_in_flight: Calls of it that may run at once; further ones are refused. `None` for no limit, but a sync
            tool with a timeout never has more than 16 (that bounds the threads which hung calls can hold), and for the
            same reason none is made while 16 that timed out have not come back.
        item_timeout: Seconds that a generator tool or a streamed answer may take for its next item, or its first.
        key: What tells apart the circuits of a tool that talks to several dependencies (tenants, servers): the name
            of one of its arguments, or a function of them. Calls without a key (`None`) have a circuit of their own.
            At most 256 keys have one at a time; people see keys in views, so they should be no secrets.
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
    item_timeout: float | None = None
    key: Key | None = None
    is_failure: Callable[[Any], bool] | None = None
    mode: Mode | None = None
    dependency: str | None = None
    owner: str | None = None

    def __post_init__(self) -> None:
        for name in ("timeout", "item_timeout"):
            _positive(name, getattr(self, name))
            if getattr(self, name) == inf:
                raise ConfigError(f"{name} must be a number of seconds, or None for no deadline, not inf")
        _positive("max_in_flight", self.max_in_flight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one session may use, its sub-agents included. `None` is no limit.

    A limit refuses calls once it is reached; it never stops one that is running. Where tokens or cost are limited, an
    LLM call reserves what it may use before it is made: input by the size of its messages (4 bytes a token), output by
    the maximum that the request names, else 4096 tokens. However many calls run at once, the session uses no more than
    the limit and one such reservation. What the provider reports takes its place when the call ends; without a report
    (OpenAI streams without `include_usage`) the size of the answer does.

    Args:
        max_iterations: LLM calls.
        max_tool_calls: Tool calls.
        max_tokens: Input and output tokens together.
        max_cost_usd: US dollars, for models with a known price.
        max_duration: Seconds; LLM and tool calls after that are refused.
        max_repeats: How often a tool may be called with the same arguments and give the same result; the model is
            warned with the last of them, and further such calls are refused.
        unpriced: What *max_cost_usd* does about models without a known price.

    Raises:
        ConfigError: A number is not in its range, or `count_tokens` has no *max_tokens* to count against.
    """

    max_iterations: int | None = None
    max_tool_calls: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None
    max_duration: float | None = None
    max_repeats: int | None = None
    unpriced: Unpriced = Unpriced.WARN

    def __post_init__(self) -> None:
        for name in ("max_iterations", "max_tool_calls", "max_tokens", "max_cost_usd", "max_duration", "max_repeats"):
            _positive(name, getattr(self, name))
        if self.max_repeats == 1:
            raise ConfigError("max_repeats must be 2 or more: every call is the first of its kind once")
        if self.unpriced is Unpriced.COUNT_TOKENS and self.max_tokens is None:
            raise ConfigError("unpriced: count_tokens needs max_tokens, the limit to count against")
