"""The readers of the OpenAI wire formats, on plain dictionaries and on the models of the client."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from otel_tools.adapters.wire import openai_chat
from otel_tools.model import LLMResponse, Usage
from tests.clients import openai_bodies as bodies

openai = pytest.importorskip("openai")
types = pytest.importorskip("openai.types")

CHAT_USAGE = Usage(
    input_tokens=117,
    output_tokens=25,
    cache_read_tokens=64,
    reasoning_tokens=8,
    audio_input_tokens=0,
    audio_output_tokens=0,
)
CHAT_FIELDS = {"openai_service_tier": "default", "openai_system_fingerprint": "fp_1"}
SUNNY = {"role": "assistant", "parts": [{"type": "text", "content": "It is sunny."}], "finish_reason": "stop"}
CALL_PART = {"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": {"city": "Paris"}}
CALL = {"role": "assistant", "parts": [CALL_PART], "finish_reason": "tool_call"}


def read(response: LLMResponse) -> dict[str, Any]:
    """A response as a dictionary, its output included."""
    fields = {name: value for name, value in response.fields.items() if value is not None}
    found = {
        "id": response.id,
        "model": response.model,
        "finish_reasons": list(response.finish_reasons),
        "usage": response.usage,
        "fields": fields,
        "output": response.output() if response.output else None,
        "error_type": response.error_type,
    }
    json.dumps(found["output"])
    return found


def chat(**changes: Any) -> dict[str, Any]:
    """What is read from the plain chat completion, with *changes*."""
    return {
        "id": "chatcmpl-1",
        "model": "gpt-4.1-2025-04-14",
        "finish_reasons": ["stop"],
        "usage": CHAT_USAGE,
        "fields": CHAT_FIELDS,
        "output": [SUNNY],
        "error_type": None,
    } | changes


def collect(chunks: Any, events: list[Any], *, complete: bool = True) -> tuple[list[bool], dict[str, Any]]:
    """Which of *events* carried content, and what was read of all of them."""
    content = [chunks.add(event) for event in events if event != "[DONE]"]
    return content, read(chunks.response(complete))


def as_is(body: Any, _model: Any) -> Any:
    return body


def as_model(body: Any, model: Any) -> Any:
    return model.construct(**body)


both = pytest.mark.parametrize("made", [as_is, as_model])


# --- chat completions -----------------------------------------------------------------------------------------------
@both
def test_chat_completion(made):
    """Everything a chat completion says is read, from a dictionary as from the client's model."""
    payload = made(bodies.chat(), types.chat.ChatCompletion)
    assert read(openai_chat.CHAT.response(payload)) == chat()


@both
def test_chat_completion_with_tool_calls(made):
    """A tool call's arguments are read as the object they stand for."""
    payload = made(bodies.chat(None, "tool_calls", tool_calls=bodies.tool_calls()), types.chat.ChatCompletion)
    assert read(openai_chat.CHAT.response(payload)) == chat(finish_reasons=["tool_calls"], output=[CALL])


@both
def test_chat_completion_with_several_choices(made):
    """There is one finish reason and one message per choice, in order; a missing reason reads `error`."""
    body = bodies.chat()
    first, second = body["choices"][0], bodies.chat("Rain.", "length")["choices"][0]
    third = {**bodies.chat("")["choices"][0], "finish_reason": None, "index": 2}
    body["choices"] = [first, {**second, "index": 1}, third]
    found = read(openai_chat.CHAT.response(made(body, types.chat.ChatCompletion)))
    assert found["finish_reasons"] == ["stop", "length", "error"]
    assert found["output"] == [
        SUNNY,
        {"role": "assistant", "parts": [{"type": "text", "content": "Rain."}], "finish_reason": "length"},
        {"role": "assistant", "parts": [], "finish_reason": "error"},
    ]


@both
def test_chat_completion_of_other_kinds(made):
    """Reasoning, refusal, audio, custom and old-style calls are parts of the message."""
    body = bodies.chat(
        None,
        reasoning_content="Hm.",
        refusal="No.",
        audio={"id": "audio_1", "data": "UklGRg==", "expires_at": 0, "transcript": "Hello"},
        tool_calls=[{"id": "call_2", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}],
        function_call={"name": "old", "arguments": "{not json"},
    )
    found = read(openai_chat.CHAT.response(made(body, types.chat.ChatCompletion)))
    assert found["output"][0]["parts"] == [
        {"type": "reasoning", "content": "Hm."},
        {"type": "text", "content": "No."},
        {"type": "blob", "modality": "audio", "content": "UklGRg==", "transcript": "Hello"},
        {"type": "tool_call", "id": "call_2", "name": "sql", "arguments": "SELECT 1"},
        {"type": "tool_call", "name": "old", "arguments": "{not json"},
    ]


@pytest.mark.parametrize("payload", [None, "not found", {}, {"choices": None, "usage": None}])
def test_chat_completion_of_nothing(payload):
    """An answer that is no chat completion is read as nothing at all."""
    nothing = {"id": None, "model": None, "finish_reasons": [], "usage": None, "fields": {}, "error_type": None}
    assert read(openai_chat.CHAT.response(payload)) == nothing | {"output": []}


def test_error_with_status_200():
    """Gateways answer errors with status 200; that is a failed call."""
    payload = {"id": "gen-1", "choices": [], "error": {"code": 502, "message": "Provider returned error"}}
    assert openai_chat.CHAT.response(payload).error_type == "502"


@both
def test_chat_stream(made):
    """Text pieces carry content, the role, the end and the usage do not; together they read as the whole answer."""
    events = [made(event, types.chat.ChatCompletionChunk) for event in bodies.chat_stream()[:-1]]
    content, found = collect(openai_chat.CHAT.chunks(), events)
    assert content == [False, True, True, True, False, False]
    assert found == chat()


def test_chat_stream_without_usage():
    """Without `include_usage` there is no usage, which is not the same as none used."""
    _, found = collect(openai_chat.CHAT.chunks(), bodies.chat_stream(usage=False))
    assert found == chat(usage=None)


@both
def test_streamed_tool_call(made):
    """The pieces of a tool call carry content, and are put together."""
    events = [made(event, types.chat.ChatCompletionChunk) for event in bodies.tool_stream()[:-1]]
    content, found = collect(openai_chat.CHAT.chunks(), events)
    assert content == [False, True, True, True, False, False]
    assert found == chat(finish_reasons=["tool_calls"], output=[CALL])


def test_chat_stream_with_several_choices():
    """Interleaved choices are kept apart, and ordered by their index."""
    events = [
        bodies.chunk(bodies.delta(1, content="B"), bodies.delta(0, content="A")),
        bodies.chunk(bodies.delta(1, finish_reason="length")),
        bodies.chunk(bodies.delta(0, content="a", finish_reason="stop")),
    ]
    _, found = collect(openai_chat.CHAT.chunks(), events)
    assert found["finish_reasons"] == ["stop", "length"]
    assert [message["parts"][0]["content"] for message in found["output"]] == ["Aa", "B"]


def test_chat_stream_of_other_kinds():
    """Reasoning, refusal and audio carry content, too, under the names that other services use."""
    events = [
        bodies.chunk(bodies.delta(reasoning_content="H")),
        bodies.chunk(bodies.delta(reasoning="m.")),
        bodies.chunk(bodies.delta(refusal="No.")),
        bodies.chunk(bodies.delta(audio={"id": "a", "transcript": "Hi"})),
        bodies.chunk(bodies.delta(audio={"data": "UklGRg=="})),
        bodies.chunk(bodies.delta(function_call={"name": "old", "arguments": "{"})),
        bodies.chunk(bodies.delta(function_call={"arguments": "}"}, finish_reason="function_call")),
    ]
    content, found = collect(openai_chat.CHAT.chunks(), events)
    assert content == [True] * 7
    assert found["output"] == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "Hm."},
                {"type": "text", "content": "No."},
                {"type": "blob", "modality": "audio", "content": "UklGRg==", "transcript": "Hi"},
                {"type": "tool_call", "name": "old", "arguments": {}},
            ],
            "finish_reason": "tool_call",
        }
    ]


def test_streamed_tool_calls_without_index():
    """Services that send each tool call whole, without an index, are understood."""
    calls = [{"id": f"call_{n}", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}} for n in (1, 2)]
    _, found = collect(openai_chat.CHAT.chunks(), [bodies.chunk(bodies.delta(tool_calls=calls))])
    assert found["output"][0]["parts"] == [CALL_PART, {**CALL_PART, "id": "call_2"}]


def test_chat_stream_left_early():
    """A stream left early has the finish reason `error` and no usage."""
    _, found = collect(openai_chat.CHAT.chunks(), bodies.chat_stream()[:2], complete=False)
    cut = {"role": "assistant", "parts": [{"type": "text", "content": "It is"}], "finish_reason": "error"}
    assert found == chat(finish_reasons=["error"], usage=None, output=[cut])


def test_chat_stream_left_early_with_running_usage():
    """A running count of a stream that ended early is partial; once every choice has ended it is final."""
    running = bodies.chunk(bodies.delta(content="It"), usage=bodies.USAGE)
    _, found = collect(openai_chat.CHAT.chunks(), [running], complete=False)
    assert found["usage"].quality == "partial"
    _, found = collect(openai_chat.CHAT.chunks(), bodies.chat_stream(), complete=False)
    assert found["usage"] == CHAT_USAGE


def test_chat_stream_never_read():
    """A stream of which nothing was read ended in `error`."""
    _, found = collect(openai_chat.CHAT.chunks(), [], complete=False)
    assert found["finish_reasons"] == ["error"]
    assert found["usage"] is None


def test_groq_usage():
    """Groq may send the usage of a stream in a field of its own."""
    _, found = collect(openai_chat.CHAT.chunks(), [bodies.chunk(x_groq={"usage": bodies.USAGE})])
    assert found["usage"] == CHAT_USAGE


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2},
            Usage(input_tokens=10, output_tokens=5, cache_read_tokens=8),
            id="deepseek",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 8},
            Usage(input_tokens=10, output_tokens=5, cache_read_tokens=8),
            id="moonshot",
        ),
        pytest.param(
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94},
                "cost_in_usd_ticks": 37756000,
            },
            Usage(input_tokens=32, output_tokens=103, reasoning_tokens=94, cost=0.0037756),
            id="xai counts reasoning apart",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.25},
            Usage(input_tokens=10, output_tokens=5, cost=0.25),
            id="openrouter",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "cost": {"total_cost": 0.5}},
            Usage(input_tokens=10, output_tokens=5, cost=0.5),
            id="perplexity",
        ),
        pytest.param(
            {"prompt_tokens": "ten", "completion_tokens": 5.0, "total_tokens": True},
            Usage(output_tokens=5),
            id="not numbers",
        ),
        pytest.param({"total_tokens": 5}, None, id="no counts"),
    ],
)
def test_usage_of_other_services(usage, expected):
    """The compatible services differ in how they report usage and cost."""
    found = openai_chat.CHAT.response({"usage": usage}).usage
    assert (asdict(found) if found else None) == (asdict(expected) if expected else None)
