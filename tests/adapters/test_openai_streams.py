"""Streams of the OpenAI client over real HTTP: however one is read or left, its call is one span, ended once."""

from __future__ import annotations

import asyncio
import threading

import pytest

pytest.importorskip("openai")
import openai

from tests.clients import openai_bodies as bodies
from tests.clients import openai_client as clients
from tests.clients.openai_client import LEFT, NO_USAGE, STREAM, STREAMED, begin, chat, expected, response


@pytest.fixture(params=["sync", "async"])
def kind(request):
    """Which client is used."""
    return request.param


@pytest.fixture
async def client(kind, server):
    """A client of the server."""
    client = clients.make(kind, server.url)
    yield client
    await clients.close(client)


@pytest.fixture
async def async_client(server):
    """An async client of the server."""
    async with clients.make("async", server.url) as client:
        yield client


# --- read to the end ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "ask",
    [
        clients.stream,
        clients.stream_raw,
        clients.stream_while_it_arrives,
        clients.stream_helper,
        clients.stream_final,
    ],
)
async def test_stream(otel, server, client, ask):
    """However a stream is read to its end, its call is one span like that of a whole answer."""
    server.reply(events=bodies.chat_stream())
    await ask(client)
    assert clients.span(otel, server) == expected(chat(**STREAMED))
    assert len(server.requests) == 1


async def test_stream_metrics(otel, server, client):
    """Time to the first text, and between it and the four chunks after it, are measured."""
    server.reply(events=bodies.chat_stream())
    await clients.stream(client)
    metrics = otel.metrics
    assert [point["count"] for point in metrics["gen_ai.client.operation.time_to_first_chunk"]] == [1]
    assert [point["count"] for point in metrics["gen_ai.client.operation.time_per_output_chunk"]] == [4]


async def test_stream_without_usage(otel, server, client):
    """A stream without `include_usage` says that its usage is not known."""
    server.reply(events=bodies.chat_stream(usage=False))
    await clients.stream(client)
    attributes = chat(**STREAMED, **dict.fromkeys(clients.CHAT_USAGE)) | NO_USAGE
    assert clients.span(otel, server) == expected(attributes)
    assert "gen_ai.client.token.usage" not in otel.metrics
    assert "otel_tools.client.cost" not in otel.metrics


async def test_streamed_tool_call(otel, server, client):
    """A tool call's pieces count as content."""
    server.reply(events=bodies.tool_stream())
    await clients.stream(client)
    assert clients.span(otel, server) == expected(
        chat(**STREAMED, **{"gen_ai.response.finish_reasons": ("tool_calls",)})
    )


@pytest.mark.parametrize("helper", [False, True])
async def test_responses_stream(otel, server, client, helper):
    """Streamed responses, and their helper."""
    server.reply(events=bodies.response_stream())
    if helper:
        async with clients.entered(client.responses.stream(**clients.RESPONSES)) as events:
            answer = await clients.settle(events.get_final_response())
        assert answer.output_text == "It is sunny."
    else:
        await clients.drain(await clients.settle(client.responses.create(**clients.RESPONSES, stream=True)))
    assert clients.span(otel, server) == expected(response(**STREAMED))


async def test_completions_stream(otel, server, client):
    """Streamed legacy completions."""
    server.reply(events=bodies.completion_stream())
    stream = await clients.settle(client.completions.create(model="babbage", prompt="The", stream=True))
    await clients.drain(stream)
    assert otel.span("text_completion babbage")["attributes"]["gen_ai.response.finish_reasons"] == ("length",)


async def test_lines_of_a_stream(otel, server, client):
    """A stream whose lines are read without the client's help is a call whose usage is not known."""
    server.reply(events=bodies.chat_stream())
    async with clients.entered(client.chat.completions.with_streaming_response.create(**STREAM)) as answer:
        lines = await clients.drain(answer.iter_lines())
    assert lines[0].startswith("data: {")
    attributes = clients.request(**{"gen_ai.request.stream": True, "otel_tools.outcome": "ok"}, **NO_USAGE)
    assert clients.span(otel, server) == expected(attributes)


async def test_stream_asked_for_twice(otel, server, client):
    """A held response gives the same stream again; its chunks are counted once."""
    server.reply(events=bodies.chat_stream())
    async with clients.entered(client.chat.completions.with_streaming_response.create(**STREAM)) as answer:
        first, second = await clients.settle(answer.parse()), await clients.settle(answer.parse())
        assert first is second
        assert len(await clients.drain(first)) == 6
    assert clients.span(otel, server) == expected(chat(**STREAMED))
    assert [point["count"] for point in otel.metrics["gen_ai.client.operation.time_per_output_chunk"]] == [4]


# --- failures -------------------------------------------------------------------------------------------------------
async def test_error_in_the_stream(otel, server, client):
    """An error that comes as an event is the client's own exception, and the call's error."""
    server.reply(events=[*bodies.chat_stream()[:2], {"error": {"message": "Overloaded", "code": "overloaded"}}])
    with pytest.raises(openai.APIError, match="Overloaded"):
        await clients.stream(client)
    attributes = {**LEFT, "otel_tools.outcome": "error", "error.type": "openai.APIError"}
    assert clients.span(otel, server) == expected(attributes, status="ERROR")


async def test_stream_is_cancelled(otel, server, async_client):
    """Cancelling the task that reads a stream ends the call as cancelled."""
    hold = threading.Event()
    server.reply(events=bodies.chat_stream(), hold=hold, hold_after=2)
    begun = asyncio.Event()

    async def read():
        async with await begin(async_client) as stream:
            begun.set()
            await clients.drain(stream)

    task = asyncio.create_task(read())
    await begun.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hold.set()
    assert clients.span(otel, server) == expected(LEFT)
