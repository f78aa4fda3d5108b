"""Everything received so far, aggregated into what the views show."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_tools import semconv as names
from otel_tools.cli import otlp
from otel_tools.cli.amounts import Amount
from otel_tools.cli.metrics import MetricStore
from otel_tools.cli.rows import (
    Session,
    Tool,
    Transition,
    circuits_of,
    session_of_event,
    sessions_of,
    tools_of,
    worded,
)
from otel_tools.cli.traces import Trace, TraceStore

_EVENTS_KEPT = 200


class State:
    """What was received. Safe for use from several threads; nothing in it grows without bound.

    Args:
        windows: Metric name -> seconds of it that are kept as a window.
        clock: Gives the seconds since the epoch.
        traces: How many traces are kept.
    """

    def __init__(
        self, windows: Mapping[str, float] | None = None, clock: Callable[[], float] = time.time, traces: int = 200
    ) -> None:
        self.clock = clock
        self.started = clock()
        self.received: Counter[str] = Counter()
        self.metrics = MetricStore(windows or {}, self._on_increment)
        self._traces = TraceStore(traces)
        self._sources: OrderedDict[otlp.Source, float] = OrderedDict()
        self._session_events: OrderedDict[str, otlp.Event] = OrderedDict()
        self._logged: deque[Transition] = deque(maxlen=_EVENTS_KEPT)
        self._counted: deque[Transition] = deque(maxlen=_EVENTS_KEPT)
        self.changed = threading.Condition(threading.RLock())

    # --- what comes in ----------------------------------------------------------------------------------------------
    def add(self, message: otlp.Message) -> None:
        """Take in an export request of any signal."""
        with self.changed:
            now = self.clock()
            if isinstance(message, ExportTraceServiceRequest):
                self._add_traces(message, now)
            elif isinstance(message, ExportMetricsServiceRequest):
                self._add_metrics(message, now)
            else:
                self._add_logs(message, now)
            self.changed.notify_all()

    def _add_traces(self, message: ExportTraceServiceRequest, now: float) -> None:
        for span in otlp.spans(message):
            self._traces.add(span, now)
            self._count("spans", span.source, now)

    def _add_metrics(self, message: ExportMetricsServiceRequest, now: float) -> None:
        for point in otlp.points(message):
            self.metrics.add(point, now)
            self._count("data points", point.source, now)

    def _add_logs(self, message: ExportLogsServiceRequest, now: float) -> None:
        for event in otlp.events(message):
            self._count("log records", event.source, now)
            if event.name == names.EVENT_TRANSITION:
                self._logged.append(_transition(event.time, event.attributes))
            elif event.name == names.EVENT_SESSION:
                self._session_events[event.span_id] = event
                if len(self._session_events) > _EVENTS_KEPT:
                    self._session_events.popitem(last=False)

    def _on_increment(self, point: otlp.Point, increment: Amount) -> None:
        if point.metric is names.CIRCUIT_TRANSITIONS and increment.total:
            self._counted.append(_transition(point.time, dict(point.labels)))

    def _count(self, what: str, source: otlp.Source, now: float) -> None:
        self.received[what] += 1
        self._sources[source] = now
        self._sources.move_to_end(source)
        if len(self._sources) > _EVENTS_KEPT:
            self._sources.popitem(last=False)

    # --- what is shown ----------------------------------------------------------------------------------------------
    def sources(self) -> list[otlp.Source]:
        """The processes heard of, the one heard of last at the end."""
        with self.changed:
            return list(self._sources)

    def sessions(self, limit: int = 50) -> list[Session]:
        """The latest sessions, in the order they began."""
        with self.changed:
            rows: list[Session] = []
            for trace in self._traces.newest():
                rows += sessions_of(trace, self.clock())
                if len(rows) >= limit:
                    break
            ended = [event for event in self._session_events.values() if self._lacks_span(event)]
            traces = {event.trace_id for event in ended}
            rows = [row for row in rows if row.trace_id not in traces] + [session_of_event(event) for event in ended]
            return sorted(rows, key=lambda row: row.started)[-limit:]

    def _lacks_span(self, event: otlp.Event) -> bool:
        trace = self._traces.get(event.trace_id)
        return trace is None or not trace.runs()

    def trace(self, trace_id: str) -> Trace | None:
        """A trace by its identifier, if it is still known."""
        with self.changed:
            return self._traces.get(trace_id)

    def tools(self) -> list[Tool]:
        """All tools, by name."""
        with self.changed:
            return tools_of(self.metrics, self.clock())

    def circuits(self) -> dict[str, dict[str, int]]:
        """Circuit -> state -> in how many processes."""
        with self.changed:
            return circuits_of(self.metrics, self.clock())

    def transitions(self) -> list[Transition]:
        """The changes of circuits: from log records or, if none are exported, from the counter (times are rougher)."""
        with self.changed:
            return sorted(self._logged or self._counted, key=lambda change: change.time)


def _transition(time: float, attributes: Mapping[str, object]) -> Transition:
    name, before, after, reason = (
        str(attributes.get(key, ""))
        for key in (names.CIRCUIT_NAME, names.CIRCUIT_FROM, names.CIRCUIT_TO, names.CIRCUIT_REASON)
    )
    shadow = bool(attributes.get(names.CIRCUIT_SHADOW))
    return Transition(time, name, worded(before, shadow), worded(after, shadow), reason)
