"""OTLP messages as small plain values: only what the views show, every text bounded and printable."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from otel_tools import semconv as names
from otel_tools.cli.amounts import Amount

Labels: TypeAlias = tuple[tuple[str, str], ...]
Message: TypeAlias = ExportTraceServiceRequest | ExportMetricsServiceRequest | ExportLogsServiceRequest

_TEXT_LIMIT = 256
_METRICS: Final = {metric.name: metric for metric in names.METRICS}
_SHOWN: Final = frozenset(
    {
        names.OPERATION_NAME,
        names.PROVIDER_NAME,
        names.REQUEST_MODEL,
        names.RESPONSE_MODEL,
        names.FINISH_REASONS,
        names.TIME_TO_FIRST_CHUNK,
        names.REQUEST_STREAM,
        names.CONVERSATION_ID,
        names.ERROR_TYPE,
        names.TOOL_NAME,
        names.AGENT_NAME,
        *names.USAGE_FIELDS.values(),
    }
)


class Source(NamedTuple):
    """The process that telemetry came from."""

    service: str
    instance: str


@dataclass(slots=True, frozen=True)
class Span:
    """A finished span. Times are seconds since the epoch, identifiers are in hex, the attributes are those we show."""

    source: Source
    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start: float
    end: float
    failed: bool
    attributes: Mapping[str, Any]

    @property
    def operation(self) -> str | None:
        """`chat`, `execute_tool`, `invoke_agent` …; `None` for a span of another instrumentation."""
        return self.attributes.get(names.OPERATION_NAME)


@dataclass(slots=True, frozen=True)
class Point:
    """A data point of one of our metrics. *start* and *time* are seconds since the epoch."""

    source: Source
    metric: names.Metric
    labels: Labels
    start: float
    time: float
    amount: Amount
    delta: bool


@dataclass(slots=True, frozen=True)
class Event:
    """One of our log records."""

    source: Source
    name: str
    time: float
    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]


# --- reading --------------------------------------------------------------------------------------------------------
def spans(message: ExportTraceServiceRequest) -> Iterator[Span]:
    """Every span of a trace export."""
    for resource in message.resource_spans:
        source = _source(resource.resource)
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    source,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    _clean(span.name),
                    span.start_time_unix_nano / 1e9,
                    span.end_time_unix_nano / 1e9,
                    span.status.code == Status.STATUS_CODE_ERROR,
                    _shown(span.attributes),
                )


def points(message: ExportMetricsServiceRequest) -> Iterator[Point]:
    """Every data point of our metrics in a metrics export; those of others are passed over."""
    for resource in message.resource_metrics:
        source = _source(resource.resource)
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name in _METRICS:
                    yield from _points(source, _METRICS[metric.name], metric)


def events(message: ExportLogsServiceRequest) -> Iterator[Event]:
    """Our log records in a logs export; those of others are passed over."""
    for resource in message.resource_logs:
        source = _source(resource.resource)
        for scope in resource.scope_logs:
            for record in scope.log_records:
                if record.event_name.startswith("otel_tools."):
                    time = (record.time_unix_nano or record.observed_time_unix_nano) / 1e9
                    trace_id, span_id = record.trace_id.hex(), record.span_id.hex()
                    yield Event(source, record.event_name, time, trace_id, span_id, _shown(record.attributes))


def _points(source: Source, known: names.Metric, metric: Metric) -> Iterator[Point]:
    data: Any = getattr(metric, metric.WhichOneof("data") or "gauge")
    delta = getattr(data, "aggregation_temporality", None) == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    for point in data.data_points:
        start, time = point.start_time_unix_nano / 1e9, point.time_unix_nano / 1e9
        # without an instance, processes are told apart by the time they began to count
        origin = source if source.instance or delta else source._replace(instance=f"since {start}")
        yield Point(origin, known, _labels(known, point.attributes), start, time, _amount(point), delta)


def _amount(point: Any) -> Amount:
    if hasattr(point, "explicit_bounds"):
        bounds = [*point.explicit_bounds, math.inf]
        return Amount(point.sum, point.count, dict(zip(bounds, point.bucket_counts, strict=False)))
    if hasattr(point, "count"):
        return Amount(point.sum, point.count)
    return Amount(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)


def _labels(metric: names.Metric, attributes: Any) -> Labels:
    return tuple(sorted((item.key, str(_value(item.value))) for item in attributes if item.key in metric.attributes))


def _shown(attributes: Any) -> dict[str, Any]:
    shown = (item for item in attributes if item.key in _SHOWN or item.key.startswith("otel_tools."))
    return {item.key: _value(item.value) for item in shown}


def _value(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "string_value":
            return _clean(value.string_value)
        case "array_value":
            return tuple(_value(item) for item in value.array_value.values[:16])
        case "bool_value" | "int_value" | "double_value" as kind:
            return getattr(value, kind)
    return None


def _clean(text: str) -> str:
    """*text* without control characters (it is printed on a terminal), and not endless."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:_TEXT_LIMIT])


def _source(resource: Resource) -> Source:
    found = {item.key: str(_value(item.value)) for item in resource.attributes}
    process = ":".join(found[key] for key in ("host.name", "process.pid") if key in found)
    return Source(found.get("service.name", "unknown_service"), found.get("service.instance.id") or process)
