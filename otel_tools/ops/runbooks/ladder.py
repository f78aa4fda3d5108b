"""Containment without a deployment: what to set on a tool, what comes of it, how to see it and how to take it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_tools import semconv as names
from otel_tools.cli.steer import STEERS
from otel_tools.ops.runbooks import addresses, queries
from otel_tools.ops.runbooks.facts import Facts
from otel_tools.ops.runbooks.markdown import block, code, command, link, page
from otel_tools.policy.circuit import CircuitState
from otel_tools.policy.outcome import Outcome

REASON: Final = "INC-0000: what is wrong"
"""What stands in a command for the words of whoever runs it."""

FOR: Final = "30m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """Something to set.

    Args:
        word: The command.
        title: When it is for.
        effect: What comes of it.
        outcome: `otel_tools.outcome` of calls from then on, `None` if they are made.
        state: The state of the circuit from then on, `None` for the kill switch.
        detail: What the spans of refused calls say, in Markdown.
        undo: The command that takes it back.
    """

    word: str
    title: str
    effect: str
    outcome: Outcome | None
    state: CircuitState | None
    detail: str = ""
    undo: str


RUNGS: Final = (
    Rung(
        word="force-open",
        title="The dependency is sick, calls fail or hang: stop calling it",
        effect="Calls fail at once instead of late, and the dependency gets a rest. They count as errors of the tool "
        "(`circuit_open`), so its alerts go on firing. When it ends the circuit is closed.",
        outcome=Outcome.CIRCUIT_OPEN,
        state=CircuitState.FORCED_OPEN,
        detail=f"with `{names.CIRCUIT_STATE}={CircuitState.FORCED_OPEN}`",
        undo="reset",
    ),
    Rung(
        word="disable",
        title="The tool does harm (wrong data, data of others, unwanted effects), or is down for maintenance: off",
        effect="Every new call is refused, in mode `observe` too. The model is told that an operator switched it off, "
        "not why. These calls are no errors (`disabled`), so alerts on its error rate fall silent.",
        outcome=Outcome.DISABLED,
        state=None,
        detail=f"with your reason as `{names.REFUSAL_DETAIL}`",
        undo="enable",
    ),
    Rung(
        word="metrics-only",
        title="The dependency is well and the breaker is what hurts: let calls through",
        effect="The breaker goes on counting and refuses nothing. Timeouts and limits stay in force.",
        outcome=None,
        state=CircuitState.METRICS_ONLY,
        undo="reset",
    ),
)
"""From the narrowest to the widest; the last one lets calls through again."""


def containment(facts: Facts) -> str:
    """The ladder, as a section."""
    if not facts.steerable:
        return (
            f"No command can name {code(facts.name)}: a name has to be one line of at most 500 printable characters, "
            "and not begin with `client:`. In the program's code: `otel_tools.disable_tool(name, reason)`."
        )
    return page(
        f"{facts.place.where} Each takes effect within a second in every process of the service, and in those that "
        "start later; no restart, no deployment. Write your own reason: `tools` and `circuits` show it to whoever "
        "comes "
        f"next, the log record `{names.EVENT_CONTROL}` keeps it, a model never sees it. Calls that are running are not "
        "stopped. Each ends by itself after "
        f"`--for` (here {FOR}); leave that out only if somebody will take it back.",
        *(_rung(facts, number, rung) for number, rung in enumerate(RUNGS, 1)),
        "**Sessions that should not go on at all** are not for a tool's switch: otel-tools does not end a session from "
        "outside. Set `sessions:` limits, or stop the program.",
    ).rstrip()


def _rung(facts: Facts, number: int, rung: Rung) -> str:
    return (
        page(
            f"### {number}. {rung.title}",
            block("sh", order(facts, rung.word, "--reason", REASON, "--for", FOR)),
            f"* **Expect**: {rung.effect}",
            f"* **The command answers** {code(answer(facts, rung.word))}. A process that is behind is named, and why.",
            f"* **Verify** {_verify(facts, rung)}",
            f"* **Take it back**: {code(order(facts, rung.undo))}, see Roll back.",
        )
        .replace("\n\n*", "\n*")
        .replace("```\n*", "```\n\n*")
        .rstrip()
    )


def _verify(facts: Facts, rung: Rung) -> str:
    told = f"in metrics: {code(metric_of(facts, rung))} is the number of processes, after their next export"
    if rung.outcome is None:
        return f"{told}; in the dashboard: calls with outcome `ok` come back."
    tags = {names.OUTCOME: rung.outcome.value}
    spans = f"spans with `{names.OUTCOME}={rung.outcome.value}`"
    url = addresses.traces(facts, tags)
    return f"{told}; in traces: {link(spans, url) if url else spans} {rung.detail}."


def metric_of(facts: Facts, rung: Rung) -> str:
    """PromQL: in how many processes *rung* is set."""
    if rung.state is None:
        return queries.total(queries.series(names.TOOL_DISABLED, *addresses.matchers(facts)))
    matchers = addresses.matchers(facts, names.CIRCUIT_NAME)
    state = queries.equals(names.CIRCUIT_STATE, rung.state.value)
    return queries.total(queries.series(names.CIRCUIT, *matchers, state))


def order(facts: Facts, word: str, *options: str) -> str:
    """A command on the tool."""
    return command(word, *options, *facts.place.options, name=facts.name)


def answer(facts: Facts, word: str) -> str:
    """What a command says when every process has it."""
    ending = ", until HH:MM:SS" if STEERS[word].lasting else ""
    return f"N of N processes {STEERS[word].done.format(facts.name)} now{ending}."


def rollback(facts: Facts) -> str:
    """How to take back whatever is set, as a section."""
    if not facts.steerable:
        return "In the program's code: `otel_tools.enable_tool(name)`, `otel_tools.reset(name)`."
    commands = [order(facts, word) for word in ("enable", "reset")]
    return page(
        "First with the dependency well again: one call by hand, or its own health check.",
        block("sh", "\n".join(commands)),
        f"`enable` takes `disable` back ({code(answer(facts, 'enable'))}). `reset` takes back what is set on the "
        f"circuit and closes it ({code(answer(facts, 'reset'))}); a tool that is disabled stays so.",
        "Calls go through at once and all together: there is no half-open stage after `enable` or `reset`, nor when "
        "`--for` is over. To go gently set `force-open` with a short `--for` again, or watch the first minutes: the "
        "breaker opens by itself if the dependency is not well (in mode `enforce`).",
        f"Verify: {code(metric_of(facts, RUNGS[1]))} and {code(metric_of(facts, RUNGS[0]))} are 0, and calls with "
        "outcome `ok` come back.",
    ).rstrip()
