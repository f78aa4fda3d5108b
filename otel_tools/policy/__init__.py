"""Policy: what may run, for how long, and what the caller gets when it may not. Pure: standard library only."""

from otel_tools.policy.attempt import Attempt
from otel_tools.policy.breaker import CircuitBreaker
from otel_tools.policy.circuit import Action, CircuitState, CircuitView, Layer, Opening, Override, Transition
from otel_tools.policy.classify import Classification, classify
from otel_tools.policy.degradation import loop_warning, note, structured_error
from otel_tools.policy.generation import Permit, Rejection
from otel_tools.policy.limits import Budget, Reservation
from otel_tools.policy.loops import LoopGuard, fingerprint
from otel_tools.policy.options import Circuit, Criticality, Limits, Mode, Policy, Unpriced
from otel_tools.policy.outcome import FAILED, REFUSED, Outcome, Verdict
from otel_tools.policy.pipeline import Pipeline, PipelineView
from otel_tools.policy.pipelines import Pipelines
from otel_tools.policy.refusal import Refusal

__all__ = [
    "FAILED",
    "REFUSED",
    "Action",
    "Attempt",
    "Budget",
    "Circuit",
    "CircuitBreaker",
    "CircuitState",
    "CircuitView",
    "Classification",
    "Criticality",
    "Layer",
    "Limits",
    "LoopGuard",
    "Mode",
    "Opening",
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
    "Unpriced",
    "Verdict",
    "classify",
    "fingerprint",
    "loop_warning",
    "note",
    "structured_error",
]
