"""How Prometheus calls what OpenTelemetry measures: its default, `UnderscoreEscapingWithSuffixes`.

The rules are those of the `otlptranslator` library, which Prometheus's OTLP receiver and the Collector's exporters use.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from otel_tools.semconv import Metric

SERVICE_NAME: Final = "service_name"
ENVIRONMENT: Final = "deployment_environment_name"
JOB: Final = "job"
INSTANCE: Final = "instance"

_UNITS: Final = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "1": "",
    "%": "percent",
}
_PER: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day"}


def name(metric: Metric) -> str:
    """The name of *metric* in Prometheus; of a histogram without `_bucket`, `_count` or `_sum`.

    A unit is appended unless it stands in braces or the name has it already, a counter ends in `_total`, and a gauge
    with unit `1` in `_ratio`.
    """
    words = [word for word in re.split(r"[^A-Za-z0-9]+", metric.name) if word]
    main, _, per = metric.unit.partition("/")
    if (unit := _word(main, _UNITS)) and unit not in words:
        words.append(unit)
    if (time := _word(per, _PER)) and time not in words:
        words += ["per", time]
    if metric.kind == "counter":
        words = [*(word for word in words if word != "total"), "total"]
    if metric.kind == "observable_gauge" and metric.unit == "1":
        words = [*(word for word in words if word != "ratio"), "ratio"]
    joined = "_".join(words)
    return f"_{joined}" if joined[:1].isdigit() else joined


def _word(unit: str, known: dict[str, str]) -> str:
    unit = unit.strip()
    return "" if "{" in unit else known.get(unit, re.sub(r"[^A-Za-z0-9]", "", unit))


def series(metric: Metric, part: Literal["bucket", "count", "sum"]) -> str:
    """One of the series of a histogram."""
    if metric.kind != "histogram":
        raise ValueError(f"{metric.name} is no histogram: it has no {part}")
    return f"{name(metric)}_{part}"


def label(attribute: str) -> str:
    """The label that an attribute becomes."""
    cleaned = re.sub(r"[^A-Za-z0-9]+", "_", attribute)
    if cleaned[:1].isdigit():
        return f"key_{cleaned}"
    return f"key{cleaned}" if cleaned.startswith("_") else cleaned


def le(boundary: float) -> str:
    """The matcher of a bucket, whichever way it came: OTLP says `le="5"`, a scrape into Prometheus 3 `le="5.0"`."""
    if boundary == int(boundary):
        return f'le=~"{int(boundary)}(\\\\.0)?"'
    return f'le="{boundary!r}"'
