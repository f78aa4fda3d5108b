"""What a circuit breaker shows of itself: states, transitions, views. Values only."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal, TypeAlias

Reason: TypeAlias = Literal[
    "threshold", "probe_success", "probe_failure", "probe_lost", "retry_after", "manual", "expired"
]


class CircuitState(enum.StrEnum):
    """The states of a circuit. An operator sets the last two, and nothing automatic leaves them.

    `DISABLED` is the breaker switched off (every call admitted, none counted), not the tool.
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a circuit's state.

    Args:
        reason: `threshold`, `probe_success`, `probe_failure`, `probe_lost` (its lease ran out, the next call probes),
            `retry_after` (the dependency said when), `manual`, or `expired` (the open time or an override ended).
        retry_after: Seconds until a call may be admitted, `None` when that is unknown or at once.
        sequence: Counts the transitions of one circuit: two threads may report theirs in either order.
    """

    name: str
    from_: CircuitState
    to: CircuitState
    reason: Reason
    retry_after: float | None
    sequence: int


@dataclass(frozen=True, slots=True)
class Override:
    """What an operator set, for people: why, who, and for how many more seconds (`None`: until it is lifted)."""

    reason: str
    actor: str
    expires_after: float | None = None


@dataclass(frozen=True, slots=True)
class CircuitView:
    """A circuit as it is now.

    Args:
        failures: Consecutive failures while closed.
        retry_after: Seconds until a call may be admitted; 0 when one would be, `None` when that is unknown.
        reopens: Failed probes since the circuit was last closed.
        since: When this state began, in seconds of the wall clock, for display.
        probe_in_flight: A half-open circuit waits for its probe.
        override: The operator's hand, in `forced_open` and `disabled`.
    """

    name: str
    state: CircuitState
    failures: int
    retry_after: float | None
    reopens: int
    since: float
    probe_in_flight: bool
    override: Override | None
