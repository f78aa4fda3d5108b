"""A call of a tool, and what the caller may get instead of its result."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

from otel_tools import capture
from otel_tools import semconv as names
from otel_tools.calls.base import RAISE, Call
from otel_tools.calls.repeats import Repeats
from otel_tools.errors import internal_error
from otel_tools.model import Invocation, Shape, Target, ToolRequest, ToolResponse
from otel_tools.policy.attempt import Attempt
from otel_tools.policy.circuit import CircuitState
from otel_tools.policy.degradation import note
from otel_tools.policy.keyed import key_of
from otel_tools.policy.options import Criticality, Mode
from otel_tools.policy.outcome import FAILED, REFUSED, Outcome, Verdict
from otel_tools.policy.refusal import Refusal
from otel_tools.recordings import Ending, ToolRecording
from otel_tools.telemetry import Attributes

if TYPE_CHECKING:
    from otel_tools.engine import Engine


_STEPPED: Final = (Shape.GENERATOR, Shape.ASYNC_GENERATOR)


class ToolCall(Call[ToolRequest]):
    """A call of a tool."""

    recording: ToolRecording
    nested: Ending | None = None
    """How the same tool call, seen again further in through another framework, ended last."""

    def open(self) -> None:
        """Ask policy and the session's limits, then start the span."""
        self.pipeline = self.engine.tool_pipeline(self.request.name)
        if self.request.remote is not None:
            self.session = None  # a call that is served counts in the session of whoever makes it
        super().open()

    def _admit(self) -> Attempt | Refusal | None:
        self._key = self._read_key()
        admission = self._looping() or self._reserve("tool", self.request.name) or super()._admit()
        if isinstance(admission, Refusal) and admission.outcome is Outcome.CIRCUIT_OPEN:
            self._reason = "forced_open" if admission.state == CircuitState.FORCED_OPEN else None
        return admission

    def _read_key(self) -> str | None:
        if self._policy.key is None:
            return None
        try:
            return key_of(self._policy.key, self.request.arguments)
        except Exception:
            internal_error("reading the key of a tool call")
            return None

    _reason: str | None = None
    """Why it was refused, where that is more than the outcome says."""

    def _runs_in_worker(self) -> bool:
        pipeline = self.pipeline
        if pipeline is None or pipeline.mode is not Mode.ENFORCE:
            return False
        if self.target.shape is Shape.GENERATOR:
            return pipeline.policy.timeout is not None or pipeline.policy.item_timeout is not None
        if pipeline.timeout is None:
            return False
        return self.target.shape is Shape.SYNC or self.on_loop(self.invocation) is not None

    def _record(self, extra: Attributes) -> ToolRecording:
        if self._policy.criticality is Criticality.OPTIONAL:
            extra[names.CRITICALITY] = Criticality.OPTIONAL.value
        return ToolRecording(self.engine.telemetry, self.request, self.session, extra)

    def _admitted(self) -> None:
        self.recording.running()
        if self.target.shape in _STEPPED:
            self.begin_waiting()

    def item(self, item: Any) -> None:
        """Add the size of an item of a generator tool."""
        self._bytes = (self._bytes or 0) + (capture.size(item) or 0)

    _bytes: int | None = None

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
        elif ending.outcome is Outcome.TOOL_ERROR and self.nested is not None and self.nested.outcome in FAILED:
            # what was raised further in says more than the data that the framework made of it
            ending.verdict = self.nested.verdict
            ending.error_type = ending.error_type or self.nested.error_type

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
        if self._repeats is not None:
            self._repeats.count(ending, self.recording)
        if self.session is not None:
            self.session.count_tool(self._reservation, failed=ending.outcome in FAILED or ending.outcome in REFUSED)

    def _note_down(self, ending: Ending) -> None:
        self._enter("tool", self.request.name, ending)

    # what the caller gets instead
    def _replacement(self, ending: Ending) -> Any:
        if ending.outcome not in FAILED and ending.outcome not in REFUSED:
            return RAISE
        acts = ending.outcome in REFUSED or self._mode is Mode.ENFORCE
        optional = self._policy.criticality is Criticality.OPTIONAL
        if optional and acts:
            ending.degraded = True
            return self._degraded(ending)
        expired = ending.outcome is Outcome.TIMEOUT and ending.error is None  # not a timeout of the library's own
        ours = ending.outcome in REFUSED or expired
        if ours and self.target.fallback is not None and self._expects_data():
            return self.target.fallback(self.invocation, self.request, self._note(ending), error=True)
        return RAISE

    def _expects_data(self) -> bool:
        expects = self.target.errors_as_data
        return expects(self.invocation) if callable(expects) else expects

    def _instead_of_data(self, ending: Ending, value: Any) -> Any:
        """The fallback of an optional tool. Without one the data stays: it tells the model more than a note would.

        What came too often in a row stays, too, with a warning below it.
        """
        failed = ending.outcome is Outcome.TOOL_ERROR and ending.verdict is Verdict.FAILURE
        instead = self._replacement(ending) if failed and self._policy.fallback is not None else RAISE
        return self._warned(value, ending, self._repeats) if instead is RAISE and self._repeats is not None else instead

    @property
    def _mode(self) -> Mode:
        assert self.pipeline is not None
        return self.pipeline.mode

    def _degraded(self, ending: Ending) -> Any:
        fallback: Callable[..., Any] | None = self._policy.fallback
        if fallback is None:
            return self._in_own_type(self._note(ending))
        try:
            value = self._call_fallback(fallback)
        except Exception:
            internal_error("calling the fallback of a tool")
            value = self._note(ending)
        return self._awaited(value, ending) if inspect.isawaitable(value) else self._in_own_type(value)

    async def _awaited(self, value: Any, ending: Ending) -> Any:
        """The value of an async fallback; one that fails is as good as none."""
        try:
            value = await value
        except Exception:
            internal_error("calling the fallback of a tool")
            value = self._note(ending)
        return self._in_own_type(value)

    def _in_own_type(self, value: Any) -> Any:
        if self.target.fallback is None:
            return value
        return self.target.fallback(self.invocation, self.request, value, error=False)

    def _call_fallback(self, fallback: Callable[..., Any]) -> Any:
        if self.request.library == "function":
            return fallback(*self.invocation.args, **self.invocation.kwargs)
        return fallback(**dict(self.request.arguments or {}))

    def _note(self, ending: Ending) -> str:
        """What the model is told, in full once in a session."""
        tool, reason = self.request.name, self._reason or ending.outcome.value
        return note(
            tool,
            reason,
            retry_after=ending.retry_after,
            critical=self._policy.criticality is Criticality.CRITICAL,
            timeout=None if self.expired_limit()[1] else self.timeout,
            again=self.session is not None and not self.session.first_time((tool, reason)),
        )

    # the loop guard
    _repeats: Repeats | None = None

    def _looping(self) -> Refusal | None:
        if self.session is None or not self.session.guards:
            return None
        self._repeats = Repeats(self.session.guards, self.request, self.target)
        refusal = self._repeats.refusal()
        if refusal is not None:
            self.refusal = refusal.error()
        return refusal

    def _warned(self, value: Any, ending: Ending, repeats: Repeats) -> Any:
        """*value* with a warning for the model, if it came too often; `RAISE` to leave it as it is."""
        count = repeats.count(ending, self.recording)
        warned = repeats.appended(value, count) if count else None
        return RAISE if warned is None else warned


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
