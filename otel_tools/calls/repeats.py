"""One call as the loop guards of its session see it: has it given the same result too often?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_tools.model import Shape, Target, ToolRequest
from otel_tools.policy.degradation import loop_warning
from otel_tools.policy.loops import LoopGuard, fingerprint
from otel_tools.policy.outcome import REFUSED, Outcome
from otel_tools.policy.refusal import Refusal
from otel_tools.recordings import Ending, ToolRecording

_NO_RESULT = REFUSED | {Outcome.CANCELLED, Outcome.INTERRUPTED}


class Repeats:
    """A call of a tool whose session has loop guards.

    Args:
        guards: Those of the session and of the sessions around it.
        request: What is called; a call whose arguments have no canonical form is not guarded.
        target: How it is called.
    """

    def __init__(self, guards: tuple[LoopGuard, ...], request: ToolRequest, target: Target) -> None:
        self._guards = guards
        self._tool = request.name
        self._target = target
        self._call = _call_of(request.name, request.arguments)

    def refusal(self) -> Refusal | None:
        """A refusal if the call has given the same result as often as it may."""
        for guard in self._guards:
            if self._call is not None and guard.refuses(self._call):
                return Refusal(self._tool, Outcome.LOOP_DETECTED, detail=f"{guard.max_repeats} times")
        return None

    def count(self, ending: Ending, recording: ToolRecording) -> int:
        """Count the result, once; gives the repeats that the model is to be warned of, 0 for none."""
        call, self._call = self._call, None
        if call is None or ending.outcome in _NO_RESULT:
            return 0
        result, warn_of = self._result_of(ending), 0
        for guard in self._guards:
            repeats = guard.count(call, result)
            if repeats == guard.max_repeats:
                recording.looped(repeats)
            if repeats >= guard.max_repeats and guard.acts:
                warn_of = max(repeats, warn_of)
        return warn_of

    def _result_of(self, ending: Ending) -> bytes | None:
        """What makes two results the same: their content, or the type of the error that stands in its place."""
        if ending.outcome is not Outcome.OK:
            return fingerprint(ending.error_type or ending.outcome.value)
        whole = self._target.shape in (Shape.SYNC, Shape.ASYNC)  # the items of a generator are not kept
        return fingerprint([getattr(ending.response, "result", None)]) if whole else None

    def appended(self, value: Any, repeats: int) -> Any:
        """*value* with a warning below its text, `None` where there is none."""
        line = loop_warning(self._tool, repeats)
        if self._target.appended is not None:
            return self._target.appended(value, line)
        return f"{value}\n{line}" if isinstance(value, str) else None


def _call_of(tool: str, arguments: Mapping[str, Any] | None) -> bytes | None:
    return None if arguments is None else fingerprint(tool, dict(arguments))
