"""Switching everything on and off: for `opentelemetry-instrument`, for `import otel_tools.auto` and for code."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from opentelemetry._logs import LoggerProvider
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # not in its `__all__`
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from otel_tools import semconv
from otel_tools.config import Capture, Settings, load_or_default
from otel_tools.control import plane
from otel_tools.discovery import Discovery
from otel_tools.drops import finish_all, finish_at_exit
from otel_tools.engine import Engine, activate, followed_by
from otel_tools.patching import Patcher
from otel_tools.telemetry import Telemetry

_logger = logging.getLogger("otel_tools")
followed_by(plane.follow)


class OtelToolsInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # its package is typed only in newer versions
    """The entry point `otel_tools` of `opentelemetry_instrumentor`; one for the process.

    Attributes:
        patcher: The patches at work, `None` while there are none.
        settings: The settings at work.
    """

    patcher: Patcher | None = None
    settings: Settings | None = None
    _discovery: Discovery | None = None
    _threading = False

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: every library is optional, and patched when the program imports it."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        settings = kwargs.get("settings")
        self.settings = settings if isinstance(settings, Settings) else load_or_default(overrides=settings)
        telemetry = _telemetry(self.settings, kwargs)
        engine = Engine(self.settings, telemetry)
        self._discovery = Discovery()
        if self.settings.discover:
            engine.on_llm_request = self._discovery.on_llm_request
        self.patcher = Patcher(engine, disabled=self.settings.disabled_libraries)
        telemetry.observe(semconv.INSTRUMENTATION_STATUS, self.patcher.statuses)
        activate(engine)
        finish_at_exit()
        self.patcher.apply()
        self._discovery.bind(self.settings.patch_tools, self.settings.patch_sessions)
        self._carry_context_into_threads()

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002  the base class's signature
        finish_all()
        if self._discovery is not None:
            self._discovery.undo()
        if self.patcher is not None:
            self.patcher.undo()
        self.patcher = self.settings = self._discovery = None
        activate(None)
        if self._threading:
            ThreadingInstrumentor().uninstrument()
            self._threading = False

    def _carry_context_into_threads(self) -> None:
        threads = ThreadingInstrumentor()
        if not threads.is_instrumented_by_opentelemetry:
            threads.instrument()
            self._threading = True


def _telemetry(settings: Settings, providers: Mapping[str, Any]) -> Telemetry:
    capture = settings.capture
    return Telemetry(
        providers.get("tracer_provider"),
        providers.get("meter_provider"),
        providers.get("logger_provider"),
        content_on_span=capture in (Capture.SPAN_ONLY, Capture.SPAN_AND_EVENT),
        content_on_event=capture in (Capture.EVENT_ONLY, Capture.SPAN_AND_EVENT),
        content_limit=settings.content_limit,
    )


def instrument(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    logger_provider: LoggerProvider | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
) -> None:
    """Observe and govern LLM and tool calls in this process from now on.

    Called again, it does nothing; with arguments, it starts over with those.

    Args:
        tracer_provider: Where spans go, by default the global provider (as with the next two).
        meter_provider: Where metrics go.
        logger_provider: Where log records go.
        settings: What `otel-tools.yaml` would say, as a mapping of the same structure; before file and environment.

    Raises:
        ConfigError: *settings* are wrong. (A wrong file or variable is logged, and defaults are used.)
    """
    instrumentor = OtelToolsInstrumentor()
    given = (tracer_provider, meter_provider, logger_provider, settings)
    if instrumentor.is_instrumented_by_opentelemetry:
        if all(item is None for item in given):
            return
        instrumentor.uninstrument()
    instrumentor.instrument(
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
        logger_provider=logger_provider,
        settings=settings,
    )


def uninstrument() -> None:
    """Take every patch back: the patched attributes are the original objects again."""
    instrumentor = OtelToolsInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
