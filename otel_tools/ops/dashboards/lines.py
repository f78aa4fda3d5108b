"""The thresholds of alerts and objectives as lines of panels: taken from the table, never typed again."""

from __future__ import annotations

import math

from otel_tools import semconv as names
from otel_tools.ops.dashboards.panels import ORANGE, SEVERITY, Step
from otel_tools.ops.model import Objectives, Slo


def of_alert(objectives: Objectives, name: str) -> list[Step]:
    """Where the alert of that name or id fires, in the colour of its severity; nothing while it is switched off."""
    alert = objectives.alert(name)
    if not alert.enabled:
        return []
    steps = [Step(threshold, SEVERITY.get(severity, ORANGE)) for severity, threshold in alert.thresholds.items()]
    return sorted(steps, key=lambda step: step.value)


def of_counts(objectives: Objectives, name: str) -> list[Step]:
    """The same for an alert on whole numbers: it fires from the one above its threshold on."""
    return [Step(math.floor(step.value) + 1, step.color) for step in of_alert(objectives, name)]


def slo_of(objectives: Objectives, metric: names.Metric) -> Slo:
    """The objective about *metric*."""
    return next(slo for slo in objectives.slos if slo.metric is metric)


def of_slo(objectives: Objectives, metric: names.Metric) -> list[Step]:
    """What an event must not exceed to be good, by the objective about *metric*."""
    slo = slo_of(objectives, metric)
    return [Step(slo.threshold, ORANGE)] if slo.enabled and slo.threshold is not None else []


def merged(*groups: list[Step]) -> list[Step]:
    """All of them, the smallest first."""
    return sorted((step for group in groups for step in group), key=lambda step: step.value)
