"""The dashboard that somebody who is on call opens first; it fits on one screen."""

from __future__ import annotations

import math
from collections.abc import Sequence

from otel_tools import semconv as names
from otel_tools.ops import burn, records
from otel_tools.ops.dashboards import circuits, common, lines, links, promql
from otel_tools.ops.dashboards.layout import Row, dashboard
from otel_tools.ops.dashboards.panels import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    SEVERITY,
    Json,
    Panel,
    Step,
    Target,
    Words,
    override,
    stat,
    thresholds,
    timeseries,
)
from otel_tools.ops.dashboards.tables import Column, table
from otel_tools.ops.model import MINUTE, Alert, Objectives, Slo, slug

_SEVERITIES: Words = {"critical": ("critical", RED), "warning": ("warning", ORANGE), "info": ("info", BLUE)}
_SUBJECT = "subject"


def render(objectives: Objectives) -> Json:
    """Alerts, budgets, sessions, money, then tools and models, the worst first."""
    rows = [
        Row("", [_alerts(objectives), *(_slo(objectives, slo) for slo in objectives.slos if slo.enabled)]),
        Row(
            "",
            [_sessions(), common.completion(objectives, (6, 6)), _latency(objectives), common.cost(objectives, (6, 6))],
        ),
        Row("", [_tools(objectives), _models(objectives)]),
    ]
    return dashboard(
        links.UIDS["overview"],
        "otel-tools: overview",
        "What is wrong now, and what it costs: alerts, error budgets, sessions, money, tools, models.",
        rows,
        variables=(),
        links=links.on_top(objectives),
    )


# --- alerts ---------------------------------------------------------------------------------------------------------
def _alerts(objectives: Objectives) -> Panel:
    field = links.COLUMN
    shown = f"/d/${{{field}.dashboard}}?{links.HERE}&var-tool={links.value(field, _SUBJECT)}"
    dashboard_link = links.link("Dashboard", shown)
    runbook_link = links.link("Runbook", f"{objectives.links.runbooks}/${{{field}.runbook}}.md", new=True)
    columns = [
        Column(title="Severity", label="severity", words=_SEVERITIES, wide=80),
        Column(title="Alert", label="alertname", links=[dashboard_link, runbook_link]),
        Column(title="Of", label=_SUBJECT),
        Column(title="Service", label=promql.SERVICE),
        Column(title="Since", expr=_firing(objectives), unit="dateTimeFromNow", wide=110),
        Column(title="Runbook", label="runbook", links=[runbook_link]),
        Column(title="Dashboard", label="dashboard", links=[dashboard_link]),
    ]
    return table(
        "Firing alerts",
        "Alerts of otel-tools that fire now, by the rules in Prometheus; of two severities the graver. A click leads to"
        " dashboard and runbook."
        " Silences and routing are Alertmanager's.",
        columns,
        sort="Severity",
        ascending=True,
        none="nothing fires",
        size=(12, 6),
    )


def _firing(objectives: Objectives) -> str:
    """When each alert that fires began to, in milliseconds, with its subject, runbook and dashboard as labels."""
    # those about the Collector have neither service nor environment
    where = f'alertname=~"OtelTools.*", {promql.ENVIRONMENT}=~"$environment|", {promql.SERVICE}=~"$service|"'
    firing = f'ALERTS{{{where}, alertstate="firing"}}'
    gravest = f'{firing[:-1]}, severity="critical"}}'
    expr = f"ALERTS_FOR_STATE{{{where}}} and ignoring (alertstate)"
    expr += f" ({firing} unless ignoring (severity) {gravest} or {gravest})"
    subjects = ", ".join(f'"{label}"' for label in (promql.TOOL, promql.MODEL, "exporter", "signal"))
    expr = f'label_replace({expr}, "{promql.TOOL}", "$1", "{circuits.NAME}", "(.+)")'
    expr = f'label_join({expr}, "{_SUBJECT}", " ", {subjects})'
    expr = f'label_replace({expr}, "{_SUBJECT}", "$1", "{_SUBJECT}", " *(.*?) *")'
    known: tuple[Alert | Slo, ...] = (*objectives.alerts, *objectives.slos)
    for uid in sorted({it.dashboard for it in known}):
        expr = _labelled(expr, "dashboard", uid, "|".join(it.name for it in known if it.dashboard == uid))
    for it in known:
        expr = _labelled(expr, "runbook", slug(it.name), it.name)
    return f"1000 * {expr}"


def _labelled(expr: str, label: str, value: str, alerts: str) -> str:
    return f'label_replace({expr}, "{label}", "{value}", "alertname", "{alerts}")'


# --- objectives -----------------------------------------------------------------------------------------------------
def _slo(objectives: Objectives, slo: Slo) -> Panel:
    chosen = f'slo="{slo.id}"'
    left = f"min({promql.series(records.BUDGET_REMAINING, chosen)})"
    spending = f"max({promql.series(records.CURRENT_BURN, chosen)})"
    return stat(
        f"{slo.id.replace('-', ' ').capitalize()}, {100 * slo.objective:g} %",
        f"Good are {slo.good}: {100 * slo.objective:g} % over {slo.period} days. Left: of the budget for bad ones, 0 %"
        " when it is used up. Burn: how many times faster than it lasts it is spent now; 1 is as planned. Of several"
        f" {'tools' if slo.by else 'services'} the worst.",
        [Target(expr=left, legend="left", instant=True), Target(expr=spending, legend="burn", instant=True)],
        "percentunit",
        size=(3, 6),
        steps=[Step(0, ORANGE), Step(0.25, GREEN)],
        base=RED,
        decimals=0,
        overrides=[override("burn", unit="suffix:x", decimals=1, thresholds=thresholds(_burn_steps(slo)))],
        links=[*links.runbooks(objectives, slo.name), links.link("Dashboard", f"/d/{slo.dashboard}?{links.HERE}")],
    )


def _burn_steps(slo: Slo) -> list[Step]:
    """The factors at which the objective's alerts fire, the slowest of each severity."""
    slowest: dict[str, float] = {}
    for window in burn.WINDOWS:
        slowest[window.severity] = min(window.factor(slo.period), slowest.get(window.severity, math.inf))
    return sorted((Step(factor, SEVERITY[severity]) for severity, factor in slowest.items()), key=lambda it: it.value)


# --- sessions and money ---------------------------------------------------------------------------------------------
def _sessions() -> Panel:
    return common.sessions_a_minute((6, 6), links=[links.to_dashboard("Sessions", "sessions")])


def _latency(objectives: Objectives) -> Panel:
    return timeseries(
        "Session duration, p95",
        "One in twenty sessions takes longer. The line is what the objective calls slow; the dots are traces.",
        [
            Target(
                expr=promql.quantile(0.95, names.SESSION_DURATION, promql.SERVICE),
                legend=f"{{{{{promql.SERVICE}}}}}",
                exemplar=True,
            )
        ],
        "s",
        size=(6, 6),
        lines=lines.of_slo(objectives, names.SESSION_DURATION),
        links=[links.to_dashboard("Sessions", "sessions")],
    )


# --- tools and models -----------------------------------------------------------------------------------------------
def _tools(objectives: Objectives) -> Panel:
    window = objectives.alert("tool-error-rate-high").window
    by = promql.SERVICE, promql.TOOL
    calls = promql.sum_by(promql.series(records.TOOL_CALLS.over(window)), *by)
    columns = [
        Column(title="Tool", label=promql.TOOL, links=links.tool_links(links.COLUMN)),
        Column(title="Service", label=promql.SERVICE),
        Column(title="Calls/min", expr=f"{calls} / {window / MINUTE:g}", decimals=1, wide=85),
        _measured(objectives, "Errors", records.TOOL_ERROR_RATIO, "tool-error-rate-high", unit="percentunit", by=by),
        _measured(objectives, "p95", records.TOOL_P95, "tool-slow", unit="s", by=by),
        Column(
            title="Circuit",
            expr=promql.max_by(circuits.of_tools(promql.SERVICE), *by),
            words=circuits.WORDS,
            links=[*links.runbooks(objectives, "circuit-open"), links.to_dashboard("Policy", "policy")],
            wide=110,
        ),
        Column(
            title="Switch", expr=promql.max_by(promql.series(names.TOOL_DISABLED), *by), words=common.SWITCH, wide=70
        ),
    ]
    return table(
        "Tools, the worst first",
        f"Of the last {records.duration(window)}; errors and latency are coloured where their alerts fire. A click on a"
        " tool leads to its dashboard and traces, on a number to its runbook.",
        columns,
        sort="Errors",
        size=(14, 10),
    )


def _measured(
    objectives: Objectives, title: str, record: records.Record, name: str, *, unit: str, by: Sequence[str]
) -> Column:
    """What the alert *name* looks at, in its colours."""
    alert = objectives.alert(name)
    return Column(
        title=title,
        expr=promql.max_by(promql.series(record.over(alert.window)), *by),
        unit=unit,
        decimals=1 if unit == "percentunit" else 2,
        steps=lines.of_alert(objectives, alert.name),
        links=links.runbooks(objectives, alert.name),
        wide=80,
    )


def _models(objectives: Objectives) -> Panel:
    alert = objectives.alert("llm-error-rate-high")
    window, by = records.duration(alert.window), (promql.SERVICE, promql.PROVIDER, promql.MODEL)
    calls = promql.sum_by(promql.series(records.MODEL_CALLS.over(alert.window)), *by)
    columns = [
        Column(title="Model", label=promql.MODEL, links=links.model_links(links.COLUMN)),
        Column(title="Provider", label=promql.PROVIDER),
        Column(title="Service", label=promql.SERVICE),
        Column(title="Calls/min", expr=f"{calls} / {alert.window / MINUTE:g}", decimals=1, wide=85),
        _measured(objectives, "Errors", records.MODEL_ERROR_RATIO, alert.name, unit="percentunit", by=by),
        Column(title="p95", expr=promql.quantile(0.95, names.CLIENT_DURATION, *by, window=window), unit="s", wide=70),
        Column(
            title="USD/h",
            expr=promql.sum_by(promql.increase(promql.series(names.CLIENT_COST), "1h"), *by),
            unit="currencyUSD",
            wide=75,
        ),
    ]
    return table(
        "Models, the worst first",
        f"LLM calls of the last {window}, and what they cost in the last hour. A click on a model leads to its"
        " dashboard and traces.",
        columns,
        sort="Errors",
        size=(10, 10),
    )
