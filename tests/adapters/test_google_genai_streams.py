"""Streams of the `google-genai` client, and how its calls fail: errors, cancellation, readers who leave."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

import pytest

import otel_tools
from tests.clients import google_genai_bodies as bodies
from tests.clients.google_genai_calls import (
    CONTENTS,
    Gate,
    generate,
    generate_async,
    perform,
    perform_async,
    stream,
    stream_async,
)
from tests.clients.google_genai_spans import LEFT, STREAMED, UNANSWERED, llm_span
from tests.fake_server import FakeServer
from tests.recorder import Recorder

pytest.importorskip("google.genai")
from google.genai import errors

STREAM = pytest.mark.parametrize("use", [stream, stream_async])


@STREAM
@pytest.mark.parametrize("provider", ["gcp.gemini", "gcp.vertex_ai"])
def test_a_stream_is_one_span_with_its_final_counts(
    otel: Recorder, server: FakeServer, use: Any, provider: str
) -> None:
    """Gemini's counts are cumulative, so the last ones are the bill."""
    server.reply(events=bodies.CHUNKS)

    chunks = perform(server.url, use, vertexai=provider == "gcp.vertex_ai")

    assert [chunk.text for chunk in chunks] == [None, "Hel", "lo", ""]
    assert otel.spans == [llm_span(server, gen_ai__provider__name=provider, **STREAMED)]
    assert otel.points("gen_ai.client.operation.time_to_first_chunk")[0]["count"] == 1
    assert otel.points("gen_ai.client.operation.time_per_output_chunk")[0]["count"] == 3


@STREAM
def test_a_stream_left_early_is_cancelled_with_what_had_arrived(otel: Recorder, server: FakeServer, use: Any) -> None:
    """No error: the reader has had enough. The counts so far are marked as partial."""
    server.reply(events=bodies.CHUNKS)

    assert len(perform(server.url, use, count=2)) == 2
    assert otel.spans == [llm_span(server, **LEFT)]


def test_a_dropped_stream_ends_its_span(otel: Recorder, server: FakeServer) -> None:
    """Nobody closes it: the garbage collector does."""
    server.reply(events=bodies.CHUNKS)

    def use(client: Any) -> None:
        iterator = client.models.generate_content_stream(model=bodies.MODEL, contents=CONTENTS)
        next(iterator)
        next(iterator)
        del iterator
        gc.collect()

    perform(server.url, use)
    assert otel.spans == [llm_span(server, **LEFT)]


def test_a_dropped_async_stream_ends_its_span(otel: Recorder, server: FakeServer) -> None:
    """Likewise; the event loop finalises abandoned generators, at the latest when it is closed."""
    server.reply(events=bodies.CHUNKS)

    async def use(client: Any) -> None:
        iterator = await client.aio.models.generate_content_stream(model=bodies.MODEL, contents=CONTENTS)
        await anext(iterator)
        await anext(iterator)

    perform(server.url, use)
    gc.collect()
    assert otel.spans == [llm_span(server, **LEFT)]


def test_a_stream_that_nobody_reads_is_no_call(otel: Recorder, server: FakeServer) -> None:
    """The client sends nothing before the first chunk is asked for."""

    async def use_async(client: Any) -> None:
        await client.aio.models.generate_content_stream(model=bodies.MODEL, contents=CONTENTS)

    def use(client: Any) -> None:
        client.models.generate_content_stream(model=bodies.MODEL, contents=CONTENTS)

    perform(server.url, use)
    perform(server.url, use_async)
    assert (otel.spans, server.requests) == ([], [])


# --- errors ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("use", [generate, generate_async, stream, stream_async])
@pytest.mark.parametrize(
    ("code", "reason"), [(400, "INVALID_ARGUMENT"), (429, "RESOURCE_EXHAUSTED"), (503, "UNAVAILABLE")]
)
def test_an_error_is_told_by_its_status(otel: Recorder, server: FakeServer, use: Any, code: int, reason: str) -> None:
    """The client's exception comes out as it is; its class says only 4xx or 5xx, so the type is the status."""
    server.reply(bodies.error(code, reason), status=code)
    streamed: dict[str, Any] = {}
    if use in (stream, stream_async):
        streamed = {
            "gen_ai__request__stream": True,
            "gen_ai__response__finish_reasons": ("error",),
            "otel_tools__usage__quality": "absent",
        }
        if use is stream_async:  # the request is made before there is a stream
            streamed = {"gen_ai__request__stream": True}

    with pytest.raises(errors.APIError) as raised:
        perform(server.url, use)

    assert raised.value.code == code
    attributes = UNANSWERED | {"error__type": str(code), "otel_tools__outcome": "error"} | streamed
    assert otel.spans == [llm_span(server, status="ERROR", **attributes)]
    assert "secret" not in json.dumps([otel.spans, otel.logs])


@STREAM
def test_an_error_within_a_stream_keeps_what_had_arrived(otel: Recorder, server: FakeServer, use: Any) -> None:
    """The service says so in a chunk, with status 200."""
    server.reply(events=[*bodies.CHUNKS[:2], bodies.error(503, "UNAVAILABLE")])

    with pytest.raises(errors.APIError):
        perform(server.url, use)

    failed = LEFT | {"error__type": "503", "otel_tools__outcome": "error"}
    assert otel.spans == [llm_span(server, status="ERROR", **failed)]


async def test_a_cancelled_call_is_no_error(otel: Recorder, server: FakeServer) -> None:
    """The task is cancelled while the answer is on its way; the cancellation goes on to the caller."""
    gate = Gate()
    server.reply(bodies.HELLO, hold=gate)
    task = asyncio.create_task(perform_async(server.url, generate_async))
    await gate.reached()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert otel.spans == [llm_span(server, **UNANSWERED | {"otel_tools__outcome": "cancelled"})]


async def test_a_stream_cancelled_between_chunks_keeps_what_had_arrived(otel: Recorder, server: FakeServer) -> None:
    """The task waits for the third chunk when it is cancelled."""
    server.reply(events=bodies.CHUNKS, hold=Gate(), hold_after=2)
    second = asyncio.Event()

    async def use(client: Any) -> None:
        count = 0
        async for _ in await client.aio.models.generate_content_stream(model=bodies.MODEL, contents=CONTENTS):
            count += 1
            if count == 2:
                second.set()

    task = asyncio.create_task(perform_async(server.url, use))
    await second.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert otel.spans == [llm_span(server, **LEFT)]


# --- policy ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("use", [generate, generate_async, stream, stream_async])
def test_an_open_circuit_refuses_the_next_call(otel: Recorder, server: FakeServer, use: Any) -> None:
    """The refusal comes out of the client as it is, and no request is made."""
    otel.instrument(mode="enforce", clients={"google-genai": {"circuit": {"failures": 1}}})
    server.reply(bodies.error(503, "UNAVAILABLE"), status=503)
    with pytest.raises(errors.APIError):
        perform(server.url, use)

    with pytest.raises(otel_tools.CircuitOpen):
        perform(server.url, use)

    assert len(server.requests) == 1
    assert [span["attributes"]["error.type"] for span in otel.spans] == ["503", "circuit_open"]
