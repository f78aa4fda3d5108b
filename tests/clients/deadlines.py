"""Streams of every LLM client, sync and async, for tests of deadlines: how each is opened, and what the server says."""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.clients import anthropic_bodies, google_genai_bodies, openai_bodies
from tests.fake_server import FakeServer

MESSAGES = [{"role": "user", "content": "hello"}]
CHAT = {"model": "gpt-4o-mini", "messages": MESSAGES, "stream_options": {"include_usage": True}}
ASK = {"model": "claude-haiku-4-5", "messages": MESSAGES, "max_tokens": 9}


async def settle(value: Any) -> Any:
    """*value*, awaited if it is to be."""
    return await value if inspect.isawaitable(value) else value


async def step(iterator: Any) -> Any:
    """The next item of a sync or async iterator; its end is always `StopAsyncIteration`."""
    if hasattr(iterator, "__anext__"):
        return await anext(iterator)
    try:
        return next(iterator)
    except StopIteration:
        raise StopAsyncIteration from None


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """Enter a sync or async context manager."""
    if hasattr(manager, "__aenter__"):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value


@asynccontextmanager
async def openai_client(url: str, asynchronous: bool) -> AsyncIterator[Any]:
    import openai

    cls = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    async with entered(cls(base_url=f"{url}/v1", api_key="x", max_retries=0)) as client:
        yield client


@asynccontextmanager
async def anthropic_client(url: str, asynchronous: bool) -> AsyncIterator[Any]:
    import anthropic

    cls = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
    async with entered(cls(base_url=url, api_key="x", max_retries=0)) as client:
        yield client


@asynccontextmanager
async def google_client(url: str, asynchronous: bool) -> AsyncIterator[Any]:
    from tests.clients.google_genai_calls import client_for

    client = client_for(url)
    try:
        yield client.aio.models if asynchronous else client.models
    finally:
        await client.aio.aclose()
        client.close()


# --- ways to stream, each gives an iterator -------------------------------------------------------------------------
@asynccontextmanager
async def openai_create(client: Any) -> AsyncIterator[Any]:
    yield await settle(client.chat.completions.create(**CHAT, stream=True))


@asynccontextmanager
async def openai_helper(client: Any) -> AsyncIterator[Any]:
    async with entered(client.chat.completions.stream(**CHAT)) as events:
        yield events


@asynccontextmanager
async def openai_held(client: Any) -> AsyncIterator[Any]:
    async with entered(client.chat.completions.with_streaming_response.create(**CHAT, stream=True)) as response:
        yield await settle(response.parse())


@asynccontextmanager
async def openai_lines(client: Any) -> AsyncIterator[Any]:
    async with entered(client.chat.completions.with_streaming_response.create(**CHAT, stream=True)) as response:
        yield response.iter_lines()


@asynccontextmanager
async def anthropic_create(client: Any) -> AsyncIterator[Any]:
    yield await settle(client.messages.create(**ASK, stream=True))


@asynccontextmanager
async def anthropic_helper(client: Any) -> AsyncIterator[Any]:
    async with entered(client.messages.stream(**ASK)) as events:
        yield events


@asynccontextmanager
async def google_stream(client: Any) -> AsyncIterator[Any]:
    yield await settle(client.generate_content_stream(model="gemini-2.5-flash", contents="hello"))


GEMINI = google_genai_bodies.response(google_genai_bodies.candidate(google_genai_bodies.text("It is sunny.")))


@dataclass(frozen=True)
class Use:
    """A way to stream an answer: the client's name in `clients:`, how to make the client, how to open the stream."""

    client: str
    make: Callable[[str, bool], Any]
    open: Callable[[Any], Any]
    events: list[Any]


OPENAI = openai_bodies.chat_stream()
ANTHROPIC = anthropic_bodies.stream(anthropic_bodies.text())
USES = {
    "openai create": Use("openai", openai_client, openai_create, OPENAI),
    "openai stream helper": Use("openai", openai_client, openai_helper, OPENAI),
    "openai held": Use("openai", openai_client, openai_held, OPENAI),
    "openai held lines": Use("openai", openai_client, openai_lines, OPENAI),
    "anthropic create": Use("anthropic", anthropic_client, anthropic_create, ANTHROPIC),
    "anthropic stream helper": Use("anthropic", anthropic_client, anthropic_helper, ANTHROPIC),
    "google-genai": Use("google-genai", google_client, google_stream, [GEMINI, GEMINI]),
}


def reply(server: FakeServer, use: Use, after: int) -> threading.Event:
    """Let the server answer *use* with a stream that stops *after* that many events until the event is set."""
    hold = threading.Event()
    server.reply(events=use.events, hold=hold, hold_after=after)
    return hold


def connections(client: Any) -> list[Any]:
    """The open connections that a client's pool holds."""
    inner = getattr(client, "_client", None)
    pool = getattr(getattr(inner, "_transport", None), "_pool", None)
    return [] if pool is None else [one for one in pool.connections if not one.is_closed()]
