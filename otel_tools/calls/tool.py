"""A call of a tool, and what the caller may get instead of its result."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context

from otel_tools import capture
from otel_tools import semconv as names
from otel_tools.calls.base import RAISE, Call, error_type
from otel_tools.errors import internal_error
from otel_tools.model import Invocation, Target, ToolRequest, ToolResponse
from otel_tools.policy.degradation import note
from otel_tools.policy.options import Criticality, Mode
from otel_tools.policy.outcome import FAILED, REFUSED, Outcome, Verdict
from otel_tools.policy.pipeline import Attempt
from otel_tools.policy.refusal import Refusal
from otel_tools.recordings import Ending, ToolRecording
from otel_tools.telemetry import Attributes

if TYPE_CHECKING:
    from otel_tools.engine import Engine


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
        if ours and self.target.errors_as_data and self.target.fallback is not None:
            return self.target.fallback(self.invocation, self.request, self._note(ending), error=True)
        return RAISE

    def _instead_of_data(self, ending: Ending) -> Any:
        """The fallback of an optional tool. Without one the data stays: it tells the model more than a note would."""
        failed = ending.outcome is Outcome.TOOL_ERROR and ending.verdict is Verdict.FAILURE
        return self._replacement(ending) if failed and self._policy.fallback is not None else RAISE

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
