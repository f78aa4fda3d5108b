"""The objectives, unless `otel-tools.yaml` says otherwise."""

from __future__ import annotations

from typing import Final

from otel_tools import semconv as names
from otel_tools.ops.defaults import SESSIONS, TOOL
from otel_tools.ops.model import Slo

_TOOL = "{{ $labels.gen_ai_tool_name }}"
_SERVICE = "{{ $labels.service_name }}"
_BURN = "{{ $value | humanize }} times faster than it lasts"
SLOS: Final = (
    Slo(
        id="session-completion",
        name="OtelToolsSessionCompletionBudgetBurn",
        metric=names.SESSIONS,
        objective=0.95,
        minimum=20,
        component="session",
        dashboard=SESSIONS,
        good="sessions that completed, of all that were not cancelled",
        summary=f"Failed sessions of {_SERVICE} use up the error budget {_BURN}",
        description="People do not get what they asked the agent for: sessions end with an error, at their iteration"
        " limit or at their budget. Sessions that somebody cancelled do not count.",
    ),
    Slo(
        id="tool-availability",
        name="OtelToolsToolAvailabilityBudgetBurn",
        metric=names.TOOL_CALLS,
        objective=0.995,
        by=(names.TOOL_NAME,),
        minimum=20,
        component="tool",
        dashboard=TOOL,
        good="tool calls that were answered, of those that said something about the tool",
        summary=f"Failed calls of tool {_TOOL} in {_SERVICE} use up the error budget {_BURN}",
        description="Agents that need this tool answer without it, answer wrongly, or give up.",
    ),
    Slo(
        id="session-latency",
        name="OtelToolsSessionLatencyBudgetBurn",
        metric=names.SESSION_DURATION,
        objective=0.95,
        threshold=15.0,
        minimum=20,
        component="session",
        dashboard=SESSIONS,
        good="sessions that were not cancelled and took at most {threshold:g} s",
        summary=f"Slow sessions of {_SERVICE} use up the error budget {_BURN}",
        description="People wait for the agent too long. Sub-agents are a part of the session around them and do not"
        " count by themselves.",
    ),
    Slo(
        id="session-cost",
        name="OtelToolsSessionCostBudgetBurn",
        metric=names.SESSION_COST_USD,
        objective=0.95,
        threshold=0.10,
        minimum=20,
        component="session",
        dashboard=SESSIONS,
        good="sessions that cost at most {threshold:.2f} USD",
        summary=f"Expensive sessions of {_SERVICE} use up the error budget {_BURN}",
        description="Users feel nothing, the budget does. Calls of models without a known price are not in it.",
    ),
)
