"""The matrix: adapter x {sync, async, stream, async stream} x every way a call can end = one finished span each.

Each adapter says how a call of each mode is made and what the far side answers; the matrix decides how it ends. The
adapters' own tests compare whole spans; here it is their number, outcome and status, and that no context is left over.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from langchain_core.tools import StructuredTool, ToolException
from opentelemetry import trace

import otel_tools
from tests.clients import anthropic_bodies, google_genai_bodies, openai_bodies
from tests.fake_server import FakeServer

EXPECTED = {
    "ok": ("ok", "UNSET"),
    "error": ("error", "ERROR"),
    "error as data": ("tool_error", "ERROR"),
    "cancelled": ("cancelled", "UNSET"),
    "left early": ("cancelled", "UNSET"),
    "never read": ("cancelled", "UNSET"),
}


async def settle(value: Any) -> Any:
    return await value if hasattr(value, "__await__") else value


async def read(items: Any, count: int | None = None) -> None:
    """Read all of a stream, or *count* items."""
    iterator = items.__aiter__() if hasattr(items, "__aiter__") else items.__iter__()
    step = iterator.__anext__ if hasattr(iterator, "__anext__") else iterator.__next__
    try:
        while count is None or count > 0:
            await settle(step())
            count = None if count is None else count - 1
    except (StopIteration, StopAsyncIteration):
        pass


async def close(stream: Any) -> None:
    for name in ("aclose", "close"):
        if hasattr(stream, name):
            await settle(getattr(stream, name)())
            return


# --- LLM clients ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Client:
    """An LLM client: how to make it, call it, and what its server answers."""

    make: Callable[[str, bool], Any]
    call: Callable[[Any, bool, bool], Any]
    whole: Any
    events: list[Any]


def openai_client(url: str, is_async: bool) -> Any:
    return (openai.AsyncOpenAI if is_async else openai.OpenAI)(base_url=f"{url}/v1", api_key="x", max_retries=0)


def anthropic_client(url: str, is_async: bool) -> Any:
    return (anthropic.AsyncAnthropic if is_async else anthropic.Anthropic)(base_url=url, api_key="x", max_retries=0)


def google_client(url: str, is_async: bool) -> Any:
    return genai.Client(api_key="x", http_options={"base_url": url})


MESSAGES = [{"role": "user", "content": "hello"}]


def call_openai(client: Any, is_async: bool, stream: bool) -> Any:
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, **options)


def call_responses(client: Any, is_async: bool, stream: bool) -> Any:
    return client.responses.create(model="gpt-4o-mini", input="hello", **({"stream": True} if stream else {}))


def call_anthropic(client: Any, is_async: bool, stream: bool) -> Any:
    options = {"stream": True} if stream else {}
    return client.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=MESSAGES, **options)


def call_google(client: Any, is_async: bool, stream: bool) -> Any:
    models = client.aio.models if is_async else client.models
    call = models.generate_content_stream if stream else models.generate_content
    return call(model="gemini-2.5-flash", contents="hello")


GEMINI = google_genai_bodies.response(google_genai_bodies.candidate(google_genai_bodies.text("It is sunny.")))
CLIENTS = {
    "openai chat": Client(openai_client, call_openai, openai_bodies.chat(), openai_bodies.chat_stream()),
    "openai responses": Client(
        openai_client,
        call_responses,
        openai_bodies.response(openai_bodies.text_item()),
        openai_bodies.response_stream(),
    ),
    "anthropic": Client(
        anthropic_client,
        call_anthropic,
        anthropic_bodies.message(anthropic_bodies.text()),
        anthropic_bodies.stream(anthropic_bodies.text()),
    ),
    "google-genai": Client(google_client, call_google, GEMINI, [GEMINI, GEMINI]),
}
MODES = {"sync": (False, False), "async": (True, False), "stream": (False, True), "async stream": (True, True)}
LLM_ENDS = {
    "sync": ("ok", "error"),
    "async": ("ok", "error", "cancelled"),
    "stream": ("ok", "error", "left early", "never read"),
    "async stream": ("ok", "error", "cancelled", "left early", "never read"),
}


async def make_llm_call(adapter: Client, server: FakeServer, is_async: bool, stream: bool, end: str) -> None:
    client = adapter.make(server.url, is_async)
    if end == "error":
        server.reply({"error": {"message": "no", "code": 400, "status": "INVALID_ARGUMENT"}}, status=400)
        with pytest.raises(Exception):  # noqa: B017, PT011  each client has its own
            value = await settle(adapter.call(client, is_async, stream))
            await read(value)
        return
    hold = threading.Event() if end == "cancelled" else None
    answer = {"events": adapter.events} if stream else {"body": adapter.whole}
    server.reply(**answer, hold=hold)
    if end == "cancelled":
        await cancel(lambda: whole_call(adapter, client, is_async, stream), server)
        return
    value = await settle(adapter.call(client, is_async, stream))
    if stream and end == "ok":
        await read(value)
    elif end == "left early":
        await read(value, 1)
        await close(value)
    await close_client(client)


async def whole_call(adapter: Client, client: Any, is_async: bool, stream: bool) -> None:
    await read(await settle(adapter.call(client, is_async, stream)))


async def cancel(call: Callable[[], Any], server: FakeServer) -> None:
    """Cancel a call once its request has arrived."""
    task = asyncio.create_task(call())
    while not server.requests:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def close_client(client: Any) -> None:
    if isinstance(client, genai.Client):
        await client.aio.aclose()
    else:
        await close(client)


@pytest.mark.parametrize(("mode", "end"), [(mode, end) for mode, ends in LLM_ENDS.items() for end in ends])
@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.filterwarnings("ignore:.*unclosed:ResourceWarning", "ignore:Unclosed:ResourceWarning")
async def test_llm_call_is_one_span(otel, server, name, mode, end):
    """An LLM call is exactly one finished span with the right outcome, however it is made and however it ends."""
    before = trace.get_current_span()
    await make_llm_call(CLIENTS[name], server, *MODES[mode], end)
    gc.collect()
    for _ in range(10):  # the event loop closes async generators that were dropped
        await asyncio.sleep(0)
    assert trace.get_current_span() is before
    if not server.requests:  # google-genai's streams are generators: one that is never read was never called
        assert (name, end, otel.spans) == ("google-genai", "never read", [])
        return
    outcome, status = EXPECTED[end]
    assert [(span["attributes"]["otel_tools.outcome"], span["status"]) for span in otel.spans] == [(outcome, status)]
    assert sum(point["count"] for point in otel.points("gen_ai.client.operation.duration")) == 1


# --- tools ----------------------------------------------------------------------------------------------------------
class Failure(Exception):
    """What the dependency raises."""


def sync_body(end: str) -> Any:
    if end == "error":
        raise Failure
    return {"error": "no"} if end == "error as data" else "result"


async def async_body(end: str) -> Any:
    if end == "cancelled":
        await asyncio.Event().wait()
    return sync_body(end)


@asynccontextmanager
async def plain(end: str, is_async: bool) -> AsyncIterator[Any]:
    def function() -> Any:
        return sync_body(end)

    async def coroutine() -> Any:
        return await async_body(end)

    yield otel_tools.tool("work", is_failure=lambda value: "error" in value)(coroutine if is_async else function)


@asynccontextmanager
async def generator(end: str, is_async: bool) -> AsyncIterator[Any]:
    def items() -> Any:
        yield sync_body(end)
        yield "more"

    async def async_items() -> Any:
        yield await async_body(end)
        yield "more"

    yield otel_tools.tool("work")(async_items if is_async else items)


@asynccontextmanager
async def langchain(end: str, is_async: bool) -> AsyncIterator[Any]:
    def function() -> Any:
        """Work."""
        if end == "error as data":
            raise ToolException("no")
        return sync_body(end)

    async def coroutine() -> Any:
        """Work."""
        return await async_body(end) if end != "error as data" else function()

    tool = StructuredTool.from_function(function, coroutine, name="work", handle_tool_error=True)
    yield (lambda: tool.ainvoke({})) if is_async else (lambda: tool.invoke({}))


TOOLS = {
    "plain function": (plain, ("sync", "async")),
    "generator": (generator, ("stream", "async stream")),
    "langchain": (langchain, ("sync", "async")),
}
TOOL_ENDS = {
    "sync": ("ok", "error", "error as data"),
    "async": ("ok", "error", "error as data", "cancelled"),
    "stream": ("ok", "error", "left early"),
    "async stream": ("ok", "error", "cancelled", "left early"),
}
TOOL_CASES = [
    pytest.param(make, mode, end, id=f"{name}-{mode}-{end}")
    for name, (make, modes) in TOOLS.items()
    for mode in modes
    for end in TOOL_ENDS[mode]
]


@pytest.mark.parametrize("policy", ["observe", "enforce", "enforce with a deadline"])
@pytest.mark.parametrize(("make", "mode", "end"), TOOL_CASES)
async def test_tool_call_is_one_span(recorder, make, mode, end, policy):
    """A tool call is exactly one finished span with the right outcome, in every mode of policy."""
    settings = {"mode": policy.partition(" ")[0]}
    if "deadline" in policy:
        settings["tools"] = {"work": {"timeout": 30}}
    recorder.instrument(**settings)
    before = trace.get_current_span()
    is_async = mode.startswith("async")
    async with make(end, is_async) as call:
        await end_tool_call(call, end)
    recorder.uninstrument()
    outcome, status = EXPECTED[end]
    assert [(span["attributes"]["otel_tools.outcome"], span["status"]) for span in recorder.spans] == [
        (outcome, status)
    ]
    assert trace.get_current_span() is before
    [point] = recorder.points("otel_tools.tool.calls")
    assert (point["attributes"]["otel_tools.outcome"], point["value"]) == (outcome, 1)
    assert recorder.points("otel_tools.tool.in_flight")[0]["value"] == 0


async def end_tool_call(call: Callable[[], Any], end: str) -> None:
    async def whole() -> None:
        value = await settle(call())
        if hasattr(value, "__next__") or hasattr(value, "__anext__"):
            await read(value, 1 if end == "left early" else None)
            await close(value)

    if end == "cancelled":
        task = asyncio.create_task(whole())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    elif end == "error":
        with pytest.raises(Failure):
            await whole()
    else:
        await whole()
