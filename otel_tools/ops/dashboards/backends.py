"""Panels about the servers that telemetry passes: the Collector and Prometheus, by what they tell of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otel_tools.ops.dashboards import lines, links, promql
from otel_tools.ops.dashboards.panels import Json, Panel, Target, timeseries
from otel_tools.ops.model import Objectives

SIGNALS: Final = {"spans": "spans", "data points": "metric_points", "log records": "log_records"}
"""A signal in words -> what the Collector's metrics call it."""


def collector(objectives: Objectives) -> list[Panel]:
    """What the Collector takes in, gives on and loses."""
    return [_accepted(), _refused(objectives), _sent(), _lost(objectives), _queue(objectives), _memory()]


def prometheus() -> list[Panel]:
    """Whether Prometheus evaluates, keeps and tells what it should."""
    return [_rule_failures(), _rule_time(), _samples(), _head(), _notifications()]


# --- the Collector --------------------------------------------------------------------------------------------------
def _collector(name: str) -> str:
    """A counter of the Collector, whose name ends in `_total` if it was pushed and not if it was scraped."""
    return f'{{__name__=~"otelcol_{name}(_total)?"}}'


def grown(name: str) -> str:
    """How much a counter of the Collector grew in 5 minutes."""
    return promql.increase(_collector(name), "5m")


def _flow(title: str, description: str, name: str, by: str, *, to: Sequence[Json] = (), none: str = "") -> Panel:
    return timeseries(
        title,
        description,
        [
            Target(expr=promql.sum_by(promql.rate(_collector(f"{name}_{what}")), by), legend=f"{{{{{by}}}}}: {words}")
            for words, what in SIGNALS.items()
        ],
        "cps",
        none=none,
        links=to,
    )


def _accepted() -> Panel:
    return _flow("Received", "What the Collector took in, a second.", "receiver_accepted", "receiver")


def _refused(objectives: Objectives) -> Panel:
    return _flow(
        "Refused",
        "What the Collector did not take in, a second: it is at its memory limit, or the queue behind it is full.",
        "receiver_refused",
        "receiver",
        to=links.runbooks(objectives, "collector-refused"),
        none="nothing refused",
    )


def _sent() -> Panel:
    return _flow("Sent", "What the Collector delivered, a second.", "exporter_sent", "exporter")


def _lost(objectives: Objectives) -> Panel:
    return timeseries(
        "Lost",
        "What could not be delivered, or not be queued, a second; it is gone.",
        [
            Target(
                expr=promql.sum_by(promql.rate(_collector(f"exporter_{why}_failed_{what}")), "exporter"),
                legend=f"{{{{exporter}}}}: {words}, {said}",
            )
            for why, said in (("send", "not sent"), ("enqueue", "queue full"))
            for words, what in SIGNALS.items()
        ],
        "cps",
        none="nothing lost",
        links=links.runbooks(objectives, "collector-send-failed"),
    )


def fill() -> str:
    """How full the queues of the Collector are."""
    by = "exporter", promql.INSTANCE
    size, capacity = (promql.max_by(f"otelcol_exporter_queue_{what}", *by) for what in ("size", "capacity"))
    return f"{size} / {capacity}"


def _queue(objectives: Objectives) -> Panel:
    alert = objectives.alert("collector-queue-full")
    return timeseries(
        "Queues",
        "How full they are. The line is where the alert fires; at 100 % telemetry is lost.",
        [Target(expr=promql.max_by(fill(), "exporter"), legend="{{exporter}}")],
        "percentunit",
        lines=lines.of_alert(objectives, alert.name),
        top=1,
        links=links.runbooks(objectives, alert.name),
    )


def _memory() -> Panel:
    rss = '{__name__=~"otelcol_process_memory_rss(_bytes)?"}'
    return timeseries(
        "Memory",
        "Of the Collector. Where it nears `memory_limiter`, the Collector refuses.",
        [Target(expr=promql.max_by(rss, promql.INSTANCE), legend=f"{{{{{promql.INSTANCE}}}}}")],
        "bytes",
    )


# --- Prometheus -----------------------------------------------------------------------------------------------------
def _rule_failures() -> Panel:
    missed = "prometheus_rule_evaluation_failures_total", "prometheus_rule_group_iterations_missed_total"
    return timeseries(
        "Rules that fail, by group",
        "Evaluations that failed or were left out, in the time that a point stands for.",
        [
            Target(
                expr=f"{promql.sum_by(promql.increase(counter), 'rule_group')} > 0",
                legend=f"{{{{rule_group}}}} {words}",
            )
            for counter, words in zip(missed, ("failed", "left out"), strict=True)
        ],
        "short",
        none="none fails",
    )


def _rule_time() -> Panel:
    took = "max by (rule_group) (prometheus_rule_group_last_duration_seconds)"
    interval = "max by (rule_group) (prometheus_rule_group_interval_seconds)"
    return timeseries(
        "Time of rules",
        "What evaluating a group takes, as a part of its interval; above 100 % evaluations are left out.",
        [Target(expr=f"{took} / {interval}", legend="{{rule_group}}")],
        "percentunit",
    )


def _samples() -> Panel:
    counters = {
        "too old": "prometheus_tsdb_too_old_samples_total",
        "out of order": "prometheus_tsdb_out_of_order_samples_total",
        "out of bounds": "prometheus_tsdb_out_of_bound_samples_total",
    }
    return timeseries(
        "Samples refused",
        "A second, by why. Too old: the Collector was away for longer than `out_of_order_time_window`.",
        [Target(expr=promql.sum_by(promql.rate(counter)), legend=words) for words, counter in counters.items()],
        "cps",
    )


def _head() -> Panel:
    return timeseries(
        "Series and exemplars kept",
        "Series of the last hours, and exemplars: the dots that lead from a latency to its trace.",
        [
            Target(expr="sum(prometheus_tsdb_head_series)", legend="series"),
            Target(expr="sum(prometheus_tsdb_exemplar_exemplars_in_storage)", legend="exemplars"),
        ],
        "short",
        size=(12, 8),
    )


def _notifications() -> Panel:
    failed = "prometheus_notifications_errors_total", "prometheus_notifications_dropped_total"
    sent = "alertmanager_notifications_failed_total"
    return timeseries(
        "Alerts that did not get through",
        "In the time that a point stands for: from Prometheus to Alertmanager, and from there to people.",
        [
            Target(expr=promql.sum_by(promql.increase(failed[0])), legend="to Alertmanager: failed"),
            Target(expr=promql.sum_by(promql.increase(failed[1])), legend="to Alertmanager: dropped"),
            Target(
                expr=f"{promql.sum_by(promql.increase(sent), 'integration')} > 0", legend="to {{integration}}: failed"
            ),
        ],
        "short",
        none="none failed",
        size=(12, 8),
    )
