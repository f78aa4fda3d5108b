"""The rows of the views: a session, a tool, a change of a circuit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from otel_tools import semconv as names
from otel_tools.cli.amounts import ZERO
from otel_tools.cli.metrics import MetricStore
from otel_tools.cli.otlp import Event, Span
from otel_tools.cli.traces import LLM_OPERATIONS, Node, Trace
from otel_tools.ops.model import TOOL_ERRORS, TOOL_EVENTS
from otel_tools.policy.outcome import REFUSED, Outcome

RUNNING: Final = "running"
NO_SESSION: Final = "no session"
DEGRADED: Final = "degraded"
_GONE_AFTER = 60.0
_FINE: Final = frozenset({Outcome.OK, Outcome.CANCELLED, Outcome.INTERRUPTED})


@dataclass(slots=True)
class Session:
    """An agent run, or the calls of one that is still going on.

    Args:
        outcome: A value of `semconv.SESSION_OUTCOMES`, `running`, or `no session` for calls outside of any.
        cost: USD of the calls with a known price.
        unpriced: Tokens of the other calls.
        troubles: Its tool calls that did not end well, by outcome; `degraded` where the model got a note instead.
    """

    trace_id: str
    span_id: str
    agent: str
    outcome: str
    started: float
    duration: float
    conversation_id: str | None = None
    llm_calls: int = 0
    tool_calls: int = 0
    tool_errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0
    troubles: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Tool:
    """A tool over all processes.

    Args:
        outcomes: Calls by outcome.
        troubles: Those that did not end well, by outcome; `degraded` where the model got a note instead.
        p95: Seconds.
        result_bytes: Mean size of a result.
        abandoned: Calls still running after their deadline.
        circuit: State -> in how many processes.
    """

    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    p95: float | None = None
    result_bytes: float | None = None
    in_flight: int = 0
    abandoned: int = 0
    circuit: dict[str, int] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """All calls, refused ones included."""
        return self.outcomes.total()

    @property
    def error_rate(self) -> float:
        """The part of the calls in which the tool did not deliver, of those that say something about it."""
        events = sum(self.outcomes[outcome] for outcome in TOOL_EVENTS)
        return sum(self.outcomes[outcome] for outcome in TOOL_ERRORS) / events if events else 0.0


@dataclass(slots=True, frozen=True)
class Transition:
    """A change of a circuit's state."""

    time: float
    name: str
    before: str
    after: str
    reason: str


# --- sessions -------------------------------------------------------------------------------------------------------
def sessions_of(trace: Trace, now: float) -> list[Session]:
    """The sessions of a trace; its calls outside of any are one row."""
    rows = [_finished(run) for run in trace.runs()]
    if outside := trace.calls_outside():
        rows.append(_unfinished(trace, outside, now))
    return rows


def session_of_event(event: Event) -> Session:
    """A session whose spans did not arrive (sampled away), from its log record."""
    seconds = float(event.attributes.get(names.DURATION_MS) or 0.0) / 1000
    row = Session(event.trace_id, event.span_id, "", "", event.time - seconds, seconds)
    _read_totals(row, event.attributes)
    return row


def _finished(run: Node) -> Session:
    span = run.span
    row = Session(span.trace_id, span.span_id, "", "", span.start, span.end - span.start)
    _sum_up(row, [node.span for node in run.walk()])
    _read_totals(row, span.attributes)
    return row


def _unfinished(trace: Trace, calls: list[Span], now: float) -> Session:
    # the span around a running session ends last, so its calls seem to have a parent that is not there
    waiting = any(span.parent_id and span.parent_id not in trace.spans for span in calls)
    outcome = RUNNING if waiting and now - trace.updated < _GONE_AFTER else NO_SESSION
    start, end = min(span.start for span in calls), max(span.end for span in calls)
    row = Session(trace.trace_id, "", "", outcome, start, end - start)
    _sum_up(row, calls)
    return row


def _sum_up(row: Session, spans: Iterable[Span]) -> None:
    for span in spans:
        if span.operation in LLM_OPERATIONS and span.attributes.get(names.OUTCOME) not in REFUSED:
            _add_llm(row, span.attributes)
        elif span.operation == names.EXECUTE_TOOL:
            _add_tool(row, span.attributes)
        row.agent = row.agent or str(span.attributes.get(names.AGENT_NAME, ""))
        row.conversation_id = row.conversation_id or span.attributes.get(names.CONVERSATION_ID)


def _add_llm(row: Session, attributes: Mapping[str, Any]) -> None:
    tokens = [attributes.get(names.USAGE_FIELDS[kind]) or 0 for kind in ("input_tokens", "output_tokens")]
    cost = attributes.get(names.COST)
    row.llm_calls += 1
    row.input_tokens += tokens[0]
    row.output_tokens += tokens[1]
    row.cost += cost or 0.0
    row.unpriced += sum(tokens) if cost is None else 0


def _add_tool(row: Session, attributes: Mapping[str, Any]) -> None:
    outcome = str(attributes.get(names.OUTCOME, Outcome.OK))
    row.tool_calls += 1
    row.tool_errors += outcome not in _FINE
    if outcome != Outcome.OK:
        row.troubles[DEGRADED if attributes.get(names.DEGRADED) else outcome] += 1


_TOTALS: Final = {
    "agent": names.AGENT_NAME,
    "outcome": names.SESSION_OUTCOME,
    "conversation_id": names.CONVERSATION_ID,
    "llm_calls": names.SESSION_LLM_CALLS,
    "tool_calls": names.SESSION_TOOL_CALLS,
    "tool_errors": names.SESSION_TOOL_ERRORS,
    "input_tokens": names.SESSION_INPUT_TOKENS,
    "output_tokens": names.SESSION_OUTPUT_TOKENS,
    "cost": names.SESSION_COST,
    "unpriced": names.SESSION_UNPRICED,
}


def _read_totals(row: Session, attributes: Mapping[str, Any]) -> None:
    """What the session says of itself is exact, even where its calls were sampled away."""
    if names.SESSION_COST in attributes:
        row.unpriced = 0  # it is only said where there are such tokens
    for field_name, attribute in _TOTALS.items():
        if attribute in attributes:
            setattr(row, field_name, attributes[attribute])


# --- tools ----------------------------------------------------------------------------------------------------------
def tools_of(metrics: MetricStore, now: float) -> list[Tool]:
    """Every tool that was called, by name."""
    tools = _counted(metrics)
    durations = metrics.totals(names.TOOL_DURATION, names.TOOL_NAME)
    sizes = metrics.totals(names.TOOL_RESULT_SIZE, names.TOOL_NAME)
    in_flight = metrics.levels(names.TOOL_IN_FLIGHT, now, names.TOOL_NAME)
    abandoned = metrics.levels(names.TOOL_ABANDONED, now, names.TOOL_NAME)
    circuits = circuits_of(metrics, now)
    for (name,) in durations.keys() | in_flight.keys():
        tools.setdefault(name, Tool(name))
    for name, tool in tools.items():
        tool.p95 = durations.get((name,), ZERO).quantile(0.95)
        tool.result_bytes = sizes.get((name,), ZERO).mean
        tool.in_flight = int(in_flight.get((name,), 0))
        tool.abandoned = int(abandoned.get((name,), 0))
        tool.circuit = circuits.get(name, {})
    return sorted(tools.values(), key=lambda tool: tool.name)


def circuits_of(metrics: MetricStore, now: float) -> dict[str, dict[str, int]]:
    """Circuit -> state -> in how many processes."""
    circuits: dict[str, dict[str, int]] = {}
    labels = names.CIRCUIT_NAME, names.CIRCUIT_STATE, names.CIRCUIT_SHADOW
    for (name, state, shadow), processes in metrics.levels(names.CIRCUIT, now, *labels).items():
        if processes:
            states = circuits.setdefault(name, {})
            word = worded(state, bool(shadow))
            states[word] = states.get(word, 0) + int(processes)
    return circuits


def worded(state: str, shadow: bool) -> str:
    """A circuit's state; one that refuses nothing (observe mode, `metrics_only`) only would be in it."""
    return f"would_be_{state}" if shadow and state != "closed" else state


def _counted(metrics: MetricStore) -> dict[str, Tool]:
    tools: dict[str, Tool] = {}
    counts = metrics.totals(names.TOOL_CALLS, names.TOOL_NAME, names.OUTCOME, names.DEGRADED)
    for (name, outcome, degraded), amount in counts.items():
        tool = tools.setdefault(name, Tool(name))
        tool.outcomes[outcome] += int(amount.total)
        if amount.total and outcome != Outcome.OK:
            tool.troubles[DEGRADED if degraded == str(True) else outcome] += int(amount.total)
    return tools
