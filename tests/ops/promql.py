"""PromQL, read with a port of Prometheus's parser: which series a query selects, which labels its answer has."""

from __future__ import annotations

import re
from collections.abc import Iterator

import promql_parser as promql

from otel_tools import semconv
from otel_tools.ops import records, translation

RESOURCE = {"service_name", "service_version", "service_instance_id", "deployment_environment_name", "job", "instance"}
"""Labels from the resource: what `prometheus.yaml` promotes, and Prometheus's own two."""

_TOOL = translation.label(semconv.TOOL_NAME)
_RULE_GROUP = {*RESOURCE, "rule_group"}
_COLLECTOR = {*RESOURCE, "exporter", "receiver", "transport", "data_type"}
_ALERT = {*RESOURCE, "alertname", "severity", "component", "slo", "signal", "exporter", "receiver"} | {
    translation.label(name)
    for name in (semconv.TOOL_NAME, semconv.REQUEST_MODEL, semconv.PROVIDER_NAME, semconv.CIRCUIT_NAME)
}
FOREIGN = {
    **{
        f"otelcol_{name}_{what}_total": _COLLECTOR
        for name in (
            "receiver_accepted",
            "receiver_refused",
            "receiver_failed",
            "exporter_sent",
            "exporter_send_failed",
            "exporter_enqueue_failed",
        )
        for what in ("spans", "metric_points", "log_records")
    },
    "otelcol_exporter_queue_size": _COLLECTOR,
    "otelcol_exporter_queue_capacity": _COLLECTOR,
    "otelcol_process_memory_rss_bytes": _COLLECTOR,
    **{
        f"otel_sdk_processor_{signal}_{what}": {*RESOURCE, "otel_component_name", "otel_component_type", "error_type"}
        for signal in ("span", "log")
        for what in ("processed_total", "queue_size")
    },
    "prometheus_rule_evaluation_failures_total": _RULE_GROUP,
    "prometheus_rule_group_iterations_missed_total": _RULE_GROUP,
    "prometheus_rule_group_last_duration_seconds": _RULE_GROUP,
    "prometheus_rule_group_interval_seconds": _RULE_GROUP,
    "prometheus_tsdb_too_old_samples_total": RESOURCE,
    "prometheus_tsdb_out_of_order_samples_total": RESOURCE,
    "prometheus_tsdb_out_of_bound_samples_total": RESOURCE,
    "prometheus_tsdb_head_series": RESOURCE,
    "prometheus_tsdb_exemplar_exemplars_in_storage": RESOURCE,
    "prometheus_notifications_errors_total": RESOURCE,
    "prometheus_notifications_dropped_total": RESOURCE,
    "alertmanager_notifications_failed_total": {*RESOURCE, "integration"},
    "ALERTS": {*_ALERT, "alertstate"},
    "ALERTS_FOR_STATE": _ALERT,
}
"""What Collector 0.159, the Python SDK 1.45, Prometheus 3.11 and Alertmanager 0.31 say of themselves, as seen there."""


def _ours() -> Iterator[tuple[str, set[str]]]:
    for metric in semconv.METRICS:
        labels = {translation.label(name) for name in metric.attributes} | RESOURCE
        if metric.kind == "histogram":
            yield translation.series(metric, "bucket"), {*labels, "le"}
            yield translation.series(metric, "count"), labels
            yield translation.series(metric, "sum"), labels
        else:
            yield translation.name(metric), labels


def _recorded() -> Iterator[tuple[str, set[str]]]:
    windows = (300, 1800, 3600, 7200, 21_600, 86_400, 259_200)
    for record in (it for it in vars(records).values() if isinstance(it, records.Record)):
        labels = set(record.labels) or {*records.SERVICE, _TOOL, "slo"}
        yield from ((record.over(window), labels) for window in windows)
    for name in (records.CURRENT_BURN, records.BUDGET_REMAINING):
        yield name, {*records.SERVICE, _TOOL, "slo"}
    yield records.PROCESSES, set(records.SERVICE)


KNOWN = {**dict(_ours()), **dict(_recorded()), **FOREIGN}
"""Every series that there is -> its labels."""


def nodes(node, parents=()):
    """*node* and everything below it, each with what it is in, the nearest last."""
    yield node, parents
    for child in _children(node):
        yield from nodes(child, (*parents, node))


def _children(node):
    match node:
        case promql.BinaryExpr():
            return [node.lhs, node.rhs]
        case promql.Call():
            return node.args
        case promql.MatrixSelector():
            return [node.vector_selector]
        case promql.AggregateExpr() | promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return [node.expr]
        case _:
            return []


def matchers(selector):
    """The matchers of a selector: label, operator, value."""
    return [(it.name, str(it.op), it.value) for it in selector.matchers.matchers]


def names(selector):
    """The names of series that a selector may mean."""
    if selector.name:
        return {selector.name}
    by_name = [value for label, _, value in matchers(selector) if label == "__name__"]
    return {name for name in KNOWN if re.fullmatch(by_name[0], name)} if by_name else set(KNOWN)


def selectors(expr):
    """Every selector of a query."""
    return [node for node, _ in nodes(promql.parse(expr)) if isinstance(node, promql.VectorSelector)]


def answered(expr):
    """The labels that the series of an answer have, each of them; what is asked for and is not there fails."""
    return _labels(promql.parse(expr))


def _labels(node):
    match node:
        case promql.VectorSelector():
            return _selected(node)
        case promql.AggregateExpr():
            return _aggregated(node)
        case promql.Call():
            return _called(node)
        case promql.BinaryExpr():
            return _combined(str(node.op), _labels(node.lhs), _labels(node.rhs))
        case promql.NumberLiteral():
            return None
        case _:
            return _labels(_children(node)[0])


def _aggregated(node):
    by, there = set(node.modifier.labels) if node.modifier else set(), _labels(node.expr)
    assert by <= there, f"there is no {by - there} to group by"
    return by


def _combined(operator, left, right):
    if left is None or right is None:  # a number
        return right if left is None else left
    return left if operator in {"and", "unless"} else left & right


def _selected(selector):
    found = names(selector)
    assert found, f"nothing is called {selector.name or matchers(selector)}"
    assert found <= KNOWN.keys(), f"nothing is called {found - KNOWN.keys()}"
    labels = set.union(*(KNOWN[name] for name in found)) | {"__name__", "otel_metric_overflow"}
    asked = {label for label, _, _ in matchers(selector)}
    assert asked <= labels, f"{selector.name} has no {asked - labels}"
    return labels


def _called(call):
    match call.func.name:
        case "histogram_quantile":
            labels = _labels(call.args[1])
            assert "le" in labels
            return labels - {"le"}
        case "label_replace" | "label_join":
            return _labels(call.args[0]) | {call.args[1].val}
        case "vector":
            return set()
        case "rate" | "increase":
            return _labels(call.args[0]) - {"__name__"}
        case _:
            return _labels(call.args[0])
