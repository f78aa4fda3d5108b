"""`import otel_tools.auto` instruments the process, before or after the client libraries are imported."""

from otel_tools.instrumentor import instrument

instrument()
