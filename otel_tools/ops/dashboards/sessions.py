"""Sessions and the agent loop."""

from __future__ import annotations

from otel_tools import semconv as names
from otel_tools.ops import records, translation
from otel_tools.ops.dashboards import common, lines, links, promql
from otel_tools.ops.dashboards.layout import Row, dashboard
from otel_tools.ops.dashboards.panels import ORANGE, Json, Panel, Step, Target, heatmap, timeseries
from otel_tools.ops.dashboards.tables import Column, table
from otel_tools.ops.expressions import one_of
from otel_tools.ops.model import SESSION_EVENTS, Objectives

_BY = promql.SERVICE, promql.AGENT
_CHOSEN = (promql.AGENTS,)
_COMPLETED = f'{common.SESSION_OUTCOME}="completed"'
_EVENTS = one_of(common.SESSION_OUTCOME, SESSION_EVENTS)
"""A matcher: sessions that were good or bad, not those that somebody cancelled."""


def render(objectives: Objectives) -> Json:
    """How sessions end, how long they take, how often they go round, what they cost."""
    rows = [
        Row("Outcomes", [common.sessions_a_minute((8, 8), *_CHOSEN), common.completion(objectives, (8, 8)), _errors()]),
        Row("Duration", [_duration(objectives), _in_time(objectives), _heatmap()]),
        Row("The loop", [_iterations(objectives), _tool_calls(), common.session_cost(objectives, (8, 8), *_CHOSEN)]),
        Row("Agents", [_agents(objectives)]),
    ]
    return dashboard(
        links.UIDS["sessions"],
        "otel-tools: sessions and the agent loop",
        "How sessions end, how long they take, how many LLM and tool calls they need, and what they cost.",
        rows,
        variables=("agent",),
        links=links.on_top(objectives),
    )


# --- outcomes -------------------------------------------------------------------------------------------------------
def _errors() -> Panel:
    by = *_BY, promql.ERROR_TYPE
    errors = promql.per_minute(
        names.AGENT_DURATION, *by, matchers=(*_CHOSEN, f'{promql.ERROR_TYPE}!=""'), part="_count"
    )
    return timeseries(
        "Runs that raise, a minute, by type",
        "Agent runs that ended with an exception, by `error.type`; runs of sub-agents count, too.",
        [Target(expr=errors, legend=common.legend(promql.AGENT, promql.ERROR_TYPE))],
        "short",
        stacked=True,
        none="none raised",
        links=links.by_error(links.LABEL, names.INVOKE_AGENT, promql.AGENT),
    )


# --- duration -------------------------------------------------------------------------------------------------------
def _duration(objectives: Objectives) -> Panel:
    return timeseries(
        "Duration of a session",
        "Whatever its end. The line is what the objective calls slow; the dots are traces.",
        [
            Target(
                expr=_named(promql.quantile(q, names.SESSION_DURATION, *_BY, matchers=_CHOSEN)),
                legend=f"{common.legend(promql.AGENT)} p{100 * q:g}",
                exemplar=q == 0.95,  # noqa: PLR2004  once is enough: all three have the same
            )
            for q in (0.5, 0.95, 0.99)
        ],
        "s",
        lines=lines.of_slo(objectives, names.SESSION_DURATION),
        links=links.agent_traces(links.LABEL),
    )


def _in_time(objectives: Objectives) -> Panel:
    slo = lines.slo_of(objectives, names.SESSION_DURATION)
    assert slo.threshold is not None
    counted = *_CHOSEN, _EVENTS
    fast = promql.rate(promql.series(names.SESSION_DURATION, *counted, translation.le(slo.threshold), part="_bucket"))
    all_ = promql.rate(promql.series(names.SESSION_DURATION, *counted, part="_count"))
    share = promql.ratio(promql.sum_by(fast, promql.SERVICE), promql.sum_by(all_, promql.SERVICE))
    return timeseries(
        f"Sessions within {slo.threshold:g} s",
        f"Good are {slo.good}. The line is the objective.",
        [Target(expr=share, legend=common.legend(promql.SERVICE))],
        "percentunit",
        lines=[Step(slo.objective, ORANGE)] if slo.enabled else [],
        top=1,
        links=links.runbooks(objectives, slo.name),
    )


def _heatmap() -> Panel:
    buckets = promql.increase(promql.series(names.SESSION_DURATION, *_CHOSEN, part="_bucket"))
    return heatmap(
        "Duration, all sessions",
        "How many sessions took how long.",
        Target(expr=promql.sum_by(buckets, "le"), legend="{{le}}", format="heatmap", exemplar=True),
        "s",
    )


# --- the loop -------------------------------------------------------------------------------------------------------
def _iterations(objectives: Objectives) -> Panel:
    alert = objectives.alert("session-iterations-high")
    return _quantiles(
        "LLM calls of a run",
        "How often an agent goes round; a sub-agent's calls are its own. The line is where the alert fires for the p95"
        f" of the last {records.duration(alert.window)}.",
        names.AGENT_INFERENCE_CALLS,
        lines.of_alert(objectives, alert.name),
        links.runbooks(objectives, alert.name),
    )


def _tool_calls() -> Panel:
    return _quantiles(
        "Tool calls of a run",
        "Failed and refused ones included; a sub-agent's calls are its own.",
        names.AGENT_TOOL_CALLS,
        [],
        [],
    )


def _quantiles(title: str, description: str, metric: names.Metric, steps: list[Step], to: list[Json]) -> Panel:
    return timeseries(
        title,
        description,
        [
            Target(
                expr=_named(promql.quantile(q, metric, *_BY, matchers=_CHOSEN)),
                legend=f"{common.legend(promql.AGENT)} p{100 * q:g}",
                exemplar=q == 0.95,  # noqa: PLR2004  once is enough
            )
            for q in (0.5, 0.95)
        ],
        "short",
        lines=steps,
        links=[*links.agent_traces(links.LABEL), *to],
    )


def _named(expr: str) -> str:
    return promql.named(expr, promql.AGENT, "no name")


# --- agents ---------------------------------------------------------------------------------------------------------
def _ended(*matchers: str) -> str:
    counted = promql.increase(promql.series(names.SESSIONS, *_CHOSEN, *matchers), promql.RANGE)
    return promql.sum_by(counted, *_BY)


def _p95(metric: names.Metric) -> str:
    return promql.quantile(0.95, metric, *_BY, matchers=_CHOSEN, window=promql.RANGE)


def _agents(objectives: Objectives) -> Panel:
    columns = [
        Column(title="Agent", label=promql.AGENT, links=links.agent_links(links.COLUMN)),
        Column(title="Service", label=promql.SERVICE),
        Column(title="Sessions", expr=_ended(), unit="short", decimals=0),
        Column(
            title="Completed", expr=promql.ratio(_ended(_COMPLETED), _ended(_EVENTS)), unit="percentunit", decimals=1
        ),
        Column(
            title="Duration p95",
            expr=_p95(names.SESSION_DURATION),
            unit="s",
            decimals=1,
            steps=lines.of_slo(objectives, names.SESSION_DURATION),
        ),
        Column(
            title="LLM calls p95",
            expr=_p95(names.AGENT_INFERENCE_CALLS),
            decimals=1,
            steps=lines.of_alert(objectives, "session-iterations-high"),
        ),
        Column(title="Tool calls p95", expr=_p95(names.AGENT_TOOL_CALLS), decimals=1),
        Column(
            title="Cost p95",
            expr=_p95(names.SESSION_COST_USD),
            unit="currencyUSD",
            decimals=3,
            steps=lines.merged(
                lines.of_slo(objectives, names.SESSION_COST_USD), lines.of_alert(objectives, "session-cost-high")
            ),
        ),
    ]
    return table(
        "Agents, the busiest first",
        "Over the time shown. Coloured by the thresholds of alerts and objectives.",
        columns,
        sort="Sessions",
        size=(24, 8),
    )
