"""The recording of an agent run: `invoke_agent NAME`, and the session's account when the outermost run ends."""

from __future__ import annotations

from otel_tools import semconv as names
from otel_tools.model import AgentRequest
from otel_tools.recordings.base import Ending, Recording
from otel_tools.sessions import Session, with_session
from otel_tools.telemetry import Attributes, Telemetry


class AgentRecording(Recording[AgentRequest]):
    """`invoke_agent NAME`: a session, or the part of one that a sub-agent is."""

    session: Session

    def __init__(self, telemetry: Telemetry, request: AgentRequest, session: Session, extra: Attributes) -> None:
        self._agent = telemetry.agent_label(session.name)
        super().__init__(telemetry, request, session, extra)
        self.context = with_session(session, self.context)

    @property
    def label(self) -> str | None:  # type: ignore[override]  # a read-only property stands for the attribute
        return self.session.name

    def _attributes(self) -> Attributes:
        request = self.request
        attributes: Attributes = {names.OPERATION_NAME: names.INVOKE_AGENT}
        found = {
            names.AGENT_NAME: self.session.name,
            names.AGENT_DESCRIPTION: request.description,
            names.REQUEST_MODEL: request.model,
            names.USER_ID: self.session.user_id,
        }
        attributes.update({key: value for key, value in found.items() if value})
        return attributes

    def _write(self, ending: Ending, seconds: float, attributes: Attributes) -> None:
        session, telemetry, context = self.session, self.telemetry, self.context
        attributes.update(session_attributes(session))
        agent = self._agent
        errors = {names.ERROR_TYPE: ending.error_type} if ending.error_type else {}
        telemetry.record(names.AGENT_DURATION, seconds, {**agent, **errors}, context)
        telemetry.record(names.AGENT_INFERENCE_CALLS, session.own_inference_calls, agent, context)
        telemetry.record(names.AGENT_TOOL_CALLS, session.own_tool_calls, agent, context)
        if session.parent is not None:
            return  # a part of a session: the whole is counted once, by the outermost run
        telemetry.record(names.SESSION_COST_USD, session.totals.cost_usd, agent, context)
        ended = {**agent, names.SESSION_OUTCOME: str(session.outcome)}
        telemetry.record(names.SESSION_DURATION, seconds, ended, context)
        telemetry.add(names.SESSIONS, 1, ended, context)
        record = {
            **self._who(),
            **session_attributes(session),
            **errors,
            names.SUCCESS: session.outcome == "completed",
            names.DURATION_MS: round(seconds * 1000, 3),
        }
        failed = session.outcome not in _GOOD_ENDS
        telemetry.log(
            names.EVENT_SESSION, record, context=context, failed=failed, body=f"{self.name}: {session.outcome}"
        )


_GOOD_ENDS = ("completed", "cancelled")


def session_attributes(session: Session) -> Attributes:
    """What a session has used and how it ended, as attributes."""
    totals = session.totals
    attributes: Attributes = {
        names.SESSION_OUTCOME: str(session.outcome),
        names.SESSION_COST: totals.cost_usd,
        names.SESSION_INPUT_TOKENS: totals.input_tokens,
        names.SESSION_OUTPUT_TOKENS: totals.output_tokens,
        names.SESSION_LLM_CALLS: totals.inference_calls,
        names.SESSION_TOOL_CALLS: totals.tool_calls,
        names.SESSION_TOOL_ERRORS: totals.tool_errors,
    }
    if totals.unpriced_tokens:
        attributes[names.SESSION_UNPRICED] = totals.unpriced_tokens
    return attributes
