"""The only writer of OpenTelemetry data: one span per call, metrics whether or not it is sampled, one log record."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import metrics, propagate, trace
from opentelemetry._logs import Logger, LoggerProvider, LogRecord, SeverityNumber, get_logger
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider
from opentelemetry.util.types import AttributeValue

from otel_tools import semconv as names
from otel_tools.policy.circuit import CircuitState, Transition
from otel_tools.policy.options import Mode
from otel_tools.policy.pipeline import PipelineView
from otel_tools.version import __version__

Attributes = dict[str, AttributeValue]
Scrape = Callable[[], Iterable[tuple[float, Attributes]]]

_NAMES_ON_METRICS = 256
_ZEROED_OUTCOMES = ("ok", "error", "tool_error", "timeout", "circuit_open")
"""Series that begin at 0: `increase()` does not see the first sample of one that begins at 1."""

_SHADOW: Attributes = {names.CIRCUIT_SHADOW: True}
_AUTOMATIC = ("closed", "open", "half_open")  # which refuse nothing in observe mode

_ERROR = trace.Status(StatusCode.ERROR)

attach = otel_context.attach
detach = otel_context.detach


class Telemetry:
    """Tracer, meter and logger of otel-tools on the given providers (the global ones by default).

    Args:
        content_on_span: Record messages, tool arguments and results as attributes.
        content_on_event: Record them as log records.
        content_limit: Characters that are kept of one captured text.

    Attributes:
        service: The service that the tracer provider's resource names, `None` if it names none.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        *,
        content_on_span: bool = False,
        content_on_event: bool = False,
        content_limit: int = 8192,
    ) -> None:
        self.content_on_span = content_on_span
        self.content_on_event = content_on_event
        self.captures = content_on_span or content_on_event
        self.content_limit = content_limit
        self.service = _service(tracer_provider or trace.get_tracer_provider())
        self._tracer = trace.get_tracer(names.SCOPE, __version__, tracer_provider, names.SCHEMA_URL)
        self._logger: Logger = get_logger(names.SCOPE, __version__, logger_provider, names.SCHEMA_URL)
        self._meter = metrics.get_meter(names.SCOPE, __version__, meter_provider, names.SCHEMA_URL)
        self._scrapes: dict[str, Scrape] = {}
        self._instruments = {metric.name: self._instrument(metric) for metric in names.METRICS}
        self._known_tools: set[str] = set()
        self._known_lock = threading.Lock()
        self._known_agents: set[str | None] = set()
        self._clients: frozenset[str] = frozenset()

    def _instrument(self, metric: names.Metric) -> Any:
        common = {"unit": metric.unit, "description": metric.description}
        match metric.kind:
            case "histogram":
                boundaries = list(metric.boundaries)
                return self._meter.create_histogram(
                    metric.name, **common, explicit_bucket_boundaries_advisory=boundaries
                )
            case "counter":
                return self._meter.create_counter(metric.name, **common).add
            case "updown":
                return self._meter.create_up_down_counter(metric.name, **common).add
            case "observable_updown":
                create: Any = self._meter.create_observable_up_down_counter
            case _:
                create = self._meter.create_observable_gauge
        return create(metric.name, [self._observer(metric.name)], **common)

    def _observer(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            for value, attributes in self._scrapes.get(name, tuple)():
                yield Observation(value, attributes)

        return observe

    # --- spans --------------------------------------------------------------------------------------------------
    def start_span(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        start_time: int,
        remote: Mapping[str, Any] | None = None,
    ) -> Span:
        """A span below the *remote* one if there is one, else below the current one.

        A server's task often carries the context of whatever request came first; what came with this one goes before.
        """
        parent = _remote_parent(remote) if remote else None
        return self._tracer.start_span(name, parent, kind, attributes, start_time=start_time)

    # --- metrics ------------------------------------------------------------------------------------------------
    def record(
        self, metric: names.Metric, value: float, attributes: Attributes, context: Context | None = None
    ) -> None:
        """Record *value* on a histogram; *context* carries the span that becomes the exemplar."""
        self._instruments[metric.name].record(value, attributes, context)

    def add(self, metric: names.Metric, value: float, attributes: Attributes, context: Context | None = None) -> None:
        """Add *value* to a counter."""
        self._instruments[metric.name](value, attributes, context)

    def observe(self, metric: names.Metric, scrape: Scrape) -> None:
        """Call *scrape* at each collection for the (value, attributes) pairs of an observable metric."""
        self._scrapes[metric.name] = scrape

    def tool_label(self, name: str) -> str:
        """*name*, or `_other` once a process has seen 256 tool names: a model can invent them."""
        if name in self._known_tools:
            return name
        with self._known_lock:
            if len(self._known_tools) >= _NAMES_ON_METRICS or name in self._known_tools:
                return name if name in self._known_tools else names.OTHER
            self._known_tools.add(name)
        for outcome in _ZEROED_OUTCOMES:
            self.add(names.TOOL_CALLS, 0, {names.TOOL_NAME: name, names.OUTCOME: outcome, names.DEGRADED: False})
        return name

    def agent_label(self, name: str | None) -> Attributes:
        """The attributes of an agent on metrics, bounded likewise; its counters start at 0 when it is first seen."""
        if name not in self._known_agents:
            if len(self._known_agents) >= _NAMES_ON_METRICS:
                return {names.AGENT_NAME: names.OTHER}
            self._known_agents.add(name)
            for outcome in names.SESSION_OUTCOMES:
                self.add(names.SESSIONS, 0, {**_agent(name), names.SESSION_OUTCOME: outcome})
        return _agent(name)

    def observe_circuits(self, views: Callable[[], Iterable[PipelineView]], clients: Collection[str] = ()) -> None:
        """Show at each collection how many circuits are in each state: 1 for the state it is in where there is one.

        A tool with keys has several, and so have the tools beyond those that metrics name, taken together. Those that
        refuse nothing in observe mode are told apart by `semconv.CIRCUIT_SHADOW`.

        Args:
            views: Those of tools and clients.
            clients: Names of clients, which are configured: not invented by a model.
        """
        self._clients = frozenset(clients)

        def scrape() -> Iterator[tuple[float, Attributes]]:
            counts: Counter[tuple[str, str, bool]] = Counter()
            for view in views():
                label, observed = self._circuit_label(view.name), view.mode is Mode.OBSERVE
                for state in names.CIRCUIT_STATES if view.states else ():
                    counts[label, state, observed and state in _AUTOMATIC] += view.states.get(CircuitState(state), 0)
            for (label, state, shadow), number in counts.items():
                yield number, {names.CIRCUIT_NAME: label, names.CIRCUIT_STATE: state, **(_SHADOW if shadow else {})}

        self.observe(names.CIRCUIT, scrape)

    def _circuit_label(self, name: str) -> str:
        return name if name in self._clients else self.tool_label(name)

    def observe_switches(self, views: Callable[[], Iterable[PipelineView]]) -> None:
        """Show at each collection which tools an operator has switched off: 1, else 0."""

        def scrape() -> Iterator[tuple[float, Attributes]]:
            for view in views():
                if view.name in self._known_tools:  # which are bounded
                    yield float(view.disabled is not None), {names.TOOL_NAME: view.name}

        self.observe(names.TOOL_DISABLED, scrape)

    def transition(self, transition: Transition, context: Context | None = None) -> None:
        """Count a circuit's change of state and log it in the trace of the call that caused it."""
        attributes: Attributes = {
            names.CIRCUIT_NAME: self._circuit_label(transition.name),
            names.CIRCUIT_FROM: str(transition.from_),
            names.CIRCUIT_TO: str(transition.to),
            names.CIRCUIT_REASON: str(transition.reason),
            **(_SHADOW if transition.shadow else {}),
        }
        self.add(names.CIRCUIT_TRANSITIONS, 1, attributes, context)
        if transition.retry_after is not None:
            attributes[names.RETRY_AFTER] = transition.retry_after
        opened = not transition.shadow and transition.to in ("open", "forced_open")
        body = f"circuit {transition.name}: {transition.from_} -> {transition.to} ({transition.reason})"
        self.log(names.EVENT_TRANSITION, attributes, context=context, failed=opened, body=body)

    # --- log records --------------------------------------------------------------------------------------------
    def log(
        self,
        event: str,
        attributes: Attributes,
        *,
        context: Context | None = None,
        failed: bool = False,
        body: Any = None,
        debug: bool = False,
    ) -> None:
        """Emit a structured log record in the trace of *context*."""
        severity = SeverityNumber.WARN if failed else SeverityNumber.DEBUG if debug else SeverityNumber.INFO
        self._logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                context=context,
                severity_number=severity,
                severity_text=severity.name,
                body=body,
                attributes=attributes,
                event_name=event,
            )
        )


def _service(provider: TracerProvider) -> str | None:
    attributes = getattr(getattr(provider, "resource", None), "attributes", None)
    name = str(attributes.get("service.name", "")) if isinstance(attributes, Mapping) else ""
    return None if name.startswith("unknown_service") else name or None


def _agent(name: str | None) -> Attributes:
    return {names.AGENT_NAME: name} if name else {}


def _remote_parent(headers: Mapping[str, Any]) -> Context | None:
    context = propagate.extract({key: str(value) for key, value in headers.items()})
    found = trace.get_current_span(context).get_span_context()
    return context if found.is_valid and found.is_remote else None


def set_error(span: Span, error_type: str) -> None:
    """Mark a span as failed. No description: the text of an exception may hold what must not leave the process."""
    span.set_attribute(names.ERROR_TYPE, error_type)
    span.set_status(_ERROR)


def with_span(span: Span) -> Context:
    """The current context with *span* as the current span."""
    return trace.set_span_in_context(span)


def trace_headers(context: Context | None = None) -> dict[str, str]:
    """The trace context as headers, for a downstream call that no HTTP instrumentation covers.

    Args:
        context: The context to pass on, by default the current one.

    Returns:
        What the configured propagators inject: `traceparent` and, if set, `tracestate` and `baggage`.
    """
    headers: dict[str, str] = {}
    propagate.inject(headers, context)
    return headers


def trace_id_of(span: Span) -> str | None:
    """The id of the trace that *span* is in, as backends show it."""
    context = span.get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def foreign_span() -> tuple[Span, str, Mapping[str, Any]] | None:
    """The current span with its scope's name and attributes, if another instrumentation started it and records it."""
    span = trace.get_current_span()
    scope = getattr(span, "instrumentation_scope", None)
    if scope is None or scope.name == names.SCOPE or not span.is_recording():
        return None
    return span, scope.name, getattr(span, "attributes", None) or {}


def stand_in() -> Span:
    """A span that records nothing, and in whose place its children have the current one as parent."""
    return trace.NonRecordingSpan(trace.get_current_span().get_span_context())


def unseen_span() -> Span:
    """Stands for a span that another instrumentor makes but that cannot be reached: what is below it goes below the
    current one, and nothing is written to it."""
    return trace.NonRecordingSpan(trace.get_current_span().get_span_context())
