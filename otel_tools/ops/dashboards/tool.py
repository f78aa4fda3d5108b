"""One tool in detail."""

from __future__ import annotations

from otel_tools import semconv as names
from otel_tools.ops import records, translation
from otel_tools.ops.dashboards import circuits, common, lines, links, promql
from otel_tools.ops.dashboards.layout import Row, dashboard
from otel_tools.ops.dashboards.panels import Json, Panel, Target, heatmap, stat, timeline, timeseries
from otel_tools.ops.model import Objectives

_SMALL = (3, 4)
_DEGRADED = f'{translation.label(names.DEGRADED)}="true"'


def render(objectives: Objectives) -> Json:
    """How it is now, its calls, its latency, what policy does to them."""
    rows = [
        Row("Now", [*_rates(objectives), *_levels(objectives)]),
        Row("Calls", [_outcomes(), _errors(objectives), _error_types()]),
        Row("How long they take", [_latency(objectives), _heatmap(), _running(objectives)]),
        Row("Policy", [_circuit(objectives), _transitions()]),
        Row("Results", [_sizes(), _degraded(), _agents()]),
    ]
    return dashboard(
        links.UIDS["tool"],
        "otel-tools: tool in detail",
        "Calls, errors, latency and policy of the tools chosen above: usually one.",
        rows,
        variables=("tool",),
        links=links.on_top(objectives),
    )


# --- now ------------------------------------------------------------------------------------------------------------
def _rates(objectives: Objectives) -> list[Panel]:
    errors, slow = objectives.alert("tool-error-rate-high"), objectives.alert("tool-slow")
    ratio = promql.series(records.TOOL_ERROR_RATIO.over(errors.window), promql.TOOLS)
    p95 = promql.series(records.TOOL_P95.over(slow.window), promql.TOOLS)
    calls = promql.per_minute(names.TOOL_CALLS, matchers=(promql.TOOLS,))
    return [
        common.number("Calls a minute", "All calls, refused ones too.", calls, size=_SMALL),
        common.number(
            "Errors",
            f"Of the calls of the last {records.duration(errors.window)} that say something about the tool. Coloured"
            " where the alert fires; of several, the worst.",
            f"max({ratio})",
            lines.of_alert(objectives, errors.name),
            links.runbooks(objectives, errors.name),
            unit="percentunit",
            size=_SMALL,
        ),
        common.number(
            "p95",
            f"One in twenty calls of the last {records.duration(slow.window)} takes longer; of several, the slowest.",
            f"max({p95})",
            lines.of_alert(objectives, slow.name),
            links.runbooks(objectives, slow.name),
            unit="s",
            size=_SMALL,
        ),
    ]


def _levels(objectives: Objectives) -> list[Panel]:
    return [
        common.number("In flight", "Calls that run now.", _level(names.TOOL_IN_FLIGHT), size=_SMALL),
        common.number(
            "Abandoned",
            "Calls that run on after their deadline: their caller has gone on, their threads are still in use.",
            _level(names.TOOL_ABANDONED),
            lines.of_counts(objectives, "tool-abandoned-work"),
            links.runbooks(objectives, "tool-abandoned-work"),
            size=_SMALL,
        ),
        stat(
            "Circuit",
            "Its state now; of several processes or tools the worst.",
            [Target(expr=f"max({_state()})", legend="state", instant=True)],
            "none",
            size=(5, 4),
            words=circuits.WORDS,
            links=[*links.runbooks(objectives, "circuit-open"), links.to_dashboard("Policy", "policy")],
            none="no circuit",
        ),
        stat(
            "Switch",
            "Whether an operator has switched it off. `otel-tools disable` and `enable` do that.",
            [Target(expr=f"max({promql.series(names.TOOL_DISABLED, promql.TOOLS)})", legend="switch", instant=True)],
            "none",
            words=common.SWITCH,
            links=links.runbooks(objectives, "tool-disabled"),
        ),
    ]


def _level(metric: names.Metric) -> str:
    return promql.or_zero(promql.sum_by(promql.series(metric, promql.TOOLS)))


def _state() -> str:
    return circuits.state(matchers=(circuits.matching_tools(),))


# --- calls ----------------------------------------------------------------------------------------------------------
def _outcomes() -> Panel:
    return timeseries(
        "Calls a minute, by outcome",
        "What became of the calls; refused ones were not attempted.",
        [
            Target(
                expr=promql.per_minute(names.TOOL_CALLS, promql.OUTCOME, matchers=(promql.TOOLS,)),
                legend=common.legend(promql.OUTCOME),
            )
        ],
        "short",
        stacked=True,
        overrides=common.outcome_colors(),
    )


def _errors(objectives: Objectives) -> Panel:
    alert = objectives.alert("tool-error-rate-high")
    by = promql.SERVICE, promql.TOOL
    ratio = promql.series(records.TOOL_ERROR_RATIO.over(alert.window), promql.TOOLS)
    return timeseries(
        "Error rate",
        f"Of the calls of the last {records.duration(alert.window)} that say something about the tool: raised, returned"
        " an error, timed out, refused by its circuit or bulkhead. The lines are where the alert fires.",
        [Target(expr=promql.max_by(ratio, *by), legend=common.legend(promql.TOOL))],
        "percentunit",
        lines=lines.of_alert(objectives, alert.name),
        links=[*links.tool_traces(links.LABEL), *links.runbooks(objectives, alert.name)],
    )


def _error_types() -> Panel:
    by = promql.SERVICE, promql.TOOL, promql.ERROR_TYPE
    matchers = promql.TOOLS, f'{promql.ERROR_TYPE}!=""'
    return timeseries(
        "Errors a minute, by type",
        "Calls that were attempted and failed, by `error.type`: the exception's name, `timeout`, or `tool_error` where"
        " the tool returned an error. Refused calls are not in it.",
        [
            Target(
                expr=promql.per_minute(names.TOOL_DURATION, *by, matchers=matchers, part="_count"),
                legend=common.legend(promql.TOOL, promql.ERROR_TYPE),
            )
        ],
        "short",
        stacked=True,
        none="no errors",
        links=links.by_error(links.LABEL, names.EXECUTE_TOOL, promql.TOOL),
    )


# --- latency --------------------------------------------------------------------------------------------------------
def _latency(objectives: Objectives) -> Panel:
    alert = objectives.alert("tool-slow")
    by = promql.SERVICE, promql.TOOL
    return timeseries(
        "Latency",
        "Of the calls that were attempted. The line is where the alert fires for the p95; the dots are traces.",
        [
            Target(
                expr=promql.quantile(q, names.TOOL_DURATION, *by, matchers=(promql.TOOLS,)),
                legend=f"{common.legend(promql.TOOL)} p{100 * q:g}",
                exemplar=q == 0.95,  # noqa: PLR2004  once is enough: all three have the same
            )
            for q in (0.5, 0.95, 0.99)
        ],
        "s",
        lines=lines.of_alert(objectives, alert.name),
        links=[*links.tool_traces(links.LABEL), *links.runbooks(objectives, alert.name)],
    )


def _heatmap() -> Panel:
    buckets = promql.increase(promql.series(names.TOOL_DURATION, promql.TOOLS, part="_bucket"))
    return heatmap(
        "Latency, all calls",
        "How many calls took how long.",
        Target(expr=promql.sum_by(buckets, "le"), legend="{{le}}", format="heatmap", exemplar=True),
        "s",
    )


def _running(objectives: Objectives) -> Panel:
    return timeseries(
        "In flight, abandoned",
        "Calls that run, and calls that run on after their deadline although nobody waits for them.",
        [
            Target(
                expr=promql.sum_by(promql.series(metric, promql.TOOLS), promql.TOOL),
                legend=f"{{{{{promql.TOOL}}}}} {word}",
            )
            for metric, word in ((names.TOOL_IN_FLIGHT, "in flight"), (names.TOOL_ABANDONED, "abandoned"))
        ],
        "short",
        none="no calls yet",
        links=links.runbooks(objectives, "tool-abandoned-work"),
    )


# --- policy ---------------------------------------------------------------------------------------------------------
def _circuit(objectives: Objectives) -> Panel:
    return timeline(
        "Circuit over time",
        "Its state over time; of several processes the worst. `would be open`: it only observes and refuses nothing.",
        [Target(expr=_state(), legend=common.legend(circuits.NAME))],
        circuits.WORDS,
        links=links.runbooks(objectives, "circuit-open"),
    )


def _transitions() -> Panel:
    by = circuits.NAME, circuits.FROM, circuits.TO, circuits.REASON
    changes = promql.increase(promql.series(names.CIRCUIT_TRANSITIONS, circuits.matching_tools()))
    return timeseries(
        "Changes of the circuit",
        "From which state to which, and why; how many in the time that a point stands for.",
        [
            Target(
                expr=f"{promql.sum_by(changes, *by)} > 0",
                legend=f"{{{{{circuits.FROM}}}}} → {{{{{circuits.TO}}}}}: {{{{{circuits.REASON}}}}}",
            )
        ],
        "short",
        size=(12, 8),
        bars=True,
        none="no changes",
    )


# --- results --------------------------------------------------------------------------------------------------------
def _sizes() -> Panel:
    return timeseries(
        "Size of results",
        "UTF-8 bytes of what the model is given. Large results cost tokens in every later call of the session.",
        [
            Target(
                expr=promql.quantile(q, names.TOOL_RESULT_SIZE, promql.TOOL, matchers=(promql.TOOLS,)),
                legend=f"{common.legend(promql.TOOL)} p{100 * q:g}",
                exemplar=q == 0.95,  # noqa: PLR2004  once is enough
            )
            for q in (0.5, 0.95)
        ],
        "bytes",
    )


def _degraded() -> Panel:
    by = promql.TOOL, promql.OUTCOME
    return timeseries(
        "Degraded answers a minute",
        "Calls in whose place the model was given a note or a fallback, by what had happened.",
        [
            Target(
                expr=promql.per_minute(names.TOOL_CALLS, *by, matchers=(promql.TOOLS, _DEGRADED)),
                legend=common.legend(*by),
            )
        ],
        "short",
        stacked=True,
        none="none degraded",
    )


def _agents() -> Panel:
    calls = promql.per_minute(names.TOOL_DURATION, promql.AGENT, matchers=(promql.TOOLS,), part="_count")
    return timeseries(
        "Calls a minute, by agent",
        "Who calls it; calls that were attempted.",
        [Target(expr=promql.named(calls, promql.AGENT, "no agent"), legend=common.legend(promql.AGENT))],
        "short",
        stacked=True,
    )
