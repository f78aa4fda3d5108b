"""The common part of a recording: open a span from a request, close it with an `Ending`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind

from otel_tools import coexistence
from otel_tools import semconv as names
from otel_tools.model import Request, Response, ToolRequest
from otel_tools.policy.outcome import Outcome, Verdict
from otel_tools.sessions import Session
from otel_tools.telemetry import Attributes, Telemetry, foreign_span, set_error, unseen_span, with_span

R = TypeVar("R", bound=Request)

NO_ERROR = frozenset({Outcome.OK, Outcome.CANCELLED, Outcome.INTERRUPTED})


@dataclass(slots=True)
class Ending:
    """What became of a call, decided once.

    Args:
        error_type: `error.type`; the outcome itself where nothing more precise is known.
        still_running: The work goes on in a worker although its caller has gone on.
        cost: USD, if the price is known; *cost_source* says where it is from.
        first_chunk: Seconds to the first chunk with content of a streamed response.
        size: Bytes of the result, where it was measured item by item.
        seconds: How long it lasted, where it ended before it could be written down.
        late: It finished after its deadline all the same.
    """

    outcome: Outcome = Outcome.OK
    verdict: Verdict = Verdict.SUCCESS
    error: BaseException | None = None
    error_type: str | None = None
    retry_after: float | None = None
    detail: str = ""
    response: Response | None = None
    degraded: bool = False
    still_running: bool = False
    late: bool = False
    cost: float | None = None
    cost_source: str | None = None
    first_chunk: float | None = None
    size: int | None = None
    seconds: float | None = None


class Recording(Generic[R]):
    """The open span of one call. `close` it once."""

    kind: ClassVar[SpanKind] = SpanKind.INTERNAL

    def __init__(self, telemetry: Telemetry, request: R, session: Session | None, extra: Attributes) -> None:
        self.telemetry = telemetry
        self.request: R = request
        self.session = session
        self.owns_span = self.owns_metrics = True
        self._started = time.perf_counter_ns()
        self._start_time = time.time_ns()
        attributes = self._attributes()
        if session is not None and session.conversation_id:
            attributes.setdefault(names.CONVERSATION_ID, session.conversation_id)
        attributes.update(extra)
        self.operation = str(attributes[names.OPERATION_NAME])
        self.name = f"{self.operation} {self.label}" if self.label else self.operation
        self.span = self._span(attributes)
        self.context: Context = with_span(self.span)

    label: str | None

    def _attributes(self) -> Attributes:
        raise NotImplementedError  # pragma: no cover - each kind has its own

    def _span(self, attributes: Attributes) -> Span:
        found = foreign_span()
        if found is not None:
            span, scope, theirs = found
            owner = coexistence.owner(scope, theirs, self.operation, self.label)
            if owner is not None:
                self._leave_to(owner)
                span.set_attributes(attributes)
                return span
        hidden = coexistence.hidden_owner(self.operation)
        if hidden is not None:
            self._leave_to(hidden)
            return unseen_span()
        remote = self.request.remote if isinstance(self.request, ToolRequest) else None
        return self.telemetry.start_span(self.name, self.kind, attributes, self._start_time, remote)

    def _leave_to(self, owner: coexistence.Foreign) -> None:
        self.owns_span, self.owns_metrics = False, not owner.owns_metrics
        coexistence.announce(owner)

    def elapsed(self) -> float:
        """Seconds since the call began."""
        return (time.perf_counter_ns() - self._started) / 1e9

    def close(self, ending: Ending) -> None:
        """Write what became of the call and end the span; metrics first, so that exemplars carry its trace id."""
        nanoseconds = time.perf_counter_ns() - self._started
        if ending.seconds is not None:
            nanoseconds = int(ending.seconds * 1e9)
        try:
            attributes: Attributes = {names.OUTCOME: ending.outcome.value}
            if ending.late:
                attributes[names.TIMEOUT_EXCEEDED] = True
            if ending.outcome in NO_ERROR:
                ending.error_type = None  # a cancellation was raised, too
            else:
                ending.error_type = ending.error_type or ending.outcome.value
                set_error(self.span, ending.error_type)
            self._write(ending, nanoseconds / 1e9, attributes)
            self.span.set_attributes(attributes)
        finally:
            if self.owns_span:
                self.span.end(self._start_time + nanoseconds)

    def _write(self, ending: Ending, seconds: float, attributes: Attributes) -> None:
        """Record the metrics, emit the log record and add what the span shall show to *attributes*."""
        raise NotImplementedError  # pragma: no cover - each kind has its own

    def _emit(self, event: str, record: Attributes, ending: Ending) -> None:
        """The log record of the call."""
        failed = ending.outcome not in NO_ERROR
        self.telemetry.log(event, record, context=self.context, failed=failed, body=f"{self.name}: {ending.outcome}")

    def came_back(self, seconds: float, error_type: str | None) -> None:
        """Abandoned work is done: a log record in its trace, as the span has ended."""
        attributes: Attributes = {**self._late_labels(), names.DURATION_MS: round(seconds * 1000, 3)}
        if error_type:
            attributes[names.ERROR_TYPE] = error_type
        self.telemetry.log(names.EVENT_LATE_RESULT, attributes, context=self.context)

    def _late_labels(self) -> Attributes:
        """What a late result is the result of."""
        return {}

    def _who(self) -> Attributes:
        """Whom a log record is about."""
        session = self.session
        if session is None:
            return {}
        found = {
            names.AGENT_NAME: session.name,
            names.CONVERSATION_ID: session.conversation_id,
            names.USER_ID: session.user_id,
        }
        return {key: value for key, value in found.items() if value is not None}


def present(fields: Mapping[str, Any], table: Mapping[str, str]) -> Attributes:
    """What an adapter read, under the attribute names of *table*; `None` is left out."""
    return {table[key]: value for key, value in fields.items() if value is not None}
