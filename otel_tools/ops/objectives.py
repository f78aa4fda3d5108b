"""The table as it is in force: the defaults, and what `alerts`, `slos`, `links` of `otel-tools.yaml` say otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from otel_tools.errors import ConfigError
from otel_tools.ops import burn
from otel_tools.ops.default_slos import SLOS
from otel_tools.ops.defaults import ALERTS
from otel_tools.ops.model import (
    DAY,
    SEVERITIES,
    Alert,
    Links,
    LowTraffic,
    Measure,
    Objectives,
    Severity,
    Slo,
)
from otel_tools.semconv import Metric
from otel_tools.settings import Settings

__all__ = ["DEFAULTS", "Alert", "Links", "LowTraffic", "Measure", "Objectives", "Severity", "Slo", "objectives"]

DEFAULTS: Final = Objectives(alerts=ALERTS, slos=SLOS)


def objectives(settings: Settings | None = None) -> Objectives:
    """The defaults with what *settings* say otherwise.

    Raises:
        ConfigError: An alert or objective is not known, or what is said of it makes no sense; one message for all.
    """
    if settings is None:
        return DEFAULTS
    problems: list[str] = []
    alerts = [_alert(alert, settings.alerts.get(alert.id, {}), problems) for alert in ALERTS]
    slos = [_slo(slo, settings.slos.get(slo.id, {}), problems) for slo in SLOS]
    problems += _unknown("alerts", settings.alerts, [alert.id for alert in ALERTS])
    problems += _unknown("slos", settings.slos, [slo.id for slo in SLOS])
    if problems:
        raise ConfigError(
            problems[0]
            if len(problems) == 1
            else "\n  ".join([f"{len(problems)} settings of alerts are wrong:", *problems])
        )
    links = Links(**{name: url.rstrip("/") for name, url in settings.links.items()})
    return Objectives(alerts=tuple(alerts), slos=tuple(slos), links=links)


def _unknown(section: str, given: Mapping[str, Any], known: list[str]) -> list[str]:
    return [
        f"{section}.{name}: there is none of that name; known: {', '.join(known)}"
        for name in given
        if name not in known
    ]


# --- alerts ---------------------------------------------------------------------------------------------------------
def _alert(alert: Alert, given: Mapping[str, Any], problems: list[str]) -> Alert:
    limits = {severity: given[severity] for severity in SEVERITIES if severity in given}
    changes = {
        field: given[key]
        for key, field in (("window", "window"), ("for", "for_"), ("minimum", "minimum"), ("enabled", "enabled"))
        if key in given
    }
    changed = replace(alert, thresholds={**alert.thresholds, **limits}, **changes)
    problems += [f"alerts.{alert.id}{problem}" for problem in _wrong_alert(alert, changed, changes, limits)]
    return changed


def _wrong_alert(
    alert: Alert, changed: Alert, changes: Mapping[str, Any], limits: Mapping[Severity, float]
) -> list[str]:
    wrong = [
        f".{severity}: it has none; it has {' and '.join(alert.thresholds)}"
        for severity in limits
        if severity not in alert.thresholds
    ]
    if limits and alert.measure is Measure.ABSENT:
        wrong.append(": it has no threshold: telemetry is there or not")
    if not alert.window and "window" in changes:
        wrong.append(".window: it has none: it looks at the present")
    if not alert.minimum and "minimum" in changes:
        wrong.append(".minimum: it has none: one event is enough")
    if wrong:
        return wrong
    values = list(changed.thresholds.values())
    if values != sorted(values, reverse=True):
        limits_now = [f"{severity} ({limit:g})" for severity, limit in changed.thresholds.items()]
        wrong.append(f": the threshold for {' must not be below that for '.join(limits_now)}")
    for severity, value in limits.items():
        wrong += [f".{severity}: {problem}" for problem in _wrong_threshold(changed, value)]
    return wrong


def _wrong_threshold(alert: Alert, value: float) -> list[str]:
    if alert.measure is Measure.ERROR_RATIO and value >= 1:
        return [f"is a part of all calls, below 1: 0.1 is 10 %, not {value:g}"]
    if alert.measure is Measure.P95 and alert.metric is not None:
        return _no_boundary(alert.metric, value)
    return []


def _no_boundary(metric: Metric, value: float) -> list[str]:
    possible = metric.boundaries[:-1]
    if value in possible:
        return []
    bounds = ", ".join(f"{bound:g}" for bound in possible)
    return [
        (
            f"{value:g} is no bucket boundary of {metric.name} below its highest, so nobody could tell what is"
            f" above it; take one of {bounds}"
        )
    ]


# --- objectives -----------------------------------------------------------------------------------------------------
def _slo(slo: Slo, given: Mapping[str, Any], problems: list[str]) -> Slo:
    changes = dict(given)
    if "period" in changes:
        changes["period"] = round(changes["period"] / DAY)
    changed = replace(slo, **changes)
    problems += [f"slos.{slo.id}.{problem}" for problem in _wrong_slo(slo, changed, changes)]
    return changed


def _wrong_slo(slo: Slo, changed: Slo, changes: Mapping[str, Any]) -> list[str]:
    wrong = []
    if "threshold" in changes:
        if slo.threshold is None:
            wrong.append("threshold: it has none: calls and sessions are good or bad by how they end")
        else:
            wrong += [f"threshold: {problem}" for problem in _no_boundary(slo.metric, changes["threshold"])]
    if not burn.reachable(changed):
        factor = burn.highest(changed.period)
        wrong.append(
            f"objective: {changed.objective:g} allows {changed.budget:.3g} of all to be bad, and {factor:g} times that,"
            f" its gravest alert, cannot happen; take an objective above {1 - 1 / factor:.4g}"
        )
    return wrong
