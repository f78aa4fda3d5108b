"""Calls of the `anthropic` client that give whole responses: one span each, whoever else traces, and usage once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

anthropic = pytest.importorskip("anthropic")

from tests.clients import anthropic_bodies as bodies
from tests.clients.anthropic_client import (
    ASK,
    FLAVOURS,
    NATIVE,
    TRACES_ITSELF,
    Connect,
    chat,
    entered,
    settled,
    spans,
    tokens,
)
from tests.fake_server import FakeServer
from tests.recorder import Recorder

ONCE = {"input": (1, 104), "output": (1, 25)}

flavours = pytest.mark.parametrize("flavour", FLAVOURS, ids=["sync", "async"])
natives = pytest.mark.parametrize("native", NATIVE, ids=lambda native: "native" if native else "plain")


@pytest.fixture
async def connect(otel: Recorder, server: FakeServer) -> AsyncIterator[Connect]:
    """Makes clients, and closes them at the end."""
    connect = Connect(server, otel)
    yield connect
    await connect.close()


# --- one call, one span ---------------------------------------------------------------------------------------------
@natives
@flavours
@pytest.mark.parametrize("api", ["messages", "beta"])
async def test_create(
    otel: Recorder, server: FakeServer, connect: Connect, flavour: Any, native: bool, api: str
) -> None:
    """A call is one chat span, which the client's own tracing adds to, and its usage is counted once."""
    server.reply(bodies.message())
    client = connect(flavour, native=native)

    messages = client.beta.messages if api == "beta" else client.messages
    message = await settled(messages.create(**ASK))

    assert message.content[0].text == "It is sunny."
    assert spans(otel) == [chat(server, native=native)]
    assert tokens(otel) == ONCE


@flavours
async def test_native_tracing_switched_off_by_environment(
    otel: Recorder, server: FakeServer, connect: Connect, flavour: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `ANTHROPIC_OPEN_TELEMETRY=false` the span is ours alone."""
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "false")
    server.reply(bodies.message())

    client = connect.keep(flavour(api_key="key", base_url=server.url))
    await settled(client.messages.create(**ASK))

    assert spans(otel) == [chat(server, native=False)]
    assert tokens(otel) == ONCE


@natives
@flavours
async def test_raw_response(otel: Recorder, server: FakeServer, connect: Connect, flavour: Any, native: bool) -> None:
    """A raw response tells as much as a parsed one, and its parsed value is the same object each time."""
    server.reply(bodies.message(), headers={"request-id": "req_1"})
    client = connect(flavour, native=native)

    raw = await settled(client.messages.with_raw_response.create(**ASK))

    assert raw.headers["request-id"] == "req_1"
    assert (await settled(raw.parse())) is (await settled(raw.parse()))
    request_id = {"anthropic.request.id": "req_1"} if native else {}
    assert spans(otel) == [chat(server, native=native, **request_id)]
    assert tokens(otel) == ONCE


@natives
@flavours
@pytest.mark.parametrize("read", ["parse", "json", "text", "read"])
async def test_streaming_response(
    otel: Recorder, server: FakeServer, connect: Connect, flavour: Any, native: bool, read: str
) -> None:
    """A response that is read later ends its call when it is read, in whichever form."""
    server.reply(bodies.message())
    client = connect(flavour, native=native)

    async with entered(client.messages.with_streaming_response.create(**ASK)) as response:
        assert otel.spans == []
        await settled(getattr(response, read)())

    # the client's own tracing knows of the body what it has when the call returns: nothing
    unread = dict.fromkeys(["anthropic.message.stop_reason", *CACHE_WRITES])
    assert spans(otel) == [chat(server, native=native, **unread)]
    assert tokens(otel) == ONCE


CACHE_WRITES = [f"anthropic.usage.cache_creation.ephemeral_{kept}_input_tokens" for kept in ("5m", "1h")]
UNKNOWN: dict[str, Any] = {
    **dict.fromkeys(["anthropic.message.stop_reason", *CACHE_WRITES, "anthropic.response.service_tier"]),
    **dict.fromkeys(f"gen_ai.response.{name}" for name in ("id", "model", "finish_reasons")),
    **dict.fromkeys(f"gen_ai.usage.{name}" for name in ("input_tokens", "output_tokens", "reasoning.output_tokens")),
    **dict.fromkeys(f"gen_ai.usage.{name}.input_tokens" for name in ("cache_read", "cache_write")),
    "otel_tools.usage.quality": None,
}


@natives
@flavours
async def test_streaming_response_never_read(
    otel: Recorder, server: FakeServer, connect: Connect, flavour: Any, native: bool
) -> None:
    """A response whose body nobody reads ends with its `with` block; its usage is absent, not 0."""
    server.reply(bodies.message())
    client = connect(flavour, native=native)

    async with entered(client.messages.with_streaming_response.create(**ASK)):
        pass

    left = {**UNKNOWN, "otel_tools.usage.quality": "absent", "otel_tools.outcome": "cancelled"}
    assert spans(otel) == [chat(server, native=native, **left)]
    assert tokens(otel) == {}


@natives
@flavours
async def test_parse(otel: Recorder, server: FakeServer, connect: Connect, flavour: Any, native: bool) -> None:
    """Structured output is read like any other, and the format asked for is on the span."""
    pydantic = pytest.importorskip("pydantic")
    weather = pydantic.create_model("Weather", sunny=(bool, ...))
    server.reply(bodies.message(bodies.text('{"sunny": true}')))
    client = connect(flavour, native=native)

    message = await settled(client.messages.parse(**ASK, output_format=weather))

    assert message.parsed_output.sunny is True
    assert spans(otel) == [chat(server, native=native, **{"gen_ai.output.type": "json"})]


async def test_request_parameters(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """Parameters are read from what will be sent, `extra_body` included."""
    server.reply(bodies.message())
    client = connect(anthropic.Anthropic, native=False)

    client.messages.create(
        **ASK,
        stop_sequences=["END"],
        service_tier="auto",
        extra_body={"model": "claude-other", "temperature": 0.5, "top_k": 5, "output_config": {"effort": "low"}},
    )

    asked = {
        "gen_ai.request.model": "claude-other",
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_k": 5,
        "gen_ai.request.reasoning.level": "low",
        "anthropic.request.service_tier": "auto",
    }
    assert spans(otel) == [chat(server, native=False, **asked)]


@pytest.mark.skipif(not TRACES_ITSELF, reason="anthropic < 2 has no conversation id")
async def test_conversation_id(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """The conversation that the user gave to the client's own tracing is on our span, whether or not that is on."""
    for native in NATIVE:
        server.reply(bodies.message())
        options = {"open_telemetry": {"conversation_id": "conv_1"}}
        connect(anthropic.Anthropic, native=native, **options).messages.create(**ASK)

    conversation = {"gen_ai.conversation.id": "conv_1"}
    assert spans(otel) == [chat(server, native=native, **conversation) for native in NATIVE]


@natives
async def test_cost(otel: Recorder, server: FakeServer, connect: Connect, native: bool) -> None:
    """What is read from the cache, or kept in it for five minutes or an hour, is priced as such."""
    prices = {"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75, "cache_write_1h": 6}
    otel.instrument(prices={bodies.MODEL: {f"{kind}_per_million": price for kind, price in prices.items()}})
    server.reply(bodies.message())

    connect(anthropic.Anthropic, native=native).messages.create(**ASK)

    cost = (10 * 3 + 64 * 0.3 + 20 * 3.75 + 10 * 6 + 25 * 15) / 1e6
    assert otel.span()["attributes"]["otel_tools.cost.usd"] == pytest.approx(cost)
    assert otel.points("otel_tools.client.cost")[0]["value"] == pytest.approx(cost)


# --- retries, errors, cancellation ----------------------------------------------------------------------------------
@natives
@flavours
async def test_retry(otel: Recorder, server: FakeServer, connect: Connect, flavour: Any, native: bool) -> None:
    """A call that the client repeats is one call; its own tracing says how often it was sent again."""
    server.reply(bodies.error(), status=500, headers={"retry-after-ms": "1"})
    server.reply(bodies.message())
    client = connect(flavour, native=native)

    await settled(client.messages.create(**ASK))

    resent = {"http.request.resend_count": 1} if native else {}
    assert len(server.requests) == 2
    assert spans(otel) == [chat(server, native=native, **resent)]
    assert tokens(otel) == ONCE


@natives
@flavours
@pytest.mark.parametrize(
    ("status", "error"), [(401, "AuthenticationError"), (429, "RateLimitError"), (529, "OverloadedError")]
)
async def test_error(
    otel: Recorder, server: FakeServer, connect: Connect, flavour: Any, native: bool, status: int, error: str
) -> None:
    """A failed call raises what it would raise, and is one failed span without usage."""
    server.reply(bodies.error(), status=status)
    client = connect(flavour, native=native, max_retries=0)

    with pytest.raises(anthropic.APIStatusError) as raised:
        await settled(client.messages.create(**ASK))

    failed = {**UNKNOWN, "error.type": f"{type(raised.value).__module__}.{error}", "otel_tools.outcome": "error"}
    codes = {"http.response.status_code": status} if native else {}
    assert spans(otel) == [chat(server, native=native, **failed, **codes)]
    assert tokens(otel) == {}


@natives
@flavours
async def test_connection_error(
    otel: Recorder, server: FakeServer, connect: Connect, flavour: Any, native: bool
) -> None:
    """A server that nobody listens at is an error like any other."""
    client = connect(flavour, native=native, max_retries=0, base_url="http://127.0.0.1:9")

    with pytest.raises(anthropic.APIConnectionError):
        await settled(client.messages.create(**ASK))

    span = otel.span()
    assert (span["status"], span["attributes"]["error.type"]) == ("ERROR", "anthropic.APIConnectionError")


@natives
async def test_cancelled(otel: Recorder, server: FakeServer, connect: Connect, native: bool) -> None:
    """A call whose task is cancelled is neither lost nor failed."""
    server.reply(bodies.message(), hold=threading.Event())
    client = connect(anthropic.AsyncAnthropic, native=native)
    call = asyncio.create_task(client.messages.create(**ASK))
    while not server.requests:
        await asyncio.sleep(0)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    left = {**UNKNOWN, "otel_tools.outcome": "cancelled", "http.response.status_code": None}
    assert spans(otel) == [chat(server, native=native, **left)]


# --- what is not a chat ---------------------------------------------------------------------------------------------
@natives
@flavours
async def test_other_endpoints(
    otel: Recorder, server: FakeServer, connect: Connect, flavour: Any, native: bool
) -> None:
    """Counting tokens is not ours: the client's own span for it stays, and no metric is recorded."""
    server.reply({"input_tokens": 10})
    client = connect(flavour, native=native)

    await settled(client.messages.count_tokens(model=bodies.MODEL, messages=bodies.MESSAGES))

    assert [span["name"] for span in otel.spans] == (["anthropic.messages.count_tokens"] if native else [])
    assert otel.points("gen_ai.client.operation.duration") == []


# --- platforms ------------------------------------------------------------------------------------------------------
@natives
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("platform", "provider", "options"),
    [
        ("AnthropicBedrock", "aws.bedrock", {"aws_region": "us-east-1"}),
        ("AnthropicVertex", "gcp.vertex_ai", {"api_key": None, "region": "r", "project_id": "p", "access_token": "t"}),
    ],
)
async def test_platform(
    otel: Recorder,
    server: FakeServer,
    connect: Connect,
    native: bool,
    asynchronous: bool,
    platform: str,
    provider: str,
    options: dict[str, Any],
) -> None:
    """On another platform the URL and the body differ; the call is read before they do, and the provider is named."""
    flavour = getattr(anthropic, f"Async{platform}" if asynchronous else platform)
    if options.get("api_key", "") is None:
        flavour = without_api_key(flavour)
    server.reply(bodies.message())

    await settled(connect(flavour, native=native, **options).messages.create(**ASK))

    paths = {f"url.{name}": otel.span()["attributes"].get(f"url.{name}") for name in ("path", "full")}
    assert spans(otel) == [chat(server, native=native, **{"gen_ai.provider.name": provider}, **paths)]
    assert "/v1/messages" not in server.requests[0].path


def without_api_key(flavour: Any) -> Any:
    """A factory that drops the API key, which Vertex has none of."""
    return lambda api_key, **options: flavour(**options)


# --- patching -------------------------------------------------------------------------------------------------------
async def test_client_made_before(recorder: Recorder, server: FakeServer) -> None:
    """A client, and a resource of it, that exist when the program is instrumented are seen, and no more afterwards."""
    connect = Connect(server, recorder)
    messages = connect(anthropic.Anthropic, native=False).messages
    recorder.instrument()
    server.reply(bodies.message())
    messages.create(**ASK)
    recorder.uninstrument()
    server.reply(bodies.message())
    messages.create(**ASK)
    await connect.close()

    assert spans(recorder) == [chat(server, native=False)]


def test_content(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """Messages, system instructions and tool definitions are recorded only when that is asked for."""
    otel.instrument(capture="span_only")
    server.reply(bodies.message())
    connect(anthropic.Anthropic, native=False).messages.create(**ASK, system="Be brief.", tools=[bodies.TOOL])
    attributes = otel.span()["attributes"]

    assert attributes["gen_ai.system_instructions"] == '[{"type":"text","content":"Be brief."}]'
    assert '"What is the weather in Paris?"' in attributes["gen_ai.input.messages"]
    assert '"It is sunny."' in attributes["gen_ai.output.messages"]
    assert '"get_weather"' in attributes["gen_ai.tool.definitions"]
