"""The names of everything that the rules record, for rules, dashboards and runbooks alike.

A name is `level:metric:operation`; the level says by which labels: `service:`, `tool:`, `model:`, and `slo:`, which
are those of the objective.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from otel_tools import semconv as names
from otel_tools.ops.translation import ENVIRONMENT, SERVICE_NAME, label

SERVICE: Final = (ENVIRONMENT, SERVICE_NAME)
TOOL: Final = (*SERVICE, label(names.TOOL_NAME))
MODEL: Final = (*SERVICE, label(names.PROVIDER_NAME), label(names.REQUEST_MODEL))
LEVELS: Final = {"service": SERVICE, "tool": TOOL, "model": MODEL}

_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def duration(seconds: int) -> str:
    """`300` is `5m`: the largest unit that fits."""
    return next(f"{seconds // size}{unit}" for unit, size in _UNITS if seconds % size == 0)


class Record(NamedTuple):
    """A series that a rule records, of one window or of several."""

    base: str

    def over(self, window: int) -> str:
        """Its name for a window in seconds."""
        return f"{self.base}{duration(window)}"

    @property
    def labels(self) -> tuple[str, ...]:
        """What it is grouped by; nothing for `slo:`, where that depends on the objective."""
        return LEVELS.get(self.base.partition(":")[0], ())


# --- tools: calls that ended in one of `model.TOOL_EVENTS`, and the errors among them ---------------------------------
TOOL_CALLS: Final = Record("tool:otel_tools_tool_calls:increase")
TOOL_ERRORS: Final = Record("tool:otel_tools_tool_errors:increase")
TOOL_ERROR_RATIO: Final = Record("tool:otel_tools_tool_errors:ratio_rate")
TOOL_P95: Final = Record("tool:gen_ai_execute_tool_duration_seconds:p95_")
TOOL_TIMED: Final = Record("tool:gen_ai_execute_tool_duration_seconds_count:increase")
"""Calls that were attempted: the number behind `TOOL_P95`."""

# --- LLM calls that were attempted ------------------------------------------------------------------------------------
MODEL_CALLS: Final = Record("model:gen_ai_client_operation_calls:increase")
MODEL_ERRORS: Final = Record("model:gen_ai_client_operation_errors:increase")
MODEL_ERROR_RATIO: Final = Record("model:gen_ai_client_operation_errors:ratio_rate")
UNPRICED: Final = Record("model:otel_tools_client_unpriced:increase")

# --- sessions and money -----------------------------------------------------------------------------------------------
SESSION_COST_P95: Final = Record("service:otel_tools_session_cost_USD:p95_")
SESSION_COST_COUNT: Final = Record("service:otel_tools_session_cost_USD_count:increase")
ITERATIONS_P95: Final = Record("service:gen_ai_invoke_agent_inference_calls:p95_")
ITERATIONS_COUNT: Final = Record("service:gen_ai_invoke_agent_inference_calls_count:increase")
COST: Final = Record("service:otel_tools_client_cost_USD:increase")
"""Over 1h and 1d. What a new series counted before its first sample is in it."""

# --- telemetry --------------------------------------------------------------------------------------------------------
PROCESSES: Final = "service:otel_tools_processes:count"
"""Processes that report."""

# --- objectives; the names are Sloth's. The label `slo` says which ----------------------------------------------------
SLI_EVENTS: Final = Record("slo:sli_events:increase")
SLI_BAD: Final = Record("slo:sli_bad_events:increase")
"""Both over 5m only; longer windows are sums of it."""
SLI_RATIO: Final = Record("slo:sli_error:ratio_rate")
"""Over 5m, 30m, 1h, 2h, 6h, 1d, 3d and the period (30d)."""
OBJECTIVE: Final = "slo:objective:ratio"
BUDGET: Final = "slo:error_budget:ratio"
PERIOD: Final = "slo:time_period:days"
CURRENT_BURN: Final = "slo:current_burn_rate:ratio"
"""1: the budget would last exactly for the period."""
PERIOD_BURN: Final = "slo:period_burn_rate:ratio"
BUDGET_REMAINING: Final = "slo:period_error_budget_remaining:ratio"
"""1: untouched, 0: used up, below: overdrawn."""
