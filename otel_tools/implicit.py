"""Runs that nobody declared: an agent loop written by hand, with neither a framework nor `session`.

The first LLM call that offers the model tools, outside of any session, begins a run. While the model asks for tools,
those tool calls and the LLM call that brings their results belong to it; it ends with the answer that asks for none.
So such a loop is one trace and one account, too.

The run is kept in a context variable of its own: the program's current span is never touched outside of our calls.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context

from otel_tools import semconv as names
from otel_tools.calls import AgentCall, Call, LLMCall
from otel_tools.drops import when_dropped
from otel_tools.errors import internal_error
from otel_tools.model import AgentRequest, Invocation, LLMRequest, LLMResponse, Shape, Target, ToolRequest
from otel_tools.policy.outcome import Outcome, Verdict
from otel_tools.recordings import Ending
from otel_tools.telemetry import foreign_span

if TYPE_CHECKING:
    from otel_tools.engine import Engine

_RUN: Final[ContextVar[ImplicitRun | None]] = ContextVar("otel_tools.implicit_run", default=None)


class ImplicitRun:
    """An agent run as its LLM calls show it. Dropped without an answer, it ends as of its last LLM call."""

    def __init__(self, call: AgentCall, tools: frozenset[str]) -> None:
        self.context: Context = call.context
        self.tools = tools
        self.waits_for_tools = False
        self.asked: frozenset[Any] = frozenset()
        self._recording = call.recording
        self._last = _Last()
        self._end = when_dropped(self, _end, call, self._last)

    @property
    def open(self) -> bool:
        """Whether another call can belong to it."""
        return self._end.alive

    def ended(self, ending: Ending) -> None:
        """One of its LLM calls has ended: with a wish for tools the run goes on, with an answer it is over."""
        last = self._last
        last.seconds = self._recording.elapsed()
        last.outcome, last.error_type = ending.outcome, ending.error_type
        wishes = _wishes(ending.response)
        self.waits_for_tools = bool(wishes)
        self.asked = frozenset(part.get("id") for part in wishes) - {None}
        last.answered = ending.outcome is Outcome.OK and not self.waits_for_tools
        if last.answered:
            self._end()

    def abandon(self) -> None:
        """Another run has begun in its place."""
        self._end()


class _Last:
    """When and how the last LLM call of a run ended. Never its exception, whose traceback would keep the run alive."""

    seconds: float | None = None
    outcome = Outcome.CANCELLED
    error_type: str | None = None
    answered = False


def _end(call: AgentCall, last: _Last) -> None:
    ending = Ending(Outcome.CANCELLED, Verdict.NEUTRAL, seconds=last.seconds)
    if last.answered:
        ending = Ending()
    elif last.outcome not in (Outcome.OK, Outcome.CANCELLED):
        ending = Ending(Outcome.ERROR, Verdict.NEUTRAL, error_type=last.error_type, seconds=last.seconds)
    call.end(ending)


def run_of(engine: Engine, request: Any) -> ImplicitRun | None:
    """The run that a call outside of any session belongs to, begun if need be; `None` if to none."""
    try:
        run = _RUN.get()
        if isinstance(request, ToolRequest):
            asked = run is not None and run.open and run.waits_for_tools and request.name in run.tools
            return run if asked else None
        return _run_of_llm_call(engine, request, run) if isinstance(request, LLMRequest) else None
    except Exception:
        internal_error("looking for the run of a call")
        return None


def _run_of_llm_call(engine: Engine, request: LLMRequest, run: ImplicitRun | None) -> ImplicitRun | None:
    if run is not None and run.open:
        if _answers(request, run.asked):
            return run
        run.abandon()
    tools = frozenset(request.tool_names()) if request.tool_names is not None else frozenset()
    if not tools or _is_told_by_another():
        return None
    call = AgentCall(engine, _TARGET, Invocation(_loop, None, (), {}), AgentRequest(None, "implicit"))
    call.open()
    run = ImplicitRun(call, tools)
    _RUN.set(run)
    return run


def _is_told_by_another() -> bool:
    """Whether another instrumentor has a span of its own for this call or run: nothing may come in between."""
    found = foreign_span()
    return found is not None and not {names.OPERATION_NAME, "openinference.span.kind"}.isdisjoint(found[2])


def follow(call: Call[Any], run: ImplicitRun) -> None:
    """Let the run know how an LLM call of its own ends."""
    if isinstance(call, LLMCall):
        call.on_end = run.ended


def _answers(request: LLMRequest, asked: frozenset[Any]) -> bool:
    """Whether the last message of *request* brings results of the tools *asked* for (by call id, if they have one)."""
    messages = request.content().input_messages if request.content is not None else None
    parts = messages[-1].get("parts", ()) if messages else ()
    answered = [part.get("id") for part in parts if part.get("type") == "tool_call_response"]
    return any(not asked or answer is None or answer in asked for answer in answered)


def _wishes(response: Any) -> list[dict[str, Any]]:
    """The tool calls that a response asks for."""
    if not isinstance(response, LLMResponse) or response.output is None:
        return []
    parts = (part for message in response.output() for part in message.get("parts", ()))
    return [part for part in parts if part.get("type") == "tool_call"]


def _loop() -> None:
    """An agent loop in the program is no callable of ours."""


_TARGET: Final = Target(module=__name__, path="loop", shape=Shape.SYNC, request=lambda _: None)
