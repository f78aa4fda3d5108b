"""The decision table of a tool: by outcome and `error.type`, what happened and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from otel_tools.ops.runbooks.facts import Facts
from otel_tools.ops.runbooks.markdown import code, table, yaml_line
from otel_tools.ops.runbooks.words import seconds, setting
from otel_tools.policy.degradation import structured_error
from otel_tools.policy.options import Mode
from otel_tools.policy.outcome import Outcome

_EFFECTS: Final = {
    "not_attempted": "no, not attempted",
    "unknown": "**perhaps**",
    "failed": "as far as it came",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A row of the table.

    Args:
        outcome: `otel_tools.outcome`.
        error_type: What `error.type` is, in Markdown.
        counts: Whether the circuit breaker counts it as a failure; `None`: the call was not made.
        means: What happened.
        do: What to do.
    """

    outcome: Outcome
    error_type: str
    counts: bool | None
    means: str
    do: str


def playbook(facts: Facts) -> str:
    """The table."""
    header = ("Outcome", code("error.type"), "What happened", "Side effects", "Counts for the circuit", "Do")
    return table(header, (_row(facts, case) for case in cases(facts)))


def _row(facts: Facts, case: Case) -> tuple[str, ...]:
    effects = _EFFECTS[structured_error(facts.name, case.outcome)["error"]["outcome"]]
    counts = "no" if not case.counts else "yes"
    return code(case.outcome), case.error_type, case.means, effects, counts, case.do


def cases(facts: Facts) -> Iterator[Case]:
    """What can happen to a call of the tool, the most urgent first."""
    yield _timeout(facts)
    yield _circuit_open(facts)
    yield Case(
        outcome=Outcome.BULKHEAD_FULL,
        error_type=code("bulkhead_full"),
        counts=None,
        means="As many calls as may run at once were running, those left behind after a timeout included.",
        do="See calls in flight and abandoned, above. Abandoned calls mean that the dependency hangs: treat as "
        "`timeout`. "
        f"Else there is more load than planned: raise {code(_line(facts, 'max_in_flight', 32))}.",
    )
    yield from _raised(facts)
    yield Case(
        outcome=Outcome.TOOL_ERROR,
        error_type=f"{code('tool_error')}, or what the framework names",
        counts=True,
        means="The tool answered, and its answer says that it failed (MCP `isError`, an error handled by the "
        "framework, `is_failure`).",
        do="Read the log record `otel_tools.tool_call` and the spans below it in the trace. A failure of the "
        "dependency: as for 5xx. Wrong arguments of the model: see validation, below.",
    )
    yield from _session_cases(facts)
    yield Case(
        outcome=Outcome.DISABLED,
        error_type=code("disabled"),
        counts=None,
        means="An operator switched it off. `tools`, above, says who and why; the reason is "
        "`otel_tools.refusal.detail` "
        "of the span, too.",
        do="Nothing, if that is meant. Else roll back, see below.",
    )


def _timeout(facts: Facts) -> Case:
    limit = facts.policy.timeout
    if limit is None:
        means = "The framework's own deadline. otel-tools sets none here, so a call that hangs is no error at all: "
        means += "it shows as `in flight` only."
        do = f"Set a deadline: {code(_line(facts, 'timeout', '30s'))}."
    else:
        means = f"It did not finish within {seconds(limit)}. Its work may go on (`abandoned`)."
        do = f"Slow, but well: raise {code(_line(facts, 'timeout', setting(limit * 2)))}."
    return Case(
        outcome=Outcome.TIMEOUT,
        error_type=code("timeout"),
        counts=True,
        means=means,
        do=f"Is the dependency slow, or does it hang? Compare p95 with the spans below it in the trace. {do} It hangs: "
        "`force-open`. Do not repeat by hand what may have taken effect: look first (see After).",
    )


def _circuit_open(facts: Facts) -> Case:
    if facts.mode is Mode.OBSERVE:
        means = "The circuit was forced open. By itself it opens nothing in mode `observe`."
    else:
        means = "The dependency failed again and again, or the circuit was forced open; calls are refused at once."
    return Case(
        outcome=Outcome.CIRCUIT_OPEN,
        error_type=code("circuit_open"),
        counts=None,
        means=means,
        do="A consequence, not the cause: look at the errors before it (`circuits`, above, tells the last one). It "
        "closes "
        "by itself after one good probe. The dependency is well, and it stays open: `reset`. It opens without need: "
        "`metrics-only`.",
    )


def _raised(facts: Facts) -> Iterator[Case]:
    yield Case(
        outcome=Outcome.ERROR,
        error_type="the exception's class (HTTP 429, e.g. `openai.RateLimitError`)",
        counts=True,
        means="The dependency throttles. With `Retry-After` (429 or 503) the circuit opens at once for that long.",
        do="Less load, or more quota; do not `reset` the circuit, that takes away the pause. Who calls so often? See "
        "calls by agent, above.",
    )
    yield Case(
        outcome=Outcome.ERROR,
        error_type="the exception's class (HTTP 401 or 403, e.g. `openai.AuthenticationError`)",
        counts=False,
        means="Credentials are missing, expired or not allowed. Every call fails, and the circuit stays closed.",
        do="Renew or roll back the credential; a new one needs a restart unless the program reads it anew. Until then "
        "`force-open` (or `disable`, if a wrong identity is at work).",
    )
    yield Case(
        outcome=Outcome.ERROR,
        error_type="the exception's class (HTTP 5xx, 408, 425, connection errors: e.g. `urllib.error.HTTPError`)",
        counts=True,
        means="The dependency is down, overloaded or not reachable.",
        do=f"{_whom(facts)} Nothing changed there? Compare with the last deployment here. Calls that fail slowly hold "
        "sessions up: `force-open`.",
    )
    yield Case(
        outcome=Outcome.ERROR,
        error_type="`TypeError`, `pydantic_core._pydantic_core.ValidationError`, other HTTP 4xx",
        counts=False,
        means="Validation: arguments that do not fit or that the dependency refuses. The model's fault, or a schema's.",
        do="New prompt, model or tool schema? Roll that back. The trace names the argument keys "
        "(`otel_tools.tool.argument_keys`), never values.",
    )


def _session_cases(facts: Facts) -> Iterator[Case]:
    repeats = None if facts.limits is None else facts.limits.max_repeats
    limit = "No limit is set" if repeats is None else f"Limit: {repeats}"
    yield Case(
        outcome=Outcome.LOOP_DETECTED,
        error_type=code("loop_detected"),
        counts=None,
        means=f"The model called it with the same arguments, and got the same result, too often in one session. "
        f"{limit}.",
        do="No outage. Is the result what the model needs (an error told as text, an empty list)? See the session's "
        "trace, then the prompt or the tool's description.",
    )
    yield Case(
        outcome=Outcome.BUDGET_EXCEEDED,
        error_type=code("budget_exceeded"),
        counts=None,
        means="A limit of the session was used up before this call; which one stands in `otel_tools.refusal.detail`.",
        do="No outage of the tool. Many sessions: see the runbooks on cost and iterations. The limit is too low: raise "
        "it under `sessions:`.",
    )


def _whom(facts: Facts) -> str:
    if facts.policy.dependency is None:
        return "Is it known to be down? What it depends on is not written down, see Missing facts."
    return f"Is {code(facts.policy.dependency)} known to be down?"


def _line(facts: Facts, key: str, value: object) -> str:
    return yaml_line(("tools", facts.name, key), value)
