"""What policy does: circuits, refusals, timeouts, degradations, switches."""

from __future__ import annotations

from otel_tools import semconv as names
from otel_tools.ops import translation
from otel_tools.ops.dashboards import circuits, common, lines, links, promql
from otel_tools.ops.dashboards.layout import Row, dashboard
from otel_tools.ops.dashboards.panels import ORANGE, Json, Panel, Step, Target, timeline, timeseries
from otel_tools.ops.expressions import one_of
from otel_tools.ops.model import Objectives
from otel_tools.policy.outcome import REFUSED, Outcome

_BY = promql.SERVICE, promql.TOOL
_CHOSEN = (promql.TOOLS,)
_CIRCUITS = (circuits.matching_tools(),)


def render(objectives: Objectives) -> Json:
    """What is open or off now, circuits over time, then what that did to calls and sessions."""
    rows = [
        Row("Now", [*_circuits_now(objectives), *_tools_now(objectives)]),
        Row("Circuits", [_states(objectives), _transitions(), _shadow()]),
        Row("Calls", [_refused(), _timeouts(), _degraded()]),
        Row("Work that goes on", [_abandoned(objectives), _in_flight(), _ended_by_limits()]),
        Row("Switches", [_switches(objectives)]),
    ]
    return dashboard(
        links.UIDS["policy"],
        "otel-tools: policy",
        "Circuits, refusals, timeouts, degradations and tools switched off. In observe mode circuits refuse nothing:"
        " they say what they would do.",
        rows,
        variables=("tool",),
        links=links.on_top(objectives),
    )


# --- now ------------------------------------------------------------------------------------------------------------
def _circuits_now(objectives: Objectives) -> list[Panel]:
    circuit = links.runbooks(objectives, "circuit-open")
    return [
        common.number(
            "Circuits open",
            "Open or half open, of tools and clients; a circuit counts in each process.",
            _in_state("open", "half_open", shadow=f'{circuits.SHADOW}=""'),
            lines.of_counts(objectives, "circuit-open"),
            circuit,
        ),
        common.number(
            "Forced open",
            "Opened by an operator; nothing automatic closes them.",
            _in_state("forced_open"),
            lines.of_counts(objectives, "circuit-open"),
            circuit,
        ),
        common.number(
            "Would be open",
            "Of circuits that only observe: they refuse nothing.",
            _in_state("open", "half_open", shadow=f'{circuits.SHADOW}="true"'),
        ),
        common.number(
            "Breakers off",
            "Switched off, or set to count only, by an operator: the dependency is not protected.",
            _in_state("disabled", "metrics_only"),
            [Step(1, ORANGE)],
        ),
    ]


def _tools_now(objectives: Objectives) -> list[Panel]:
    abandoned = promql.series(names.TOOL_ABANDONED, *_CHOSEN)
    return [
        common.number(
            "Tools switched off",
            "By an operator; a tool counts once.",
            promql.or_zero(f"sum({promql.max_by(promql.series(names.TOOL_DISABLED, *_CHOSEN), *_BY)})"),
            lines.of_counts(objectives, "tool-disabled"),
            links.runbooks(objectives, "tool-disabled"),
        ),
        common.number(
            "Abandoned calls",
            "Calls that run on after their deadline.",
            promql.or_zero(promql.sum_by(abandoned)),
            lines.of_counts(objectives, "tool-abandoned-work"),
            links.runbooks(objectives, "tool-abandoned-work"),
        ),
    ]


def _in_state(*states: str, shadow: str = "") -> str:
    matchers = one_of(circuits.STATE, states), *((shadow,) if shadow else ()), *_CIRCUITS
    return promql.or_zero(promql.sum_by(promql.series(names.CIRCUIT, *matchers)))


# --- circuits -------------------------------------------------------------------------------------------------------
def _states(objectives: Objectives) -> Panel:
    return timeline(
        "State of circuits",
        "The state of every circuit, of several processes the worst.",
        [
            Target(
                expr=circuits.state(promql.SERVICE, matchers=_CIRCUITS),
                legend=common.legend(circuits.NAME),
            )
        ],
        circuits.WORDS,
        size=(24, 9),
        links=links.runbooks(objectives, "circuit-open"),
    )


def _transitions() -> Panel:
    changes = promql.increase(promql.series(names.CIRCUIT_TRANSITIONS, *_CIRCUITS, circuits.ACTING))
    by = circuits.NAME, circuits.TO, circuits.REASON
    return timeseries(
        "Changes of circuits, by reason",
        "How many in the time that a point stands for. `threshold`: failures in a row; `probe_…`: what a trial call"
        " found; `manual`: an operator; `remote`: other processes had opened theirs.",
        [
            Target(
                expr=f"{promql.sum_by(changes, *by)} > 0",
                legend=f"{{{{{circuits.NAME}}}}} → {{{{{circuits.TO}}}}}: {{{{{circuits.REASON}}}}}",
            )
        ],
        "short",
        size=(12, 8),
        bars=True,
        none="no changes",
    )


def _shadow() -> Panel:
    changes = promql.increase(promql.series(names.CIRCUIT_TRANSITIONS, *_CIRCUITS, f'{circuits.SHADOW}="true"'))
    by = circuits.NAME, circuits.TO, circuits.REASON
    return timeseries(
        "Changes of circuits that only observe",
        "What circuits would have done where policy observes: look here before switching to `mode: enforce`.",
        [
            Target(
                expr=f"{promql.sum_by(changes, *by)} > 0",
                legend=f"{{{{{circuits.NAME}}}}} → {{{{{circuits.TO}}}}}: {{{{{circuits.REASON}}}}}",
            )
        ],
        "short",
        size=(12, 8),
        bars=True,
        none="no circuit only observes, or none would have changed",
    )


# --- calls ----------------------------------------------------------------------------------------------------------
def _calls(title: str, description: str, matcher: str, *by: str) -> Panel:
    return timeseries(
        title,
        description,
        [
            Target(
                expr=promql.per_minute(names.TOOL_CALLS, *by, matchers=(*_CHOSEN, matcher)),
                legend=common.legend(*(label for label in by if label != promql.SERVICE)),
            )
        ],
        "short",
        stacked=True,
        none="none",
        links=links.tool_links(links.LABEL) if promql.TOOL in by else (),
        overrides=common.outcome_colors() if by == (promql.OUTCOME,) else (),
    )


def _refused() -> Panel:
    refused = one_of(promql.OUTCOME, REFUSED)
    return _calls(
        "Refused calls a minute, by why",
        "Calls that were not attempted: circuit open, switched off by an operator, too many at once, the session's"
        " budget used up, or the same result again and again.",
        refused,
        promql.OUTCOME,
    )


def _timeouts() -> Panel:
    timed_out = f'{promql.OUTCOME}="{Outcome.TIMEOUT}"'
    return _calls("Timeouts a minute, by tool", "Calls that ran into their deadline.", timed_out, *_BY)


def _degraded() -> Panel:
    return _calls(
        "Degraded answers a minute, by tool",
        "Calls in whose place the model was given a note or a fallback.",
        f'{translation.label(names.DEGRADED)}="true"',
        *_BY,
    )


# --- work that goes on ----------------------------------------------------------------------------------------------
def _abandoned(objectives: Objectives) -> Panel:
    return _levels(
        "Abandoned calls, by tool",
        "Calls that run on after their deadline: threads and connections in use for nobody.",
        names.TOOL_ABANDONED,
        links.runbooks(objectives, "tool-abandoned-work"),
    )


def _in_flight() -> Panel:
    return _levels("Calls in flight, by tool", "Calls that run.", names.TOOL_IN_FLIGHT, [])


def _levels(title: str, description: str, metric: names.Metric, to: list[Json]) -> Panel:
    expr = promql.sum_by(promql.series(metric, *_CHOSEN), *_BY)
    target = Target(expr=expr, legend=common.legend(promql.TOOL))
    return timeseries(title, description, [target], "short", links=[*links.tool_links(links.LABEL), *to])


def _ended_by_limits() -> Panel:
    limited = one_of(common.SESSION_OUTCOME, ["budget_exceeded", "max_iterations"])
    return timeseries(
        "Sessions ended by a limit, a minute",
        "Sessions that policy ended: too many LLM calls, or their budget used up.",
        [
            Target(
                expr=promql.per_minute(names.SESSIONS, common.SESSION_OUTCOME, matchers=(limited,)),
                legend=common.legend(common.SESSION_OUTCOME),
            )
        ],
        "short",
        stacked=True,
        links=[links.to_dashboard("Sessions", "sessions")],
        overrides=common.outcome_colors(),
    )


# --- switches -------------------------------------------------------------------------------------------------------
def _switches(objectives: Objectives) -> Panel:
    return timeline(
        "Switches of tools",
        "By an operator, over time. Who and why is in the log record `otel_tools.control` and in `otel-tools tools`.",
        [
            Target(
                expr=promql.max_by(promql.series(names.TOOL_DISABLED, *_CHOSEN), *_BY),
                legend=common.legend(promql.TOOL),
            )
        ],
        common.SWITCH,
        size=(24, 6),
        links=links.runbooks(objectives, "tool-disabled"),
    )
