"""Alerts on LLM calls, sessions and what they cost."""

from __future__ import annotations

from typing import Final

from otel_tools import semconv as names
from otel_tools.ops.runbooks import queries
from otel_tools.ops.runbooks.guides.guide import CLIENT, LOOK, TOOL, Cause, Check, Guide, steering
from otel_tools.ops.translation import SERVICE_NAME, label

_MODEL: Final = (SERVICE_NAME, names.PROVIDER_NAME, names.REQUEST_MODEL)
_AGENT: Final = (SERVICE_NAME, names.AGENT_NAME)

_LLM_ERRORS: Final = Check(
    "Which errors, of which model? (A class of the client library, never a text.)",
    queries.most(
        queries.total(
            queries.increase(names.CLIENT_DURATION, queries.some(names.ERROR_TYPE), part="count"),
            *_MODEL,
            names.ERROR_TYPE,
        )
    ),
)
_LLM_CALLS: Final = Check(
    "How many calls does each model get?",
    queries.total(queries.increase(names.CLIENT_DURATION, part="count"), *_MODEL),
)
_SPENDING: Final = Check(
    "Which model costs what, in USD of the last hour?",
    queries.most(queries.total(queries.increase(names.CLIENT_COST, window="1h"), *_MODEL)),
)
_TOKENS: Final = Check(
    "How many tokens, in and out, by model in the last hour?",
    queries.total(queries.increase(names.CLIENT_TOKENS, part="sum", window="1h"), *_MODEL, names.TOKEN_TYPE),
)
_COSTS: Final = Check(
    "Sessions of which agent are expensive? (95th percentile of the last hour, USD)",
    queries.quantile(names.SESSION_COST_USD, by=_AGENT, window="1h"),
)
_SESSIONS: Final = Check(
    "How many sessions, and how do they end, in the last hour?",
    queries.total(queries.increase(names.SESSIONS, window="1h"), *_AGENT, names.SESSION_OUTCOME),
)
_ITERATIONS: Final = Check(
    "Which agent needs how many LLM calls? (95th percentile of the last hour)",
    queries.quantile(names.AGENT_INFERENCE_CALLS, by=_AGENT, window="1h"),
)
_TOOL_TROUBLE: Final = Check(
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
_STOP: Final = (
    "Nothing lowers the cost of a running program but fewer calls. `force-open client:NAME` (`openai`, `anthropic`, …) "
    "refuses all LLM calls of that client at once: sessions end with an error and cost nothing. That is an outage on "
    "purpose: take it for runaway spending only. Lasting: `sessions: {max_cost_usd: …}` with `mode: enforce`."
)
_STEER: Final = (steering("force-open", CLIENT),)
_UNDO: Final = (f"otel-tools reset {CLIENT}",)
_BUDGET_OWNER: Final = (
    "Who answers for the service's budget: the same day. At once if the money is gone before tomorrow at this pace, or "
    "if nobody knows what runs."
)
_AGENT_OWNER: Final = (
    "The team of the agent: the same day. At once when sessions end without an answer (see how they end, above)."
)

GUIDES: Final = {
    "OtelToolsLLMErrorRateHigh": Guide(
        impact="Every session that uses the model: without it the agent can do nothing. Client libraries retry, so "
        "people first wait longer and then see an error.",
        computed="Calls that were refused (an open circuit, a session's limit) were not attempted and are not in it.",
        checks=(_LLM_ERRORS, _LLM_CALLS, _SESSIONS),
        traces="operation `chat MODEL`, tag `otel_tools.outcome=error`",
        look=LOOK,
        causes=(
            Cause(
                "The provider has an outage or is overloaded.",
                "`InternalServerError`, `APIConnectionError`, `APITimeoutError` or overload errors, for all services "
                "that use the model.",
                "The provider's status page; another model or region, by the program's configuration.",
            ),
            Cause(
                "The rate limit is reached.",
                "`RateLimitError` (429), for one model, while calls have risen.",
                "Fewer calls at once, more quota, another model. Who calls so much? See "
                "`OtelToolsSessionIterationsHigh`.",
            ),
            Cause(
                "Key, project or quota.",
                "`AuthenticationError`, `PermissionDeniedError`, or `RateLimitError` that says insufficient quota, in "
                "all calls since one minute.",
                "Renew the key, pay the bill.",
            ),
            Cause(
                "Requests that the model refuses: too long, a parameter it does not know.",
                "`BadRequestError` since a deployment or a change of model.",
                "Roll back; limit what goes into the prompt.",
            ),
            Cause(
                "A timeout of ours that is too short for long answers.",
                "`error.type` is `timeout`, and durations end at the timeout of `clients:`.",
                "Raise it, or use `item_timeout` for streams.",
            ),
        ),
        contain="The program's own switch to another model, if it has one. `force-open client:NAME` (`openai`, "
        "`anthropic`, …) lets sessions fail at once instead of after long retries, and takes the load off the "
        "provider.",
        steer=_STEER,
        undo=_UNDO,
        silence="During a known outage of the provider, for as long as they say. Not for a rate limit: it comes back.",
        escalate="The provider's support with the time and the request ids of the traces (`gen_ai.response.id`); the "
        "team of the agent at once, it decides on another model.",
    ),
    "OtelToolsSessionCostHigh": Guide(
        impact="Nobody who uses the agent; the budget does.",
        checks=(_COSTS, _SPENDING, _TOKENS, _ITERATIONS, _SESSIONS),
        traces="operation `invoke_agent NAME`, tag `otel_tools.session.outcome=completed`; sort by the longest, "
        "`otel_tools.session.cost.usd` is on the span, `otel_tools.cost.usd` on each call below it",
        look=(LOOK[0],),
        causes=(
            Cause(
                "Sessions need more LLM calls.",
                "Iterations have risen, too; `OtelToolsSessionIterationsHigh` fires or is near.",
                "See there.",
            ),
            Cause(
                "A dearer model, or a prompt that has become longer.",
                "Cost by model has moved, or input tokens of a call have risen since a deployment.",
                "Roll back, or decide that it is worth it and change the threshold (`alerts:`).",
            ),
            Cause(
                "The provider's prompt cache no longer matches.",
                "`gen_ai.usage.cache_read.input_tokens` on the spans has dropped; something at the beginning of the "
                "prompt changes with each call (a date, an order).",
                "Keep the beginning of the prompt the same.",
            ),
            Cause(
                "Tools return much more text.",
                "`otel_tools.tool.result.size` has risen; so have input tokens of the calls after them.",
                "Limit what the tool returns.",
            ),
        ),
        contain=_STOP,
        steer=_STEER,
        undo=_UNDO,
        silence="While a known, agreed change is measured; until a date.",
        escalate=_BUDGET_OWNER,
    ),
    "OtelToolsDailyCostHigh": Guide(
        impact="The budget. Users feel it when somebody stops the spending.",
        computed="The warning also comes at half of the limit if the last hour, kept up for a day, would exceed it: a "
        "runaway is told hours before the limit. What a new process counted before its first sample is in it; calls "
        "of models without a known price are not (`OtelToolsUnpricedTokens`).",
        checks=(_SPENDING, _SESSIONS, _COSTS, _LLM_CALLS, _ITERATIONS),
        traces="operation `invoke_agent NAME` of the last hour, the longest first; `otel_tools.session.cost.usd` is on "
        "the span",
        look=(LOOK[0],),
        causes=(
            Cause(
                "More sessions: a success, a batch job, a crawler, an abuser.",
                "Sessions have risen, their cost has not. Who it is stands on spans and log records (`user.id`), never "
                "on metrics.",
                "Limit the entrance of the service.",
            ),
            Cause(
                "Sessions go round in circles.",
                "Iterations and calls have risen more than sessions; sessions end with `max_iterations`.",
                "See `OtelToolsSessionIterationsHigh`; `sessions: {max_iterations: …, max_cost_usd: …}`.",
            ),
            Cause(
                "A dearer model or longer prompts.",
                "Cost by model has moved since a deployment.",
                "Roll back.",
            ),
            Cause(
                "Many small overruns: evaluations or tests that use the production key.",
                "A `service_name` or an environment that should not be there.",
                "Take the key away.",
            ),
        ),
        contain=_STOP,
        steer=_STEER,
        undo=_UNDO,
        silence="The warning, once somebody who answers for the budget has agreed. The critical one never: change the "
        "limit (`alerts:`) instead.",
        escalate=_BUDGET_OWNER,
    ),
    "OtelToolsSessionIterationsHigh": Guide(
        impact="People wait: each iteration is an LLM call. Sessions get dearer, and those at `max_iterations` end "
        "without an answer.",
        checks=(_ITERATIONS, _SESSIONS, _TOOL_TROUBLE),
        traces="operation `invoke_agent NAME`, the longest first: is the same tool called again and again?",
        look=LOOK,
        causes=(
            Cause(
                "A tool fails or gives nothing usable, and the model tries again.",
                "A tool leads the last query; the trace shows it several times in a row.",
                "The runbook of that tool (`otel-tools runbook NAME`). `sessions: {max_repeats: 3}` stops the loop.",
            ),
            Cause(
                "A new model or prompt plans worse.",
                "Since a deployment, with all tools well.",
                "Roll back.",
            ),
            Cause(
                "The questions have become harder, or a new use of the agent.",
                "More tool calls of all kinds, sessions complete.",
                "Change the threshold (`alerts:`); perhaps a tool that does more in one call.",
            ),
        ),
        contain="If one tool is the cause: `disable` it. The model is then told not to call it again, and stops "
        "trying. "
        "For all of them: `sessions: {max_iterations: …}` with `mode: enforce`, and a restart.",
        steer=(steering("disable", '"$TOOL"'),),
        undo=('otel-tools enable "$TOOL"',),
        variables={"TOOL": (TOOL, "")},
        silence="While the cause is known and the fix is on its way; until a date.",
        escalate=_AGENT_OWNER,
    ),
    "OtelToolsUnpricedTokens": Guide(
        impact="Cost limits, the cost alerts and the cost objective do not see these calls. With `unpriced: deny` they "
        "are refused (`budget_exceeded`).",
        checks=(
            Check(
                "Which models, how many tokens in the last hour?",
                queries.total(queries.increase(names.CLIENT_UNPRICED, window="1h"), *_MODEL) + " > 0",
            ),
            _LLM_CALLS,
        ),
        traces="operation `chat MODEL`: `otel_tools.cost.usd` is missing",
        look=(LOOK[0],),
        causes=(
            Cause(
                "A new model that the bundled price list does not know yet.",
                "The name is of this year.",
                "A newer `genai-prices`, or `prices: {MODEL: {input_per_million: …, output_per_million: …}}`.",
            ),
            Cause(
                "A model of your own, a fine-tuned one, or a name of a deployment (Azure).",
                "The name is yours.",
                "`prices:`, as above.",
            ),
            Cause(
                "A slip of the pen, or a gateway that renames models.",
                "`gen_ai.response.model` on the span is another one.",
                "Ask for the model by its name.",
            ),
        ),
        contain="None needed; nothing is refused unless `unpriced: deny` says so.",
        silence="Never for long: give the model a price, even 0 for one that runs on your own machines.",
        escalate="The team of the agent; it can wait for the morning.",
    ),
}
