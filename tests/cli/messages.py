"""Hand-made OTLP: export requests with the names of `semconv.py`, in few words."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from otel_tools import semconv as names

T0 = 1_800_000_000.0
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


def _value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, (list, tuple)):
        return AnyValue(array_value=ArrayValue(values=[_value(item) for item in value]))
    return AnyValue(string_value=value)


def pairs(attributes: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in attributes.items()]


def resource(instance: str = "one", service: str = "shop") -> dict[str, Any]:
    found = {"service.name": service, "service.instance.id": instance}
    return {"attributes": pairs({key: value for key, value in found.items() if value})}


def identifier(text: str, size: int) -> bytes:
    return text.encode().ljust(size, b"\0")


def span(
    name: str, trace: str, number: str, parent: str = "", *, start: float = 0.0, end: float = 1.0, **more: Any
) -> dict:
    """A span; *start* and *end* are seconds after `T0`; `failed` sets its status, the rest are attributes."""
    failed = more.pop("failed", False)
    return {
        "name": name,
        "trace_id": identifier(trace, 16),
        "span_id": identifier(number, 8),
        "parent_span_id": identifier(parent, 8) if parent else b"",
        "start_time_unix_nano": round((T0 + start) * 1e9),
        "end_time_unix_nano": round((T0 + end) * 1e9),
        "status": {"code": Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET},
        "attributes": pairs(more.pop("attributes", {})),
    }


def chat(
    trace: str, number: str, parent: str = "", tokens: tuple[int, int] = (100, 10), cost: float | None = 0.001, **more
):
    found = {
        names.OPERATION_NAME: names.CHAT,
        names.REQUEST_MODEL: "gpt-5-mini",
        names.USAGE_FIELDS["input_tokens"]: tokens[0],
        names.USAGE_FIELDS["output_tokens"]: tokens[1],
        **({} if cost is None else {names.COST: cost}),
    }
    return span("chat gpt-5-mini", trace, number, parent, attributes={**found, **more.pop("attributes", {})}, **more)


def tool(name: str, trace: str, number: str, parent: str = "", outcome: str = "ok", **more):
    found = {names.OPERATION_NAME: names.EXECUTE_TOOL, names.TOOL_NAME: name, names.OUTCOME: outcome}
    attributes = {**found, **more.pop("attributes", {})}
    return span(f"execute_tool {name}", trace, number, parent, attributes=attributes, failed=outcome != "ok", **more)


SESSION = {
    names.AGENT_NAME: "helper",
    names.SESSION_OUTCOME: "completed",
    names.SESSION_COST: 0.25,
    names.SESSION_INPUT_TOKENS: 300,
    names.SESSION_OUTPUT_TOKENS: 30,
    names.SESSION_LLM_CALLS: 3,
    names.SESSION_TOOL_CALLS: 2,
    names.SESSION_TOOL_ERRORS: 1,
}


def agent(trace: str, number: str, parent: str = "", **more):
    attributes = {names.OPERATION_NAME: names.INVOKE_AGENT, **SESSION, **more.pop("attributes", {})}
    return span("invoke_agent helper", trace, number, parent, attributes=attributes, **more)


def traces(*spans: dict, instance: str = "one") -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest(
        resource_spans=[{"resource": resource(instance), "scope_spans": [{"spans": list(spans)}]}]
    )


def event(name: str, attributes: dict[str, Any], trace: str = "", number: str = "", time: float = 0.0) -> dict:
    return {
        "event_name": name,
        "time_unix_nano": round((T0 + time) * 1e9),
        "trace_id": identifier(trace, 16) if trace else b"",
        "span_id": identifier(number, 8) if number else b"",
        "attributes": pairs(attributes),
    }


def transition(name: str, before: str, after: str, reason: str, time: float = 0.0) -> dict:
    found = {
        names.CIRCUIT_NAME: name,
        names.CIRCUIT_FROM: before,
        names.CIRCUIT_TO: after,
        names.CIRCUIT_REASON: reason,
    }
    return event(names.EVENT_TRANSITION, found, time=time)


def logs(*events: dict, instance: str = "one") -> ExportLogsServiceRequest:
    return ExportLogsServiceRequest(
        resource_logs=[{"resource": resource(instance), "scope_logs": [{"log_records": list(events)}]}]
    )


def _times(start: float, time: float) -> dict[str, int]:
    return {"start_time_unix_nano": round((T0 + start) * 1e9), "time_unix_nano": round((T0 + time) * 1e9)}


def number(
    metric: names.Metric, value: float, labels: dict | None = None, *, temporality=CUMULATIVE, start=0.0, time=10.0
) -> dict:
    """A counter or up-down counter with one data point."""
    point = {"as_double": value, "attributes": pairs(labels or {}), **_times(start, time)}
    monotonic = metric.kind == "counter"
    data = {"data_points": [point], "aggregation_temporality": temporality, "is_monotonic": monotonic}
    return {"name": metric.name, "unit": metric.unit, "sum": data}


def histogram(
    metric: names.Metric,
    values: list[float],
    labels: dict | None = None,
    *,
    temporality=CUMULATIVE,
    start=0.0,
    time=10.0,
) -> dict:
    """A histogram with one data point, which recorded *values*."""
    bounds = metric.boundaries
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[next((index for index, bound in enumerate(bounds) if value <= bound), len(bounds))] += 1
    point = {
        "count": len(values),
        "sum": sum(values),
        "explicit_bounds": bounds,
        "bucket_counts": counts,
        "attributes": pairs(labels or {}),
        **_times(start, time),
    }
    data = {"data_points": [point], "aggregation_temporality": temporality}
    return {"name": metric.name, "unit": metric.unit, "histogram": data}


def metrics(*found: dict, instance: str = "one") -> ExportMetricsServiceRequest:
    return ExportMetricsServiceRequest(
        resource_metrics=[{"resource": resource(instance), "scope_metrics": [{"metrics": list(found)}]}]
    )


class Clock:
    """A clock that the test sets, in seconds after `T0`."""

    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return T0 + self.now
