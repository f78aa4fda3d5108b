"""Uses of the `google-genai` client, each in a sync and an async version, against a base URL."""

from __future__ import annotations

import asyncio
import inspect
import ssl
import threading
from collections.abc import Callable
from typing import Any

from tests.clients.google_genai_bodies import MODEL

_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTENTS = "What is the weather in Bonn?"


def client_for(url: str, *, vertexai: bool = False) -> Any:
    """A client of the Gemini API, or of Vertex AI, that talks to *url*."""
    from google import genai

    options = {
        "base_url": url,
        # loading the certificate authorities takes 0.1 s for each client, and nothing here is encrypted
        "client_args": {"verify": _TLS},
        "async_client_args": {"verify": _TLS, "ssl": _TLS},
    }
    return genai.Client(api_key="secret-key", vertexai=vertexai, http_options=options)


def perform(url: str, use: Callable[..., Any], *, vertexai: bool = False, **options: Any) -> Any:
    """What *use* gives, with a client of its own that is closed afterwards."""
    return asyncio.run(perform_async(url, use, vertexai=vertexai, **options))


async def perform_async(url: str, use: Callable[..., Any], *, vertexai: bool = False, **options: Any) -> Any:
    """The same within a running event loop."""
    client = client_for(url, vertexai=vertexai)
    try:
        value = use(client, **options)
        return await value if inspect.isawaitable(value) else value
    finally:
        await client.aio.aclose()
        client.close()


def generate(client: Any, **options: Any) -> Any:
    return client.models.generate_content(**{"model": MODEL, "contents": CONTENTS, **options})


async def generate_async(client: Any, **options: Any) -> Any:
    return await client.aio.models.generate_content(**{"model": MODEL, "contents": CONTENTS, **options})


def stream(client: Any, count: int | None = None, **options: Any) -> list[Any]:
    """The chunks of a stream, all or the first *count* of them."""
    chunks = []
    for chunk in client.models.generate_content_stream(model=MODEL, contents=CONTENTS, **options):
        chunks.append(chunk)
        if len(chunks) == count:
            break
    return chunks


async def stream_async(client: Any, count: int | None = None, **options: Any) -> list[Any]:
    """The same."""
    chunks = []
    iterator = await client.aio.models.generate_content_stream(model=MODEL, contents=CONTENTS, **options)
    async for chunk in iterator:
        chunks.append(chunk)
        if len(chunks) == count:
            await iterator.aclose()
            break
    return chunks


def chat(client: Any, *, config: Any = None) -> list[Any]:
    """Two turns, the second one streamed."""
    conversation = client.chats.create(model=MODEL, config=config)
    return [conversation.send_message("hi"), *conversation.send_message_stream(CONTENTS)]


async def chat_async(client: Any, *, config: Any = None) -> list[Any]:
    """The same."""
    conversation = client.aio.chats.create(model=MODEL, config=config)
    answer = await conversation.send_message("hi")
    return [answer, *[chunk async for chunk in await conversation.send_message_stream(CONTENTS)]]


def embed(client: Any) -> Any:
    return client.models.embed_content(model=MODEL, contents=["a", "b"], config={"output_dimensionality": 3})


async def embed_async(client: Any) -> Any:
    return await client.aio.models.embed_content(model=MODEL, contents=["a", "b"], config={"output_dimensionality": 3})


class Gate(threading.Event):
    """Holds back a reply of the fake server, and tells when the server waits at it."""

    def __init__(self) -> None:
        super().__init__()
        self._reached = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self._reached.set()
        return super().wait(timeout)

    async def reached(self) -> None:
        """Wait until the server holds the reply back."""
        assert await asyncio.to_thread(self._reached.wait, 10)
