"""What really happened, counted three times: by the callers, by policy's doorstep, by what is exported."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from otel_tools import semconv as names
from otel_tools.policy import Attempt, Pipeline, Transition, Verdict
from otel_tools.telemetry import Telemetry


class Spans(SpanExporter):
    """Counts spans of tool calls by name and outcome, and keeps none."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()

    def export(self, spans: Any) -> SpanExportResult:
        for span in spans:
            if names.TOOL_NAME in span.attributes:
                self.outcomes[span.attributes[names.TOOL_NAME], span.attributes[names.OUTCOME]] += 1
        return SpanExportResult.SUCCESS


class Logs(LogRecordExporter):
    """Counts log records by event, and tells of each late result."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.changed = threading.Condition()

    def export(self, batch: Any) -> LogRecordExportResult:
        with self.changed:
            for record in batch:
                self.events[record.log_record.event_name] += 1
            self.changed.notify_all()
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing is open."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        """Nothing is kept."""
        return True


class Step(NamedTuple):
    """A transition, as light as can be: they are kept for the whole hour."""

    sequence: int
    key: str
    from_: str
    to: str
    reason: str
    shadow: bool


class Watched(Telemetry):
    """Telemetry that also notes every transition it is given."""

    def __init__(self, *providers: Any) -> None:
        super().__init__(*providers)
        self.paths: dict[str, list[Step]] = defaultdict(list)

    def transition(self, transition: Transition, *args: Any, **kwargs: Any) -> None:
        """Note it, and write it."""
        ends = str(transition.from_), str(transition.to)
        step = Step(transition.sequence, transition.key or "", *ends, str(transition.reason), transition.shadow)
        self.paths[transition.name].append(step)
        super().transition(transition, *args, **kwargs)


class Signals:
    """The real SDK, with exporters that count."""

    def __init__(self) -> None:
        self.spans, self.logs, self._reader = Spans(), Logs(), InMemoryMetricReader()
        tracer, logger = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
        tracer.add_span_processor(SimpleSpanProcessor(self.spans))
        logger.add_log_record_processor(SimpleLogRecordProcessor(self.logs))
        self._providers = (tracer, MeterProvider([self._reader], shutdown_on_exit=False), logger)
        self.telemetry = Watched(*self._providers)

    def close(self) -> None:
        """Shut the providers down."""
        for provider in self._providers:
            provider.shutdown()

    def points(self) -> dict[str, list[Any]]:
        """The data points of every metric, collected now."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def total(points: list[Any], *labels: str) -> Counter[Any]:
    """The sums of data points by the values of these labels (one label: by its value)."""
    sums: Counter[Any] = Counter()
    for point in points:
        key = tuple(point.attributes.get(label) for label in labels)
        sums[key[0] if len(labels) == 1 else key] += getattr(point, "value", None) or getattr(point, "count", 0)
    return +sums


class Doorstep:
    """Counts, at policy's doorstep, who was let in and with which verdict they came out."""

    def __init__(self) -> None:
        self.admitted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.settled: Counter[tuple[str, Verdict]] = Counter()
        self.settled_twice = 0
        self._inside: set[Attempt] = set()
        self._lock = threading.RLock()

    def clear(self) -> None:
        """Begin anew: a forked child counts for itself."""
        for counted in (self.admitted, self.refused, self.settled, self._inside):
            counted.clear()
        self.settled_twice = 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[Doorstep]:
        """Count, in all pipelines."""
        admit, settle = Pipeline.admit, Pipeline.settle

        def counted_admit(pipeline: Pipeline, *args: Any, **kwargs: Any) -> Any:
            answer = admit(pipeline, *args, **kwargs)
            with self._lock:
                if isinstance(answer, Attempt):
                    self._inside.add(answer)
                (self.admitted if isinstance(answer, Attempt) else self.refused)[pipeline.name] += 1
            return answer

        def counted_settle(pipeline: Pipeline, attempt: Attempt, verdict: Verdict, *args: Any, **kwargs: Any) -> None:
            with self._lock:
                if attempt in self._inside:
                    self._inside.discard(attempt)
                    self.settled[pipeline.name, verdict] += 1
                else:
                    self.settled_twice += 1
            settle(pipeline, attempt, verdict, *args, **kwargs)

        with mock.patch.object(Pipeline, "admit", counted_admit), mock.patch.object(Pipeline, "settle", counted_settle):
            yield self

    def verdicts(self, name: str) -> int:
        """Calls of a tool that came out, whatever the verdict."""
        return sum(self.settled[name, verdict] for verdict in Verdict)

    @property
    def inside(self) -> int:
        """Calls that were let in and have not come out."""
        return len(self._inside)


PASSING = {"_Span", "Context", "coroutine", "generator", "async_generator", "frame", "traceback", "Task", "Future"}
"""Classes that are not ours, of objects that a call makes and that end with it."""


def live_objects() -> Counter[str]:
    """Objects of our classes, and of those that calls make, that are alive, by class, after a collection."""
    gc.collect()
    kinds = (type(found) for found in gc.get_objects())
    return Counter(
        kind.__qualname__
        for kind in kinds
        if kind.__qualname__ in PASSING or str(kind.__module__).startswith("otel_tools")  # a `property` for some
    )
