"""`import otel_tools.auto` instruments the process, before or after the client libraries are imported.

The OpenTelemetry SDK is the program's to set up, early or late; if it never was, a warning says so at exit.
"""

import atexit
import logging

from opentelemetry import trace

from otel_tools.instrumentor import instrument


def _say_if_nothing_was_exported() -> None:
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        logging.getLogger("otel_tools").warning(
            "otel-tools: no OpenTelemetry SDK was set up, so nothing was exported; "
            "set up its providers in the program, or run it with `opentelemetry-instrument`"
        )


instrument()
atexit.register(_say_if_nothing_was_exported)
