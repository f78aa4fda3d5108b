"""Alerts as rules of Prometheus: their conditions, labels and annotations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from otel_tools import semconv as names
from otel_tools.ops import records
from otel_tools.ops.expressions import all_of, any_of, number, select
from otel_tools.ops.model import HOUR, Alert, Links, Measure, Objectives, Severity, Slo
from otel_tools.ops.records import SERVICE, Record, duration
from otel_tools.ops.translation import SERVICE_NAME, label, name

Rule: TypeAlias = dict[str, Any]
Group: TypeAlias = dict[str, Any]
Conditions: TypeAlias = Mapping[Severity, str]

RATIOS: Final = {
    names.TOOL_CALLS: (records.TOOL_ERROR_RATIO, records.TOOL_CALLS, records.TOOL_ERRORS),
    names.CLIENT_DURATION: (records.MODEL_ERROR_RATIO, records.MODEL_CALLS, records.MODEL_ERRORS),
}
"""Metric -> ratio, events and errors."""
QUANTILES: Final = {
    names.TOOL_DURATION: (records.TOOL_P95, records.TOOL_TIMED),
    names.SESSION_COST_USD: (records.SESSION_COST_P95, records.SESSION_COST_COUNT),
    names.AGENT_INFERENCE_CALLS: (records.ITERATIONS_P95, records.ITERATIONS_COUNT),
}
"""Metric -> p95 and events."""
INCREASES: Final = {names.CLIENT_COST: records.COST, names.CLIENT_UNPRICED: records.UNPRICED}


# --- conditions -----------------------------------------------------------------------------------------------------
def conditions(objectives: Objectives, alert: Alert) -> Conditions:
    """Severity -> when it fires."""
    return {severity: _condition(objectives, alert, severity) for severity in alert.thresholds}


def _condition(objectives: Objectives, alert: Alert, severity: Severity) -> str:
    assert alert.metric is not None
    threshold = number(alert.thresholds[severity])
    match alert.measure:
        case Measure.ERROR_RATIO:
            return _error_ratio(objectives, alert, threshold)
        case Measure.P95:
            p95, events = QUANTILES[alert.metric]
            return all_of(f"{p95.over(alert.window)} > {threshold}", f"{events.over(alert.window)} >= {alert.minimum}")
        case Measure.INCREASE:
            return _increase(alert, severity, threshold)
        case _:
            return f"{_level(alert)} > {threshold}"


def _error_ratio(objectives: Objectives, alert: Alert, threshold: str) -> str:
    """With enough events over its window; with few, when several and most of them failed over a longer one."""
    assert alert.metric is not None
    of_all, events, errors = RATIOS[alert.metric]
    low = objectives.low_traffic
    return any_of(
        all_of(f"{of_all.over(alert.window)} > {threshold}", f"{events.over(alert.window)} >= {alert.minimum}"),
        all_of(f"{of_all.over(low.window)} > {number(low.ratio)}", f"{errors.over(low.window)} >= {low.errors}"),
    )


def _increase(alert: Alert, severity: Severity, threshold: str) -> str:
    assert alert.metric is not None
    record = INCREASES[alert.metric]
    spent = f"{record.over(alert.window)} > {threshold}"
    limit = alert.thresholds.get("critical")
    if severity == "critical" or limit is None or alert.window <= HOUR:
        return spent
    pace = f"{record.over(HOUR)} * {number(alert.window / HOUR)} > {number(limit)}"
    return any_of(spent, all_of(f"{record.over(alert.window)} > {number(limit / 2)}", pace))


def _level(alert: Alert) -> str:
    assert alert.metric is not None
    by = ", ".join([*SERVICE, *map(label, alert.by)])
    matchers = []
    if alert.states:
        matchers = [f'{label(names.CIRCUIT_STATE)}=~"{"|".join(alert.states)}"', f'{label(names.CIRCUIT_SHADOW)}=""']
    return f"sum by ({by}) ({select(name(alert.metric), *matchers)})"


# --- rules ----------------------------------------------------------------------------------------------------------
def record(which: Record | str, expression: str, window: int | None = None, **labels: str) -> Rule:
    """A recording rule."""
    series = which if isinstance(which, str) else which.over(window or 0)
    return {"record": series, "expr": expression, **({"labels": labels} if labels else {})}


def rules_of(objectives: Objectives, alert: Alert, when: Conditions) -> list[Rule]:
    """One rule for each severity."""
    return [
        {
            "alert": alert.name,
            "expr": expression,
            **_times(alert),
            "labels": {"severity": severity, "component": alert.component},
            "annotations": explained(objectives.links, alert),
        }
        for severity, expression in when.items()
    ]


def _times(alert: Alert) -> dict[str, str]:
    times = {"for": alert.for_, "keep_firing_for": alert.keep}
    return {key: duration(seconds) for key, seconds in times.items() if seconds}


_VARIABLES: Final = {"tool": names.TOOL_NAME, "model": names.REQUEST_MODEL}
"""Variable of a dashboard -> the attribute it stands for."""


def explained(links: Links, alert: Alert | Slo) -> dict[str, str]:
    """What people read, and where they look next."""
    found = {
        "summary": alert.summary,
        "description": alert.description,
        "runbook_url": links.runbook(alert.name),
        "dashboard_url": _dashboard(links, alert),
    }
    if alert.component in {"tool", "llm", "session"}:
        found["traces_url"] = _traces(links, alert)
    return found


def _dashboard(links: Links, alert: Alert | Slo) -> str:
    if alert.component in {"collector", "telemetry"}:
        return links.dashboard(alert.dashboard)
    variables = {"service": _value(SERVICE_NAME)}
    variables |= {name: _value(label(attribute)) for name, attribute in _VARIABLES.items() if attribute in alert.by}
    return links.dashboard(alert.dashboard, **variables)


def _traces(links: Links, alert: Alert | Slo) -> str:
    """A search in Jaeger: for slow spans, or all; its memory storage finds none by `error=true`."""
    tags = [f'"{name}":"{_value(label(name))}"' for name in alert.by if name in _VARIABLES.values()]
    threshold = alert.threshold if isinstance(alert, Slo) else min(alert.thresholds.values())
    fails = threshold is None or (isinstance(alert, Alert) and alert.measure is Measure.ERROR_RATIO)
    url = f"{links.jaeger}/search?service={_value(SERVICE_NAME)}"
    if not fails and alert.metric is not None and alert.metric.unit == "s":
        url += f"&minDuration={threshold:g}s"
    return url + (f"&tags={_encoded('{' + ','.join(tags) + '}')}" if tags else "")


def _encoded(text: str) -> str:
    """*text* for a URL; templates in it stay as they are."""
    return "".join(part if part.startswith("{{") else quote(part, safe="") for part in _TEMPLATE.split(text))


_TEMPLATE: Final = re.compile(r"(\{\{.*?\}\})")


def _value(of_label: str) -> str:
    return f"{{{{ $labels.{of_label} | urlquery }}}}"
