"""The readers of responses, embeddings and legacy completions, on dictionaries and on the models of the client."""

from __future__ import annotations

import pytest

from otel_tools.adapters.wire import openai_completions, openai_embeddings, openai_responses
from otel_tools.model import Usage
from tests.clients import openai_bodies as bodies

pytest.importorskip("openai")
types = pytest.importorskip("openai.types")

USAGE = Usage(input_tokens=117, output_tokens=25, cache_read_tokens=64, cache_write_tokens=16, reasoning_tokens=8)
SUNNY = {"role": "assistant", "parts": [{"type": "text", "content": "It is sunny."}], "finish_reason": "stop"}
RESPONSE = {
    "id": "resp_1",
    "model": "gpt-4.1-2025-04-14",
    "finish_reasons": ["stop"],
    "usage": USAGE,
    "fields": {"openai_service_tier": "default"},
    "output": [SUNNY],
    "error_type": None,
}
STREAMED = [False, False, False, False, True, True, False, False, False, False]


def read(response):
    """A response as a dictionary, its output included."""
    return {
        "id": response.id,
        "model": response.model,
        "finish_reasons": list(response.finish_reasons),
        "usage": response.usage,
        "fields": {name: value for name, value in response.fields.items() if value is not None},
        "output": response.output() if response.output else None,
        "error_type": response.error_type,
    }


def collect(chunks, events, *, complete=True):
    """Which of *events* carried content, and what was read of all of them."""
    content = [chunks.add(event) for event in events if event != "[DONE]"]
    return content, read(chunks.response(complete))


def as_is(body, _model):
    return body


def as_model(body, model):
    return model.construct(**body)


both = pytest.mark.parametrize("made", [as_is, as_model])


@both
def test_response(made):
    """Everything a response says is read, from a dictionary as from the client's model."""
    payload = made(bodies.response(conversation={"id": "conv_1"}), types.responses.Response)
    fields = {**RESPONSE["fields"], "conversation_id": "conv_1"}
    assert read(openai_responses.RESPONSES.response(payload)) == RESPONSE | {"fields": fields}


@both
def test_response_with_calls(made):
    """A function call is the finish reason; all items together are one message."""
    payload = made(bodies.response(bodies.reasoning_item(), bodies.call_item()), types.responses.Response)
    parts = [
        {"type": "reasoning", "content": "Look out of the window."},
        {"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": {"city": "Paris"}},
    ]
    message = {"role": "assistant", "parts": parts, "finish_reason": "tool_call"}
    expected = RESPONSE | {"finish_reasons": ["tool_calls"], "output": [message]}
    assert read(openai_responses.RESPONSES.response(payload)) == expected


@pytest.mark.parametrize(
    ("item", "parts"),
    [
        pytest.param(
            {"type": "custom_tool_call", "call_id": "call_2", "name": "sql", "input": "SELECT 1"},
            [{"type": "tool_call", "id": "call_2", "name": "sql", "arguments": "SELECT 1"}],
            id="custom tool",
        ),
        pytest.param(
            {"type": "local_shell_call", "id": "sh_1", "call_id": "call_3", "action": {"command": ["ls"]}},
            [{"type": "tool_call", "id": "call_3", "name": "local_shell", "arguments": {"command": ["ls"]}}],
            id="shell",
        ),
        pytest.param(
            {"type": "mcp_call", "id": "mcp_1", "name": "search", "arguments": "{}", "output": "found"},
            [
                {
                    "type": "server_tool_call",
                    "id": "mcp_1",
                    "name": "search",
                    "server_tool_call": {"type": "mcp_call", "name": "search", "arguments": "{}"},
                },
                {
                    "type": "server_tool_call_response",
                    "id": "mcp_1",
                    "server_tool_call_response": {"type": "mcp_call", "output": "found"},
                },
            ],
            id="tool run by OpenAI",
        ),
        pytest.param(
            {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}},
            [
                {
                    "type": "server_tool_call",
                    "id": "ws_1",
                    "name": "web_search",
                    "server_tool_call": {
                        "type": "web_search_call",
                        "status": "completed",
                        "action": {"type": "search"},
                    },
                }
            ],
            id="web search",
        ),
        pytest.param(
            {"type": "image_generation_call", "id": "ig_1", "result": "iVBORw=="},
            [{"type": "blob", "modality": "image", "mime_type": "image/png", "content": "iVBORw=="}],
            id="image",
        ),
        pytest.param(
            {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA"},
            [{"type": "compaction", "id": "cmp_1"}],
            id="compaction",
        ),
        pytest.param(
            {"type": "mcp_list_tools", "id": "mcpl_1", "tools": []},
            [{"type": "mcp_list_tools", "id": "mcpl_1", "tools": []}],
            id="unknown",
        ),
    ],
)
@both
def test_response_items(made, item, parts):
    """Every kind of output item is part of the message."""
    payload = made(bodies.response(item), types.responses.Response)
    (message,) = openai_responses.RESPONSES.response(payload).output()
    assert message["parts"] == parts


@pytest.mark.parametrize(
    ("fields", "reasons", "error_type"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, ["length"], None),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, ["content_filter"], None),
        ({"status": "incomplete"}, ["error"], None),
        ({"status": "failed", "error": {"code": "server_error", "message": "Oops"}}, ["error"], "server_error"),
        ({"status": "failed"}, ["error"], "error"),
        ({"status": "cancelled"}, ["error"], None),
        ({"status": "queued", "usage": None}, [], None),
    ],
)
def test_response_that_is_not_complete(fields, reasons, error_type):
    """A response has a status, from which follow the finish reason and whether the call failed."""
    response = openai_responses.RESPONSES.response(bodies.response(**fields))
    assert (list(response.finish_reasons), response.error_type) == (reasons, error_type)


@pytest.mark.parametrize("payload", [None, "not found", {}])
def test_response_of_nothing(payload):
    """An answer that is no response is read as nothing at all."""
    nothing = {"id": None, "model": None, "finish_reasons": [], "usage": None, "fields": {}, "error_type": None}
    assert read(openai_responses.RESPONSES.response(payload)) == nothing | {"output": []}


def test_response_stream():
    """Deltas carry content, the other events do not; the last one holds the whole response."""
    content, found = collect(openai_responses.RESPONSES.chunks(), bodies.response_stream())
    assert (content, found) == (STREAMED, RESPONSE)


def test_response_stream_of_models():
    """The client's event models read like the dictionaries."""
    adapter = pytest.importorskip("pydantic").TypeAdapter(types.responses.ResponseStreamEvent)
    events = [adapter.validate_python(event) for event in bodies.response_stream()]
    assert collect(openai_responses.RESPONSES.chunks(), events) == (STREAMED, RESPONSE)


def test_response_stream_that_fails():
    """A response that fails on the way is a failed call, with the usage that it had."""
    events = bodies.response_stream("failed", error={"code": "server_error", "message": "Oops"})
    _, found = collect(openai_responses.RESPONSES.chunks(), events)
    message = {**SUNNY, "finish_reason": "error"}
    assert found == RESPONSE | {"finish_reasons": ["error"], "error_type": "server_error", "output": [message]}


def test_response_stream_with_an_error_event():
    """An error event ends the stream; what had arrived is kept."""
    events = [*bodies.response_stream()[:6], {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down"}]
    _, found = collect(openai_responses.RESPONSES.chunks(), events)
    assert found == RESPONSE | {
        "finish_reasons": ["error"],
        "usage": None,
        "error_type": "rate_limit_exceeded",
        "output": [{**SUNNY, "finish_reason": "error"}],
    }


@pytest.mark.parametrize("read_events", [5, 9])
def test_response_stream_left_early(read_events):
    """A stream left early has what arrived of the text, whether or not its item was done, and no usage."""
    events = bodies.response_stream()[:read_events]
    _, found = collect(openai_responses.RESPONSES.chunks(), events, complete=False)
    text = "It is" if read_events == 5 else "It is sunny."
    message = {"role": "assistant", "parts": [{"type": "text", "content": text}], "finish_reason": "error"}
    assert found == RESPONSE | {"finish_reasons": ["error"], "usage": None, "output": [message]}


@pytest.mark.parametrize("as_base64", [True, False])
@both
def test_embeddings(made, as_base64):
    """The dimension is read from numbers and from base64; there are input tokens only."""
    body = bodies.embeddings([0.5, 0.25, 0.125], [1.0, 2.0, 3.0], as_base64=as_base64)
    found = read(openai_embeddings.EMBEDDINGS.response(made(body, types.CreateEmbeddingResponse)))
    assert found == {
        "id": None,
        "model": "text-embedding-3-small",
        "finish_reasons": [],
        "usage": Usage(input_tokens=9),
        "fields": {"dimension_count": 3},
        "output": None,
        "error_type": None,
    }


@pytest.mark.parametrize("size", [1, 2, 3, 4, 1536])
def test_dimension_in_base64(size):
    """The dimension is right for every length of padding."""
    body = bodies.embeddings([0.5] * size)
    assert openai_embeddings.EMBEDDINGS.response(body).fields == {"dimension_count": size}


@pytest.mark.parametrize(
    ("usage", "expected"), [({"total_tokens": 7}, Usage(input_tokens=7)), (None, None), ({}, None)]
)
def test_embeddings_usage(usage, expected):
    """Services that give the total only, or nothing, are understood."""
    response = openai_embeddings.EMBEDDINGS.response({"usage": usage, "data": []})
    assert (response.usage, response.fields) == (expected, {"dimension_count": None})


@both
def test_completion(made):
    """A legacy completion reads like a chat completion."""
    found = read(openai_completions.COMPLETIONS.response(made(bodies.completion(), types.Completion)))
    assert found == {
        "id": "cmpl-1",
        "model": "gpt-3.5-turbo-instruct",
        "finish_reasons": ["length"],
        "usage": Usage(input_tokens=5, output_tokens=4),
        "fields": {},
        "output": [{**SUNNY, "finish_reason": "length"}],
        "error_type": None,
    }


def test_completion_stream():
    """The chunks of a legacy completion carry text."""
    content, found = collect(openai_completions.COMPLETIONS.chunks(), bodies.completion_stream())
    assert content == [True, True]
    assert (found["finish_reasons"], found["usage"]) == (["length"], None)
    assert found["output"] == [{**SUNNY, "finish_reason": "length"}]
