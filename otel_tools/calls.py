"""One call, whatever its shape: admission, recording, and the one ending that everything else follows from.

`Call` is the common part; `LLMCall`, `ToolCall` and `AgentCall` differ in what policy says to them and in what the
caller may get instead. The drivers in `engine.py` run the library's own method and tell the call what came of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from otel_tools import capture
from otel_tools import semconv as names
from otel_tools.errors import BudgetExceeded, CallRefused, MaxIterationsExceeded, internal_error
from otel_tools.model import (
    AgentRequest,
    AgentResponse,
    Chunks,
    Invocation,
    LLMRequest,
    Request,
    Response,
    Target,
    ToolRequest,
    ToolResponse,
    View,
    Whole,
)
from otel_tools.policy.classify import classify
from otel_tools.policy.degradation import note
from otel_tools.policy.limits import Reservation
from otel_tools.policy.options import Criticality, Mode
from otel_tools.policy.outcome import FAILED, REFUSED, Outcome, Verdict
from otel_tools.policy.pipeline import Attempt, Pipeline
from otel_tools.policy.refusal import Refusal
from otel_tools.recordings import AgentRecording, Ending, LLMRecording, Recording, ToolRecording
from otel_tools.sessions import Session, current_session
from otel_tools.telemetry import Attributes, trace_headers

if TYPE_CHECKING:
    from otel_tools.engine import Engine

_KEY: Final = otel_context.create_key("otel_tools.call")
RAISE: Final = object()
"""What `Call.failed` gives when there is nothing to return instead: the error goes on to the caller."""

R = TypeVar("R", bound=Request)


def current_call() -> Call[Any] | None:
    """The call of ours that the running code is in, if any."""
    call = otel_context.get_value(_KEY)
    return call if isinstance(call, Call) else None


def error_type(error: BaseException) -> str:
    """The exception's qualified name, built-ins without their module."""
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _is_a(error: BaseException, names_of_classes: tuple[str, ...]) -> bool:
    return any(f"{base.__module__}.{base.__qualname__}" in names_of_classes for base in type(error).__mro__)


class Call(Generic[R]):
    """One call of ours: open it, run the library's method in its `context`, end it exactly once."""

    recording: Recording[R]
    context: Context

    def __init__(self, engine: Engine, target: Target, invocation: Invocation, request: R) -> None:
        self.engine = engine
        self.target = target
        self.invocation = invocation
        self.request: R = request
        self.session: Session | None = current_session()
        self.pipeline: Pipeline | None = None
        self.attempt: Attempt | None = None
        self.refusal: CallRefused | None = None
        self.handled: BaseException | None = None
        self._reservation: Reservation | None = None
        self._open = [True]

    # --- before -------------------------------------------------------------------------------------------------
    def open(self) -> None:
        """Ask policy, then start the span."""
        admission = self._admit()
        try:
            self.recording = self._record(self._policy_attributes(admission))
            self.context = otel_context.set_value(_KEY, self, self.recording.context)
            if self.refusal is None:
                self._admitted()
        except BaseException:
            self._release()
            if self.pipeline is not None and self.attempt is not None:
                self.pipeline.settle(self.attempt, Verdict.NEUTRAL)
            raise

    def _admit(self) -> Attempt | Refusal | None:
        """What policy says. Sets `refusal` or `attempt`."""
        if self.pipeline is None:
            return None
        admission = self.pipeline.admit(worker=self._runs_in_worker())
        if isinstance(admission, Refusal):
            self.refusal = admission.error()
            self._release()
        else:
            self.attempt = admission
        return admission

    def _release(self) -> None:
        if self.session is not None and self._reservation is not None:
            self.session.budget.release(self._reservation)

    def _reserve(self, kind: Literal["llm", "tool"]) -> Refusal | None:
        """Reserve the call in the session's limits; a refusal if one of them is used up."""
        if self.session is None:
            return None
        reserved = self.session.reserve(kind, self.request.name if isinstance(self.request, ToolRequest) else "the LLM")
        if isinstance(reserved, Refusal):
            self.refusal = reserved.error()
            return reserved
        self._reservation = reserved
        return None

    def _runs_in_worker(self) -> bool:
        return False

    def _record(self, extra: Attributes) -> Recording[R]:
        raise NotImplementedError  # pragma: no cover - each kind has its own

    def _admitted(self) -> None:
        """The library's own method is about to run."""

    def _policy_attributes(self, admission: Attempt | Refusal | None) -> Attributes:
        if admission is None:
            return {}
        attributes: Attributes = {names.CIRCUIT_STATE: admission.state}
        if isinstance(admission, Attempt):
            if admission.probe:
                attributes[names.CIRCUIT_PROBE] = True
            if admission.limit is not None:
                attributes[names.TIMEOUT_LIMIT] = admission.limit
            if admission.would_refuse is not None:
                attributes[names.CIRCUIT_WOULD_REFUSE] = admission.would_refuse.value
        return attributes

    @property
    def timeout(self) -> float | None:
        """The deadline to enforce, in seconds."""
        return self.attempt.timeout if self.attempt is not None else None

    def prepared(self) -> Invocation:
        """The invocation to run, with the trace context added where the library does not do it itself."""
        if self.target.propagate is not None:
            try:
                return self.target.propagate(self.invocation, trace_headers(self.context))
            except Exception:
                internal_error("adding the trace context to a call")
        return self.invocation

    def view(self, value: Any) -> View:
        """How to read the value that the library returned."""
        return Whole(value) if self.target.view is None else self.target.view(value)

    def item(self, item: Any) -> None:
        """Take in an item of a generator-shaped call."""

    def came_back(self, error: BaseException | None, seconds: float) -> None:
        """Work that was abandoned at its deadline is done at last."""

    # --- after --------------------------------------------------------------------------------------------------
    def failed(self, error: BaseException) -> Any:
        """End the call with *error*; gives the value to return instead, or `RAISE`."""
        try:
            ending = self._ending(error)
        except Exception:
            internal_error("reading an error")
            ending = Ending(Outcome.ERROR, Verdict.FAILURE, error, error_type(error))
        return self._replaced(ending)

    def timed_out(self, *, still_running: bool = False) -> Any:
        """End the call at its deadline; gives the value to return instead, or `RAISE`."""
        return self._replaced(Ending(Outcome.TIMEOUT, Verdict.FAILURE, still_running=still_running))

    def _replaced(self, ending: Ending) -> Any:
        value = RAISE
        try:
            value = self._replacement(ending)
        except Exception:
            internal_error("building a fallback")
        self.end(ending)
        return value

    def returned(self, payload: Any) -> None:
        """End the call with the value it returned."""
        ending = Ending()
        try:
            ending.response = self._read(payload)
            self._judge(ending)
            if self.handled is not None:
                self._as_handled(ending, self.handled)
        except Exception:
            internal_error("reading a response")
        self.end(ending)

    def _as_handled(self, ending: Ending, error: BaseException) -> None:
        """The framework turned *error* into the data that was returned."""
        read = self._ending(error)
        ending.outcome, ending.verdict, ending.retry_after = read.outcome, read.verdict, read.retry_after
        ending.error_type = read.error_type
        if read.outcome is Outcome.ERROR:
            ending.outcome, ending.error_type = Outcome.TOOL_ERROR, None

    def closed(self) -> None:
        """End the call because its caller left early: cancelled, no failure."""
        self.end(Ending(Outcome.CANCELLED, Verdict.NEUTRAL))

    def end(self, ending: Ending) -> None:
        """Settle with policy and write everything down; only the first ending counts."""
        try:
            self._open.pop()  # atomic: of two threads that end a call, one wins
        except IndexError:
            return
        try:
            self._settle(ending)
            self.engine.write_transitions(self.context)
        except Exception:
            internal_error("settling a call with policy")
        try:
            self._account(ending)
            self.recording.close(ending)
        except Exception:
            internal_error("recording a call")

    def _settle(self, ending: Ending) -> None:
        if self.pipeline is not None and self.attempt is not None:
            self.pipeline.settle(self.attempt, ending.verdict, ending.retry_after, still_running=ending.still_running)
            limit = self.attempt.limit
            if limit is not None and ending.outcome is Outcome.OK and self.recording.elapsed() > limit:
                ending.late = True

    def _account(self, ending: Ending) -> None:
        """Count the call in its session."""

    # --- reading ------------------------------------------------------------------------------------------------
    def _ending(self, error: BaseException) -> Ending:
        if error is self.refusal:
            outcome = Outcome(self.refusal.reason)
            return Ending(outcome, Verdict.NEUTRAL, error, None, self.refusal.retry_after, self.refusal.detail)
        outcome, verdict, retry_after = classify(error, self.target.control_flow)
        ending = Ending(outcome, verdict, error, error_type(error), retry_after)
        if outcome is Outcome.ERROR and self.target.error is not None:
            self._refine(ending, self.target.error(error))
        return ending

    @staticmethod
    def _refine(ending: Ending, read: ToolResponse | None) -> None:
        if read is not None:
            ending.response = read
            ending.outcome = read.outcome
            ending.error_type = read.error_type or ending.error_type
            if read.neutral:
                ending.verdict = Verdict.NEUTRAL

    def _read(self, payload: Any) -> Response | None:
        return self.target.response(payload) if self.target.response is not None else None

    def _judge(self, ending: Ending) -> None:
        """Let the response change the ending (an error returned as data)."""

    def _replacement(self, ending: Ending) -> Any:
        """What the caller gets instead of the error."""
        return RAISE


class LLMCall(Call[LLMRequest]):
    """A call of an LLM client."""

    recording: LLMRecording
    chunks: Chunks | None = None
    _previous: float | None = None
    _first: float | None = None

    def open(self) -> None:
        """Ask policy and the session's limits, then start the span."""
        self.pipeline = self.engine.client_pipeline(self.request.client)
        self.engine.prices.prepare(self.request.provider, self.request.model)
        super().open()

    def _admit(self) -> Attempt | Refusal | None:
        return self._reserve("llm") or super()._admit()

    def _record(self, extra: Attributes) -> LLMRecording:
        return LLMRecording(self.engine.telemetry, self.request, self.session, extra)

    def _read(self, payload: Any) -> Response | None:
        return self.request.wire.response(payload)

    def _judge(self, ending: Ending) -> None:
        response = ending.response
        kind = getattr(response, "error_type", None)
        if kind:
            ending.outcome, ending.verdict, ending.error_type = Outcome.ERROR, Verdict.FAILURE, kind

    # a streamed response
    def chunk(self, chunk: Any) -> None:
        """Take in a chunk of the streamed response."""
        try:
            if self.chunks is None:
                self.chunks = self.request.wire.chunks()
            now = self.recording.elapsed()
            if self.chunks.add(chunk) and self._first is None:
                self._first = now
            elif self._previous is not None:
                self.recording.chunk_gap(now - self._previous)
            self._previous = now
        except Exception:
            internal_error("reading a chunk")

    reading = False
    """A chunk is being fetched: a transport that closes itself at the end of its stream is not a reader leaving."""

    def left(self) -> None:
        """End the call because its reader closed the stream."""
        if not self.reading:
            self.streamed()

    def streamed(self, error: BaseException | None = None, *, complete: bool = False) -> None:
        """End the call as its stream has ended: *complete*, with an *error*, or left early by its reader."""
        ending = Ending(Outcome.CANCELLED, Verdict.NEUTRAL)
        try:
            if complete:
                ending = Ending()
            elif error is not None:
                ending = self._ending(error)
            chunks = self.chunks if self.chunks is not None else self.request.wire.chunks()
            ending.response = chunks.response(complete)
            ending.first_chunk = self._first
            self._judge(ending)
        except Exception:
            internal_error("reading a stream")
        self.end(ending)

    def _account(self, ending: Ending) -> None:
        usage = getattr(ending.response, "usage", None)
        if usage is not None:
            response: Any = ending.response
            price = self.engine.prices.cost(self.request.provider, response.model or self.request.model, usage)
            if price is None and response.model and self.request.model:
                price = self.engine.prices.cost(self.request.provider, self.request.model, usage)
            if price is not None:
                ending.cost, ending.cost_source = price.usd, price.source
        if self.session is not None and ending.outcome not in REFUSED:
            self.session.count_llm(self._reservation, usage, ending.cost)


class ToolCall(Call[ToolRequest]):
    """A call of a tool."""

    recording: ToolRecording
    nested: Ending | None = None
    """How the same tool call, seen again further in through another framework, ended last."""

    def open(self) -> None:
        """Ask policy and the session's limits, then start the span."""
        self.pipeline = self.engine.tool_pipeline(self.request.name)
        super().open()

    def _admit(self) -> Attempt | Refusal | None:
        return self._reserve("tool") or super()._admit()

    def _runs_in_worker(self) -> bool:
        return self.engine.hands_over(self.target, self.pipeline)

    def _record(self, extra: Attributes) -> ToolRecording:
        if self._policy.criticality is Criticality.OPTIONAL:
            extra[names.CRITICALITY] = Criticality.OPTIONAL.value
        return ToolRecording(self.engine.telemetry, self.request, self.session, extra)

    def _admitted(self) -> None:
        self.recording.running()

    def item(self, item: Any) -> None:
        """Add the size of an item of a generator tool."""
        self._bytes = (self._bytes or 0) + (capture.size(item) or 0)

    _bytes: int | None = None

    def came_back(self, error: BaseException | None, seconds: float) -> None:
        """Work that was abandoned at its deadline is done at last: free its place and say so, change nothing else."""
        try:
            if self.pipeline is not None and self.attempt is not None:
                self.pipeline.returned(self.attempt)
            self.recording.came_back(seconds, None if error is None else error_type(error))
        except Exception:
            internal_error("noting a late result")

    @property
    def _policy(self) -> Any:
        assert self.pipeline is not None
        return self.pipeline.policy

    def _judge(self, ending: Ending) -> None:
        response = ending.response
        if isinstance(response, ToolResponse):
            self._judge_response(ending, response)
        if ending.outcome is Outcome.OK and self.nested is not None and self.nested.outcome is Outcome.TOOL_ERROR:
            ending.outcome, ending.verdict = self.nested.outcome, self.nested.verdict
            ending.error_type = self.nested.error_type

    def _judge_response(self, ending: Ending, response: ToolResponse) -> None:
        outcome = response.outcome
        is_failure = self._policy.is_failure
        if outcome is Outcome.OK and is_failure is not None and is_failure(response.result):
            outcome = Outcome.TOOL_ERROR
        ending.outcome, ending.error_type = outcome, response.error_type
        if outcome is Outcome.INTERRUPTED or response.neutral:
            ending.verdict = Verdict.NEUTRAL
        elif outcome is not Outcome.OK:
            ending.verdict = Verdict.FAILURE

    def _account(self, ending: Ending) -> None:
        ending.size = self._bytes
        if self.session is not None:
            self.session.count_tool(self._reservation, failed=ending.outcome in FAILED or ending.outcome in REFUSED)

    # what the caller gets instead
    def _replacement(self, ending: Ending) -> Any:
        if ending.outcome not in FAILED and ending.outcome not in REFUSED:
            return RAISE
        acts = ending.outcome in REFUSED or self._mode is Mode.ENFORCE
        optional = self._policy.criticality is Criticality.OPTIONAL
        if optional and acts:
            ending.degraded = True
            return self._degraded(ending)
        ours = ending.outcome in REFUSED or ending.outcome is Outcome.TIMEOUT
        if ours and self.target.errors_as_data and self.target.fallback is not None:
            return self.target.fallback(self.invocation, self.request, self._note(ending), error=True)
        return RAISE

    @property
    def _mode(self) -> Mode:
        assert self.pipeline is not None
        return self.pipeline.mode

    def _degraded(self, ending: Ending) -> Any:
        fallback: Callable[..., Any] | None = self._policy.fallback
        value: Any = self._note(ending)
        if fallback is not None:
            try:
                value = self._call_fallback(fallback)
            except Exception:
                internal_error("calling the fallback of a tool")
        if self.target.fallback is None or inspect.isawaitable(value):
            return value
        return self.target.fallback(self.invocation, self.request, value, error=False)

    def _call_fallback(self, fallback: Callable[..., Any]) -> Any:
        if self.request.library == "function":
            return fallback(*self.invocation.args, **self.invocation.kwargs)
        return fallback(**dict(self.request.arguments or {}))

    def _note(self, ending: Ending) -> str:
        return note(
            self.request.name,
            ending.outcome.value,
            retry_after=ending.retry_after,
            critical=self._policy.criticality is Criticality.CRITICAL,
            timeout=self.timeout,
        )


class FoldedCall(Call[ToolRequest]):
    """The same tool call seen again, further in, through another framework: no span of its own, no policy."""

    def __init__(
        self, engine: Engine, target: Target, invocation: Invocation, request: ToolRequest, outer: ToolCall
    ) -> None:
        super().__init__(engine, target, invocation, request)
        self.outer = outer

    def open(self) -> None:
        """Add what is known here to the outer call's span."""
        self.context = otel_context.get_current()
        self.outer.recording.enrich(self.request.fields)

    def end(self, ending: Ending) -> None:
        """Tell the outer call how it went."""
        self.outer.nested = ending
        if isinstance(ending.response, ToolResponse):
            self.outer.recording.enrich(ending.response.fields)

    def _judge(self, ending: Ending) -> None:
        response = ending.response
        if isinstance(response, ToolResponse) and response.outcome is not Outcome.OK:
            ending.outcome, ending.error_type = response.outcome, response.error_type
            ending.verdict = Verdict.NEUTRAL if response.neutral else Verdict.FAILURE


class AgentCall(Call[AgentRequest]):
    """An agent run: a session, or the part of one that a sub-agent is."""

    recording: AgentRecording
    session: Session

    def open(self) -> None:
        """Start the session and its span."""
        request, parent = self.request, current_session()
        self.session = Session(
            request.name,
            conversation_id=request.conversation_id,
            user_id=request.user_id,
            limits=request.limits or (self.engine.session_limits if parent is None else None),
            parent=parent,
        )
        super().open()

    def _record(self, extra: Attributes) -> AgentRecording:
        return AgentRecording(self.engine.telemetry, self.request, self.session, extra)

    def _judge(self, ending: Ending) -> None:
        if isinstance(ending.response, AgentResponse):
            self.session.outcome = ending.response.outcome

    def _account(self, ending: Ending) -> None:
        session = self.session
        error = ending.error
        if error is not None and _is_a(error, self.target.iteration_limit):
            session.outcome = "max_iterations"
        elif session.limit_hit:
            session.outcome = session.limit_hit
        elif isinstance(error, MaxIterationsExceeded):
            session.outcome = "max_iterations"
        elif isinstance(error, BudgetExceeded):
            session.outcome = "budget_exceeded"
        elif ending.outcome is Outcome.CANCELLED:
            session.outcome = "cancelled"
        elif ending.outcome is Outcome.ERROR:
            session.outcome = "error"
        else:
            session.outcome = session.outcome or "completed"
