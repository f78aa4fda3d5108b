"""A call that policy refuses, as a value: the exception is made where it is raised, fresh each time."""

from __future__ import annotations

from typing import Final

from otel_tools.errors import (
    BudgetExceeded,
    BulkheadFull,
    CallRefused,
    CircuitOpen,
    LoopDetected,
    MaxIterationsExceeded,
    PriceUnknown,
    ToolDisabled,
)
from otel_tools.policy.outcome import Outcome

_ERRORS: Final[dict[Outcome, type[CallRefused]]] = {
    Outcome.CIRCUIT_OPEN: CircuitOpen,
    Outcome.DISABLED: ToolDisabled,
    Outcome.BULKHEAD_FULL: BulkheadFull,
    Outcome.BUDGET_EXCEEDED: BudgetExceeded,
    Outcome.LOOP_DETECTED: LoopDetected,
}
_OF_LIMITS: Final[dict[str | None, type[CallRefused]]] = {
    "max_iterations": MaxIterationsExceeded,
    "unpriced": PriceUnknown,
}


class Refusal:
    """A refused call.

    Args:
        name: The tool or client that was to be called.
        outcome: Why, a member of `REFUSED`.
        retry_after: Seconds until a call may be admitted again, `None` if unknown.
        detail: Why, in a few words of our own or of an operator.
        state: The circuit's state (empty when there is none).
        limit: The field of `Limits` that refuses it.
        refused_by: Whose limit that is, one of `Budget.accounts`.
    """

    __slots__ = ("detail", "limit", "name", "outcome", "refused_by", "retry_after", "state")

    def __init__(
        self,
        name: str,
        outcome: Outcome,
        retry_after: float | None = None,
        *,
        detail: str = "",
        state: str = "",
        limit: str | None = None,
        refused_by: object = None,
    ) -> None:
        self.name = name
        self.outcome = outcome
        self.retry_after = retry_after
        self.detail = detail
        self.state = state
        self.limit = limit
        self.refused_by = refused_by

    def __repr__(self) -> str:
        return f"<Refusal {self.name} {self.outcome} {self.detail}>"

    def error(self) -> CallRefused:
        """A new exception that says this. Never a shared one: each raise would add to its traceback."""
        error = _OF_LIMITS.get(self.limit) or _ERRORS[self.outcome]
        return error(self.name, self.retry_after, self.detail)
