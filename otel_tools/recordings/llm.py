"""The recording of a call of an LLM client: `chat MODEL` and its like."""

from __future__ import annotations

from typing import Any

from opentelemetry.trace import SpanKind

from otel_tools import capture
from otel_tools import semconv as names
from otel_tools.model import LLMRequest, LLMResponse, Usage
from otel_tools.policy.outcome import REFUSED, Outcome
from otel_tools.recordings.base import Ending, Recording, present
from otel_tools.sessions import Session
from otel_tools.telemetry import Attributes, Telemetry


class LLMRecording(Recording[LLMRequest]):
    """`chat MODEL` and its like."""

    kind = SpanKind.CLIENT

    @property
    def label(self) -> str | None:  # type: ignore[override]  # a read-only property stands for the attribute
        return self.request.model

    def __init__(self, telemetry: Telemetry, request: LLMRequest, session: Session | None, extra: Attributes) -> None:
        self._labels = _client_labels(request)
        super().__init__(telemetry, request, session, extra)

    def _attributes(self) -> Attributes:
        request = self.request
        attributes = dict(self._labels)
        if request.stream:
            attributes[names.REQUEST_STREAM] = True
        attributes.update(present(request.fields, names.REQUEST_FIELDS))
        if self.session is not None and self.session.name:
            attributes[names.AGENT_NAME] = self.session.name
        return attributes

    def _late_labels(self) -> Attributes:
        return self._labels

    def chunk_gap(self, seconds: float) -> None:
        """Record the time between two chunks."""
        if self.owns_metrics:
            self.telemetry.record(names.CLIENT_PER_CHUNK, seconds, self._labels)

    def unpriced(self) -> None:
        """Say that the session's cost limit does not count this call, nor others of a model without a price."""
        attributes: Attributes = {**self._labels, **self._who()}
        body = f"{self.name}: no price is known, so the session's cost limit does not count it"
        self.telemetry.log(names.EVENT_UNPRICED, attributes, context=self.context, failed=True, body=body)

    def _write(self, ending: Ending, seconds: float, attributes: Attributes) -> None:
        response = ending.response if isinstance(ending.response, LLMResponse) else None
        labels = dict(self._labels)
        if response is not None:
            self._describe(response, attributes)
            if response.model:
                labels[names.RESPONSE_MODEL] = response.model
        if ending.cost is not None:
            attributes[names.COST] = ending.cost
            attributes[names.COST_SOURCE] = ending.cost_source or "unknown"
        first = ending.first_chunk
        if first is not None:
            attributes[names.TIME_TO_FIRST_CHUNK] = first
        if ending.outcome not in REFUSED:
            self._metrics(ending, seconds, labels, response, first)
        self._content(response, attributes)
        self._log(ending, seconds, attributes)

    @staticmethod
    def _describe(response: LLMResponse, attributes: Attributes) -> None:
        if response.id:
            attributes[names.RESPONSE_ID] = response.id
        if response.model:
            attributes[names.RESPONSE_MODEL] = response.model
        if response.finish_reasons:
            attributes[names.FINISH_REASONS] = tuple(response.finish_reasons)
        attributes.update(present(response.fields, names.RESPONSE_FIELDS))
        usage = response.usage
        attributes[names.USAGE_QUALITY] = usage.quality if usage is not None else "absent"
        if usage is not None:
            for key, name in names.USAGE_FIELDS.items():
                value = getattr(usage, key)
                if value is not None:
                    attributes[name] = value

    def _metrics(
        self, ending: Ending, seconds: float, labels: Attributes, response: LLMResponse | None, first: float | None
    ) -> None:
        telemetry, context = self.telemetry, self.context
        usage = response.usage if response is not None else None
        if self.owns_metrics:
            if first is not None:
                telemetry.record(names.CLIENT_FIRST_CHUNK, first, labels, context)
            for kind, count in _token_counts(usage):
                telemetry.record(names.CLIENT_TOKENS, count, {**labels, names.TOKEN_TYPE: kind}, context)
            errors = {names.ERROR_TYPE: ending.error_type} if ending.error_type else {}
            telemetry.record(names.CLIENT_DURATION, seconds, {**labels, **errors}, context)
        self._cost(ending, usage)

    def _cost(self, ending: Ending, usage: Usage | None) -> None:
        model = self.request.model or names.OTHER
        labels: Attributes = {names.PROVIDER_NAME: self.request.provider, names.REQUEST_MODEL: model}
        if ending.cost is not None:
            self.telemetry.add(names.CLIENT_COST, ending.cost, labels, self.context)
        elif tokens := sum(count for _, count in _token_counts(usage)):
            self.telemetry.add(names.CLIENT_UNPRICED, tokens, labels, self.context)

    def _content(self, response: LLMResponse | None, attributes: Attributes) -> None:
        telemetry = self.telemetry
        if not telemetry.captures:
            return
        content = capture.messages(self.request, response, telemetry.content_limit)
        if telemetry.content_on_span:
            attributes.update({name: capture.as_json(value) for name, value in content.items()})
        if telemetry.content_on_event:
            details: dict[str, Any] = {**self._labels, **attributes, **content}
            telemetry.log(names.EVENT_CONTENT, details, context=self.context, debug=True)

    def _log(self, ending: Ending, seconds: float, attributes: Attributes) -> None:
        record: Attributes = {
            **self._labels,
            **self._who(),
            names.SUCCESS: ending.outcome is Outcome.OK,
            names.OUTCOME: ending.outcome.value,
            names.DURATION_MS: round(seconds * 1000, 3),
        }
        for name in _LOGGED_OF_LLM_CALL:
            if name in attributes:
                record[name] = attributes[name]
        if ending.error_type:
            record[names.ERROR_TYPE] = ending.error_type
        self._emit(names.EVENT_LLM_CALL, record, ending)


def _client_labels(request: LLMRequest) -> Attributes:
    """What metrics, spans and log records of a call have in common."""
    labels: Attributes = {names.OPERATION_NAME: request.operation, names.PROVIDER_NAME: request.provider}
    if request.model:
        labels[names.REQUEST_MODEL] = request.model
    if request.address:
        labels[names.SERVER_ADDRESS] = request.address
        if request.port:
            labels[names.SERVER_PORT] = request.port
    return labels


_LOGGED_OF_LLM_CALL = (
    names.RESPONSE_MODEL,
    names.USAGE_FIELDS["input_tokens"],
    names.USAGE_FIELDS["output_tokens"],
    names.COST,
)


def _token_counts(usage: Usage | None) -> list[tuple[str, int]]:
    if usage is None:
        return []
    counts = (("input", usage.input_tokens), ("output", usage.output_tokens))
    return [(kind, count) for kind, count in counts if count is not None]
