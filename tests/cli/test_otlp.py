"""OTLP messages as plain values."""

from __future__ import annotations

import math

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from otel_tools import semconv as names
from otel_tools.cli import otlp
from otel_tools.cli.amounts import Amount
from tests.cli import messages as make


def test_a_span_is_read_as_a_whole():
    """Identifiers in hex, times in seconds, and of the attributes those that are shown."""
    attributes = {names.INPUT_MESSAGES: "secret", names.FINISH_REASONS: ["stop"], "http.route": "/"}
    message = make.traces(make.chat("t", "b", "a", start=1, end=3, failed=True, attributes=attributes))
    (span,) = otlp.spans(message)
    assert span == otlp.Span(
        source=otlp.Source("shop", "one"),
        trace_id=make.identifier("t", 16).hex(),
        span_id=make.identifier("b", 8).hex(),
        parent_id=make.identifier("a", 8).hex(),
        name="chat gpt-5-mini",
        start=make.T0 + 1,
        end=make.T0 + 3,
        failed=True,
        attributes={
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-5-mini",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 10,
            "otel_tools.cost.usd": 0.001,
            "gen_ai.response.finish_reasons": ("stop",),
        },
    )
    assert span.operation == "chat"


def test_texts_are_bounded_and_printable():
    """A span's name cannot move the cursor of the terminal, nor fill it."""
    (span,) = otlp.spans(make.traces(make.span("\x1b[2Jboo" + "x" * 1000, "t", "a")))
    assert span.name.startswith("\N{REPLACEMENT CHARACTER}[2Jboox")
    assert len(span.name) == 256


def test_counters_and_histograms_are_points():
    """Labels are sorted and only those that the metric is declared with."""
    labels = {names.TOOL_NAME: "search", names.OUTCOME: "ok", names.DEGRADED: False, "cloud.region": "x"}
    message = make.metrics(
        make.number(names.TOOL_CALLS, 3, labels, temporality=make.DELTA),
        make.histogram(names.TOOL_DURATION, [0.05, 4.0, 1000.0], {names.TOOL_NAME: "search"}),
    )
    calls, durations = otlp.points(message)
    assert calls == otlp.Point(
        source=otlp.Source("shop", "one"),
        metric=names.TOOL_CALLS,
        labels=(("gen_ai.tool.name", "search"), ("otel_tools.degraded", "False"), ("otel_tools.outcome", "ok")),
        start=make.T0,
        time=make.T0 + 10,
        amount=Amount(3.0),
        delta=True,
    )
    filled = {bound: count for bound, count in durations.amount.buckets.items() if count}
    assert (durations.amount.count, durations.amount.total, durations.delta) == (3, 1004.05, False)
    assert filled == {0.08: 1, 5.0: 1, math.inf: 1}


def test_metrics_of_others_are_passed_over():
    """`http.server.duration` and the like are none of our business."""
    foreign = names.Metric("http.server.request.duration", "histogram", "s", "", (), (1.0,))
    assert list(otlp.points(make.metrics(make.histogram(foreign, [0.5])))) == []


def test_an_exponential_histogram_counts_without_buckets():
    """Its count and sum are exact; a quantile of it is not known."""
    data = {"data_points": [{"count": 4, "sum": 2.0, "scale": 3}]}
    metric = {"name": names.TOOL_DURATION.name, "exponential_histogram": data}
    (point,) = otlp.points(ExportMetricsServiceRequest(resource_metrics=[{"scope_metrics": [{"metrics": [metric]}]}]))
    assert point.amount == Amount(2.0, 4)
    assert point.amount.quantile(0.95) is None


def test_processes_are_told_apart_by_pid_or_by_the_start_of_their_counters():
    """Without `service.instance.id` two processes of a service must not overwrite each other."""
    message = make.metrics(
        make.number(names.TOOL_IN_FLIGHT, 1, start=1), make.number(names.TOOL_IN_FLIGHT, 1, start=2), instance=""
    )
    first, second = otlp.points(message)
    assert first.source != second.source
    message.resource_metrics[0].resource.attributes.extend(make.pairs({"host.name": "h", "process.pid": 7}))
    assert {point.source for point in otlp.points(message)} == {otlp.Source("shop", "h:7")}


def test_events_are_our_log_records():
    """The application's own log records are passed over."""
    ours = make.transition("search", "closed", "open", "threshold", time=4)
    (found,) = otlp.events(make.logs(ours, make.event("", {"a": 1}), make.event("app.event", {})))
    assert found == otlp.Event(
        source=otlp.Source("shop", "one"),
        name="otel_tools.circuit_breaker.transition",
        time=make.T0 + 4,
        trace_id="",
        span_id="",
        attributes={
            "otel_tools.circuit_breaker.name": "search",
            "otel_tools.circuit_breaker.from": "closed",
            "otel_tools.circuit_breaker.to": "open",
            "otel_tools.circuit_breaker.reason": "threshold",
        },
    )
