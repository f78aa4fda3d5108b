"""A call that a pipeline has admitted."""

from __future__ import annotations

from otel_tools.policy.circuit import CircuitState
from otel_tools.policy.generation import Permit, Rejection
from otel_tools.policy.outcome import Outcome


class Attempt:
    """An admitted call; hand it back with `Pipeline.settle`.

    Args:
        timeout: The deadline to enforce in seconds; `None` for none, and always in observe mode.
        limit: The deadline of the policy, enforced or not.
        ticket: What the circuit breaker said.
        would_refuse: In observe mode, the outcome that the call would have had in enforce mode; where the circuit is
            `metrics_only`, what the breaker would have done. Such a call is not counted.
    """

    __slots__ = ("has_returned", "limit", "ticket", "timeout", "would_refuse")

    ticket: Permit | Rejection

    def __init__(self, timeout: float | None, limit: float | None) -> None:
        self.timeout = timeout
        self.limit = limit
        self.would_refuse: Outcome | None = None
        self.has_returned = False

    @property
    def state(self) -> CircuitState:
        """The circuit's state at admission; in `metrics_only`, what the breaker itself says."""
        return self.ticket.state

    @property
    def probe(self) -> bool:
        """Whether this call decides what becomes of a half-open circuit."""
        return self.ticket.probe
