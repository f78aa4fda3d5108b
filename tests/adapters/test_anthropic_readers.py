"""The readers of the Messages API, on plain dictionaries and on the models of the client."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from otel_tools.adapters.wire.anthropic_messages import AnthropicMessages
from otel_tools.model import LLMResponse, Usage
from tests.clients import anthropic_bodies as bodies

anthropic = pytest.importorskip("anthropic")
types = pytest.importorskip("anthropic.types")
beta = pytest.importorskip("anthropic.types.beta")

WIRE = AnthropicMessages()
USAGE = Usage(
    input_tokens=104,
    output_tokens=25,
    cache_read_tokens=64,
    cache_write_tokens=30,
    cache_write_1h_tokens=10,
    reasoning_tokens=8,
)
STARTED = Usage(
    input_tokens=104, cache_read_tokens=64, cache_write_tokens=30, cache_write_1h_tokens=10, quality="partial"
)
SUNNY = {"role": "assistant", "parts": [{"type": "text", "content": "It is sunny."}], "finish_reason": "stop"}
BLOCKS = [
    {"type": "thinking", "thinking": "Look out of the window.", "signature": "c2ln"},
    bodies.text("I shall look."),
    bodies.tool_use(city="Paris"),
]
PARTS = [
    {"type": "reasoning", "content": "Look out of the window."},
    {"type": "text", "content": "I shall look."},
    {"type": "tool_call", "id": "toolu_1", "name": "get_weather", "arguments": {"city": "Paris"}},
]


def read(response: LLMResponse) -> dict[str, Any]:
    """A response as a dictionary, its output included, which must be JSON."""
    found = {name: value for name, value in asdict(response).items() if name not in {"output", "usage"}}
    found["fields"] = {name: value for name, value in response.fields.items() if value is not None}
    found["output"] = response.output() if response.output else None
    found["usage"] = response.usage
    json.dumps(found["output"])
    return found


def expected(**changes: Any) -> dict[str, Any]:
    """What is read from the plain message, with *changes*."""
    return {
        "id": "msg_1",
        "model": bodies.SERVED,
        "finish_reasons": ("stop",),
        "usage": USAGE,
        "fields": {"anthropic_service_tier": "standard"},
        "output": [SUNNY],
        "error_type": None,
        **changes,
    }


# --- whole responses ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("make", [dict, types.Message.construct, beta.BetaMessage.construct])
def test_message(make: Any) -> None:
    """Cached tokens are added to the input tokens, which the wire counts without them."""
    assert read(WIRE.response(make(**bodies.message()))) == expected()


@pytest.mark.parametrize("make", [dict, types.Message.construct])
def test_blocks(make: Any) -> None:
    """Thinking, text and tool calls become parts of one message."""
    response = WIRE.response(make(**bodies.message(*BLOCKS, stop_reason="tool_use")))

    output = [{"role": "assistant", "parts": PARTS, "finish_reason": "tool_call"}]
    assert read(response) == expected(finish_reasons=("tool_call",), output=output)


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_call"),
        ("refusal", "refusal"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_finish_reason(stop_reason: str, finish_reason: str) -> None:
    """The conventions' words where they have one, the API's own where not."""
    assert WIRE.response(bodies.message(stop_reason=stop_reason)).finish_reasons == (finish_reason,)


@pytest.mark.parametrize("make", [dict, beta.BetaMessage.construct])
def test_compaction_is_billed(make: Any) -> None:
    """Tokens of a compaction on the server are added to the totals, those of the iterations are in them already."""
    counts = {"input_tokens": 5, "cache_read_input_tokens": 1, "cache_creation_input_tokens": 2, "output_tokens": 7}
    advisor = {**counts, "type": "advisor_message", "model": "claude-other"}
    iterations = [{**counts, "type": "compaction"}, {**counts, "type": "message"}, advisor]
    usage = {**bodies.USAGE, "iterations": iterations}

    assert WIRE.response(make(**bodies.message(usage=usage))).usage == Usage(
        input_tokens=112,
        output_tokens=32,
        cache_read_tokens=65,
        cache_write_tokens=32,
        cache_write_1h_tokens=10,
        reasoning_tokens=8,
    )


def test_plain_usage() -> None:
    """Without a cache nothing is added, and what was not counted stays unknown."""
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": None}

    assert WIRE.response(bodies.message(usage=usage)).usage == Usage(input_tokens=10, output_tokens=5)


def test_no_message() -> None:
    """A body that is no message says nothing, and nothing is made up."""
    assert read(WIRE.response({"detail": "not found"})) == {
        "id": None,
        "model": None,
        "finish_reasons": (),
        "usage": None,
        "fields": {},
        "output": [{"role": "assistant", "parts": [], "finish_reason": "error"}],
        "error_type": None,
    }


# --- streams --------------------------------------------------------------------------------------------------------
def collect(events: list[Any], *, complete: bool = True) -> tuple[list[bool], LLMResponse]:
    """Whether each of *events* carries content, and what they make."""
    chunks = WIRE.chunks()
    return [chunks.add(event) for event in events], chunks.response(complete)


def models(events: list[dict[str, Any]]) -> list[Any]:
    """*events* as the client gives them."""
    construct = pytest.importorskip("anthropic._models").construct_type
    return [construct(type_=types.RawMessageStreamEvent, value=event) for event in events]


@pytest.mark.parametrize("make", [list, models])
def test_stream(make: Any) -> None:
    """Output tokens come from the last event, and only deltas carry content."""
    content, response = collect(make(bodies.stream()))

    assert read(response) == expected()
    assert content == [False, False, False, True, True, False, False, False]


@pytest.mark.parametrize("make", [list, models])
def test_stream_of_blocks(make: Any) -> None:
    """Streamed blocks read like whole ones; the start of a tool call carries content, the others are empty."""
    content, response = collect(make(bodies.stream(*BLOCKS, stop_reason="tool_use")))

    output = [{"role": "assistant", "parts": PARTS, "finish_reason": "tool_call"}]
    assert read(response) == expected(finish_reasons=("tool_call",), output=output)
    assert content[2:] == [False, True, True, True, False] + [False, True, True, False] + [True] * 3 + [False] * 3


@pytest.mark.parametrize("make", [list, models])
def test_stream_left_early(make: Any) -> None:
    """The placeholder of the first event never counts as output tokens."""
    _, response = collect(make(bodies.stream()[:4]), complete=False)

    output = [{"role": "assistant", "parts": [{"type": "text", "content": "It is "}], "finish_reason": "error"}]
    assert read(response) == expected(finish_reasons=(), usage=STARTED, output=output)


def test_stream_cut_short() -> None:
    """A stream that ends by itself without a stop reason failed, although the client raises nothing."""
    _, response = collect(bodies.stream()[:4])

    assert (response.error_type, response.usage) == ("stream_incomplete", STARTED)


def test_stream_never_read() -> None:
    """Without an event nothing is known."""
    _, response = collect([], complete=False)

    output = [{"role": "assistant", "parts": [], "finish_reason": "error"}]
    nothing = {"id": None, "model": None, "finish_reasons": (), "usage": None, "fields": {}}
    assert read(response) == expected(**nothing, output=output)


def test_last_event_corrects_the_input_tokens() -> None:
    """Server tools add to the input while the answer is made: the counts of the last event replace the first ones."""
    events = [*bodies.stream()[:-2], bodies.delta(input_tokens=50, cache_read_input_tokens=0), {"type": "message_stop"}]
    _, response = collect(events)

    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.cache_read_tokens) == (80, 0)


def test_model_that_took_over() -> None:
    """After a refusal another model may go on: the response is its."""
    block = {"type": "fallback", "from": {"model": bodies.SERVED}, "to": {"model": "claude-other"}}
    content, response = collect(bodies.stream(bodies.text("I"), block, bodies.text("It is sunny.")))

    assert response.model == "claude-other"
    assert content[6] is False
