"""What is recorded for alerts and dashboards, by area: the windows are those that an alert looks at."""

from __future__ import annotations

from collections.abc import Iterator

from otel_tools import semconv as names
from otel_tools.ops import records
from otel_tools.ops.alert_rules import INCREASES, QUANTILES, RATIOS, Rule, record
from otel_tools.ops.expressions import all_of, one_of, or_zero, quantile, ratio, select, total
from otel_tools.ops.model import HOUR, TOOL_ERRORS, TOOL_EVENTS, Measure, Objectives
from otel_tools.ops.translation import label, name, series
from otel_tools.semconv import Metric

_OUTCOME = label(names.OUTCOME)
_ERROR = label(names.ERROR_TYPE)


def tools(objectives: Objectives) -> Iterator[Rule]:
    """Calls, errors and latency of tools."""
    calls = name(names.TOOL_CALLS)
    events, errors = select(calls, one_of(_OUTCOME, TOOL_EVENTS)), select(calls, one_of(_OUTCOME, TOOL_ERRORS))
    yield from _ratios(objectives, names.TOOL_CALLS, events, errors)
    yield from _quantiles(objectives, names.TOOL_DURATION)


def llm(objectives: Objectives) -> Iterator[Rule]:
    """Calls and errors of LLM clients, and what has no price."""
    calls = series(names.CLIENT_DURATION, "count")
    yield from _ratios(objectives, names.CLIENT_DURATION, calls, select(calls, f'{_ERROR}!=""'))
    yield from _increases(objectives, names.CLIENT_UNPRICED)


def sessions(objectives: Objectives) -> Iterator[Rule]:
    """Cost and length of sessions, and what a service spends."""
    yield from _quantiles(objectives, names.SESSION_COST_USD)
    yield from _quantiles(objectives, names.AGENT_INFERENCE_CALLS)
    yield from _increases(objectives, names.CLIENT_COST, HOUR)


def windows(objectives: Objectives, metric: Metric, *others: int) -> list[int]:
    """The windows in which alerts look at *metric*, and *others*. One that is switched off is recorded all the same:
    dashboards show it."""
    measured = (Measure.ERROR_RATIO, Measure.P95, Measure.INCREASE)
    found = {alert.window for alert in objectives.alerts if alert.metric is metric and alert.measure in measured}
    return sorted(found | set(others))


def _ratios(objectives: Objectives, metric: Metric, events: str, errors: str) -> Iterator[Rule]:
    of_all, count, failed = RATIOS[metric]
    for window in windows(objectives, metric, objectives.low_traffic.window):
        yield record(count, total(events, window, count.labels), window)
        yield record(failed, or_zero(total(errors, window, failed.labels), count.over(window)), window)
        yield record(of_all, ratio(failed.over(window), count.over(window)), window)


def _quantiles(objectives: Objectives, metric: Metric) -> Iterator[Rule]:
    p95, count = QUANTILES[metric]
    for window in windows(objectives, metric):
        buckets = total(series(metric, "bucket"), window, (*p95.labels, "le"))
        yield record(count, total(series(metric, "count"), window, count.labels), window)
        yield record(p95, all_of(quantile(0.95, buckets), f"{count.over(window)} > 0"), window)


def _increases(objectives: Objectives, metric: Metric, *others: int) -> Iterator[Rule]:
    increase: records.Record = INCREASES[metric]
    for window in windows(objectives, metric, *others):
        yield record(increase, total(name(metric), window, increase.labels), window)
