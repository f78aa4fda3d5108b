"""Alerts on error budgets that burn too fast."""

from __future__ import annotations

from typing import Final

from otel_tools import semconv as names
from otel_tools.ops import records
from otel_tools.ops.runbooks import queries
from otel_tools.ops.runbooks.guides.guide import CLIENT, LOOK, TOOL, Cause, Check, Guide, steering
from otel_tools.ops.translation import SERVICE_NAME, label

_BURN: Final = Check(
    "How fast does it burn? (1: the budget lasts exactly for its period.)",
    records.CURRENT_BURN,
)
_LEFT: Final = Check("How much of the budget is left? (1: all, 0: none, below: overdrawn.)", records.BUDGET_REMAINING)
_BAD: Final = Check(
    "What went wrong in the last hour?",
    queries.total(queries.increase(names.SESSIONS, window="1h"), SERVICE_NAME, names.AGENT_NAME, names.SESSION_OUTCOME),
)
_TOOLS: Final = Check(
    "Which tools trouble the sessions?",
    queries.most(
        queries.total(
            queries.increase(names.TOOL_CALLS, f'{label(names.OUTCOME)}!="ok"', window="1h"),
            SERVICE_NAME,
            names.TOOL_NAME,
            names.OUTCOME,
        )
    ),
)
_MODELS: Final = Check(
    "Which models fail?",
    queries.most(
        queries.total(
            queries.increase(names.CLIENT_DURATION, queries.some(names.ERROR_TYPE), part="count", window="1h"),
            SERVICE_NAME,
            names.REQUEST_MODEL,
            names.ERROR_TYPE,
        )
    ),
)
_SILENCE: Final = (
    "The warning, when its cause is known and planned for. The critical one only while somebody works on it, for an "
    "hour at a time. A budget that is overdrawn keeps the slow alerts on for days after the cause is gone: silence "
    "those until the long window has passed, and say so in the comment."
)
_OWNER: Final = (
    "Critical: whoever is on call for the service, now. Warning: the team of the agent, within the working day. A "
    "budget that is overdrawn is a decision of the team: reliability before features, or another objective."
)

GUIDES: Final = {
    "OtelToolsSessionCompletionBudgetBurn": Guide(
        impact="People who asked and got no answer, or one cut off at a limit.",
        checks=(_BURN, _LEFT, _BAD, _TOOLS, _MODELS),
        traces="operation `invoke_agent NAME`, tag `otel_tools.session.outcome=error` (or `max_iterations`, "
        "`budget_exceeded`)",
        look=LOOK,
        causes=(
            Cause(
                "A critical tool fails.",
                "`OtelToolsToolErrorRateHigh` or `OtelToolsCircuitOpen` fires; sessions end with `error`.",
                "See there. If answers without it are acceptable: `criticality: optional`.",
            ),
            Cause(
                "The model fails.",
                "`OtelToolsLLMErrorRateHigh` fires.",
                "See there.",
            ),
            Cause(
                "Sessions reach their limits.",
                "They end with `max_iterations` or `budget_exceeded`.",
                "`OtelToolsSessionIterationsHigh`, `OtelToolsSessionCostHigh`; a limit that was lowered.",
            ),
            Cause(
                "An error in the agent's own code.",
                "They end with `error`, tools and models are well; since a deployment.",
                "Roll back.",
            ),
        ),
        contain="By the cause: the tool's or the model's runbook. Roll back what was deployed last if nothing else "
        "explains it.",
        silence=_SILENCE,
        escalate=_OWNER,
    ),
    "OtelToolsToolAvailabilityBudgetBurn": Guide(
        impact="Sessions that need the tool, see `OtelToolsToolErrorRateHigh`. This one also sees what is too slow or "
        "too rare for it: a few failures an hour, all day.",
        checks=(
            _BURN,
            _LEFT,
            Check(
                "How do its calls end? (last 6 hours)",
                queries.total(
                    queries.increase(names.TOOL_CALLS, window="6h"), SERVICE_NAME, names.TOOL_NAME, names.OUTCOME
                ),
            ),
            Check(
                "With which exceptions? (last 6 hours)",
                queries.most(
                    queries.total(
                        queries.increase(
                            names.TOOL_DURATION, queries.some(names.ERROR_TYPE), part="count", window="6h"
                        ),
                        SERVICE_NAME,
                        names.TOOL_NAME,
                        names.ERROR_TYPE,
                    )
                ),
            ),
        ),
        traces="operation `execute_tool NAME`, tag `otel_tools.outcome=error` (or `timeout`, `tool_error`, "
        "`circuit_open`)",
        variables={"TOOL": (TOOL, label(names.TOOL_NAME))},
        look=('otel-tools runbook "$TOOL"', *LOOK),
        causes=(
            Cause(
                "An outage of the dependency.",
                "The burn rate is 100 or more, `OtelToolsToolErrorRateHigh` fires as well.",
                "See there.",
            ),
            Cause(
                "A small part of the calls fails all the time: one kind of argument, one instance, one tenant.",
                "The burn rate is low and steady; the same `error.type` every time.",
                "Find what those calls have in common (argument keys, agent, instance) and fix that.",
            ),
            Cause(
                "The objective is higher than what the dependency promises.",
                "It has been like this for weeks.",
                "Another objective (`slos:` in `otel-tools.yaml`), or a fallback.",
            ),
        ),
        contain="As for `OtelToolsToolErrorRateHigh`. `force-open` burns the budget on, `disable` does not.",
        steer=(steering("force-open", '"$TOOL"'), steering("disable", '"$TOOL"')),
        undo=('otel-tools reset "$TOOL"', 'otel-tools enable "$TOOL"'),
        silence=_SILENCE,
        escalate=_OWNER,
    ),
    "OtelToolsSessionLatencyBudgetBurn": Guide(
        impact="People who wait too long for an answer.",
        checks=(
            _BURN,
            _LEFT,
            Check(
                "How long do sessions take? (95th percentile of the last hour)",
                queries.quantile(names.SESSION_DURATION, by=(SERVICE_NAME, names.AGENT_NAME), window="1h"),
            ),
            Check(
                "How long does one LLM call take?",
                queries.quantile(names.CLIENT_DURATION, by=(SERVICE_NAME, names.REQUEST_MODEL), window="1h"),
            ),
            Check(
                "And one tool call?",
                queries.quantile(names.TOOL_DURATION, by=(SERVICE_NAME, names.TOOL_NAME), window="1h"),
            ),
            Check(
                "How many LLM calls does a session need?",
                queries.quantile(names.AGENT_INFERENCE_CALLS, by=(SERVICE_NAME, names.AGENT_NAME), window="1h"),
            ),
        ),
        traces="operation `invoke_agent NAME`, Min Duration 15s: which spans are long, or how many are there?",
        look=LOOK,
        causes=(
            Cause(
                "The model is slow.", "The LLM call's p95 has risen.", "The provider; another model; shorter answers."
            ),
            Cause("A tool is slow.", "`OtelToolsToolSlow` fires, or is near.", "See there."),
            Cause(
                "More iterations.", "LLM calls of a session have risen.", "`OtelToolsSessionIterationsHigh`: see there."
            ),
            Cause(
                "Calls one after the other that could be made at once.",
                "The trace is a staircase of tool calls.",
                "The agent's code; ask the model for several tools at once.",
            ),
        ),
        contain="By the cause. A slow tool that sessions can do without: `disable` it for a while.",
        steer=(steering("disable", '"$TOOL"'),),
        undo=('otel-tools enable "$TOOL"',),
        variables={"TOOL": (TOOL, "")},
        silence=_SILENCE,
        escalate=_OWNER,
    ),
    "OtelToolsSessionCostBudgetBurn": Guide(
        impact="The budget; nobody who uses the agent.",
        checks=(
            _BURN,
            _LEFT,
            Check(
                "What do sessions cost, in USD? (95th percentile of the last hour)",
                queries.quantile(names.SESSION_COST_USD, by=(SERVICE_NAME, names.AGENT_NAME), window="1h"),
            ),
            Check(
                "Which model costs what, in USD of the last hour?",
                queries.most(
                    queries.total(queries.increase(names.CLIENT_COST, window="1h"), SERVICE_NAME, names.REQUEST_MODEL)
                ),
            ),
        ),
        traces="operation `invoke_agent NAME`, the longest first; `otel_tools.session.cost.usd` is on the span",
        look=(LOOK[0],),
        causes=(
            Cause(
                "Sessions have become dearer.",
                "p95 of the cost has risen, see `OtelToolsSessionCostHigh`.",
                "See there.",
            ),
            Cause(
                "The objective is too low for this agent.",
                "It has been like this since the objective was set.",
                "Another threshold (`slos:` in `otel-tools.yaml`).",
            ),
        ),
        contain="As for `OtelToolsSessionCostHigh`: only fewer calls lower the cost of a running program.",
        steer=(steering("force-open", CLIENT),),
        undo=(f"otel-tools reset {CLIENT}",),
        silence=_SILENCE,
        escalate=_OWNER,
    ),
}
