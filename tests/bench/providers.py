"""SDK providers as in production (batching), with exporters that drop everything."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult


class _DropSpans(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class _DropLogs(LogRecordExporter):
    def export(self, batch: Any) -> LogRecordExportResult:
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


class Providers:
    """One set of the three providers."""

    def __init__(self) -> None:
        self.tracer = TracerProvider()
        self.tracer.add_span_processor(BatchSpanProcessor(_DropSpans()))
        self.meter = MeterProvider(metric_readers=[InMemoryMetricReader()])
        self.logger = LoggerProvider()
        self.logger.add_log_record_processor(BatchLogRecordProcessor(_DropLogs()))
