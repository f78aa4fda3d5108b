"""The recording of a tool call: `execute_tool NAME`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import SpanKind

from otel_tools import capture
from otel_tools import semconv as names
from otel_tools.model import ToolRequest, ToolResponse
from otel_tools.policy.outcome import REFUSED, Outcome
from otel_tools.recordings.base import Ending, Recording, present
from otel_tools.sessions import Session
from otel_tools.telemetry import Attributes, Telemetry

_ARGUMENT_KEYS = 32
_KEY_LENGTH = 64
_DESCRIPTION_LENGTH = 1024


class ToolRecording(Recording[ToolRequest]):
    """`execute_tool NAME`."""

    def __init__(self, telemetry: Telemetry, request: ToolRequest, session: Session | None, extra: Attributes) -> None:
        self._keys = tuple(str(key)[:_KEY_LENGTH] for key in list(request.arguments or ())[:_ARGUMENT_KEYS])
        self._tool: Attributes = {names.TOOL_NAME: telemetry.tool_label(request.name)}
        self._running = False
        super().__init__(telemetry, request, session, extra)

    @property
    def kind(self) -> SpanKind:  # type: ignore[override]  # a read-only property stands for the attribute
        return SpanKind.INTERNAL if self.request.remote is None else SpanKind.SERVER

    @property
    def label(self) -> str | None:  # type: ignore[override]  # a read-only property stands for the attribute
        return self.request.name

    def _attributes(self) -> Attributes:
        request = self.request
        attributes: Attributes = {
            names.OPERATION_NAME: names.EXECUTE_TOOL,
            names.TOOL_NAME: request.name,
            names.TOOL_TYPE: request.type,
        }
        if request.call_id:
            attributes[names.TOOL_CALL_ID] = request.call_id
        if request.description:
            attributes[names.TOOL_DESCRIPTION] = request.description[:_DESCRIPTION_LENGTH]
        if self._keys:
            attributes[names.ARGUMENT_KEYS] = self._keys
        if self.session is not None and self.session.name:
            attributes[names.AGENT_NAME] = self.session.name
        attributes.update(present(request.fields, names.TOOL_FIELDS))
        return attributes

    def running(self) -> None:
        """The tool's own work begins."""
        self._running = True
        self.telemetry.add(names.TOOL_IN_FLIGHT, 1, self._tool)

    def enrich(self, fields: Mapping[str, Any]) -> None:
        """Add what an inner framework knows of the same call."""
        self.span.set_attributes(present(fields, names.TOOL_FIELDS))

    def came_back(self, seconds: float, error_type: str | None) -> None:
        """Abandoned work is done: one less, and a log record in its trace."""
        self.telemetry.add(names.TOOL_ABANDONED, -1, self._tool)
        super().came_back(seconds, error_type)

    def _late_labels(self) -> Attributes:
        return {names.TOOL_NAME: self.request.name}

    def looped(self, repeats: int) -> None:
        """Say that the tool gave the same result for the same arguments, for the last time that this is allowed."""
        attributes: Attributes = {names.TOOL_NAME: self.request.name, names.LOOP_REPEATS: repeats, **self._who()}
        body = f"{self.name}: the same result {repeats} times"
        self.telemetry.log(names.EVENT_LOOP, attributes, context=self.context, failed=True, body=body)

    def _write(self, ending: Ending, seconds: float, attributes: Attributes) -> None:
        response = ending.response if isinstance(ending.response, ToolResponse) else None
        size = ending.size
        if size is None and response is not None:
            size = capture.size(response.result)
        if response is not None:
            attributes.update(present(response.fields, names.TOOL_FIELDS))
        if size is not None:
            attributes[names.RESULT_SIZE] = size
        if ending.degraded:
            attributes[names.DEGRADED] = True
        if ending.retry_after is not None and ending.outcome in REFUSED:
            attributes[names.RETRY_AFTER] = ending.retry_after
        if ending.detail:
            attributes[names.REFUSAL_DETAIL] = ending.detail
        self._metrics(ending, seconds, size)
        self._content(ending, response, attributes)
        self._log(ending, seconds, size)

    def _metrics(self, ending: Ending, seconds: float, size: int | None) -> None:
        telemetry, context, tool = self.telemetry, self.context, self._tool
        if self._running:
            telemetry.add(names.TOOL_IN_FLIGHT, -1, tool)
        if ending.still_running:
            telemetry.add(names.TOOL_ABANDONED, 1, tool)
        if self.owns_metrics and ending.outcome not in REFUSED:
            labels: Attributes = {**tool, names.TOOL_TYPE: self.request.type}
            if self.session is not None:
                labels.update(telemetry.agent_label(self.session.name))
            if ending.error_type:
                labels[names.ERROR_TYPE] = ending.error_type
            telemetry.record(names.TOOL_DURATION, seconds, labels, context)
        if size is not None:
            telemetry.record(names.TOOL_RESULT_SIZE, size, tool, context)
        calls: Attributes = {**tool, names.OUTCOME: ending.outcome.value, names.DEGRADED: ending.degraded}
        telemetry.add(names.TOOL_CALLS, 1, calls, context)

    def _content(self, ending: Ending, response: ToolResponse | None, attributes: Attributes) -> None:
        telemetry = self.telemetry
        if not telemetry.captures:
            return
        content: dict[str, Any] = {}
        if self.request.arguments is not None:
            content[names.TOOL_CALL_ARGUMENTS] = capture.shortened(
                dict(self.request.arguments), telemetry.content_limit
            )
        if response is not None and ending.outcome is Outcome.OK:
            content[names.TOOL_CALL_RESULT] = capture.shortened(response.result, telemetry.content_limit)
        if telemetry.content_on_span:
            attributes.update({name: capture.as_json(value) for name, value in content.items()})
        if telemetry.content_on_event:
            self._captured = content

    _captured: Mapping[str, Any] = {}

    def _log(self, ending: Ending, seconds: float, size: int | None) -> None:
        request = self.request
        record: dict[str, Any] = {
            names.TOOL_NAME: request.name,
            names.SUCCESS: ending.outcome is Outcome.OK,
            names.OUTCOME: ending.outcome.value,
            names.DEGRADED: ending.degraded,
            names.DURATION_MS: round(seconds * 1000, 3),
            names.ARGUMENT_KEYS: self._keys,
            **self._who(),
            **self._captured,
        }
        if request.call_id:
            record[names.TOOL_CALL_ID] = request.call_id
        if size is not None:
            record[names.RESULT_SIZE] = size
        if ending.error_type:
            record[names.ERROR_TYPE] = ending.error_type
        self._emit(names.EVENT_TOOL_CALL, record, ending)
