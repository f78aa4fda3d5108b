"""Rules about the telemetry itself: whether it arrives, and what is lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from otel_tools import semconv as names
from otel_tools.ops.alert_rules import Conditions, Group, record, rules_of
from otel_tools.ops.expressions import all_of, any_of, marked, number
from otel_tools.ops.model import Alert, Objectives
from otel_tools.ops.records import PROCESSES, SERVICE, duration
from otel_tools.ops.translation import INSTANCE, JOB, name

_PRESENT: Final = (names.INSTRUMENTATION_STATUS, names.TOOL_CALLS, names.SESSIONS)
"""Of every process at least one of these is there, whatever it does."""
_COLLECTOR: Final = (*SERVICE, JOB, INSTANCE)
_SIGNALS: Final = {"spans": "spans", "data points": "metric_points", "log records": "log_records"}
"""What is lost -> what the Collector's metrics call it."""


def group(objectives: Objectives) -> Group:
    """All of it. The interval is a part of `OtelToolsTelemetryAbsent`, which counts minutes."""
    processes = " or ".join(name(metric) for metric in _PRESENT)
    service = ", ".join(SERVICE)
    rules = [record(PROCESSES, f"count by ({service}) (count by ({service}, {JOB}, {INSTANCE}) ({processes}))")]
    for alert in objectives.alerts:
        if alert.enabled and alert.name in _CONDITIONS:
            rules += rules_of(objectives, alert, _CONDITIONS[alert.name](alert))
    return {"name": "otel_tools.telemetry", "interval": "1m", "rules": rules}


def _absent(alert: Alert) -> Conditions:
    """Of a service that reported for a while; the value is how many of its processes did last."""
    window = f"{PROCESSES}[{duration(alert.window)}]"
    known = all_of(f"last_over_time({window})", f"count_over_time({window}) >= {alert.minimum}")
    return {"critical": f"{known}\n  unless {PROCESSES}", "warning": f"absent({PROCESSES})"}


def _dropped(alert: Alert) -> Conditions:
    """The Python SDK's metrics about its own processors, since 1.41."""
    dropped = {
        "spans": 'otel_sdk_processor_span_processed_total{error_type!=""}',
        "log records": 'otel_sdk_processor_log_processed_total{error_type!=""}',
    }
    return _each(alert, {signal: [selector] for signal, selector in dropped.items()}, SERVICE)


def _refused(alert: Alert) -> Conditions:
    """Refused on purpose, and failed by a fault further on."""
    selectors = {
        signal: [_counter(f"receiver_{why}_{what}") for why in ("refused", "failed")]
        for signal, what in _SIGNALS.items()
    }
    return _each(alert, selectors, (*_COLLECTOR, "receiver"))


def _send_failed(alert: Alert) -> Conditions:
    selectors = {
        signal: [_counter(f"exporter_{why}_failed_{what}") for why in ("send", "enqueue")]
        for signal, what in _SIGNALS.items()
    }
    return _each(alert, selectors, (*_COLLECTOR, "exporter"))


def _queue_full(alert: Alert) -> Conditions:
    by = ", ".join((*_COLLECTOR, "exporter"))
    size, capacity = (f"max by ({by}) (otelcol_exporter_queue_{what})" for what in ("size", "capacity"))
    return {severity: f"{size} / {capacity} > {number(limit)}" for severity, limit in alert.thresholds.items()}


def _counter(name: str) -> str:
    """A counter of the Collector: its name ends in `_total` if it was pushed, not if it was scraped."""
    return f'{{__name__=~"otelcol_{name}(_total)?"}}'


def _each(alert: Alert, selectors: dict[str, list[str]], by: tuple[str, ...]) -> Conditions:
    """What is lost of any signal, told apart by the label `signal`."""

    def condition(threshold: float) -> str:
        return any_of(
            *(
                marked(
                    f"sum by ({', '.join(by)}) (increase({selector}[{duration(alert.window)}])) > {number(threshold)}",
                    "signal",
                    signal,
                )
                for signal, found in selectors.items()
                for selector in found
            )
        )

    return {severity: condition(threshold) for severity, threshold in alert.thresholds.items()}


_CONDITIONS: Final[dict[str, Callable[[Alert], Conditions]]] = {
    "OtelToolsTelemetryAbsent": _absent,
    "OtelToolsTelemetryDropped": _dropped,
    "OtelToolsCollectorRefused": _refused,
    "OtelToolsCollectorSendFailed": _send_failed,
    "OtelToolsCollectorQueueFull": _queue_full,
}
