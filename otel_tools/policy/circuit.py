"""What a circuit breaker shows of itself: states, transitions, views. Values only."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal, TypeAlias

Reason: TypeAlias = Literal[
    "threshold",
    "failure_rate",
    "probe_success",
    "probe_failure",
    "probe_lost",
    "retry_after",
    "manual",
    "expired",
    "remote",
]


class CircuitState(enum.StrEnum):
    """The states of a circuit (terms of resilience4j). An operator sets the last three; nothing automatic leaves them.

    `DISABLED` is the breaker switched off (every call admitted, none counted), not the tool. `METRICS_ONLY` is the
    breaker in shadow: it goes on counting and telling what it would do, and refuses nothing.
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"
    METRICS_ONLY = "metrics_only"


class Action(enum.StrEnum):
    """What an operator can set on a tool or client; each holds until it is lifted or expires.

    `DISABLE` is the kill switch of the tool. The others set its circuit: `FORCE_OPEN`, `BYPASS` (`disabled`) and
    `METRICS_ONLY`; of several, the first in this order is in force.
    """

    DISABLE = "disable"
    FORCE_OPEN = "force_open"
    BYPASS = "bypass"
    METRICS_ONLY = "metrics_only"


Layer: TypeAlias = Literal["process", "store"]
"""Where an override comes from: code of this process, or the store that all processes of a service share.

The two do not touch each other: a tool is disabled while either says so.
"""


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a circuit's state.

    Args:
        reason: `threshold`, `probe_success`, `probe_failure`, `probe_lost` (its lease ran out, the next call probes),
            `retry_after` (the dependency said when), `failure_rate`, `manual`, `expired` (the open time or an
            override ended), or `remote` (enough other processes have opened it).
        retry_after: Seconds until a call may be admitted, `None` when that is unknown or at once.
        sequence: Counts the transitions of the circuits of one tool or client: two threads may report theirs in
            either order.
        shadow: The circuit refuses nothing (observe mode, `metrics_only`): this is what it would have done.
        key: Which circuit of a tool with `Policy.key` it is; not for telemetry.
    """

    name: str
    from_: CircuitState
    to: CircuitState
    reason: Reason
    retry_after: float | None
    sequence: int
    shadow: bool = False
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """What an operator set, for people: why, who, and for how many more seconds (`None`: until it is lifted)."""

    reason: str
    actor: str
    expires_after: float | None = None
    layer: Layer = "process"


@dataclass(frozen=True, slots=True)
class CircuitView:
    """A circuit as it is now.

    Args:
        failures: Consecutive failures while closed.
        retry_after: Seconds until a call may be admitted; 0 when one would be, `None` when that is unknown.
        reopens: Failed probes since the circuit was last closed.
        since: When this state began, in seconds of the wall clock, for display.
        probe_in_flight: A half-open circuit waits for its probe.
        override: The operator's hand, in `forced_open`, `disabled` and `metrics_only`.
        key: Which of the circuits of a tool with `Policy.key` this is, `None` for the one of calls without a key.
        automatic: What the breaker itself says, where an operator's state hides it (`metrics_only`).
    """

    name: str
    state: CircuitState
    failures: int
    retry_after: float | None
    reopens: int
    since: float
    probe_in_flight: bool
    override: Override | None
    key: str | None = None
    automatic: CircuitState | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """That a circuit is open by itself, or half-open: what other processes are told of it.

    Args:
        number: Counts the openings of one circuit.
        left: Seconds until a probe may be made; 0 when the next call would be one.
        remote: Other processes had it opened (`CircuitBreaker.open_for`).
        probing: A probe is running.
    """

    number: int
    left: float
    remote: bool = False
    probing: bool = False
