"""Streams of the `anthropic` client: however they are read, left or lost, one span each, and usage at most once."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("anthropic")
import anthropic

from tests.clients import anthropic_bodies as bodies
from tests.clients.anthropic_client import (
    ASK,
    ASYNC,
    BODY_READ_NATIVELY,
    CLIENTS,
    Connect,
    entered,
    first,
    listed,
    settled,
    spans,
    tokens,
)
from tests.fake_server import FakeServer
from tests.recorder import Recorder

UNFINISHED: dict[str, Any] = {
    "anthropic.message.stop_reason": None,
    "gen_ai.response.finish_reasons": None,
    "gen_ai.usage.output_tokens": None,
    "gen_ai.usage.reasoning.output_tokens": None,
    "otel_tools.usage.quality": "partial",
}
"""What a stream that did not come to its last event does not know."""
INPUT_ONLY = {"input": (1, 104)}


@pytest.fixture(params=CLIENTS)
async def connect(request: pytest.FixtureRequest, otel: Recorder, server: FakeServer) -> AsyncIterator[Connect]:
    """Makes clients, sync or async, tracing themselves or not, and closes them at the end."""
    connect = Connect(server, otel, *request.param)
    yield connect
    await connect.close()


# --- read to the end ------------------------------------------------------------------------------------------------
async def iterated(messages: Any) -> Any:
    """`create(stream=True)`, iterated."""
    return await listed(await settled(messages.create(**ASK, stream=True)))


async def stepped(messages: Any) -> Any:
    """`create(stream=True)`, one `next` after the other."""
    stream = await settled(messages.create(**ASK, stream=True))
    return [await first(stream) for _ in bodies.stream()[1:]] + await listed(stream)


async def entered_and_iterated(messages: Any) -> Any:
    """`create(stream=True)` in a `with` block."""
    async with entered(await settled(messages.create(**ASK, stream=True))) as stream:
        return await listed(stream)


async def raw(messages: Any) -> Any:
    """A raw response, parsed into a stream."""
    response = await settled(messages.with_raw_response.create(**ASK, stream=True))
    assert response.headers["content-type"] == "text/event-stream"
    return await listed(await settled(response.parse()))


async def streaming_response(messages: Any) -> Any:
    """A response that is read while it arrives, parsed into a stream."""
    async with entered(messages.with_streaming_response.create(**ASK, stream=True)) as response:
        return await listed(await settled(response.parse()))


def helped(read: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """`stream()`, its helper read in one of its ways."""

    async def helper(messages: Any) -> Any:
        async with entered(messages.stream(**ASK)) as stream:
            return await read(stream)

    return helper


async def twice(stream: Any) -> Any:
    """The text, then the message, which is there already."""
    await listed(stream.text_stream)
    return await settled(stream.get_final_message())


WAYS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "iterated": iterated,
    "stepped": stepped,
    "entered": entered_and_iterated,
    "raw": raw,
    "streaming_response": streaming_response,
    "events": helped(listed),
    "text_stream": helped(lambda stream: listed(stream.text_stream)),
    "final_message": helped(lambda stream: settled(stream.get_final_message())),
    "final_text": helped(lambda stream: settled(stream.get_final_text())),
    "until_done": helped(lambda stream: settled(stream.until_done())),
    "twice": helped(twice),
}


@pytest.mark.parametrize("way", WAYS)
async def test_read_to_the_end(otel: Recorder, server: FakeServer, connect: Connect, way: str) -> None:
    """Every way to read a stream ends its call once, with the final usage."""
    server.reply(events=bodies.stream())

    await WAYS[way](connect().messages)

    assert spans(otel) == [connect.chat(stream=True)]
    assert tokens(otel) == {"input": (1, 104), "output": (1, 25)}


@pytest.mark.parametrize("way", ["iterated", "raw", "text_stream"])
async def test_beta_messages(otel: Recorder, server: FakeServer, connect: Connect, way: str) -> None:
    """Beta messages have streams and helpers of their own; they are no different."""
    server.reply(events=bodies.stream())

    await WAYS[way](connect().beta.messages)

    assert spans(otel) == [connect.chat(stream=True)]
    assert tokens(otel) == {"input": (1, 104), "output": (1, 25)}


async def test_what_is_read(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """The helper gives what it gives: the events, the text, the accumulated message with its tool call."""
    blocks = [bodies.text("I shall look."), bodies.tool_use(city="Paris")]
    server.reply(events=bodies.stream(*blocks, stop_reason="tool_use"))

    async with entered(connect().messages.stream(**ASK)) as stream:
        events = await listed(stream)
        message = await settled(stream.get_final_message())

    assert [event.type for event in events if event.type in {"text", "input_json"}] == ["text"] * 2 + ["input_json"] * 2
    assert [block.type for block in message.content] == ["text", "tool_use"]
    assert (message.content[1].input, message.usage.output_tokens) == ({"city": "Paris"}, 25)
    assert otel.span()["attributes"]["gen_ai.response.finish_reasons"] == ("tool_call",)


# --- not read to the end --------------------------------------------------------------------------------------------
async def next_and_close(messages: Any) -> None:
    """Four events, then `close`."""
    stream = await settled(messages.create(**ASK, stream=True))
    for _ in range(4):
        await first(stream)
    await settled(stream.close())


async def next_and_dropped(messages: Any) -> None:
    """Four events, then nothing more is heard of the stream."""
    stream = await settled(messages.create(**ASK, stream=True))
    for _ in range(4):
        await first(stream)


async def helper_left(messages: Any) -> None:
    """The loop over a helper is left; the `with` block closes it."""
    async with entered(messages.stream(**ASK)) as stream:
        await first(stream.text_stream)


async def helper_closed(messages: Any) -> None:
    """A helper is closed by hand, after some text."""
    async with entered(messages.stream(**ASK)) as stream:
        await first(stream.text_stream)
        await settled(stream.close())


LEAVING = {way.__name__: way for way in (next_and_close, next_and_dropped, helper_left, helper_closed)}


@pytest.mark.parametrize("way", LEAVING)
async def test_left_early(otel: Recorder, server: FakeServer, connect: Connect, way: str) -> None:
    """A stream that is left is one span, not failed; output tokens are unknown, and are not the first event's."""
    server.reply(events=bodies.stream(), hold=threading.Event(), hold_after=6)

    await LEAVING[way](connect().messages)
    if "dropped" in way:
        await collected()

    # of a stream that nobody closes, the client's own tracing reads the usage when ours has ended
    late = dict.fromkeys(BODY_READ_NATIVELY) if way == "next_and_dropped" else {}
    assert spans(otel) == [connect.chat(stream=True, **{"otel_tools.outcome": "cancelled"}, **UNFINISHED | late)]
    assert tokens(otel) == INPUT_ONLY


async def collected() -> None:
    """Let the garbage collector, and what it leaves to the event loop, do their work."""
    gc.collect()
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()


async def closed_unread(messages: Any) -> None:
    """Closed at once."""
    stream = await settled(messages.create(**ASK, stream=True))
    await settled(stream.close())


async def dropped_unread(messages: Any) -> None:
    """Dropped at once."""
    await settled(messages.create(**ASK, stream=True))


async def helper_unread(messages: Any) -> None:
    """A helper in whose `with` block nothing is read."""
    async with entered(messages.stream(**ASK)):
        pass


async def raw_unread(messages: Any) -> None:
    """A raw response that nobody parses."""
    await settled(messages.with_raw_response.create(**ASK, stream=True))


UNREAD = {way.__name__: way for way in (closed_unread, dropped_unread, helper_unread, raw_unread)}


@pytest.mark.parametrize("way", UNREAD)
async def test_never_read(otel: Recorder, server: FakeServer, connect: Connect, way: str) -> None:
    """A stream that nobody reads is one span without usage."""
    server.reply(events=bodies.stream(), hold=threading.Event(), hold_after=1)

    await UNREAD[way](connect().messages)
    if way in {"dropped_unread", "raw_unread"}:
        await collected()

    (span,) = otel.spans
    assert (span["name"], span["status"]) == ("chat claude-test", "UNSET")
    assert span["attributes"]["otel_tools.outcome"] == "cancelled"
    assert span["attributes"]["otel_tools.usage.quality"] == "absent"
    assert tokens(otel) == {}


# --- failures -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", ["iterated", "events", "final_message"])
async def test_error_event(otel: Recorder, server: FakeServer, connect: Connect, way: str) -> None:
    """An error in the middle of a stream is raised as ever, and fails the call with what was known by then."""
    server.reply(events=[*bodies.stream()[:5], bodies.error()])

    with pytest.raises(anthropic.APIStatusError) as raised:
        await WAYS[way](connect().messages)

    kind = type(raised.value)
    failed = {"error.type": f"{kind.__module__}.{kind.__name__}", "otel_tools.outcome": "error"}
    assert spans(otel) == [connect.chat(stream=True, **UNFINISHED, **failed)]
    assert tokens(otel) == INPUT_ONLY


async def test_cut_short(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """A stream that just stops raises nothing in the client; the span says that it failed."""
    server.reply(events=bodies.stream()[:5])

    await iterated(connect().messages)

    failed = {"error.type": "stream_incomplete", "otel_tools.outcome": "error"}
    assert spans(otel) == [connect.chat(stream=True, **UNFINISHED, **failed)]


@pytest.mark.parametrize("connect", ASYNC, indirect=True)
async def test_cancelled_while_reading(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """A task that is cancelled while it waits for an event ends the call at once, with what was known by then."""
    server.reply(events=bodies.stream(), hold=threading.Event(), hold_after=5)
    client, reached = connect(), asyncio.Event()

    async def read() -> None:
        async with client.messages.stream(**ASK) as stream:
            async for _ in stream.text_stream:
                reached.set()

    task = asyncio.create_task(read())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert spans(otel) == [connect.chat(stream=True, **{"otel_tools.outcome": "cancelled"}, **UNFINISHED)]
    assert tokens(otel) == INPUT_ONLY
