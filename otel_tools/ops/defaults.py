"""The alerts, unless `otel-tools.yaml` says otherwise."""

from __future__ import annotations

from typing import Final

from otel_tools import semconv as names
from otel_tools.ops.model import DAY, HOUR, MINUTE, Alert, Measure

OVERVIEW, TOOL, LLM, SESSIONS, POLICY, TELEMETRY = (
    f"otel-tools-{name}" for name in ("overview", "tool", "llm", "sessions", "policy", "telemetry")
)
_TOOL = "{{ $labels.gen_ai_tool_name }}"
_MODEL = "{{ $labels.gen_ai_request_model }}"
_SERVICE = "{{ $labels.service_name }}"
_RATIO = "{{ $value | humanizePercentage }}"
_SECONDS = "{{ $value | humanizeDuration }}"
_USD = '{{ $value | printf "%.2f" }} USD'

_CALLS: Final = (
    Alert(
        name="OtelToolsToolErrorRateHigh",
        metric=names.TOOL_CALLS,
        measure=Measure.ERROR_RATIO,
        thresholds={"critical": 0.25, "warning": 0.10},
        window=5 * MINUTE,
        by=(names.TOOL_NAME,),
        minimum=10,
        for_=2 * MINUTE,
        keep=5 * MINUTE,
        component="tool",
        dashboard=TOOL,
        means="tool error rate",
        summary=f"{_RATIO} of the calls of tool {_TOOL} in {_SERVICE} fail",
        description="Agents that need this tool answer without it, answer wrongly, or give up. Calls count as failed"
        " that raised, returned an error, ran into their timeout, or were refused by an open circuit or a full"
        " bulkhead; calls that an operator or a session's limit refused do not count.",
        live=True,
    ),
    Alert(
        name="OtelToolsToolSlow",
        metric=names.TOOL_DURATION,
        measure=Measure.P95,
        thresholds={"warning": 5.0},
        window=5 * MINUTE,
        by=(names.TOOL_NAME,),
        minimum=10,
        for_=5 * MINUTE,
        keep=5 * MINUTE,
        component="tool",
        dashboard=TOOL,
        means="tool p95 latency",
        summary=f"One in twenty calls of tool {_TOOL} in {_SERVICE} takes longer than {_SECONDS}",
        description="People wait for the agent: each call of this tool adds its time to the session.",
        live=True,
    ),
    Alert(
        name="OtelToolsCircuitOpen",
        metric=names.CIRCUIT,
        measure=Measure.LEVEL,
        thresholds={"critical": 0},
        window=0,
        by=(names.CIRCUIT_NAME,),
        keep=2 * MINUTE,
        states=("open", "half_open", "forced_open"),
        component="circuit",
        dashboard=POLICY,
        means="circuit open",
        summary=f"Calls of {{{{ $labels.otel_tools_circuit_breaker_name }}}} in {_SERVICE} are refused; open circuits:"
        " {{ $value }}",
        description="Calls are refused at once because the dependency behind them failed several times in a row, or"
        " because an operator opened the circuit. Agents go on without the tool where it is optional, and fail where"
        " it is not. Circuits that only observe do not count.",
        live=True,
    ),
    Alert(
        name="OtelToolsLLMErrorRateHigh",
        metric=names.CLIENT_DURATION,
        measure=Measure.ERROR_RATIO,
        thresholds={"critical": 0.05},
        window=5 * MINUTE,
        by=(names.PROVIDER_NAME, names.REQUEST_MODEL),
        minimum=20,
        for_=2 * MINUTE,
        keep=5 * MINUTE,
        component="llm",
        dashboard=LLM,
        means="LLM error rate",
        summary=f"{_RATIO} of the calls of model {_MODEL} in {_SERVICE} fail",
        description="Sessions that use this model are retried, slow, or end with an error: without the model an agent"
        " can do nothing.",
        live=True,
    ),
)

_SESSIONS: Final = (
    Alert(
        name="OtelToolsSessionCostHigh",
        metric=names.SESSION_COST_USD,
        measure=Measure.P95,
        thresholds={"warning": 0.50},
        window=HOUR,
        minimum=20,
        for_=10 * MINUTE,
        component="session",
        dashboard=SESSIONS,
        means="session cost p95",
        summary=f"One in twenty sessions of {_SERVICE} costs more than {_USD}",
        description="Users feel nothing, the budget does. Usually sessions have become longer, prompts larger, or the"
        " prompt cache no longer matches. Calls of models without a known price are not in it.",
        live=True,
    ),
    Alert(
        name="OtelToolsDailyCostHigh",
        metric=names.CLIENT_COST,
        measure=Measure.INCREASE,
        thresholds={"critical": 500.0, "warning": 400.0},
        window=DAY,
        component="session",
        dashboard=LLM,
        means="cost of a day",
        summary=f"{_SERVICE} spent {_USD} on LLM calls in the last 24 hours",
        description="Users feel nothing until somebody stops the spending. The warning comes at its own, lower limit,"
        " or when half of the critical one is spent and the last hour's pace, kept up for a day, would exceed it.",
        live=True,
    ),
    Alert(
        name="OtelToolsSessionIterationsHigh",
        metric=names.AGENT_INFERENCE_CALLS,
        measure=Measure.P95,
        thresholds={"warning": 7.0},
        window=HOUR,
        minimum=20,
        for_=10 * MINUTE,
        component="session",
        dashboard=SESSIONS,
        means="session iterations p95",
        summary='One in twenty agent runs of {{ $labels.service_name }} needs more than {{ $value | printf "%.1f" }}'
        " LLM calls",
        description="Answers take long and cost more, and some runs end at their limit without one. Agents go round in"
        " circles when a tool returns nothing they can use, or a prompt was changed.",
        live=True,
    ),
    Alert(
        name="OtelToolsUnpricedTokens",
        metric=names.CLIENT_UNPRICED,
        measure=Measure.INCREASE,
        thresholds={"warning": 0},
        window=HOUR,
        by=(names.PROVIDER_NAME, names.REQUEST_MODEL),
        component="llm",
        dashboard=LLM,
        means="tokens without a price",
        summary=f"{{{{ $value | humanize }}}} tokens of model {_MODEL} in {_SERVICE} have no known price",
        description="Users feel nothing, but cost limits, cost alerts and the cost objective do not see these calls."
        " Give the model a price in `prices:` of otel-tools.yaml.",
    ),
)

_TOOLS: Final = (
    Alert(
        name="OtelToolsToolAbandonedWork",
        metric=names.TOOL_ABANDONED,
        measure=Measure.LEVEL,
        thresholds={"warning": 0},
        window=0,
        by=(names.TOOL_NAME,),
        for_=10 * MINUTE,
        component="tool",
        dashboard=TOOL,
        means="work given up, still running",
        summary=f"{{{{ $value }}}} calls of tool {_TOOL} in {_SERVICE} still run after their timeout",
        description="The agent has gone on, but threads and connections of these calls stay in use; when they run out,"
        " calls of the tool are refused. The tool needs a timeout of its own.",
    ),
    Alert(
        name="OtelToolsToolDisabled",
        metric=names.TOOL_DISABLED,
        measure=Measure.LEVEL,
        thresholds={"info": 0},
        window=0,
        by=(names.TOOL_NAME,),
        for_=DAY,
        component="tool",
        dashboard=POLICY,
        means="tool switched off for long",
        summary=f"Tool {_TOOL} has been switched off in {_SERVICE} for a day",
        description="Agents work without the tool. An operator switched it off, perhaps for an incident that is over:"
        " switch it on again, or take it out of the agent.",
    ),
)

_TELEMETRY: Final = (
    Alert(
        name="OtelToolsTelemetryAbsent",
        metric=names.INSTRUMENTATION_STATUS,
        measure=Measure.ABSENT,
        thresholds={"critical": 0, "warning": 0},
        window=DAY,
        minimum=60,
        for_=10 * MINUTE,
        component="telemetry",
        dashboard=TELEMETRY,
        means="no telemetry",
        summary="No telemetry arrives from {{ or $labels.service_name `any program` }}",
        description="The program is down, or it runs unseen: every other alert about it is silent now, whatever"
        " happens. Critical for a service that reported for an hour of the last day, a warning where nothing reports at"
        " all.",
    ),
    Alert(
        name="OtelToolsTelemetryDropped",
        metric=None,
        measure=Measure.COLLECTOR,
        thresholds={"warning": 0},
        window=5 * MINUTE,
        for_=5 * MINUTE,
        component="telemetry",
        dashboard=TELEMETRY,
        means="programs drop telemetry",
        summary=f"{_SERVICE} drops {{{{ $labels.signal }}}} before sending them",
        description="Spans or log records are lost in the program: its queue is full because the Collector is away,"
        " slow or refuses. Metrics, and with them the alerts, are not affected. Seen only where the programs run with"
        " OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=true.",
    ),
    Alert(
        name="OtelToolsCollectorRefused",
        metric=None,
        measure=Measure.COLLECTOR,
        thresholds={"warning": 0},
        window=5 * MINUTE,
        for_=5 * MINUTE,
        component="collector",
        dashboard=TELEMETRY,
        means="the Collector refuses telemetry",
        summary="The Collector refuses {{ $labels.signal }} at {{ $labels.receiver }}",
        description="Programs retry, then drop: dashboards and alerts see less than there is. Mostly the Collector is"
        " at its memory limit because what comes after it is slow.",
    ),
    Alert(
        name="OtelToolsCollectorSendFailed",
        metric=None,
        measure=Measure.COLLECTOR,
        thresholds={"critical": 0},
        window=5 * MINUTE,
        for_=5 * MINUTE,
        component="collector",
        dashboard=TELEMETRY,
        means="the Collector loses telemetry",
        summary="The Collector loses {{ $labels.signal }} for {{ $labels.exporter }}",
        description="Telemetry is lost for good: the backend refused it, or the queue in front of it is full."
        " Dashboards and alerts see less than there is.",
    ),
    Alert(
        name="OtelToolsCollectorQueueFull",
        metric=None,
        measure=Measure.COLLECTOR,
        thresholds={"warning": 0.80},
        window=0,
        for_=5 * MINUTE,
        component="collector",
        dashboard=TELEMETRY,
        means="the Collector's queue",
        summary=f"The Collector's queue for {{{{ $labels.exporter }}}} is {_RATIO} full",
        description="Telemetry arrives late, and is lost when the queue is full: the backend is down or too slow.",
    ),
)

ALERTS: Final = (*_CALLS, *_SESSIONS, *_TOOLS, *_TELEMETRY)
