"""The OpenAI client in its sync and async form, used the same way, and the spans that its calls are to give."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pydantic

from tests.clients import openai_bodies as bodies

KINDS = {"sync": openai.OpenAI, "async": openai.AsyncOpenAI}
AZURE = {"sync": openai.AzureOpenAI, "async": openai.AsyncAzureOpenAI}


class Weather(pydantic.BaseModel):
    """A structured answer."""

    city: str


def make(kind: str, url: str, **options: Any) -> Any:
    """A client that does not retry."""
    return KINDS[kind](**{"base_url": f"{url}/v1", "api_key": "k", "max_retries": 0, **options})


def make_azure(kind: str, url: str) -> Any:
    """A client of Azure."""
    return AZURE[kind](azure_endpoint=url, api_key="k", api_version="2025-01-01-preview", max_retries=0)


async def settle(value: Any) -> Any:
    """*value*, awaited if it is to be."""
    return await value if inspect.isawaitable(value) else value


async def each(iterable: Any) -> AsyncIterator[Any]:
    """The items of a sync or async iterable."""
    if hasattr(iterable, "__aiter__"):
        async for item in iterable:
            yield item
    else:
        for item in iterable:
            yield item


async def drain(iterable: Any) -> list[Any]:
    """All items of a sync or async iterable."""
    return [item async for item in each(iterable)]


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """Enter a sync or async context manager."""
    if hasattr(manager, "__aenter__"):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value


async def close(client: Any) -> None:
    """Close a sync or async client."""
    await settle(client.close())


# --- ways to ask, each with the answer already queued ---------------------------------------------------------------
CHAT = {"model": bodies.MODEL, "messages": bodies.MESSAGES}
STREAM = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
RESPONSES = {"model": bodies.MODEL, "input": "What is the weather in Paris?"}


async def create(client: Any) -> Any:
    """`create`, the plain way."""
    return await settle(client.chat.completions.create(**CHAT))


async def create_raw(client: Any) -> Any:
    """`with_raw_response`, as langchain-openai does."""
    return (await settle(client.chat.completions.with_raw_response.create(**CHAT))).parse()


async def create_raw_unread(client: Any) -> Any:
    """`with_raw_response` for the sake of the headers."""
    return (await settle(client.chat.completions.with_raw_response.create(**CHAT))).headers


async def read_while_it_arrives(client: Any, method: str) -> Any:
    """`with_streaming_response`, read with *method*."""
    async with entered(client.chat.completions.with_streaming_response.create(**CHAT)) as response:
        return await settle(getattr(response, method)())


async def parse(client: Any) -> Any:
    """`parse`, with a model of ours as the response format."""
    return await settle(client.chat.completions.parse(**CHAT, response_format=Weather))


async def parse_raw(client: Any) -> Any:
    """`parse` with a raw response."""
    parsed = await settle(client.chat.completions.with_raw_response.parse(**CHAT, response_format=Weather))
    return parsed.parse()


async def stream(client: Any) -> Any:
    """`create(stream=True)`, read to its end."""
    return await drain(await settle(client.chat.completions.create(**STREAM)))


async def stream_raw(client: Any) -> Any:
    """The same through a raw response."""
    return await drain((await settle(client.chat.completions.with_raw_response.create(**STREAM))).parse())


async def stream_while_it_arrives(client: Any) -> Any:
    """The same through a streaming response, as openai-agents does."""
    async with entered(client.chat.completions.with_streaming_response.create(**STREAM)) as response:
        return await drain(await settle(response.parse()))


async def stream_helper(client: Any) -> Any:
    """The `stream` helper, read through its events."""
    options = {**CHAT, "stream_options": {"include_usage": True}}
    async with entered(client.chat.completions.stream(**options)) as events:
        return await drain(events)


async def stream_final(client: Any) -> Any:
    """The `stream` helper, asked for its final result only."""
    options = {**CHAT, "stream_options": {"include_usage": True}}
    async with entered(client.chat.completions.stream(**options)) as events:
        return await settle(events.get_final_completion())


# --- spans ----------------------------------------------------------------------------------------------------------
USAGE = {
    "gen_ai.usage.input_tokens": 117,
    "gen_ai.usage.output_tokens": 25,
    "gen_ai.usage.cache_read.input_tokens": 64,
    "gen_ai.usage.reasoning.output_tokens": 8,
    "otel_tools.usage.quality": "exact",
    "otel_tools.cost.usd": 0.000338,
    "otel_tools.cost.source": "genai-prices",
}
NO_USAGE = {"otel_tools.usage.quality": "absent"}
CHAT_USAGE = {**USAGE, "gen_ai.usage.audio.input_tokens": 0, "gen_ai.usage.audio.output_tokens": 0}
RESPONSES_USAGE = {**USAGE, "gen_ai.usage.cache_write.input_tokens": 16}
STREAMED = {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": "measured"}


def span(otel: Any, server: Any) -> dict[str, Any]:
    """The one finished span, without what differs from run to run (which must be there, though)."""
    return settled(otel.span(), server)


def settled(found: dict[str, Any], server: Any) -> dict[str, Any]:
    """A span without what differs from run to run."""
    attributes = found["attributes"]
    assert (attributes.pop("server.address"), attributes.pop("server.port")) == ("127.0.0.1", server.port)
    if "gen_ai.response.time_to_first_chunk" in attributes:
        assert attributes["gen_ai.response.time_to_first_chunk"] > 0
        attributes["gen_ai.response.time_to_first_chunk"] = "measured"
    return found


def expected(attributes: dict[str, Any], name: str = f"chat {bodies.MODEL}", **changes: Any) -> dict[str, Any]:
    """A span of the client with these attributes."""
    plain = {"name": name, "kind": "CLIENT", "status": "UNSET", "parent": None, "events": []}
    return {**plain, **changes, "attributes": attributes}


def request(**changes: Any) -> dict[str, Any]:
    """Attributes of every chat, known before it is sent."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": bodies.MODEL,
        "openai.api.type": "chat_completions",
        **changes,
    }


def chat(**changes: Any) -> dict[str, Any]:
    """Attributes of the plain chat completion; `None` takes one away."""
    attributes = {
        **request(),
        **CHAT_USAGE,
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "gpt-4.1-2025-04-14",
        "gen_ai.response.finish_reasons": ("stop",),
        "openai.response.service_tier": "default",
        "openai.response.system_fingerprint": "fp_1",
        "otel_tools.outcome": "ok",
        **changes,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def without(attributes: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    """*attributes* without those that *others* have."""
    names = {name for other in others for name in other}
    return {name: value for name, value in attributes.items() if name not in names}


def response(**changes: Any) -> dict[str, Any]:
    """Attributes of the plain response; `None` takes one away."""
    attributes = {
        **request(),
        **RESPONSES_USAGE,
        "openai.api.type": "responses",
        "gen_ai.response.id": "resp_1",
        "gen_ai.response.model": "gpt-4.1-2025-04-14",
        "gen_ai.response.finish_reasons": ("stop",),
        "openai.response.service_tier": "default",
        "otel_tools.outcome": "ok",
        **changes,
    }
    return {name: value for name, value in attributes.items() if value is not None}


LEFT = (
    chat(
        **STREAMED,
        **dict.fromkeys(CHAT_USAGE),
        **{"gen_ai.response.finish_reasons": ("error",), "otel_tools.outcome": "cancelled"},
    )
    | NO_USAGE
)
"""A stream that was left after its first text."""

UNREAD = request(
    **{
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ("error",),
        "otel_tools.outcome": "cancelled",
    },
    **NO_USAGE,
)
"""A stream that was never read."""


async def begin(client):
    """A stream of which the role and the first text were read."""
    stream = await settle(client.chat.completions.create(**STREAM))
    step = stream.__anext__ if hasattr(stream, "__anext__") else stream.__next__
    assert (await settle(step())).choices[0].delta.content == ""
    assert (await settle(step())).choices[0].delta.content == "It is"
    return stream
