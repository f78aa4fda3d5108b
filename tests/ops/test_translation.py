"""Names in Prometheus: the golden table was produced by its own library and confirmed by ingestion over OTLP."""

from __future__ import annotations

import pytest

from otel_tools import semconv
from otel_tools.ops import translation
from otel_tools.semconv import Metric


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("gen_ai.client.operation.duration", "s", "histogram", "gen_ai_client_operation_duration_seconds"),
        ("gen_ai.client.token.usage", "{token}", "histogram", "gen_ai_client_token_usage"),
        ("gen_ai.execute_tool.duration", "s", "histogram", "gen_ai_execute_tool_duration_seconds"),
        ("mcp.client.operation.duration", "s", "histogram", "mcp_client_operation_duration_seconds"),
        ("x.y", "{call}", "counter", "x_y_total"),
        ("x.y.total", "{call}", "counter", "x_y_total"),
        ("x.y", "{call}", "updown", "x_y"),
        ("tool.result.size", "By", "histogram", "tool_result_size_bytes"),
        ("tool.result.bytes", "By", "histogram", "tool_result_bytes"),
        ("circuit.state", "1", "observable_gauge", "circuit_state_ratio"),
        ("circuit.state", "1", "observable_updown", "circuit_state"),
        ("circuit.state", "{state}", "observable_gauge", "circuit_state"),
        ("circuit.state", "", "observable_gauge", "circuit_state"),
        ("session.cost", "USD", "histogram", "session_cost_USD"),
        ("session.cost", "{USD}", "histogram", "session_cost"),
        ("session.cost.usd", "{USD}", "histogram", "session_cost_usd"),
        ("llm.cost", "{USD}", "counter", "llm_cost_total"),
        ("llm.cost", "USD", "counter", "llm_cost_USD_total"),
        ("session.iterations", "{iteration}", "histogram", "session_iterations"),
        ("disk.io", "By/s", "observable_gauge", "disk_io_bytes_per_second"),
        ("2nd.try", "{call}", "counter", "_2nd_try_total"),
    ],
)
def test_metrics(name, unit, kind, expected):
    """Dots, units and kinds become parts of the name as Prometheus's OTLP receiver has it."""
    assert translation.name(Metric(name, kind, unit, "", ())) == expected


def test_every_metric_of_ours():
    """Dashboards and rules of users depend on these: a change here breaks them."""
    assert [translation.name(metric) for metric in semconv.METRICS] == [
        "gen_ai_client_operation_duration_seconds",
        "gen_ai_client_token_usage",
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        "gen_ai_client_operation_time_per_output_chunk_seconds",
        "gen_ai_execute_tool_duration_seconds",
        "gen_ai_invoke_agent_duration_seconds",
        "gen_ai_invoke_agent_inference_calls",
        "gen_ai_invoke_agent_tool_calls",
        "otel_tools_tool_calls_total",
        "otel_tools_tool_result_size_bytes",
        "otel_tools_tool_in_flight",
        "otel_tools_tool_abandoned",
        "otel_tools_tool_disabled",
        "otel_tools_circuit_breaker_state",
        "otel_tools_circuit_breaker_transitions_total",
        "otel_tools_client_cost_USD_total",
        "otel_tools_client_unpriced_total",
        "otel_tools_session_cost_USD",
        "otel_tools_session_duration_seconds",
        "otel_tools_sessions_total",
        "otel_tools_instrumentation_status",
    ]


def test_series_of_a_histogram():
    """Only a histogram has buckets."""
    assert translation.series(semconv.SESSION_COST_USD, "bucket") == "otel_tools_session_cost_USD_bucket"
    with pytest.raises(ValueError, match=r"otel_tools.sessions is no histogram: it has no count"):
        translation.series(semconv.SESSIONS, "count")


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("gen_ai.tool.name", "gen_ai_tool_name"),
        ("error.type", "error_type"),
        ("1abc", "key_1abc"),
        ("_private", "key_private"),
    ],
)
def test_labels(attribute, expected):
    """Dots become underscores, and a label begins with a letter."""
    assert translation.label(attribute) == expected


@pytest.mark.parametrize(
    ("boundary", "matcher"), [(5, r'le=~"5(\\.0)?"'), (15.0, r'le=~"15(\\.0)?"'), (0.1, 'le="0.1"'), (2.5, 'le="2.5"')]
)
def test_buckets(boundary, matcher):
    """A whole number reads differently when it was scraped."""
    assert translation.le(boundary) == matcher
