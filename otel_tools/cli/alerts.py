"""The alerts of the operations pack, evaluated on what was received: those that few minutes of telemetry can show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from otel_tools import semconv as names
from otel_tools.cli.amounts import Amount, total
from otel_tools.cli.state import State
from otel_tools.ops.model import TOOL_ERRORS, TOOL_EVENTS, Measure, Severity
from otel_tools.ops.model import Alert as Definition
from otel_tools.ops.objectives import DEFAULTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One severity of an alert.

    Unlike the rules for Prometheus it asks neither for a minimum of events nor that it holds for a while: who looks at
    an agent that was just started wants to see the first failure, and wakes nobody.

    Args:
        threshold: What is measured must be greater; seconds, USD, calls or a ratio, as the metric's.
        window: Seconds that are looked at.
        by: The attribute that it is evaluated for, one by one.
        states: For `LEVEL`, the values of `otel_tools.circuit_breaker.state` that count.
    """

    name: str
    severity: Severity
    metric: names.Metric
    measure: Measure
    threshold: float
    window: int
    by: str | None
    states: tuple[str, ...]


def _severities(alert: Definition) -> Iterator[Alert]:
    assert alert.metric is not None
    for severity, threshold in alert.thresholds.items():
        yield Alert(
            name=alert.name,
            severity=severity,
            metric=alert.metric,
            measure=alert.measure,
            threshold=threshold,
            window=alert.window,
            by=alert.by[-1] if alert.by else None,
            states=alert.states,
        )


ALERTS: Final = tuple(row for alert in DEFAULTS.alerts if alert.live for row in _severities(alert))

WINDOWS: Final = {alert.metric.name: float(alert.window) for alert in ALERTS if alert.window}
"""Metric -> the window that `State` must keep of it."""


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert whose condition holds for *subject* (a tool, a model, a circuit; empty for the whole)."""

    alert: Alert
    subject: str
    value: float


def evaluate(state: State) -> list[Firing]:
    """The alerts that fire now; of two severities of the same alert only the first, the graver one."""
    with state.changed:
        firing: dict[tuple[str, str], Firing] = {}
        for alert in ALERTS:
            for subject, value in _values(alert, state):
                if value > alert.threshold:
                    firing.setdefault((alert.name, subject), Firing(alert, subject, value))
        return list(firing.values())


def _values(alert: Alert, state: State) -> Iterator[tuple[str, float]]:
    now, by = state.clock(), (alert.by,) if alert.by else ()
    if alert.measure is Measure.LEVEL:
        labels = *by, names.CIRCUIT_STATE, names.CIRCUIT_SHADOW
        for (subject, current, shadow), level in state.metrics.levels(alert.metric, now, *labels).items():
            if current in alert.states and not shadow:  # which refuses nothing
                yield subject, level
    elif alert.measure is Measure.ERROR_RATIO:
        yield from _error_ratios(alert, state, now)
    else:
        for group, amount in state.metrics.recent(alert.metric, now, *by).items():
            value = amount.total if alert.measure is Measure.INCREASE else amount.quantile(0.95)
            yield "".join(group), value or 0.0


def _error_ratios(alert: Alert, state: State, now: float) -> Iterator[tuple[str, float]]:
    counter = alert.metric.kind == "counter"
    label = names.OUTCOME if counter else names.ERROR_TYPE
    subjects: dict[str, dict[str, Amount]] = {}
    for (subject, value), amount in state.metrics.recent(alert.metric, now, str(alert.by), label).items():
        if not counter or value in TOOL_EVENTS:
            subjects.setdefault(subject, {})[value] = amount
    for subject, amounts in subjects.items():
        failed = total(amount for value, amount in amounts.items() if (value in TOOL_ERRORS if counter else value))
        everything = total(amounts.values())
        calls = everything.total if counter else everything.count
        if calls:
            yield subject, (failed.total if counter else failed.count) / calls


@dataclass(slots=True)
class AlertLog:
    """The alerts that fired since the start.

    Attributes:
        last: Alert name and subject -> how it fired last.
        firing: Which of them fire now.
    """

    last: dict[tuple[str, str], Firing] = field(default_factory=dict)
    firing: set[tuple[str, str]] = field(default_factory=set)

    def update(self, state: State) -> None:
        """Evaluate all alerts now."""
        now = {(fire.alert.name, fire.subject): fire for fire in evaluate(state)}
        self.firing = set(now)
        self.last.update(now)
