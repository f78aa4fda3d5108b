"""The floor: the same signals written by hand, in the shortest way that the OpenTelemetry API allows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.trace import SpanKind

from otel_tools import semconv as names
from tests.bench.providers import Providers


class ByHand:
    """Spans, metrics and log records of one tool call and one chat call."""

    def __init__(self, providers: Providers) -> None:
        self.tracer = providers.tracer.get_tracer("by-hand")
        meter = providers.meter.get_meter("by-hand")
        self.logger = providers.logger.get_logger("by-hand")
        self.tool_duration = self._histogram(meter, names.TOOL_DURATION)
        self.tool_size = self._histogram(meter, names.TOOL_RESULT_SIZE)
        self.tool_calls = meter.create_counter(names.TOOL_CALLS.name)
        self.in_flight = meter.create_up_down_counter(names.TOOL_IN_FLIGHT.name)
        self.duration = self._histogram(meter, names.CLIENT_DURATION)
        self.tokens = self._histogram(meter, names.CLIENT_TOKENS)
        self.first_chunk = self._histogram(meter, names.CLIENT_FIRST_CHUNK)
        self.per_chunk = self._histogram(meter, names.CLIENT_PER_CHUNK)
        self.cost = meter.create_counter(names.CLIENT_COST.name)

    @staticmethod
    def _histogram(meter: Any, metric: names.Metric) -> Any:
        return meter.create_histogram(
            metric.name, metric.unit, explicit_bucket_boundaries_advisory=list(metric.boundaries)
        )

    def _log(self, event: str, attributes: dict[str, Any]) -> None:
        self.logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                severity_number=SeverityNumber.INFO,
                severity_text="INFO",
                event_name=event,
                attributes=attributes,
            )
        )

    def tool(self, function: Callable[..., str], query: str, limit: int) -> str:
        tool = {names.TOOL_NAME: "search"}
        started = time.perf_counter_ns()
        self.in_flight.add(1, tool)
        with self.tracer.start_as_current_span(
            "execute_tool search",
            attributes={
                names.OPERATION_NAME: names.EXECUTE_TOOL,
                names.TOOL_NAME: "search",
                names.TOOL_TYPE: "function",
                names.TOOL_DESCRIPTION: "Search.",
                names.ARGUMENT_KEYS: ("query", "limit"),
                names.CIRCUIT_STATE: "closed",
            },
        ) as span:
            result = function(query, limit=limit)
            size = len(result)
            seconds = (time.perf_counter_ns() - started) / 1e9
            span.set_attributes({names.OUTCOME: "ok", names.RESULT_SIZE: size})
            self.tool_duration.record(seconds, {**tool, names.TOOL_TYPE: "function"})
            self.tool_size.record(size, tool)
            self.tool_calls.add(1, {**tool, names.OUTCOME: "ok", names.DEGRADED: False})
            self.in_flight.add(-1, tool)
            self._log(
                names.EVENT_TOOL_CALL,
                {
                    **tool,
                    names.SUCCESS: True,
                    names.OUTCOME: "ok",
                    names.DEGRADED: False,
                    names.DURATION_MS: seconds * 1000,
                    names.ARGUMENT_KEYS: ("query", "limit"),
                    names.RESULT_SIZE: size,
                },
            )
        return result

    def _request(self, *, stream: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
        labels = {
            names.OPERATION_NAME: names.CHAT,
            names.PROVIDER_NAME: "openai",
            names.REQUEST_MODEL: "gpt-4o-mini",
            names.SERVER_ADDRESS: "llm.test",
            names.SERVER_PORT: 443,
        }
        attributes = {
            **labels,
            "gen_ai.request.temperature": 0.2,
            "gen_ai.request.max_tokens": 200,
            "openai.api.type": "chat_completions",
        }
        return labels, {**attributes, names.REQUEST_STREAM: True} if stream else attributes

    def _response(self, span: Any, labels: dict[str, Any], started: int, usage: Any, **more: Any) -> None:
        price = usage.prompt_tokens * 0.15e-6 + usage.completion_tokens * 0.6e-6
        seconds = (time.perf_counter_ns() - started) / 1e9
        found = {
            names.OUTCOME: "ok",
            names.RESPONSE_ID: "chatcmpl-1",
            names.RESPONSE_MODEL: "gpt-4o-mini",
            names.FINISH_REASONS: ("stop",),
            names.USAGE_QUALITY: "exact",
            names.USAGE_FIELDS["input_tokens"]: usage.prompt_tokens,
            names.USAGE_FIELDS["output_tokens"]: usage.completion_tokens,
            names.COST: price,
            names.COST_SOURCE: "by hand",
            **more,
        }
        span.set_attributes(found)
        labels = {**labels, names.RESPONSE_MODEL: "gpt-4o-mini"}
        self.tokens.record(usage.prompt_tokens, {**labels, names.TOKEN_TYPE: "input"})
        self.tokens.record(usage.completion_tokens, {**labels, names.TOKEN_TYPE: "output"})
        self.duration.record(seconds, labels)
        self.cost.add(price, {names.PROVIDER_NAME: "openai", names.REQUEST_MODEL: "gpt-4o-mini"})
        self._log(
            names.EVENT_LLM_CALL,
            {
                **labels,
                names.SUCCESS: True,
                names.OUTCOME: "ok",
                names.DURATION_MS: seconds * 1000,
                names.USAGE_FIELDS["input_tokens"]: usage.prompt_tokens,
                names.USAGE_FIELDS["output_tokens"]: usage.completion_tokens,
                names.COST: price,
            },
        )

    def chat(self, create: Callable[[], Any]) -> Any:
        labels, attributes = self._request()
        started = time.perf_counter_ns()
        with self.tracer.start_as_current_span("chat gpt-4o-mini", kind=SpanKind.CLIENT, attributes=attributes) as span:
            response = create()
            self._response(span, labels, started, response.usage)
        return response

    async def async_chat(self, create: Callable[[], Any]) -> Any:
        labels, attributes = self._request()
        started = time.perf_counter_ns()
        with self.tracer.start_as_current_span("chat gpt-4o-mini", kind=SpanKind.CLIENT, attributes=attributes) as span:
            response = await create()
            self._response(span, labels, started, response.usage)
        return response

    def stream(self, create: Callable[[], Any]) -> Any:
        labels, attributes = self._request(stream=True)
        started = time.perf_counter_ns()
        span = self.tracer.start_span("chat gpt-4o-mini", kind=SpanKind.CLIENT, attributes=attributes)
        first = previous = usage = None
        with trace.use_span(span, end_on_exit=False):
            chunks = iter(create())
        while True:
            with trace.use_span(span, end_on_exit=False):  # never across a `yield`
                chunk = next(chunks, None)
            if chunk is None:
                break
            now = time.perf_counter_ns()
            if chunk.choices and chunk.choices[0].delta.content and first is None:
                first = (now - started) / 1e9
            elif previous is not None:
                self.per_chunk.record((now - previous) / 1e9, labels)
            previous = now
            usage = chunk.usage or usage
            yield chunk
        with trace.use_span(span, end_on_exit=True):
            self.first_chunk.record(first, labels)
            self._response(span, labels, started, usage, **{names.TIME_TO_FIRST_CHUNK: first})
