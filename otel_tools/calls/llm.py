"""A call of an LLM client, whole or streamed, with its tokens and its price."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from otel_tools.calls.base import RAISE, Call
from otel_tools.calls.estimate import expected_tokens, tokens_of
from otel_tools.errors import internal_error
from otel_tools.model import Chunks, LLMRequest, Response, Usage
from otel_tools.policy.attempt import Attempt
from otel_tools.policy.limits import Budget, Reservation
from otel_tools.policy.outcome import REFUSED, Outcome, Verdict
from otel_tools.policy.refusal import Refusal
from otel_tools.recordings import Ending, LLMRecording
from otel_tools.sessions import Session
from otel_tools.telemetry import Attributes

_logger = logging.getLogger("otel_tools")


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
        request = self.request
        url = f"https://{request.address}" if request.address else None
        self.engine.prices.prepare(request.provider, request.model, url)
        super().open()

    def _admit(self) -> Attempt | Refusal | None:
        if self.session is None:
            return super()._admit()
        return self._reserve("llm", "the LLM", **self._expected(self.session.budget)) or super()._admit()

    def _expected(self, budget: Budget) -> dict[str, Any]:
        """What the call may use, worked out only where tokens or cost are limited."""
        if not (budget.limits_tokens or budget.limits_cost):
            return {}
        tokens = self._tokens = expected_tokens(self.request)
        cost = self._estimate(*tokens) if budget.limits_cost else 0.0
        return {"tokens": sum(tokens), "cost": cost, "model": self.request.model or ""}

    _tokens: tuple[int, int] | None = None
    """Input and output tokens that were expected."""

    def _estimate(self, input_tokens: int, output_tokens: int) -> float | None:
        return self.engine.prices.estimate(self.request.provider, self.request.model, input_tokens, output_tokens)

    def _record(self, extra: Attributes) -> LLMRecording:
        return LLMRecording(self.engine.telemetry, self.request, self.session, extra)

    def _admitted(self) -> None:
        if self.request.stream:
            self.begin_waiting()

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

    opened = False
    """The caller has been given a stream, or a response to read."""

    reading = False
    """A chunk is being fetched: a transport that closes itself at the end of its stream is not a reader leaving."""

    def left(self) -> None:
        """End the call because its reader closed the stream."""
        if not self.reading:
            self.streamed()

    def streamed(
        self, error: BaseException | None = None, *, complete: bool = False, given: Ending | None = None
    ) -> None:
        """End the call as its stream has ended: *complete*, with an *error*, as *given*, or left by its reader."""
        ending = given or Ending(Outcome.CANCELLED, Verdict.NEUTRAL)
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

    def timed_out(self, *, still_running: bool = False) -> Any:
        """End the call at its deadline, a stream with what has arrived so far."""
        if not self.opened:
            return super().timed_out(still_running=still_running)
        self.streamed(given=Ending(Outcome.TIMEOUT, Verdict.FAILURE, still_running=still_running))
        return RAISE

    def _write(self, ending: Ending) -> None:
        super()._write(ending)
        if self.on_end is not None:
            self.on_end(ending)

    # what it used
    def _account(self, ending: Ending) -> None:
        usage = getattr(ending.response, "usage", None)
        if usage is not None:
            self._price(ending, usage)
        if self.session is not None and ending.outcome not in REFUSED:
            self.session.count_llm(usage, ending.cost)
            if self._reservation is not None and self._tokens is not None:
                self._settle_budget(self.session, self._reservation, ending, usage or Usage())

    def _settle_budget(self, session: Session, reservation: Reservation, ending: Ending, usage: Usage) -> None:
        """Count in the session's limits what the provider says it bills, else the best that can be said.

        A whole answer without usage is estimated from its size. For a stream that was cut short or left unread, and for
        a call that timed out, what was reserved stands if that is more: the provider may have gone on. A call that
        failed otherwise, or was cancelled, before there was an answer is free.
        """
        whole = ending.outcome is Outcome.OK
        tokens, cost = (usage.input_tokens or 0) + (usage.output_tokens or 0), ending.cost
        known = usage.output_tokens is not None or (whole and usage.input_tokens is not None)
        if whole and not known:
            tokens, cost, known = self._sized(ending)
        session.budget.settle(reservation, tokens, cost or 0.0, at_least=not known and self._may_be_billed(ending))
        if cost is None and tokens and session.budget.warns_unpriced:
            self._warn_unpriced(session)

    def _may_be_billed(self, ending: Ending) -> bool:
        left = self.opened and ending.outcome is Outcome.CANCELLED
        return left or self.chunks is not None or ending.outcome in (Outcome.OK, Outcome.TIMEOUT)

    def _sized(self, ending: Ending) -> tuple[int, float | None, bool]:
        """Tokens and cost of an answer by its size, and whether that could be told."""
        try:
            expected, output = self._tokens or (0, 0), getattr(ending.response, "output", None)
            if output is not None:
                tokens = expected[0], tokens_of(output())
                return sum(tokens), self._estimate(*tokens), True
        except Exception:
            internal_error("estimating the tokens of an answer")
        return 0, None, False

    def _warn_unpriced(self, session: Session) -> None:
        if session.outermost.first_time("unpriced"):
            self.recording.unpriced()
            _logger.warning(
                "max_cost_usd does not count calls of %r: no price is known; give one under `prices:`",
                self.request.model,
            )

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
