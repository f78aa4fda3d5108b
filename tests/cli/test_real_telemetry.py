"""What the state makes of telemetry that otel-tools itself wrote with the real SDK."""

from __future__ import annotations

from collections import Counter

import pytest
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import Counter as SdkCounter
from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader

import otel_tools
from otel_tools.cli.alerts import WINDOWS, evaluate
from otel_tools.cli.state import State


@pytest.fixture
def state():
    """A state with the windows that the alerts look at."""
    return State(WINDOWS)


def _export(recorder, state):
    """Everything recorded so far, as an exporter would send it."""
    state.add(encode_spans(recorder.finished))
    state.add(encode_logs(recorder._logs.get_finished_logs()))
    data = recorder._metrics.get_metrics_data()
    if data is not None:
        state.add(encode_metrics(data))
    recorder.clear()


@otel_tools.tool("lookup")
def _lookup(key):
    if key == "bad":
        raise RuntimeError("no such host")
    return {"key": key}


def _run(keys):
    with otel_tools.session("helper"):
        for key in keys:
            try:
                _lookup(key)
            except (RuntimeError, otel_tools.CallRefused):
                continue


ENFORCED = {"mode": "enforce", "tools": {"lookup": {"circuit": {"failures": 2, "reset_after": "60s"}}}}


def test_sessions_tools_circuits_and_alerts_of_a_real_run(recorder, state):
    """One run of a tool that fails until its circuit opens, exported in two parts."""
    recorder.instrument(**ENFORCED)
    _run(["good"])
    _export(recorder, state)
    _run(["bad", "bad", "bad"])
    _export(recorder, state)
    recorder.uninstrument()
    (tool,) = state.tools()
    assert {outcome: count for outcome, count in tool.outcomes.items() if count} == {
        "ok": 1,
        "error": 2,
        "circuit_open": 1,
    }
    assert (tool.name, tool.in_flight, tool.circuit) == ("lookup", 0, {"open": 1})
    assert tool.result_bytes == len('{"key":"good"}')
    assert [(row.agent, row.outcome, row.tool_calls, row.tool_errors, row.troubles) for row in state.sessions()] == [
        ("helper", "completed", 1, 0, Counter()),
        ("helper", "completed", 3, 3, Counter({"error": 2, "circuit_open": 1})),
    ]
    assert [(change.name, change.before, change.after) for change in state.transitions()] == [
        ("lookup", "closed", "open")
    ]
    assert [(fire.alert.name, fire.subject, fire.value) for fire in evaluate(state)] == [
        ("OtelToolsToolErrorRateHigh", "lookup", 0.75),
        ("OtelToolsCircuitOpen", "lookup", 1),
    ]


def test_delta_and_cumulative_exports_come_to_the_same(recorder):
    """Whatever temporality the exporter prefers, the tools are the same."""
    seen = []
    for temporality in (AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA):
        reader = InMemoryMetricReader(preferred_temporality={SdkCounter: temporality, SdkHistogram: temporality})
        recorder._metrics, recorder.meter_provider = reader, MeterProvider(metric_readers=[reader])
        recorder.instrument(**ENFORCED)
        state = State()
        for keys in (["good"], ["bad", "good"], ["good"] * 3):
            _run(keys)
            _export(recorder, state)
        recorder.uninstrument()
        (tool,) = state.tools()
        seen.append((tool.outcomes["ok"], tool.outcomes["error"], tool.calls, tool.result_bytes, tool.in_flight))
    assert seen == [(5, 1, 6, 14.0, 0)] * 2
