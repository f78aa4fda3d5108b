"""A call of an LLM client, whole or streamed, with its tokens and its price."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_tools.calls.base import Call
from otel_tools.errors import internal_error
from otel_tools.model import Chunks, LLMRequest, Response, Usage
from otel_tools.policy.outcome import REFUSED, Outcome, Verdict
from otel_tools.policy.pipeline import Attempt
from otel_tools.policy.refusal import Refusal
from otel_tools.recordings import Ending, LLMRecording
from otel_tools.telemetry import Attributes


class LLMCall(Call[LLMRequest]):
    """A call of an LLM client."""

    recording: LLMRecording
    chunks: Chunks | None = None
    on_end: Callable[[Ending], None] | None = None
    """Told of the ending, once everything about it is known."""

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

    def _write(self, ending: Ending) -> None:
        super()._write(ending)
        if self.on_end is not None:
            self.on_end(ending)

    def _account(self, ending: Ending) -> None:
        usage = getattr(ending.response, "usage", None)
        if usage is not None:
            self._price(ending, usage)
        if self.session is not None and ending.outcome not in REFUSED:
            self.session.count_llm(self._reservation, usage, ending.cost)

    def _note_down(self, ending: Ending) -> None:
        self._enter("client", self.request.client, ending)

    def _price(self, ending: Ending, usage: Usage) -> None:
        """At the price of the model that answered, or that was asked for if the tables do not know the former."""
        response: Any = ending.response
        tier = response.fields.get("openai_service_tier") or response.fields.get("anthropic_service_tier")
        for model in dict.fromkeys((response.model, self.request.model)):
            price = self.engine.prices.cost(self.request.provider, model, usage, service_tier=tier)
            if price is not None:
                ending.cost, ending.cost_source = price.usd, price.source
                return
