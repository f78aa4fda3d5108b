"""What became of a call, decided once and used by span, metric, log record and breaker alike."""

from __future__ import annotations

import enum


class Outcome(enum.StrEnum):
    """How a call ended. The values are what telemetry shows."""

    OK = "ok"
    ERROR = "error"
    TOOL_ERROR = "tool_error"
    TIMEOUT = "timeout"
    CIRCUIT_OPEN = "circuit_open"
    DISABLED = "disabled"
    BULKHEAD_FULL = "bulkhead_full"
    BUDGET_EXCEEDED = "budget_exceeded"
    LOOP_DETECTED = "loop_detected"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


REFUSED = frozenset(
    {
        Outcome.CIRCUIT_OPEN,
        Outcome.DISABLED,
        Outcome.BULKHEAD_FULL,
        Outcome.BUDGET_EXCEEDED,
        Outcome.LOOP_DETECTED,
    }
)
"""The call was not attempted."""

FAILED = frozenset({Outcome.ERROR, Outcome.TOOL_ERROR, Outcome.TIMEOUT})
"""The call was attempted and did not give what it should."""


class Verdict(enum.Enum):
    """What a call says about the health of the dependency behind it.

    *Neutral* is neither: a cancellation, an argument the model got wrong, most 4xx. It does not count towards
    opening a circuit, does not reset the count and does not close a half-open circuit.
    """

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"
