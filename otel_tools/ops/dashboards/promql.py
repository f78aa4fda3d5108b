"""The parts that queries of panels are made of: series that the variables select, and what is asked of them.

Labels and metrics are named by `semconv` and translated; nothing here spells a Prometheus name.
"""

from __future__ import annotations

from typing import Final

from otel_tools import semconv as names
from otel_tools.ops import translation

RATE_INTERVAL: Final = "$__rate_interval"
"""Grafana's: at least four times the interval between samples."""
RANGE: Final = "$__range"
"""What the time picker shows."""

SERVICE: Final = translation.SERVICE_NAME
ENVIRONMENT: Final = translation.ENVIRONMENT
INSTANCE: Final = translation.INSTANCE
TOOL: Final = translation.label(names.TOOL_NAME)
AGENT: Final = translation.label(names.AGENT_NAME)
MODEL: Final = translation.label(names.REQUEST_MODEL)
PROVIDER: Final = translation.label(names.PROVIDER_NAME)
OUTCOME: Final = translation.label(names.OUTCOME)
ERROR_TYPE: Final = translation.label(names.ERROR_TYPE)

HERE: Final = (f'{ENVIRONMENT}=~"$environment"', f'{SERVICE}=~"$service"')
"""What every series of an instrumented program is selected by."""
TOOLS: Final = f'{TOOL}=~"$tool"'
AGENTS: Final = f'{AGENT}=~"$agent"'
MODELS: Final = f'{MODEL}=~"$model"'


def series(metric: names.Metric | str, *matchers: str, part: str = "") -> str:
    """The series of *metric* (one of ours, or the name of a recorded one) that the variables and *matchers* select;
    *part* is `_bucket`, `_count` or `_sum` of a histogram."""
    name = metric if isinstance(metric, str) else translation.name(metric)
    return f"{name}{part}{{{', '.join((*HERE, *matchers))}}}"


def rate(selected: str) -> str:
    """Increase a second, counter resets seen to."""
    return f"rate({selected}[{RATE_INTERVAL}])"


def increase(selected: str, window: str = RATE_INTERVAL) -> str:
    """Increase within *window*, counter resets seen to."""
    return f"increase({selected}[{window}])"


def sum_by(expression: str, *labels: str) -> str:
    """The sum, by *labels*; of everything without any."""
    return _aggregated("sum", expression, labels)


def max_by(expression: str, *labels: str) -> str:
    """The greatest, by *labels*."""
    return _aggregated("max", expression, labels)


def _aggregated(function: str, expression: str, labels: tuple[str, ...]) -> str:
    return f"{function} by ({', '.join(labels)}) ({expression})" if labels else f"{function}({expression})"


def per_minute(metric: names.Metric, *by: str, matchers: tuple[str, ...] = (), part: str = "") -> str:
    """Events a minute, by *by*."""
    return f"60 * {sum_by(rate(series(metric, *matchers, part=part)), *by)}"


def quantile(q: float, metric: names.Metric, *by: str, matchers: tuple[str, ...] = (), window: str = "") -> str:
    """The *q*-quantile of a histogram within the rate interval or *window*, by *by*."""
    buckets = series(metric, *matchers, part="_bucket")
    increased = increase(buckets, window) if window else rate(buckets)
    return f"histogram_quantile({q:g}, {sum_by(increased, 'le', *by)})"


def ratio(part: str, whole: str) -> str:
    """*part* of *whole*; 0 where there is no series for the part yet, nothing where there is no whole."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def or_zero(expression: str) -> str:
    """0 where there is no series: a sum of events that have never happened."""
    return f"{expression} or vector(0)"


def named(expression: str, label: str, name: str) -> str:
    """*expression* with *name* where *label* is missing, so that every line has a legend."""
    return f'label_replace({expression}, "{label}", "{name}", "{label}", "")'
