"""Streams of the OpenAI client that are left early: each ends its call once, and gives its connection back."""

from __future__ import annotations

import asyncio
import gc

import pytest

pytest.importorskip("openai")
from tests.clients import openai_bodies as bodies
from tests.clients import openai_client as clients
from tests.clients.openai_client import LEFT, NO_USAGE, STREAM, STREAMED, UNREAD, begin, expected, response


class Oops(Exception):
    """An error of the reader's own."""


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
def sync_client(server):
    """A sync client of the server."""
    with clients.make("sync", server.url) as client:
        yield client


@pytest.fixture
async def async_client(server):
    """An async client of the server."""
    async with clients.make("async", server.url) as client:
        yield client


async def test_closed(otel, server, client):
    """Closing a stream ends its call, without waiting for the garbage collector."""
    server.reply(events=bodies.chat_stream())
    stream = await begin(client)
    assert otel.spans == []
    await clients.settle(stream.close())
    assert clients.span(otel, server) == expected(LEFT)


async def test_left_by_break_in_with(otel, server, client):
    """Leaving a `with` block ends the call."""
    server.reply(events=bodies.chat_stream())
    async with clients.entered(await begin(client)) as stream:
        assert stream.response.status_code == 200
    assert clients.span(otel, server) == expected(LEFT)


async def test_reader_fails(otel, server, client):
    """An error in the reader's own code is not an error of the call."""
    server.reply(events=bodies.chat_stream())
    with pytest.raises(Oops):
        async with clients.entered(await begin(client)):
            raise Oops
    assert clients.span(otel, server) == expected(LEFT)


async def test_helper_left_early(otel, server, client):
    """The helpers close the HTTP response, not the stream; that ends the call as well."""
    server.reply(events=bodies.chat_stream())
    options = {**clients.CHAT, "stream_options": {"include_usage": True}}
    async with clients.entered(client.chat.completions.stream(**options)) as events:
        async for event in clients.each(events):
            if event.type == "content.delta" and event.delta:
                break
    assert clients.span(otel, server) == expected(LEFT)
    assert events.current_completion_snapshot.choices[0].message.content == "It is"


async def test_responses_helper_left_early(otel, server, client):
    """Likewise for responses."""
    server.reply(events=bodies.response_stream())
    async with clients.entered(client.responses.stream(**clients.RESPONSES)) as events:
        async for event in clients.each(events):
            if event.type == "response.output_text.delta":
                break
    attributes = response(**STREAMED, **dict.fromkeys(clients.RESPONSES_USAGE)) | NO_USAGE
    changes = {"gen_ai.response.finish_reasons": ("error",), "otel_tools.outcome": "cancelled"}
    assert clients.span(otel, server) == expected(attributes | changes)
    assert events


def test_dropped(otel, server, sync_client):
    """A stream that is dropped ends its call when it is collected."""
    server.reply(events=bodies.chat_stream())
    for chunk in sync_client.chat.completions.create(**STREAM):
        if chunk.choices[0].delta.content:
            break
    gc.collect()
    assert clients.span(otel, server) == expected(LEFT)


async def test_async_dropped(otel, server, async_client):
    """An async stream likewise, though its generator is finalised in another task."""
    server.reply(events=bodies.chat_stream())
    async for chunk in await async_client.chat.completions.create(**STREAM):
        if chunk.choices[0].delta.content:
            break
    for _ in range(5):  # the loop closes the generators that the collector finds, one inside the other
        await asyncio.sleep(0)
        gc.collect()
    assert clients.span(otel, server) == expected(LEFT)


async def test_never_read(otel, server, client):
    """A stream that nobody reads ends its call when it is collected."""
    server.reply(events=bodies.chat_stream())
    stream = await clients.settle(client.chat.completions.create(**STREAM))
    await clients.settle(stream.response.aread() if hasattr(stream, "__anext__") else stream.response.read())
    del stream
    gc.collect()
    assert clients.span(otel, server) == expected(UNREAD)


async def test_closed_unread(otel, server, client):
    """A stream that is closed unread ends its call."""
    server.reply(events=bodies.chat_stream())
    stream = await clients.settle(client.chat.completions.create(**STREAM))
    await clients.settle(stream.close())
    assert clients.span(otel, server) == expected(UNREAD)


async def test_held_response_closed_unread(otel, server, client):
    """So does a response that was to be read while it arrives."""
    server.reply(events=bodies.chat_stream())
    async with clients.entered(client.chat.completions.with_streaming_response.create(**STREAM)) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
    assert clients.span(otel, server) == expected(UNREAD)


async def test_lines_left_early(otel, server, client):
    """Reading some of the lines is leaving early, too."""
    server.reply(events=bodies.chat_stream())
    async with clients.entered(client.chat.completions.with_streaming_response.create(**STREAM)) as answer:
        async for line in clients.each(answer.iter_lines()):
            assert line
            break
    found = clients.span(otel, server)
    assert found == expected(UNREAD)


async def test_connection_goes_back(otel, server, client):
    """A stream left early gives its connection back: no client runs out of them."""
    assert otel.spans == []
    for _ in range(3):
        server.reply(events=bodies.chat_stream())
        stream = await begin(client)
        await clients.settle(stream.close())
    assert [connection.is_closed() for connection in client._client._transport._pool.connections] in ([], [True])
