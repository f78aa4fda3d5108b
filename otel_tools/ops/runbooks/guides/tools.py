"""Alerts on tools and their circuits."""

from __future__ import annotations

from typing import Final

from otel_tools import semconv as names
from otel_tools.ops.runbooks import queries
from otel_tools.ops.runbooks.guides.guide import LOOK, TOOL, Cause, Check, Guide, Variables, steering
from otel_tools.ops.translation import SERVICE_NAME, label
from otel_tools.policy.outcome import Outcome

_BY: Final = (SERVICE_NAME, names.TOOL_NAME)
_TOOL: Final[Variables] = {"TOOL": (TOOL, label(names.TOOL_NAME))}
_PAGE: Final = 'otel-tools runbook "$TOOL"'

_OUTCOMES: Final = Check(
    "How do calls of each tool end?",
    queries.total(queries.increase(names.TOOL_CALLS), *_BY, names.OUTCOME),
)
_ERRORS: Final = Check(
    "With which exceptions? (A class, never a text. The HTTP status stands in the spans below the tool's.)",
    queries.most(
        queries.total(
            queries.increase(names.TOOL_DURATION, queries.some(names.ERROR_TYPE), part="count"),
            *_BY,
            names.ERROR_TYPE,
        )
    ),
)
_P95: Final = Check("How long do calls take, 95 of 100?", queries.quantile(names.TOOL_DURATION, by=_BY))
_RUNNING: Final = Check("How many calls run now?", queries.total(queries.series(names.TOOL_IN_FLIGHT), *_BY))
_ABANDONED: Final = Check(
    "How many of them after their timeout, their caller gone?",
    queries.total(queries.series(names.TOOL_ABANDONED), *_BY),
)
_CIRCUITS: Final = Check(
    "Which circuits are not closed, in how many processes? (A `shadow` one refuses nothing.)",
    queries.total(
        queries.series(names.CIRCUIT, f'{label(names.CIRCUIT_STATE)}!="closed"'),
        SERVICE_NAME,
        names.CIRCUIT_NAME,
        names.CIRCUIT_STATE,
        names.CIRCUIT_SHADOW,
    )
    + " > 0",
)
_OPEN_OR_OFF: Final = (
    "`force-open` spares a sick dependency and makes calls fail at once; they go on counting as errors, so this alert "
    "goes on firing. `disable` is for a tool that does harm, or for maintenance: its calls are no errors any more, and "
    "the alert ends. Both work within a second, in mode `observe` too, and end by themselves."
)
_OWNER: Final = (
    "The tool's owner: `owner` in `otel-tools tools --json` and on the tool's own page. At once for `critical` on a "
    "critical tool; else after 30 minutes without a known cause, or when the dependency is somebody else's."
)
_DOWN: Final = Cause(
    "What the tool depends on is down or overloaded.",
    "Errors are connection errors or HTTP 5xx (`error.type` is the client library's class), other tools with the same "
    "dependency fail, too.",
    "Its status page or owner (`dependency` on the tool's page). Until then `force-open`.",
)

GUIDES: Final = {
    "OtelToolsToolErrorRateHigh": Guide(
        impact="Sessions that need the tool: a critical one ends them or spoils the answer, without an optional one "
        "the answer is poorer. Failed calls also cost further LLM calls, in which the model tries to cope.",
        checks=(_OUTCOMES, _ERRORS, _CIRCUITS, _RUNNING, _ABANDONED),
        traces="operation `execute_tool NAME`, tag `otel_tools.outcome=error` (or `timeout`, `tool_error`, "
        "`circuit_open`); compare a failed call with one that went well",
        variables=_TOOL,
        look=(_PAGE, *LOOK),
        causes=(
            _DOWN,
            Cause(
                "Its circuit is open, rightly: the errors are `circuit_open`.",
                "Only `circuit_open` is left in the first query; `OtelToolsCircuitOpen` fires as well.",
                "Look at what opened it, see there. It closes by itself after a good probe.",
            ),
            Cause(
                "It has become slower than its timeout.",
                "Outcome `timeout`; p95 sits at the timeout; abandoned calls pile up.",
                "See `OtelToolsToolSlow`. Raise `timeout` only if people can wait that long.",
            ),
            Cause(
                "Credentials have expired or were changed.",
                "HTTP 401 or 403 from one minute to the next, in all processes; the circuit stays closed, such errors "
                "do not count for it.",
                "Renew or roll back; `force-open` until then.",
            ),
            Cause(
                "A new prompt, model or tool schema: arguments do not fit.",
                "`TypeError`, `ValidationError` or HTTP 4xx since a deployment; only some calls fail.",
                "Roll that back.",
            ),
            Cause(
                "More load than `max_in_flight` allows.",
                "Outcome `bulkhead_full`, and nothing abandoned.",
                "Raise `max_in_flight` if the dependency bears it.",
            ),
        ),
        contain=_OPEN_OR_OFF,
        steer=(steering("force-open", '"$TOOL"'), steering("disable", '"$TOOL"')),
        undo=('otel-tools reset "$TOOL"', 'otel-tools enable "$TOOL"'),
        silence="While the dependency's outage is known and somebody works on it, for as long as they say, and at most "
        "for a working day. Not instead of `disable`: a tool that is off does not alert.",
        escalate=_OWNER,
    ),
    "OtelToolsToolSlow": Guide(
        impact="Everybody who waits for a session that calls the tool; a session calls it several times. Nothing fails "
        "yet, unless a timeout is near.",
        checks=(
            _P95,
            Check("And half of them?", queries.quantile(names.TOOL_DURATION, by=_BY, share=0.5)),
            _OUTCOMES,
            _RUNNING,
            _ABANDONED,
        ),
        traces="operation `execute_tool NAME`, Min Duration 5s; the spans below it say where the time goes",
        variables=_TOOL,
        look=(_PAGE, *LOOK),
        causes=(
            Cause(
                "The dependency is slow.",
                "The time is in one span below the tool's (HTTP, database); the median has risen, too.",
                "Its owner or status page. It is about to fail: `force-open` before threads run out.",
            ),
            Cause(
                "A few calls are slow: large arguments, a cold cache, retries of a client library.",
                "The median is as ever; slow traces have several requests, or one kind of argument keys.",
                "The tool's code: limit what it asks for, and how often its client retries.",
            ),
            Cause(
                "Too many at once: calls wait for a connection pool or a lock.",
                "Calls in flight have risen, and there is a gap before the first span below the tool's.",
                "`max_in_flight`, a larger pool.",
            ),
            Cause(
                "The process has no time: a blocked event loop, a busy CPU.",
                "All tools of the service have become slower.",
                "The machine; synchronous work in coroutines.",
            ),
        ),
        contain="A `timeout` (and `slow_after` of the circuit) bounds the wait, but needs a restart with the changed "
        "`otel-tools.yaml`. Without one: `force-open`, if answers without the tool are better than slow ones; "
        "`disable`, if it shall be off for longer.",
        steer=(steering("force-open", '"$TOOL"'), steering("disable", '"$TOOL"')),
        undo=('otel-tools reset "$TOOL"', 'otel-tools enable "$TOOL"'),
        silence="While the slowness is known and bearable. If 5 s is right for this tool, change the threshold "
        "instead: "
        "`alerts:` in `otel-tools.yaml`.",
        escalate=_OWNER,
    ),
    "OtelToolsCircuitOpen": Guide(
        impact="Calls of the tool (or LLM client) are refused at once. Where it is optional sessions go on without it, "
        "where it is critical they fail. It is the protection at work: the cause lies behind it.",
        checks=(
            _CIRCUITS,
            Check(
                "What opened circuits in the last hour? (`threshold`, `failure_rate`, `probe_failure`: failures; "
                "`retry_after`: the dependency asked for it; `manual`: an operator; `remote`: other processes)",
                queries.total(
                    queries.increase(names.CIRCUIT_TRANSITIONS, window="1h"),
                    SERVICE_NAME,
                    names.CIRCUIT_NAME,
                    names.CIRCUIT_TO,
                    names.CIRCUIT_REASON,
                )
                + " > 0",
            ),
            _ERRORS,
        ),
        traces="operation `execute_tool NAME`, tag `otel_tools.outcome=error` or `timeout`, before it opened: those "
        "calls opened it",
        variables={"TOOL": (TOOL, label(names.CIRCUIT_NAME))},
        look=(LOOK[1], _PAGE),
        causes=(
            _DOWN,
            Cause(
                "An operator opened it.",
                "State `forced_open`; `otel-tools circuits` says who, why and until when.",
                "Ask them. `reset` ends it.",
            ),
            Cause(
                "The dependency throttles and said `Retry-After`.",
                "Reason `retry_after`; HTTP 429 or 503 before it.",
                "Less load or more quota. Do not `reset`: it would be asked again too early.",
            ),
            Cause(
                "It opens too easily: one blip under parallel calls is three failures in a row.",
                "It opens and closes again and again (`probe_success` soon after), while most calls are well.",
                "`min_span`, or `failure_rate` with `minimum_calls`, in the tool's `circuit:`.",
            ),
        ),
        contain="Nothing, mostly: it is contained. The breaker probes by itself. Only if the dependency is well: "
        "`reset` closes the circuit; `metrics-only` lets calls through while the breaker goes on counting. For an LLM "
        "client the name is `client:NAME`.",
        steer=(steering("metrics-only", '"$TOOL"'),),
        undo=('otel-tools reset "$TOOL"',),
        silence="While it is forced open on purpose (better: `disable`, which does not alert), or while the "
        "dependency's outage is known.",
        escalate=_OWNER,
    ),
    "OtelToolsToolAbandonedWork": Guide(
        impact="Nobody waits for these calls any more, but each holds a thread and a connection of the process, and "
        "may still take effect. When the places for hung calls are used up (`max_in_flight`, else 16 in each process), "
        "the tool is refused: `bulkhead_full`.",
        computed="Calls of `otel_tools.tool.abandoned`, now: those that were left behind at their timeout in a thread, "
        "which cannot be stopped, and have not come back.",
        checks=(_ABANDONED, _OUTCOMES, _RUNNING),
        traces="operation `execute_tool NAME`, tag `otel_tools.outcome=timeout`; a log record `otel_tools.late_result` "
        "in the trace says that the call came back after all",
        variables=_TOOL,
        look=(_PAGE, LOOK[0]),
        causes=(
            Cause(
                "The dependency hangs: it accepts connections and does not answer.",
                "They do not come back (no `otel_tools.late_result`), and new calls run into the timeout, too.",
                "`force-open`, then the dependency.",
            ),
            Cause(
                "The tool's client has no timeout of its own.",
                "A few, now and then, for minutes.",
                "Give the HTTP or database client a timeout a little below the tool's: then the work ends with it.",
            ),
            Cause(
                "The timeout is shorter than the work honestly takes.",
                "They come back soon after it, without an error.",
                "Raise `timeout`.",
            ),
        ),
        contain="`force-open` stops new ones. Those that hang end when the dependency lets go, or with a restart of "
        "the process; they do not delay its exit.",
        steer=(steering("force-open", '"$TOOL"'),),
        undo=('otel-tools reset "$TOOL"',),
        silence="Until the restart or the fix, if the number does not rise.",
        escalate=_OWNER,
    ),
    "OtelToolsToolDisabled": Guide(
        impact="Agents have worked without the tool for a day, and users may have got used to poorer answers.",
        computed="`otel_tools.tool.disabled`, now: 1 in each process in which an operator (or the program's own code) "
        "has it switched off.",
        checks=(
            Check(
                "What is off, in how many processes?",
                queries.total(queries.series(names.TOOL_DISABLED), *_BY) + " > 0",
            ),
            Check(
                "How often would it have been called in the last day?",
                queries.total(
                    queries.increase(
                        names.TOOL_CALLS, queries.equals(names.OUTCOME, Outcome.DISABLED.value), window="1d"
                    ),
                    *_BY,
                ),
            ),
        ),
        traces="operation `execute_tool NAME`, tag `otel_tools.outcome=disabled`: `otel_tools.refusal.detail` is the "
        "reason",
        variables=_TOOL,
        look=(LOOK[0], _PAGE),
        causes=(
            Cause(
                "It was forgotten after an incident.",
                "`otel-tools tools` says who and why, without an end.",
                "Ask them; `enable`. Next time `--for`.",
            ),
            Cause(
                "It is meant to be off.",
                "The reason says so.",
                "Take it out of the agent's tools: the model goes on asking for it.",
            ),
            Cause(
                "The program's code switches it off.",
                "`enable` answers `not yet`, `by its own code`.",
                "`otel_tools.enable_tool` there.",
            ),
        ),
        contain="None needed. To switch it on again:",
        steer=('otel-tools enable "$TOOL"',),
        silence="When the reason stands and nobody wants to be reminded: until a date.",
        escalate="Who switched it off (`otel-tools tools`), else the tool's owner. It can wait for the morning.",
    ),
}
