"""Panels that more than one dashboard shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otel_tools import semconv as names
from otel_tools.ops import records, translation
from otel_tools.ops.dashboards import lines, links, promql
from otel_tools.ops.dashboards.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    YELLOW,
    Json,
    Panel,
    Step,
    Target,
    Words,
    override,
    stat,
    timeseries,
)
from otel_tools.ops.model import DAY, HOUR, Objectives

SESSION_OUTCOME: Final = translation.label(names.SESSION_OUTCOME)
SWITCH: Final[Words] = {0.0: ("on", GREEN), 1.0: ("off", ORANGE)}
"""Whether an operator has switched a tool off."""

_COLORS: Final = {
    "ok": GREEN,
    "completed": GREEN,
    "error": RED,
    "tool_error": "dark-red",
    "timeout": ORANGE,
    "circuit_open": "purple",
    "bulkhead_full": "dark-purple",
    "budget_exceeded": "dark-orange",
    "max_iterations": ORANGE,
    "loop_detected": YELLOW,
    "disabled": BLUE,
    "cancelled": GREY,
    "interrupted": "light-blue",
}


def legend(*labels: str) -> str:
    """A legend with the values of *labels*."""
    return " ".join(f"{{{{{label}}}}}" for label in labels)


def outcome_colors() -> list[Json]:
    """The same colour for an outcome everywhere."""
    return [override(name, color={"mode": "fixed", "fixedColor": color}) for name, color in _COLORS.items()]


def number(
    title: str,
    description: str,
    expr: str,
    steps: Sequence[Step] = (),
    links: Sequence[Json] = (),
    *,
    unit: str = "short",
    size: tuple[int, int] = (4, 4),
    base: str = GREEN,
) -> Panel:
    """One number, as it is now."""
    target = Target(expr=expr, legend=title.lower(), instant=True)
    return stat(title, description, [target], unit, size=size, steps=steps, links=links, base=base)


# --- sessions -------------------------------------------------------------------------------------------------------
def sessions_a_minute(size: tuple[int, int], *matchers: str, links: Sequence[Json] = ()) -> Panel:
    """Sessions by how they ended."""
    return timeseries(
        "Sessions a minute",
        "Sessions that ended, by how.",
        [
            Target(
                expr=promql.per_minute(names.SESSIONS, SESSION_OUTCOME, matchers=matchers),
                legend=legend(SESSION_OUTCOME),
            )
        ],
        "short",
        size=size,
        stacked=True,
        links=links,
        overrides=outcome_colors(),
    )


def completion(objectives: Objectives, size: tuple[int, int]) -> Panel:
    """The part of sessions that completed, with the objective as a line."""
    slo = lines.slo_of(objectives, names.SESSIONS)
    good = promql.series(records.SLI_RATIO.over(HOUR), f'slo="{slo.id}"')
    return timeseries(
        "Sessions that complete",
        f"Good are {slo.good}; of the last hour. The line is the objective.",
        [Target(expr=f"1 - {promql.max_by(good, promql.SERVICE)}", legend=legend(promql.SERVICE))],
        "percentunit",
        size=size,
        lines=[Step(slo.objective, ORANGE)] if slo.enabled else [],
        top=1,
        links=[*links.runbooks(objectives, slo.name), links.to_dashboard("Sessions", "sessions")],
    )


# --- money ----------------------------------------------------------------------------------------------------------
def cost(objectives: Objectives, size: tuple[int, int]) -> Panel:
    """What was spent in a day, and what will be at this pace, in the colours of the alert."""
    alert = objectives.alert("daily-cost-high")
    spent = promql.sum_by(promql.series(records.COST.over(alert.window)), promql.SERVICE)
    pace = promql.sum_by(promql.series(records.COST.over(HOUR)), promql.SERVICE)
    limit = max(alert.thresholds.values())
    return stat(
        f"LLM cost of 24 h, limit {limit:g} USD",
        "Spent: in the last 24 hours, calls with a known price. At this pace: what a day would cost if it went on like"
        f" the last hour. A service may spend {limit:g} USD a day; the colours change where the alert fires.",
        [
            Target(expr=spent, legend=f"{legend(promql.SERVICE)}: spent", instant=True),
            Target(expr=f"{pace} * {DAY // HOUR}", legend=f"{legend(promql.SERVICE)}: at this pace", instant=True),
        ],
        "currencyUSD",
        size=size,
        steps=lines.of_alert(objectives, alert.name),
        links=[*links.runbooks(objectives, alert.name), links.to_dashboard("LLM and cost", "llm")],
        decimals=2,
    )


def session_cost(objectives: Objectives, size: tuple[int, int], *matchers: str) -> Panel:
    """Quantiles of what a session costs, with the thresholds of objective and alert."""
    alert = objectives.alert("session-cost-high")
    return timeseries(
        "Cost of a session",
        "Its sub-agents included; calls without a known price are not in it. The lines: above the lower one a session"
        " is not good for the objective, above the upper one the alert fires for the p95 of an hour.",
        [
            Target(
                expr=promql.quantile(q, names.SESSION_COST_USD, matchers=matchers),
                legend=f"p{100 * q:g}",
                exemplar=q == 0.95,  # noqa: PLR2004  once is enough: both have the same
            )
            for q in (0.5, 0.95)
        ],
        "currencyUSD",
        size=size,
        lines=lines.merged(lines.of_slo(objectives, names.SESSION_COST_USD), lines.of_alert(objectives, alert.name)),
        links=links.runbooks(objectives, alert.name),
    )
