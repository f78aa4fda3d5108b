"""Policy: what may run, for how long, and what the caller gets when it may not. Pure: standard library only."""

from otel_tools.policy.breaker import CircuitBreaker, Permit, Rejection
from otel_tools.policy.circuit import CircuitState, CircuitView, Override, Transition
from otel_tools.policy.classify import Classification, classify
from otel_tools.policy.degradation import note, structured_error
from otel_tools.policy.limits import Budget, Reservation
from otel_tools.policy.options import Circuit, Criticality, Limits, Mode, Policy
from otel_tools.policy.outcome import FAILED, REFUSED, Outcome, Verdict
from otel_tools.policy.pipeline import Attempt, Pipeline, PipelineView
from otel_tools.policy.pipelines import Pipelines
from otel_tools.policy.refusal import Refusal

__all__ = [
    "FAILED",
    "REFUSED",
    "Attempt",
    "Budget",
    "Circuit",
    "CircuitBreaker",
    "CircuitState",
    "CircuitView",
    "Classification",
    "Criticality",
    "Limits",
    "Mode",
    "Outcome",
    "Override",
    "Permit",
    "Pipeline",
    "PipelineView",
    "Pipelines",
    "Policy",
    "Refusal",
    "Rejection",
    "Reservation",
    "Transition",
    "Verdict",
    "classify",
    "note",
    "structured_error",
]
