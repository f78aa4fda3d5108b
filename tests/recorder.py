"""The real SDK with in-memory exporters, read back as plain dictionaries so that tests compare whole signals."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

import otel_tools


class Recorder:
    """Tracer, meter and logger provider of the SDK, and what came out of them."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        resource = Resource({"service.name": "test"})
        self._spans = InMemorySpanExporter()
        self._logs = InMemoryLogRecordExporter()
        self._metrics = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(resource=resource, **({"sampler": sampler} if sampler else {}))
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meter_provider = MeterProvider(resource=resource, metric_readers=[self._metrics])
        self.logger_provider = LoggerProvider(resource=resource)
        self.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(self._logs))

    def instrument(self, **settings: Any) -> None:
        """(Re-)instrument with these settings, given as `otel-tools.yaml` would hold them (`mode=...`)."""
        otel_tools.uninstrument()
        otel_tools.instrument(
            tracer_provider=self.tracer_provider,
            meter_provider=self.meter_provider,
            logger_provider=self.logger_provider,
            settings=settings,
        )

    def uninstrument(self) -> None:
        otel_tools.uninstrument()

    def shutdown(self) -> None:
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()
        self.logger_provider.shutdown()

    def clear(self) -> None:
        """Forget spans and log records so far."""
        self._spans.clear()
        self._logs.clear()

    @property
    def finished(self) -> list[ReadableSpan]:
        """Finished spans, in the order they ended."""
        return list(self._spans.get_finished_spans())

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Finished spans as dictionaries: name, kind, status, parent (its name), attributes, events (their names)."""
        finished = self.finished
        names = {span.context.span_id: span.name for span in finished}
        return [
            {
                "name": span.name,
                "kind": span.kind.name,
                "status": span.status.status_code.name,
                "parent": names.get(span.parent.span_id) if span.parent else None,
                "attributes": dict(span.attributes or {}),
                "events": [event.name for event in span.events],
            }
            for span in finished
        ]

    def span(self, name: str | None = None) -> dict[str, Any]:
        """The one finished span (of that name)."""
        spans = [span for span in self.spans if name is None or span["name"] == name]
        assert len(spans) == 1, [span["name"] for span in self.spans]
        return spans[0]

    @property
    def logs(self) -> list[dict[str, Any]]:
        """Log records as dictionaries: event name, severity, body, attributes."""
        return [
            {
                "event": record.log_record.event_name,
                "severity": record.log_record.severity_text,
                "body": record.log_record.body,
                "attributes": dict(record.log_record.attributes or {}),
            }
            for record in self._logs.get_finished_logs()
        ]

    @property
    def metrics(self) -> dict[str, list[dict[str, Any]]]:
        """Metrics by name: data points with attributes and `value` (sum) or `count` and `sum` (histogram).

        Counters that have only been started, at 0, are left out.
        """
        data = self._metrics.get_metrics_data()
        found: dict[str, list[dict[str, Any]]] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points = [_point(point) for point in metric.data.data_points if not _is_zero(metric, point)]
                    if points:
                        found[metric.name] = points
        return found

    def points(self, metric: str, **attributes: Any) -> list[dict[str, Any]]:
        """Data points of *metric* whose attributes include these (dots in names are double underscores)."""
        wanted = {name.replace("__", "."): value for name, value in attributes.items()}
        return [point for point in self.metrics.get(metric, []) if wanted.items() <= point["attributes"].items()]


def _is_zero(metric: Any, point: Any) -> bool:
    return getattr(metric.data, "is_monotonic", False) and point.value == 0


def _point(point: Any) -> dict[str, Any]:
    if hasattr(point, "bucket_counts"):
        return {"attributes": dict(point.attributes), "count": point.count, "sum": point.sum}
    return {"attributes": dict(point.attributes), "value": point.value}
