"""The alerts of the operations pack as one table, evaluated on what was received."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from otel_tools import semconv as names
from otel_tools.cli.amounts import Amount, total
from otel_tools.cli.rows import ERRORS
from otel_tools.cli.state import State

MINUTE, HOUR, DAY = 60, 3600, 86_400


class Measure(enum.Enum):
    """What of a metric is compared with the threshold."""

    ERROR_RATIO = "errors / all"
    """A counter by `otel_tools.outcome`, or a histogram by `error.type`."""
    P95 = "95th percentile"
    INCREASE = "increase"
    LEVEL = "level"
    """Of the series with the alert's *state*, now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert. Two alerts of the same name are two severities of it.

    Args:
        threshold: What is measured must be greater; seconds, USD, calls or a ratio, as the metric's.
        window: Seconds that are looked at.
        by: The attribute that it is evaluated for, one by one.
        means: What it says, in a few words.
        states: For `LEVEL`, the values of `otel_tools.circuit_breaker.state` that count.
    """

    name: str
    severity: Literal["critical", "warning"]
    metric: names.Metric
    measure: Measure
    threshold: float
    window: int
    means: str
    by: str | None = None
    states: tuple[str, ...] = ()


ALERTS: Final = (
    Alert(
        name="OtelToolsToolErrorRateHigh",
        severity="critical",
        metric=names.TOOL_CALLS,
        measure=Measure.ERROR_RATIO,
        threshold=0.25,
        window=5 * MINUTE,
        by=names.TOOL_NAME,
        means="tool error rate",
    ),
    Alert(
        name="OtelToolsToolErrorRateHigh",
        severity="warning",
        metric=names.TOOL_CALLS,
        measure=Measure.ERROR_RATIO,
        threshold=0.10,
        window=5 * MINUTE,
        by=names.TOOL_NAME,
        means="tool error rate",
    ),
    Alert(
        name="OtelToolsToolSlow",
        severity="warning",
        metric=names.TOOL_DURATION,
        measure=Measure.P95,
        threshold=5.0,
        window=5 * MINUTE,
        by=names.TOOL_NAME,
        means="tool p95 latency",
    ),
    Alert(
        name="OtelToolsCircuitOpen",
        severity="critical",
        metric=names.CIRCUIT,
        measure=Measure.LEVEL,
        threshold=0,
        window=0,
        by=names.CIRCUIT_NAME,
        means="circuit open",
        states=("open", "half_open", "forced_open"),
    ),
    Alert(
        name="OtelToolsLLMErrorRateHigh",
        severity="critical",
        metric=names.CLIENT_DURATION,
        measure=Measure.ERROR_RATIO,
        threshold=0.05,
        window=5 * MINUTE,
        by=names.REQUEST_MODEL,
        means="LLM error rate",
    ),
    Alert(
        name="OtelToolsSessionCostHigh",
        severity="warning",
        metric=names.SESSION_COST_USD,
        measure=Measure.P95,
        threshold=0.50,
        window=HOUR,
        means="session cost p95",
    ),
    Alert(
        name="OtelToolsDailyCostHigh",
        severity="critical",
        metric=names.CLIENT_COST,
        measure=Measure.INCREASE,
        threshold=500.0,
        window=DAY,
        means="cost of a day",
    ),
    Alert(
        name="OtelToolsSessionIterationsHigh",
        severity="warning",
        metric=names.AGENT_INFERENCE_CALLS,
        measure=Measure.P95,
        threshold=7.0,
        window=HOUR,
        means="session iterations p95",
    ),
)

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
        subjects.setdefault(subject, {})[value] = amount
    for subject, amounts in subjects.items():
        failed = total(amount for value, amount in amounts.items() if (value in ERRORS if counter else value))
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
