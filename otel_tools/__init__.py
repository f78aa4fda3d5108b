"""OpenTelemetry and policy for LLM agents: every LLM call, tool call and session, without a code change."""

from otel_tools.errors import (
    BudgetExceeded,
    BulkheadFull,
    CallRefused,
    CallTimeout,
    CircuitOpen,
    ConfigError,
    LoopDetected,
    MaxIterationsExceeded,
    OtelToolsError,
    PriceUnknown,
    ToolDisabled,
)
from otel_tools.functions import instrument_registry, tool
from otel_tools.instrumentor import instrument, uninstrument
from otel_tools.operations import (
    available_tools,
    bypass,
    circuits,
    disable_tool,
    enable_tool,
    force_open,
    metrics_only,
    reset,
)
from otel_tools.policy import Circuit, Criticality, Limits, Mode, Policy, Unpriced
from otel_tools.runs import session
from otel_tools.sessions import Session, current_session
from otel_tools.telemetry import trace_headers
from otel_tools.version import __version__

__all__ = [
    "BudgetExceeded",
    "BulkheadFull",
    "CallRefused",
    "CallTimeout",
    "Circuit",
    "CircuitOpen",
    "ConfigError",
    "Criticality",
    "Limits",
    "LoopDetected",
    "MaxIterationsExceeded",
    "Mode",
    "OtelToolsError",
    "Policy",
    "PriceUnknown",
    "Session",
    "ToolDisabled",
    "Unpriced",
    "__version__",
    "available_tools",
    "bypass",
    "circuits",
    "current_session",
    "disable_tool",
    "enable_tool",
    "force_open",
    "instrument",
    "instrument_registry",
    "metrics_only",
    "reset",
    "session",
    "tool",
    "trace_headers",
    "uninstrument",
]
