"""Rules of an objective: its events, error ratios over all windows, what is left of its budget, and burn alerts.

Only the events of five minutes are counted from the raw series; longer windows are sums of that record. So an hour
with one call weighs less than one with a thousand, a process that is gone still counts, and 30 days are affordable.
"""

from __future__ import annotations

from typing import Final

from otel_tools import semconv as names
from otel_tools.ops import burn, records
from otel_tools.ops.alert_rules import Group, Rule, explained, record
from otel_tools.ops.expressions import all_of, any_of, indent, number, one_of, or_zero, ratio, select, total
from otel_tools.ops.model import (
    BAD_SESSIONS,
    DAY,
    MINUTE,
    SESSION_EVENTS,
    SEVERITIES,
    TOOL_ERRORS,
    TOOL_EVENTS,
    Objectives,
    Severity,
    Slo,
)
from otel_tools.ops.records import SERVICE, SLI_BAD, SLI_EVENTS, SLI_RATIO, duration
from otel_tools.ops.translation import label, le, name, series
from otel_tools.semconv import Metric

_BASE: Final = 5 * MINUTE
_INTERVAL: Final = MINUTE
"""How often the events are recorded: each is then in so many samples of `_BASE`, by which sums are divided."""
_ENDINGS: Final = {
    names.TOOL_CALLS: (names.OUTCOME, TOOL_EVENTS, TOOL_ERRORS),
    names.SESSIONS: (names.SESSION_OUTCOME, SESSION_EVENTS, BAD_SESSIONS),
    names.SESSION_DURATION: (names.SESSION_OUTCOME, SESSION_EVENTS, BAD_SESSIONS),
}
"""Metric -> the attribute that says how it ended, the values that count, and the bad ones."""


def groups(objectives: Objectives, slo: Slo) -> list[Group]:
    """Events, ratios and alerts every minute; what needs the whole period less often."""
    return [
        {
            "name": f"otel_tools.slo.{slo.id}",
            "interval": duration(_INTERVAL),
            "rules": [*_events(slo), *_ratios(slo), *_meta(slo), *_alerts(objectives, slo)],
        },
        {"name": f"otel_tools.slo.{slo.id}.period", "interval": "4m", "rules": _period(slo)},
    ]


def _events(slo: Slo) -> list[Rule]:
    by = (*SERVICE, *map(label, slo.by))
    events, bad = SLI_EVENTS.over(_BASE), SLI_BAD.over(_BASE)
    whole = f'{events}{{slo="{slo.id}"}}'
    if slo.threshold is None:
        attribute, counted, failed = _ENDINGS[slo.metric]
        of_all, of_bad = (select(name(slo.metric), one_of(label(attribute), which)) for which in (counted, failed))
        missed = or_zero(total(of_bad, _BASE, by), whole, ignoring="slo")
    else:
        matchers = _counted(slo.metric)
        of_all = select(series(slo.metric, "count"), *matchers)
        good = total(select(series(slo.metric, "bucket"), *matchers, le(slo.threshold)), _BASE, by)
        missed = f"clamp_min(\n  {whole}\n  - ignoring (slo)\n{indent(good)},\n  0\n)"
    return [
        record(events, total(of_all, _BASE, by), slo=slo.id),
        record(bad, missed, slo=slo.id),
    ]


def _counted(metric: Metric) -> list[str]:
    if metric not in _ENDINGS:
        return []
    attribute, counted, _ = _ENDINGS[metric]
    return [one_of(label(attribute), counted)]


def _summed(which: records.Record, slo: Slo, window: int) -> str:
    selector = f'{which.over(_BASE)}{{slo="{slo.id}"}}'
    return selector if window == _BASE else f"sum_over_time({selector}[{duration(window)}])"


def _ratio(slo: Slo, window: int) -> Rule:
    return record(SLI_RATIO, ratio(_summed(SLI_BAD, slo, window), _summed(SLI_EVENTS, slo, window)), window, slo=slo.id)


def _ratios(slo: Slo) -> list[Rule]:
    return [_ratio(slo, window) for window in burn.RATIOS]


def _meta(slo: Slo) -> list[Rule]:
    return [
        record(records.OBJECTIVE, f"vector({number(slo.objective)})", slo=slo.id),
        record(records.BUDGET, f"vector({number(slo.budget)})", slo=slo.id),
        record(records.PERIOD, f"vector({slo.period})", slo=slo.id),
        record(records.CURRENT_BURN, f"{_of(slo, SLI_RATIO.over(_BASE))} / {number(slo.budget)}", slo=slo.id),
    ]


def _period(slo: Slo) -> list[Rule]:
    window = slo.period * DAY
    return [
        _ratio(slo, window),
        record(records.PERIOD_BURN, f"{_of(slo, SLI_RATIO.over(window))} / {number(slo.budget)}", slo=slo.id),
        record(records.BUDGET_REMAINING, f"1 - {_of(slo, records.PERIOD_BURN)}", slo=slo.id),
    ]


def _of(slo: Slo, series_name: str) -> str:
    return f'{series_name}{{slo="{slo.id}"}}'


# --- alerts ---------------------------------------------------------------------------------------------------------
def _alerts(objectives: Objectives, slo: Slo) -> list[Rule]:
    return [
        {
            "alert": slo.name,
            "expr": _condition(objectives, slo, severity),
            "labels": {"severity": severity, "component": slo.component, "slo": slo.id},
            "annotations": explained(objectives.links, slo),
        }
        for severity in SEVERITIES
        if any(window.severity == severity for window in burn.WINDOWS)
    ]


def _condition(objectives: Objectives, slo: Slo, severity: Severity) -> str:
    """The value is how many times too fast the budget is spent."""
    return any_of(
        *(_burns(objectives, slo, window) for window in burn.WINDOWS if window.severity == severity),
    )


def _burns(objectives: Objectives, slo: Slo, window: burn.Window) -> str:
    factor = number(window.factor(slo.period))
    repeated = _BASE // _INTERVAL
    return all_of(
        *(
            f"{_of(slo, SLI_RATIO.over(length))} / {number(slo.budget)} > {factor}"
            for length in (window.long, window.short)
        ),
        f"round({_summed(SLI_EVENTS, slo, window.long)} / {repeated}) >= {slo.minimum}",
        f"round({_summed(SLI_BAD, slo, window.long)} / {repeated}) >= {objectives.low_traffic.errors}",
    )
