"""An agent run: a session, or the part of one that a sub-agent is."""

from __future__ import annotations

from typing import Any

from otel_tools.calls.base import Call
from otel_tools.errors import BudgetExceeded, MaxIterationsExceeded
from otel_tools.model import AgentRequest, AgentResponse, Response
from otel_tools.policy.classify import matches
from otel_tools.policy.outcome import Outcome
from otel_tools.recordings import AgentRecording, Ending
from otel_tools.sessions import Session, current_session
from otel_tools.telemetry import Attributes, trace_id_of


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
            observed=self.engine.settings.limits if parent is None else None,
            parent=parent,
            clock=self.engine.clock,
        )
        if self.session.budget.limits_cost:
            self.engine.prices.load()
        super().open()
        if parent is None:
            self.engine.ledger.session_began(self.session, trace_id_of(self.recording.span))

    def _note_down(self, ending: Ending) -> None:  # noqa: ARG002  the session knows how it ended
        if self.session.parent is None:
            self.engine.ledger.session_ended(self.session)

    def _record(self, extra: Attributes) -> AgentRecording:
        return AgentRecording(self.engine.telemetry, self.request, self.session, extra)

    _last: Any = None

    def item(self, item: Any) -> None:
        """Keep the last item of a generator-shaped run: it has no other value."""
        self._last = item

    def _read(self, payload: Any) -> Response | None:
        return super()._read(self._last if payload is None else payload)

    def _judge(self, ending: Ending) -> None:
        if isinstance(ending.response, AgentResponse):
            self.session.outcome = ending.response.outcome

    def _account(self, ending: Ending) -> None:
        session = self.session
        error = ending.error
        if error is not None and matches(error, self.target.iteration_limit):
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
