"""A program sees the same of the `google-genai` client with and without otel-tools, and also when otel-tools breaks."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from otel_tools import capture, coexistence, errors, pricing, sessions, telemetry
from otel_tools.recordings import base, llm, tool
from tests.clients import google_genai_bodies as bodies
from tests.clients import google_genai_calls as calls
from tests.fake_server import FakeServer
from tests.recorder import Recorder
from tests.transparency import Scenario, broken, reached, run, steps

pytest.importorskip("google.genai")

from otel_tools.adapters.llm.google_genai import ADAPTER
from otel_tools.adapters.tools.google_genai import ADAPTER as TOOLS
from otel_tools.adapters.wire import (
    google_genai,
    google_genai_fields,
    google_genai_messages,
    google_genai_tools,
    google_genai_usage,
)


def get_weather(city: str) -> str:
    """The weather of a city."""
    if city == "Rome":
        raise RuntimeError(city)
    return "sunny"


class Client:
    """A client whose sync and async halves are closed together."""

    def __init__(self, url: str, *, vertexai: bool = False) -> None:
        self.inner = calls.client_for(url, vertexai=vertexai)

    async def close(self) -> None:
        await self.inner.aio.aclose()
        self.inner.close()


def vertex(url: str) -> Client:
    return Client(url, vertexai=True)


def using(use: Callable[..., Any], **options: Any) -> Callable[[Any, Callable[[Any], None]], Any]:
    """Do *use* and note everything that it gives."""

    async def scenario(client: Client, note: Callable[[Any], None]) -> None:
        value = use(client.inner, **options)
        value = await value if hasattr(value, "__await__") else value
        for answer in value if isinstance(value, list) else [value]:
            if getattr(answer, "sdk_http_response", None):
                answer.sdk_http_response.headers.pop("date", None)
                answer.sdk_http_response.headers.pop("Date", None)
            note(answer)

    return scenario


def replies(*answers: Any, status: int = 200) -> Callable[[FakeServer], None]:
    """Queue *answers*; a list is a stream."""

    def queue(server: FakeServer) -> None:
        for answer in answers:
            if isinstance(answer, list):
                server.reply(events=answer, status=status)
            else:
                server.reply(answer, status=status)

    return queue


ROME = bodies.response(bodies.candidate(bodies.function_call("get_weather", {"city": "Rome"}, id="call-2")))
WITH_TOOL: dict[str, Any] = {"config": {"tools": [get_weather]}}
LIMITED = bodies.error(429, "RESOURCE_EXHAUSTED")
BROKEN = [*bodies.CHUNKS[:2], bodies.error(503, "UNAVAILABLE")]


def both(name: str, use: Any, use_async: Any, answers: Any, requests: int = 1, **options: Any) -> list[Scenario]:
    """A scenario and its async version."""
    return [
        Scenario(name, Client, answers, using(use, **options), requests),
        Scenario(f"{name}-async", Client, answers, using(use_async, **options), requests),
    ]


TOOL_CALLS = both(
    "tools", calls.generate, calls.generate_async, replies(bodies.CALL_WEATHER, ROME, bodies.SUNNY), 3, **WITH_TOOL
)
TOOL_STREAMS = both(
    "tool-streams", calls.stream, calls.stream_async, replies([bodies.CALL_WEATHER], bodies.CHUNKS), 2, **WITH_TOOL
)
SCENARIOS = [
    *both("generate", calls.generate, calls.generate_async, replies(bodies.HELLO)),
    *both("stream", calls.stream, calls.stream_async, replies(bodies.CHUNKS)),
    *both("left", calls.stream, calls.stream_async, replies(bodies.CHUNKS), count=2),
    *both("chat", calls.chat, calls.chat_async, replies(bodies.HELLO, bodies.CHUNKS), 2),
    *both("embed", calls.embed, calls.embed_async, replies(bodies.EMBEDDINGS)),
    *both(
        "raw",
        calls.generate,
        calls.generate_async,
        replies(bodies.HELLO),
        config={"should_return_http_response": True},
    ),
    *both("error", calls.generate, calls.generate_async, replies(LIMITED, status=429)),
    *both("stream-error", calls.stream, calls.stream_async, replies(LIMITED, status=429)),
    *both("broken-stream", calls.stream, calls.stream_async, replies(BROKEN)),
    Scenario("vertex", vertex, replies(bodies.HELLO), using(calls.generate)),
    Scenario("vertex-embed", vertex, replies(bodies.VERTEX_EMBEDDINGS), using(calls.embed)),
    *TOOL_CALLS,
    *TOOL_STREAMS,
]
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "content": {"capture": "span_and_event"},
    "policy": {
        "mode": "enforce",
        "clients": {"google-genai": {"timeout": "30s", "circuit": {"failures": 5}}},
        "tools": {"get_weather": {"timeout": "30s"}},
    },
}


@pytest.fixture(autouse=True, scope="module")
def _little_to_collect() -> Iterator[None]:
    """The suite collects garbage after each run; what is there already need not be looked at each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _uninstrumented(recorder: Recorder) -> Iterator[None]:
    yield
    recorder.uninstrument()


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_program_sees_the_same(
    recorder: Recorder, server: FakeServer, scenario: Scenario, settings: dict[str, Any]
) -> None:
    """Types, fields, chunks, exceptions with their frames, and the requests on the wire."""
    bare = run(scenario, server)
    recorder.instrument(**settings)

    assert run(scenario, server) == bare
    assert len([span for span in recorder.spans if span["kind"] == "CLIENT"]) == scenario.requests


STEPS = [
    *steps(
        (
            base,
            capture,
            coexistence,
            google_genai,
            google_genai_fields,
            google_genai_messages,
            google_genai_tools,
            google_genai_usage,
            llm,
            pricing,
            sessions,
            telemetry,
            tool,
        ),
        ADAPTER,
    ),
    *steps((), TOOLS),
]


@pytest.mark.parametrize("scenario", [TOOL_CALLS[0], TOOL_STREAMS[1]], ids=str)
def test_a_program_sees_the_same_when_otel_tools_breaks(
    recorder: Recorder, server: FakeServer, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an exception in each single step of reading, telemetry and pricing, one after the other."""
    monkeypatch.setattr(errors, "raise_internal_errors", False)
    bare = run(scenario, server)
    recorder.instrument(capture="span_and_event")
    changed, survived = [], []

    for step in reached(scenario, server, STEPS):
        with broken(step) as broke:
            seen = run(scenario, server)
        if seen != bare:
            changed.append(step.name)
        elif broke:  # what is cached, or known by a table, is not gone through again
            survived.append(step.name)

    assert not changed
    assert len(survived) > 30
