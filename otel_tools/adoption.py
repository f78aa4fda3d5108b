"""Our span in the place of the one that a library's own tracing would start for the same call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span
from opentelemetry.util._decorator import _agnosticcontextmanager

from otel_tools import semconv as names
from otel_tools.errors import internal_error


class AdoptedSpan(Span):
    """What a library's own tracing gets instead of a span of its own, inside a call that already has ours.

    Its attributes land on our span; name, status, exceptions and end are ours to decide.
    """

    def __init__(self, span: Span, attributes: Mapping[str, Any] | None) -> None:
        self._span = span
        self.set_attributes(dict(attributes or {}))

    def set_attribute(self, key: str, value: Any) -> None:
        if key not in _OURS and self._span.is_recording():
            self._span.set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def get_span_context(self) -> trace.SpanContext:
        return self._span.get_span_context()

    def is_recording(self) -> bool:
        return self._span.is_recording()

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        pass

    def update_name(self, name: str) -> None:
        pass

    def set_status(self, status: Any, description: str | None = None) -> None:
        pass

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        pass

    def end(self, end_time: int | None = None) -> None:
        pass


_OURS = frozenset({names.OPERATION_NAME, names.PROVIDER_NAME, names.TOOL_NAME, names.AGENT_NAME, names.ERROR_TYPE})


class AdoptingTracer(trace.Tracer):
    """A library's own tracer, except that *claim* may give our span for the one it wants to start."""

    def __init__(self, tracer: trace.Tracer, claim: Callable[[str, Mapping[str, Any]], Span | None]) -> None:
        self._tracer = tracer
        self._claim = claim

    def _adopted(self, name: str, attributes: Mapping[str, Any] | None) -> AdoptedSpan | None:
        try:
            span = self._claim(name, attributes or {})
            return None if span is None else AdoptedSpan(span, attributes)
        except Exception:
            internal_error("taking the place of a native span")
            return None

    def start_span(self, name: str, *args: Any, **kwargs: Any) -> Span:
        adopted = self._adopted(name, kwargs.get("attributes"))
        return self._tracer.start_span(name, *args, **kwargs) if adopted is None else adopted

    @_agnosticcontextmanager
    def start_as_current_span(self, name: str, *args: Any, **kwargs: Any) -> Iterator[Span]:
        adopted = self._adopted(name, kwargs.get("attributes"))
        if adopted is None:
            with self._tracer.start_as_current_span(name, *args, **kwargs) as span:
                yield span
        else:
            yield adopted
