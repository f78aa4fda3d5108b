"""Deadlines of streamed LLM answers: every client, sync and async, whole, held and through helpers."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import otel_tools
from otel_tools import CallTimeout
from tests.clients import deadlines as clients
from tests.clients.deadlines import USES, reply, settle, step
from tests.hanging import LONG, until

SHORT = 0.6
"""Seconds; a stream that stops is given up after that."""

KINDS = {"sync": False, "async": True}
LIMITS = {"timeout": "otel_tools.timeout.duration", "item_timeout": "otel_tools.timeout.item_duration"}


def instrument(otel: Any, client: str, **limits: Any) -> None:
    otel.instrument(mode="enforce", clients={client: limits})


def nothing_left(client: str) -> None:
    """No call of the client is open or has left a worker behind."""
    engine = otel_tools.engine.active()
    view = engine.client_pipeline(client).view
    until(lambda: (view().in_flight, view().abandoned) == (0, 0))


async def read(iterator: Any) -> list[Any]:
    """All items of a stream."""
    items = []
    try:
        while True:
            items.append(await step(iterator))
    except StopAsyncIteration:
        return items


async def expire(iterator: Any) -> CallTimeout:
    """Read until the deadline."""
    with pytest.raises(CallTimeout) as raised:
        await read(iterator)
    return raised.value


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", USES)
async def test_a_stream_that_stops(otel, server, name, kind, limit):
    """Its reader gets the timeout; the call ends once, with what has arrived; no connection and no worker is kept."""
    use = USES[name]
    instrument(otel, use.client, **{limit: SHORT})
    hold = reply(server, use, after=1)
    async with use.make(server.url, KINDS[kind]) as client, use.open(client) as stream:
        error = await expire(stream)
        assert (error.name, error.timeout, error.item) == (use.client, SHORT, limit == "item_timeout")
        assert [item async for item in _rest(stream)] == []
        until(lambda: not clients.connections(client))
        hold.set()
        nothing_left(use.client)
    assert len(server.requests) == 1
    span = otel.span()
    attributes = span["attributes"]
    assert (span["status"], attributes["error.type"], attributes["otel_tools.outcome"]) == (
        "ERROR",
        "timeout",
        "timeout",
    )
    assert attributes[LIMITS[limit]] == SHORT
    [duration] = otel.points("gen_ai.client.operation.duration")
    assert (duration["count"], duration["attributes"]["error.type"]) == (1, "timeout")


async def _rest(iterator: Any) -> Any:
    """What a stream still gives after its end."""
    for item in await read(iterator):
        yield item


@pytest.mark.parametrize("kind", KINDS)
async def test_what_has_arrived_is_recorded(otel, server, kind):
    """Model, tokens and price of a stream that was given up are those of the part that came."""
    use = USES["anthropic create"]
    instrument(otel, use.client, item_timeout=1.0)
    hold = reply(server, use, after=3)
    async with use.make(server.url, KINDS[kind]) as client, use.open(client) as stream:
        await expire(stream)
        hold.set()
        nothing_left(use.client)
    attributes = otel.span()["attributes"]
    assert attributes["gen_ai.usage.input_tokens"] > 0
    assert attributes["gen_ai.response.model"]
    assert attributes["otel_tools.usage.quality"] == "partial"
    assert otel.points("gen_ai.client.token.usage", gen_ai__token__type="input")
    assert [record["event"] for record in otel.logs if record["event"] != "otel_tools.late_result"] == [
        "otel_tools.llm_call"
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["openai create", "anthropic create", "google-genai"])
async def test_a_stream_that_does_not_begin(otel, server, name, kind):
    """The wait until the server answers at all is part of the wait for the first item."""
    use = USES[name]
    instrument(otel, use.client, item_timeout=SHORT)
    hold = threading.Event()
    server.reply(events=use.events, hold=hold)
    async with use.make(server.url, KINDS[kind]) as client:
        with pytest.raises(CallTimeout) as raised:
            async with use.open(client) as stream:
                await step(stream)
        assert raised.value.item
        hold.set()
        nothing_left(use.client)
        until(lambda: not clients.connections(client))
    assert otel.span()["attributes"]["otel_tools.outcome"] == "timeout"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", USES)
async def test_a_stream_in_time(otel, server, name, kind):
    """A stream that keeps its deadlines gives the same items as without any."""
    use = USES[name]
    found = []
    for limits in ({}, {"timeout": LONG, "item_timeout": LONG}):
        instrument(otel, use.client, **limits)
        server.reply(events=use.events)
        async with use.make(server.url, KINDS[kind]) as client, use.open(client) as stream:
            found.append(await read(stream))
    bare, bounded = found
    assert len(bare) == len(bounded)
    assert [type(item) for item in bare] == [type(item) for item in bounded]
    assert [span["attributes"]["otel_tools.outcome"] for span in otel.spans] == ["ok", "ok"]
    assert all("otel_tools.timeout.exceeded" not in span["attributes"] for span in otel.spans)
    nothing_left(use.client)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_slow_reader(otel, server, kind):
    """The time that a reader takes between two items is its own."""
    use = USES["openai create"]
    instrument(otel, use.client, timeout=1.0, item_timeout=1.0)
    server.reply(events=use.events)
    async with use.make(server.url, KINDS[kind]) as client, use.open(client) as stream:
        await step(stream)
        await asyncio.sleep(1.2)
        await read(stream)
    attributes = otel.span()["attributes"]
    assert attributes["otel_tools.outcome"] == "ok"
    assert "otel_tools.timeout.exceeded" not in attributes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["read", "text", "json", "parse"])
async def test_a_held_response_whose_body_does_not_come(otel, server, kind, method):
    """A body that is read later is part of the call, and of its time."""
    use = USES["openai create"]
    instrument(otel, use.client, timeout=SHORT)
    hold = reply(server, use, after=1)  # the answer to a request that asked for no stream hangs as well
    async with use.make(server.url, KINDS[kind]) as client:
        options = {"model": "gpt-4o-mini", "messages": clients.MESSAGES}
        async with clients.entered(client.chat.completions.with_streaming_response.create(**options)) as response:
            with pytest.raises(CallTimeout):
                await settle(getattr(response, method)())
            until(lambda: not clients.connections(client))
            hold.set()
            nothing_left(use.client)
    assert otel.span()["attributes"]["otel_tools.outcome"] == "timeout"


@pytest.mark.parametrize("kind", KINDS)
async def test_timeouts_of_streams_open_the_circuit(otel, server, kind):
    """A stream that was given up is a failure of the service; the next call is not made."""
    use = USES["openai create"]
    instrument(otel, use.client, item_timeout=SHORT, circuit={"failures": 1})
    hold = reply(server, use, after=1)
    async with use.make(server.url, KINDS[kind]) as client:
        async with use.open(client) as stream:
            await expire(stream)
        with pytest.raises(otel_tools.CircuitOpen):
            async with use.open(client):
                pass
        hold.set()
        nothing_left(use.client)
    assert len(server.requests) == 1


async def test_a_stream_that_is_opened_too_late(otel, server):
    """A stream that nobody can read any more is closed by the worker: it gives its connection back."""
    use = USES["openai create"]
    instrument(otel, use.client, timeout=SHORT)
    hold = threading.Event()
    server.reply(events=use.events, hold=hold)
    async with use.make(server.url, False) as client:
        with pytest.raises(CallTimeout):
            async with use.open(client):
                pass
        assert len(clients.connections(client)) == 1
        hold.set()
        nothing_left(use.client)
        assert clients.connections(client) == []
    late = [record for record in otel.logs if record["event"] == "otel_tools.late_result"]
    assert [record["attributes"]["gen_ai.request.model"] for record in late] == ["gpt-4o-mini"]


async def test_an_observed_deadline_of_a_stream(otel, server):
    """In observe mode a stream has its time, and is marked when it took too much of it."""
    use = USES["openai create"]
    otel.instrument(clients={use.client: {"item_timeout": 0.0001}})
    server.reply(events=use.events)
    async with use.make(server.url, False) as client, use.open(client) as stream:
        await read(stream)
    attributes = otel.span()["attributes"]
    assert (attributes["otel_tools.outcome"], attributes["otel_tools.timeout.exceeded"]) == ("ok", True)


async def test_a_reader_that_leaves_a_bounded_stream(otel, server):
    """Leaving early is no timeout, with or without workers."""
    use = USES["openai create"]
    instrument(otel, use.client, item_timeout=LONG)
    for kind in KINDS.values():
        server.reply(events=use.events)
        async with use.make(server.url, kind) as client, use.open(client) as stream:
            await step(stream)
            await settle(stream.close())
    assert [span["attributes"]["otel_tools.outcome"] for span in otel.spans] == ["cancelled", "cancelled"]
    nothing_left(use.client)
