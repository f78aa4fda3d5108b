"""A program that sends one trace, one metric and one log record over OTLP, as an agent program would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHTTP
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode, format_trace_id
from stack import Stack


class Program:
    """Providers of the real SDK, exporting to a stack."""

    def __init__(self, stack: Stack, service: str, *, http: bool = False) -> None:
        resource = Resource.create({"service.name": service, "service.instance.id": "one"})
        traces = OverHTTP(f"{stack.otlp_http}/v1/traces") if http else OTLPSpanExporter(stack.otlp_grpc, insecure=True)
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(stack.otlp_grpc, insecure=True))
        self._traces = TracerProvider(resource=resource)
        self._traces.add_span_processor(BatchSpanProcessor(traces))
        self._metrics = MeterProvider([reader], resource=resource)
        self._logs = LoggerProvider(resource=resource)
        self._logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(stack.otlp_grpc, insecure=True)))
        self.tracer = self._traces.get_tracer("test")
        self.meter = self._metrics.get_meter("test")
        self.logger = self._logs.get_logger("test")

    def span(
        self, name: str, attributes: Mapping[str, Any], *, error: str = "", event: Mapping[str, Any] | None = None
    ) -> str:
        """Send a root span; its trace id."""
        span = self.tracer.start_span(name, attributes=attributes)
        if event:
            span.add_event("exception", event)
        if error:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end()
        return format_trace_id(span.get_span_context().trace_id)

    def log(self, body: Any, attributes: Mapping[str, Any]) -> None:
        """Send a log record."""
        self.logger.emit(body=body, attributes=attributes, event_name="test")

    def flush(self) -> None:
        """Export everything now."""
        assert self._traces.force_flush()
        assert self._metrics.force_flush()
        assert self._logs.force_flush()

    def shutdown(self) -> None:
        """Flush and stop."""
        for provider in (self._traces, self._metrics, self._logs):
            provider.shutdown()


@contextmanager
def program(stack: Stack, service: str, *, http: bool = False) -> Iterator[Program]:
    """A program that ends with its block."""
    running = Program(stack, service, http=http)
    try:
        yield running
    finally:
        running.shutdown()
