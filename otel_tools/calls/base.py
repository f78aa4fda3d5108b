"""One call, whatever its shape: admission, recording, and the one ending that everything else follows from.

`Call` is the common part; `LLMCall`, `ToolCall` and `AgentCall` differ in what policy says to them and in what the
caller may get instead. The drivers run the library's own method and tell the call what came of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from otel_tools import semconv as names
from otel_tools.calls.timed import Timed
from otel_tools.errors import CallRefused, internal_error
from otel_tools.model import (
    Invocation,
    LLMResponse,
    Request,
    Response,
    Target,
    ToolResponse,
    View,
    Whole,
)
from otel_tools.policy.attempt import Attempt
from otel_tools.policy.classify import classify
from otel_tools.policy.limits import Reservation
from otel_tools.policy.outcome import Outcome, Verdict
from otel_tools.policy.pipeline import Pipeline
from otel_tools.policy.refusal import Refusal
from otel_tools.recordings import Ending, Recording
from otel_tools.sessions import Session, current_session
from otel_tools.telemetry import Attributes, trace_headers, trace_id_of

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


class Call(Timed, Generic[R]):
    """One call of ours: open it, run the library's method in its `context`, end it exactly once."""

    recording: Recording[R]
    context: Context
    _key: str | None = None

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
            self.engine.write_transitions(self.recording.context)  # now: the call may end in another thread
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
        admission = self.pipeline.admit(self._runs_in_worker(), self._key)
        if isinstance(admission, Refusal):
            self.refusal = admission.error()
            self._release()
        else:
            self.attempt = admission
        return admission

    def _release(self) -> None:
        if self.session is not None and self._reservation is not None:
            self.session.budget.release(self._reservation)

    def _reserve(self, kind: Literal["llm", "tool"], name: str, **expected: Any) -> Refusal | None:
        """Reserve the call, and what it is *expected* to use, in the session's limits; a refusal if one is used up."""
        if self.session is None:
            return None
        reserved = self.session.reserve(kind, name, **expected)
        if isinstance(reserved, Refusal):
            self.refusal = reserved.error()
            return reserved
        self._reservation = reserved
        return None

    def _record(self, extra: Attributes) -> Recording[R]:
        raise NotImplementedError  # pragma: no cover - each kind has its own

    def _admitted(self) -> None:
        """The library's own method is about to run."""

    def _policy_attributes(self, admission: Attempt | Refusal | None) -> Attributes:
        if admission is None:
            return {}
        attributes: Attributes = {names.CIRCUIT_STATE: admission.state} if admission.state else {}
        if isinstance(admission, Attempt):
            if admission.probe:
                attributes[names.CIRCUIT_PROBE] = True
            attributes.update(self._limits())
            if admission.would_refuse is not None:
                attributes[names.CIRCUIT_WOULD_REFUSE] = admission.would_refuse.value
        return attributes

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
        """Work that was abandoned at its deadline is done at last: free its place and say so, change nothing else."""
        try:
            if self.pipeline is not None and self.attempt is not None:
                self.pipeline.returned(self.attempt)
            self.recording.came_back(seconds, None if error is None else error_type(error))
        except Exception:
            internal_error("noting a late result")

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
        finally:  # also when Ctrl-C stops the fallback
            self.end(ending)
        return value

    def returned(self, payload: Any) -> Any:
        """End the call with the value it returned; gives the value to return instead, or `RAISE` for none."""
        ending, value = Ending(), RAISE
        try:
            ending.response = self._read(payload)
            self._judge(ending)
            if self.handled is not None:
                self._as_handled(ending, self.handled)
            value = self._instead_of_data(ending, payload)
        except Exception:
            internal_error("reading a response")
        finally:
            self.end(ending)
        return value

    def _instead_of_data(self, ending: Ending, value: Any) -> Any:  # noqa: ARG002  for those that override it
        """What the caller gets instead of the *value* that was returned (an error returned as data, a repeated one)."""
        return RAISE

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
            self.engine.write_transitions(self.recording.context)  # not the call's: a log record waits to be exported
        except Exception:
            internal_error("settling a call with policy")
        try:
            self._write(ending)
            self.context = self.recording.context  # which does not lead back here: freed at once, not by a collection
        except Exception:
            internal_error("recording a call")

    def _write(self, ending: Ending) -> None:
        try:
            self._account(ending)
        finally:
            self.recording.close(ending)
        self._note_down(ending)

    def _note_down(self, ending: Ending) -> None:
        """Enter the call in the ledger that people on call look at."""

    def _enter(self, kind: Literal["tool", "client"], name: str, ending: Ending) -> None:
        trace_id = trace_id_of(self.recording.span) if ending.error_type else None
        self.engine.ledger.call(kind, name, ending.outcome, ending.error_type, trace_id)

    def _settle(self, ending: Ending) -> None:
        if self.pipeline is not None and self.attempt is not None:
            if ending.outcome is Outcome.OK and self._is_late():  # only observed, or the event loop was blocked
                ending.late, ending.verdict = True, Verdict.FAILURE
            verdict, still_running = ending.verdict, ending.still_running
            seconds = self._seconds if self.pipeline.timed else 0.0
            self.pipeline.settle(
                self.attempt, verdict, ending.retry_after, still_running=still_running, seconds=seconds
            )

    def _account(self, ending: Ending) -> None:
        """Count the call in its session."""

    # --- reading ------------------------------------------------------------------------------------------------
    def _ending(self, error: BaseException) -> Ending:
        if error is self.refusal:
            outcome = Outcome(self.refusal.reason)
            return Ending(outcome, Verdict.NEUTRAL, error, None, self.refusal.retry_after, self.refusal.detail)
        ending = self._classified(error)
        if ending.outcome is Outcome.ERROR and self.target.error is not None:
            read = self.target.error(error)
            if isinstance(read, BaseException):
                return self._classified(read)
            self._refine(ending, read)
        return ending

    def _classified(self, error: BaseException) -> Ending:
        outcome, verdict, retry_after = classify(error, self.target.control_flow)
        return Ending(outcome, verdict, error, error_type(error), retry_after)

    @staticmethod
    def _refine(ending: Ending, read: ToolResponse | LLMResponse | None) -> None:
        if isinstance(read, LLMResponse):  # the service did answer, and bills it
            ending.response, ending.verdict = read, Verdict.NEUTRAL
        elif read is not None:
            ending.response = read
            ending.outcome = read.outcome
            ending.error_type = read.error_type or ending.error_type
            if read.neutral:
                ending.verdict = Verdict.NEUTRAL

    def _read(self, payload: Any) -> Response | None:
        return self.target.response(payload) if self.target.response is not None else None

    def _judge(self, ending: Ending) -> None:
        """Let the response change the ending (an error returned as data)."""

    def _replacement(self, ending: Ending) -> Any:  # noqa: ARG002  for those that override it
        """What the caller gets instead of the error."""
        return RAISE
