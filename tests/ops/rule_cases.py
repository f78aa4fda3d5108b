"""When each alert fires, and when not: input series, a time, and the severities that fire then.

Samples are a minute apart, in promtool's notation: `0+3x10` is 0, 3, 6, … and `_x5` five missing ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SERVICE = {"deployment_environment_name": "prod", "service_name": "shop", "instance": "a"}
BOTH = ("critical", "warning")


@dataclass(kw_only=True)
class Case:
    """One expectation, or several over time.

    Args:
        what: What it shows.
        series: Series -> samples.
        fires: Time -> severities that fire then, of the alert.
        records: (record with matchers, time) -> value, `None` for no result.
    """

    alert: str
    what: str
    series: dict[str, str]
    fires: dict[str, tuple[str, ...]]
    records: dict[tuple[str, str], float | None] = field(default_factory=dict)


def series(name: str, **labels: str) -> str:
    """A series of a process of service `shop`."""
    pairs = ",".join(f'{key}="{value}"' for key, value in {**SERVICE, **labels}.items())
    return f"{name}{{{pairs}}}"


# --- tools ------------------------------------------------------------------------------------------------------------
def calls(outcome: str, tool: str = "search", **labels: str) -> str:
    """The counter of a tool's calls with that outcome."""
    return series(
        "otel_tools_tool_calls_total",
        gen_ai_tool_name=tool,
        otel_tools_outcome=outcome,
        otel_tools_degraded="false",
        **labels,
    )


def _errors(what: str, fires: dict[str, tuple[str, ...]], records=None, **outcomes: str) -> Case:
    given = {calls(outcome): values for outcome, values in outcomes.items()}
    return Case(alert="OtelToolsToolErrorRateHigh", what=what, series=given, fires=fires, records=records or {})


RATIO = 'tool:otel_tools_tool_errors:ratio_rate5m{gen_ai_tool_name="search"}'
CALLS = 'tool:otel_tools_tool_calls:increase5m{gen_ai_tool_name="search"}'

TOOL_ERRORS = [
    _errors("fires", {"1m": (), "10m": BOTH}, ok="0+7x30", error="0+3x30"),
    _errors("warns only between the thresholds", {"10m": ("warning",)}, ok="0+8x30", timeout="0+2x30"),
    _errors("does not fire below the threshold", {"30m": ()}, ok="0+91x30", error="0+9x30"),
    _errors("is guarded at low traffic", {"60m": ()}, ok="0+1x60", error="0 0 0 1 1 1 2x54"),
    _errors("takes few calls seriously when most of them fail", {"15m": (), "60m": BOTH}, ok="0x20 1x40",
            error="0 0 0 1x15 2x15 3x30"),
    _errors("has an error rate of 0 before the first error", {"30m": ()}, {(RATIO, "30m"): 0.0}, ok="0+10x30"),
    _errors("sees the errors with which a series begins", {"13m": BOTH}, ok="0+10x30", error="_x10 30x20"),
    _errors("sees a tool that is there only now", {"13m": BOTH}, {(CALLS, "12m"): 30.0, (RATIO, "12m"): 0.5},
            ok="_x10 15x20", error="_x10 15x20"),
    _errors("sees a program that ran for a minute", {"13m": BOTH}, {(CALLS, "12m"): 30.0}, ok="_x10 15 stale",
            error="_x10 15 stale"),
    _errors("counts on after a reset", {"20m": BOTH}, ok="0+7x10 0+7x20", error="0+3x10 0+3x20"),
    _errors("does not take a reset for errors", {"25m": ()}, ok="500+10x14 0+10x20", error="400x14 0x20"),
    _errors("does not take a pause in exporting for a new series", {"122m": (), "140m": ()},
            ok="1000+10x100 _x20 2210+10x20", error="5000x100 _x20 5000x20"),
    _errors("resolves", {"12m": BOTH, "27m": ()}, ok="0+7x40", error="0+3x10 30x30"),
    _errors("does not count what an operator or a limit refused", {"30m": ()}, {(RATIO, "30m"): 0.0}, ok="0+10x30",
            disabled="0+50x30", budget_exceeded="0+50x30", loop_detected="0+50x30", cancelled="0+50x30"),
    _errors("counts refusals by the circuit and the bulkhead", {"10m": BOTH}, {(RATIO, "10m"): 0.5}, ok="0+10x30",
            circuit_open="0+5x30", bulkhead_full="0+5x30"),
]  # fmt: skip


def durations(name: str, buckets: dict[str, str], **labels: str) -> dict[str, str]:
    """The buckets of a histogram; `+Inf` is its count, too."""
    found = {series(f"{name}_bucket", le=le, **labels): values for le, values in buckets.items()}
    return {**found, series(f"{name}_count", **labels): buckets["+Inf"]}


def _slow(what: str, fires: dict[str, tuple[str, ...]], five: str, more: str, five_le: str = "5") -> Case:
    buckets = {"2.56": five, five_le: five, "5.12": more, "10.24": more, "+Inf": more}
    given = durations("gen_ai_execute_tool_duration_seconds", buckets, gen_ai_tool_name="search", error_type="")
    return Case(alert="OtelToolsToolSlow", what=what, series=given, fires=fires)


TOOL_SLOW = [
    _slow("fires", {"5m": (), "15m": ("warning",)}, "0+90x30", "0+100x30"),
    _slow("does not fire below the threshold", {"30m": ()}, "0+96x30", "0+100x30"),
    _slow("is guarded at low traffic", {"30m": ()}, "0x30", "0+1x30"),
    _slow("sees a series that begins with slow calls", {"16m": ("warning",)}, "_x10 0x20", "_x10 20+4x20"),
    _slow("counts on after a reset", {"20m": ("warning",)}, "0+9x10 0+9x20", "0+10x10 0+10x20"),
    _slow("resolves", {"15m": ("warning",), "35m": ()}, "0+9x16 144+10x30", "0+10x16 160+10x30"),
    _slow("is the same for scraped metrics", {"15m": ("warning",)}, "0+9x30", "0+10x30", "5.0"),
]  # fmt: skip


def _circuit(what: str, fires: dict[str, tuple[str, ...]], **given: str) -> Case:
    states = {}
    for key, values in given.items():
        state, shadow, _ = (*key.split("__"), "", "")[:3]
        labels = {"otel_tools_circuit_breaker_name": "search", "otel_tools_circuit_breaker_state": state}
        if shadow:
            labels["otel_tools_circuit_breaker_shadow"] = "true"
        states[series("otel_tools_circuit_breaker_state", **labels)] = values
    return Case(alert="OtelToolsCircuitOpen", what=what, series=states, fires=fires)


CIRCUITS = [
    _circuit("fires until a probe has closed it, and resolves", {"4m": (), "6m": ("critical",), "13m": ("critical",),
             "18m": ()}, closed="1x5 0x8 1x20", open="0x5 1x4 0x24", half_open="0x9 1x4 0x20"),
    _circuit("fires when an operator opened it", {"6m": ("critical",)}, forced_open="0x3 1x9"),
    _circuit("is silent while it only observes", {"6m": ()}, open__shadow="1x9", closed__shadow="0x9"),
    _circuit("is silent where an operator switched it off", {"6m": ()}, disabled="1x9", metrics_only="1x9"),
    _circuit("resolves when the process is gone", {"3m": ("critical",), "15m": ()}, open="1x3 stale _x20"),
]  # fmt: skip


def _tool_level(alert: str, metric: str, what: str, values: str, fires: dict[str, tuple[str, ...]]) -> Case:
    return Case(alert=alert, what=what, series={series(metric, gen_ai_tool_name="search"): values}, fires=fires)


_ABANDONED = ("OtelToolsToolAbandonedWork", "otel_tools_tool_abandoned")
_DISABLED = ("OtelToolsToolDisabled", "otel_tools_tool_disabled")
LEVELS = [
    _tool_level(*_ABANDONED, "fires", "0x5 2x30", {"10m": (), "17m": ("warning",)}),
    _tool_level(*_ABANDONED, "does not fire for work that comes back", "0x5 2x5 0x5 2x5 0x5", {"25m": ()}),
    _tool_level(*_ABANDONED, "resolves", "2x20 0x20", {"15m": ("warning",), "25m": ()}),
    _tool_level(*_DISABLED, "fires", "1x1500", {"60m": (), "1445m": ("info",)}),
    _tool_level(*_DISABLED, "does not fire for a tool that is on", "0x1500", {"1445m": ()}),
    _tool_level(*_DISABLED, "resolves", "1x1444 0x20", {"1440m": ("info",), "1460m": ()}),
]  # fmt: skip


# --- LLM calls --------------------------------------------------------------------------------------------------------
def _llm(what: str, fires: dict[str, tuple[str, ...]], good: str, **errors: str) -> Case:
    labels = {"gen_ai_provider_name": "openai", "gen_ai_request_model": "gpt-5-mini"}
    name = "gen_ai_client_operation_duration_seconds_count"
    given = {series(name, **labels): good}
    given |= {series(name, **labels, error_type=error): values for error, values in errors.items()}
    return Case(alert="OtelToolsLLMErrorRateHigh", what=what, series=given, fires=fires)


MODEL_RATIO = 'model:gen_ai_client_operation_errors:ratio_rate5m{gen_ai_request_model="gpt-5-mini"}'
LLM_ERRORS = [
    _llm("fires", {"1m": (), "10m": ("critical",)}, "0+9x30", RateLimitError="0+1x30"),
    _llm("does not fire below the threshold", {"30m": ()}, "0+96x30", RateLimitError="0+4x30"),
    _llm("is guarded at low traffic", {"60m": ()}, "0+1x60", RateLimitError="0x30 1x30"),
    _llm("takes few calls seriously when most of them fail", {"60m": ("critical",)}, "0x20 1x40",
         timeout="0 0 0 1x15 2x15 3x30"),
    Case(alert="OtelToolsLLMErrorRateHigh", what="has an error rate of 0 before the first error", fires={"30m": ()},
         series=_llm("", {}, "0+10x30").series, records={(MODEL_RATIO, "30m"): 0.0}),
    _llm("sees the errors with which a series begins", {"13m": ("critical",)}, "0+10x30", APIError="_x10 30x20"),
    _llm("counts on after a reset", {"20m": ("critical",)}, "0+9x10 0+9x20", APIError="0+1x10 0+1x20"),
    _llm("does not take a reset for errors", {"25m": ()}, "500+10x14 0+10x20", APIError="400x14 0x20"),
    _llm("resolves", {"12m": ("critical",), "27m": ()}, "0+9x40", APIError="0+3x10 30x30"),
]  # fmt: skip


def _unpriced(what: str, values: str, fires: dict[str, tuple[str, ...]]) -> Case:
    labels = {"gen_ai_provider_name": "openai", "gen_ai_request_model": "local"}
    given = {series("otel_tools_client_unpriced_total", **labels): values}
    return Case(alert="OtelToolsUnpricedTokens", what=what, series=given, fires=fires)


UNPRICED = [
    _unpriced("fires", "0x10 500x10", {"9m": (), "12m": ("warning",)}),
    _unpriced("does not fire when there are none", "0x20", {"15m": ()}),
    _unpriced("does not fire for those of long ago", "500x200", {"150m": ()}),
    _unpriced("sees the tokens with which a series begins", "_x10 500x10", {"12m": ("warning",)}),
    _unpriced("does not take a reset for tokens", "500x150 0x10", {"155m": ()}),
    _unpriced("resolves", "0x10 500x90", {"12m": ("warning",), "75m": ()}),
]


# --- sessions and money -----------------------------------------------------------------------------------------------
def _quantile(alert: str, metric: str, bounds: tuple[str, str, str], what: str, fires: dict[str, tuple[str, ...]],
              good: str, every: str) -> Case:  # fmt: skip
    low, limit, high = bounds
    none = "_x30 0x60" if good.startswith("_x30") else "0x210"
    buckets = {low: none, limit: good, high: every, "+Inf": every}
    given = durations(metric, buckets, gen_ai_agent_name="helper")
    return Case(alert=alert, what=what, series=given, fires=fires)


_COST = ("OtelToolsSessionCostHigh", "otel_tools_session_cost_USD", ("0.25", "0.5", "1"))
_LOOPS = ("OtelToolsSessionIterationsHigh", "gen_ai_invoke_agent_inference_calls", ("4", "7", "8"))
SESSIONS = [
    case
    for which in (_COST, _LOOPS)
    for case in (
        _quantile(*which, "fires", {"5m": (), "60m": ("warning",)}, "0+9x90", "0+10x90"),
        _quantile(*which, "does not fire at the threshold", {"60m": ()}, "0+10x90", "0+10x90"),
        _quantile(*which, "does not fire below the threshold", {"60m": ()}, "0+96x90", "0+100x90"),
        _quantile(*which, "is guarded at low traffic", {"60m": ()}, "0x90", "0x30 19x60"),
        _quantile(*which, "sees a series that begins with such sessions", {"45m": ("warning",)}, "_x30 0x60",
                  "_x30 20x60"),
        _quantile(*which, "counts on after a reset", {"60m": ("warning",)}, "0+9x30 0+9x60", "0+10x30 0+10x60"),
        _quantile(*which, "resolves", {"60m": ("warning",), "200m": ()}, "0+9x60 540+10x150", "0+10x60 600+10x150"),
    )
]  # fmt: skip


def _spent(what: str, fires: dict[str, tuple[str, ...]], records=None, **models: str) -> Case:
    given = {
        series("otel_tools_client_cost_USD_total", gen_ai_provider_name="openai", gen_ai_request_model=model): values
        for model, values in models.items()
    }
    return Case(alert="OtelToolsDailyCostHigh", what=what, series=given, fires=fires, records=records or {})


DAY_COST = 'service:otel_tools_client_cost_USD:increase1d{service_name="shop"}'
COSTS = [
    _spent("fires at each threshold, over all models", {"400m": (), "900m": ("warning",), "1100m": BOTH},
           gpt="0+0.25x1200", claude="0+0.25x1200"),
    _spent("does not fire below the threshold", {"1440m": ()}, gpt="0+0.2x1440"),
    _spent("warns when half is spent at a pace that would exceed it", {"150m": (), "250m": ("warning",)},
           gpt="0+1.2x260"),
    _spent("loses nothing to first samples", {"20m": BOTH}, {(DAY_COST, "20m"): 501.0}, gpt="_x10 501x30"),
    _spent("counts a program that ran for a minute", {"60m": BOTH}, {(DAY_COST, "60m"): 501.0},
           gpt="_x10 501 stale _x90"),
    _spent("counts a series that began at 0 once", {"20m": ("warning",)}, {(DAY_COST, "20m"): 450.0},
           gpt="_x10 0 450x30"),
    _spent("does not count what was spent before", {"1500m": (), "1600m": ()}, gpt="900x1700"),
    _spent("does not take a reset for spending", {"1500m": ()}, gpt="900x1500 0x20"),
    _spent("counts on after a reset", {"700m": BOTH}, gpt="0+0.75x300 0+0.75x500"),
    _spent("resolves", {"20m": BOTH, "1500m": ()}, gpt="_x10 501x1600"),
]  # fmt: skip


# --- telemetry --------------------------------------------------------------------------------------------------------
def _absent(what: str, fires: dict[str, tuple[str, ...]], values: str, records=None, **labels: str) -> Case:
    given = {series("otel_tools_instrumentation_status", otel_tools_library="openai", **labels): values}
    return Case(alert="OtelToolsTelemetryAbsent", what=what, series=given, fires=fires, records=records or {})


PROCESSES = 'service:otel_tools_processes:count{service_name="shop"}'
TELEMETRY = [
    _absent("fires when a service falls silent, and resolves when it is back",
            {"70m": (), "95m": BOTH, "125m": ()}, "1x70 stale _x40 1x20", {(PROCESSES, "60m"): 1.0}),
    _absent("does not fire for a program that ran for a while only", {"60m": ("warning",)}, "1x20 stale _x50"),
    _absent("does not fire while there is telemetry", {"60m": ()}, "1x60"),
    Case(alert="OtelToolsTelemetryAbsent", what="warns when nothing reports at all", series={series("up"): "1x30"},
         fires={"5m": (), "20m": ("warning",)}),
    Case(alert="OtelToolsTelemetryDropped", what="fires, and resolves",
         fires={"5m": (), "18m": ("warning",), "40m": ()},
         series={series("otel_sdk_processor_span_processed_total", error_type="queue_full"): "0x5 0+5x15 75x30"}),
    Case(alert="OtelToolsTelemetryDropped", what="does not fire for what was sent", fires={"30m": ()},
         series={series("otel_sdk_processor_span_processed_total"): "0+5x30"}),
]  # fmt: skip
for _suffix in ("", "_total"):
    TELEMETRY += [
        Case(alert="OtelToolsCollectorRefused", what=f"fires, and resolves{_suffix and ', pushed'}",
             fires={"5m": (), "18m": ("warning",), "40m": ()},
             series={series(f"otelcol_receiver_refused_spans{_suffix}", receiver="otlp"): "0x5 0+5x15 75x30"}),
        Case(alert="OtelToolsCollectorSendFailed", what=f"fires, and resolves{_suffix and ', pushed'}",
             fires={"5m": (), "18m": ("critical",), "40m": ()},
             series={
                 series(f"otelcol_exporter_send_failed_log_records{_suffix}", exporter="otlp"): "0x5 0+5x15 75x30"}),
        Case(alert="OtelToolsCollectorSendFailed", what=f"fires when a queue is full{_suffix and ', pushed'}",
             fires={"18m": ("critical",)},
             series={
                 series(f"otelcol_exporter_send_failed_metric_points{_suffix}", exporter="otlp"): "0x30",
                 series(f"otelcol_exporter_enqueue_failed_metric_points{_suffix}", exporter="otlp"): "0x5 0+5x25"}),
    ]  # fmt: skip
TELEMETRY += [
    Case(alert="OtelToolsCollectorRefused", what="fires when what comes after fails", fires={"18m": ("warning",)},
         series={series("otelcol_receiver_refused_spans_total", receiver="otlp"): "0x30",
                 series("otelcol_receiver_failed_spans_total", receiver="otlp"): "0x5 0+5x25"}),
    Case(alert="OtelToolsCollectorRefused", what="does not take a reset for refusals", fires={"30m": ()},
         series={series("otelcol_receiver_refused_spans_total", receiver="otlp"): "100x10 0x20"}),
    Case(alert="OtelToolsCollectorQueueFull", what="fires, and resolves",
         fires={"5m": (), "12m": ("warning",), "20m": ()},
         series={series("otelcol_exporter_queue_size", exporter="otlp", data_type="traces"): "10x5 900x10 10x10",
                 series("otelcol_exporter_queue_capacity", exporter="otlp"): "1000x30"}),
    Case(alert="OtelToolsCollectorQueueFull", what="does not fire below the threshold", fires={"25m": ()},
         series={series("otelcol_exporter_queue_size", exporter="otlp", data_type="traces"): "800x30",
                 series("otelcol_exporter_queue_capacity", exporter="otlp"): "1000x30"}),
]  # fmt: skip


# --- objectives -------------------------------------------------------------------------------------------------------
def _endings(what: str, fires: dict[str, tuple[str, ...]], records=None, **outcomes: str) -> Case:
    given = {
        series("otel_tools_sessions_total", gen_ai_agent_name="helper", otel_tools_session_outcome=outcome): values
        for outcome, values in outcomes.items()
    }
    alert = "OtelToolsSessionCompletionBudgetBurn"
    return Case(alert=alert, what=what, series=given, fires=fires, records=records or {})


_SLO = '{slo="session-completion"}'
COMPLETION = [
    _endings("fires", {"10m": BOTH}, {(f"slo:current_burn_rate:ratio{_SLO}", "10m"): 16.0}, completed="0+2x30",
             error="0+8x30"),
    _endings("warns when the budget lasts a third of the period", {"180m": ("warning",)}, completed="0+8x180",
             max_iterations="0+2x180"),
    _endings("does not fire below the threshold", {"180m": ()}, completed="0+96x180", error="0+4x180"),
    _endings("is guarded at low traffic", {"180m": ()}, completed="0x180", error="0x100 18x80"),
    _endings("needs several failures", {"180m": ()}, completed="0x100 21x80", error="0x100 2x80"),
    _endings("has an error ratio of 0 before the first failure", {"60m": ()},
             {(f"slo:sli_error:ratio_rate1h{_SLO}", "60m"): 0.0,
              (f"slo:period_error_budget_remaining:ratio{_SLO}", "60m"): 1.0}, completed="0+10x60"),
    _endings("sees a series that begins with failures", {"33m": BOTH}, completed="0x60", budget_exceeded="_x30 25x30"),
    _endings("counts on after a reset", {"30m": BOTH}, completed="0+2x15 0+2x30", error="0+8x15 0+8x30"),
    _endings("does not take a reset for failures", {"60m": ()}, completed="0+10x30 0+10x60", error="4x30 0x60"),
    _endings("does not count what was cancelled", {"60m": ()}, completed="0+10x60", cancelled="0+90x60"),
    _endings("pages no longer once it is over", {"30m": BOTH, "90m": ("warning",)}, completed="0+2x30 60+10x90",
             error="0+8x30 240x90"),
    _endings("has spent its budget at 5 %", {}, {(f"slo:period_error_budget_remaining:ratio{_SLO}", "60m"): 0.0},
             completed="0+95x60", error="0+5x60"),
]  # fmt: skip

_AVAILABLE = "OtelToolsToolAvailabilityBudgetBurn"
AVAILABILITY = [
    Case(alert=_AVAILABLE, what=what, fires=fires, series={calls(name): values for name, values in outcomes.items()})
    for what, fires, outcomes in (
        ("fires", {"10m": BOTH}, {"ok": "0+9x30", "error": "0+1x30"}),
        ("warns when the budget lasts a third of the period", {"180m": ("warning",)}, {"ok": "0+98x180",
         "circuit_open": "0+2x180"}),
        ("does not fire below the threshold", {"180m": ()}, {"ok": "0+996x180", "error": "0+4x180"}),
        ("is guarded at low traffic", {"180m": ()}, {"ok": "0x100 15x80", "error": "0x100 4x80"}),
        ("has no error before the first one", {"60m": ()}, {"ok": "0+10x60"}),
        ("sees a series that begins with errors", {"33m": BOTH}, {"ok": "0+10x60", "error": "_x30 90x30"}),
        ("counts on after a reset", {"30m": BOTH}, {"ok": "0+9x15 0+9x30", "error": "0+1x15 0+1x30"}),
        ("does not count what an operator refused", {"60m": ()}, {"ok": "0+10x60", "disabled": "0+90x60"}),
        ("pages no longer once it is over", {"30m": BOTH, "90m": ("warning",)}, {"ok": "0+9x30 270+10x90",
         "error": "0+1x30 30x90"}),
    )
]  # fmt: skip


def _within(alert: str, metric: str, le: str, what: str, fires: dict[str, tuple[str, ...]], good: str, every: str,
            **labels: str) -> Case:  # fmt: skip
    given = durations(metric, {le: good, "+Inf": every}, gen_ai_agent_name="helper", **labels)
    return Case(alert=alert, what=what, series=given, fires=fires)


_LATENCY = ("OtelToolsSessionLatencyBudgetBurn", "otel_tools_session_duration_seconds")
_CHEAP = ("OtelToolsSessionCostBudgetBurn", "otel_tools_session_cost_USD")
_DONE = {"otel_tools_session_outcome": "completed"}
WITHIN = [
    case
    for which, labels in (
        ((*_LATENCY, "15"), _DONE), ((*_LATENCY, "15.0"), _DONE), ((*_CHEAP, "0.1"), {})
    )
    for case in (
        _within(*which, f"fires, le={which[2]}", {"10m": BOTH}, "0+2x30", "0+10x30", **labels),
        _within(*which, f"warns when the budget lasts a third of the period, le={which[2]}", {"180m": ("warning",)},
                "0+8x180", "0+10x180", **labels),
        _within(*which, f"does not fire below the threshold, le={which[2]}", {"180m": ()}, "0+96x180", "0+100x180",
                **labels),
        _within(*which, f"is guarded at low traffic, le={which[2]}", {"180m": ()}, "0x180", "0x100 18x80", **labels),
        _within(*which, f"sees a series that begins with such sessions, le={which[2]}", {"33m": BOTH}, "_x30 0x30",
                "_x30 25x30", **labels),
        _within(*which, f"counts on after a reset, le={which[2]}", {"30m": BOTH}, "0+2x15 0+2x30", "0+10x15 0+10x30",
                **labels),
        _within(*which, f"pages no longer once it is over, le={which[2]}", {"30m": BOTH, "90m": ("warning",)},
                "0+2x30 60+10x90", "0+10x30 300+10x90", **labels),
    )
] + [
    _within(*_LATENCY, "15", "does not count what was cancelled", {"60m": ()}, "0x60", "0+10x60",
            otel_tools_session_outcome="cancelled"),
]  # fmt: skip

CASES = {
    "tools.yaml": [*TOOL_ERRORS, *TOOL_SLOW, *CIRCUITS, *LEVELS],
    "llm.yaml": [*LLM_ERRORS, *UNPRICED],
    "sessions.yaml": [*SESSIONS, *COSTS],
    "telemetry.yaml": TELEMETRY,
    "slo-session-completion.yaml": COMPLETION,
    "slo-tool-availability.yaml": AVAILABILITY,
    "slo-session-latency.yaml": [case for case in WITHIN if case.alert == _LATENCY[0]],
    "slo-session-cost.yaml": [case for case in WITHIN if case.alert == _CHEAP[0]],
}
