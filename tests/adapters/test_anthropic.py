"""Calls of the `anthropic` client that give whole responses: one span each, whoever else traces, and usage once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
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
    SYNC,
    TRACES_ITSELF,
    UNKNOWN,
    Connect,
    Held,
    entered,
    settled,
    spans,
    tokens,
)
from tests.fake_server import FakeServer
from tests.recorder import Recorder

ONCE = {"input": (1, 104), "output": (1, 25)}
sync = pytest.mark.parametrize("connect", SYNC, indirect=True)


@pytest.fixture(params=CLIENTS)
async def connect(request: pytest.FixtureRequest, otel: Recorder, server: FakeServer) -> AsyncIterator[Connect]:
    """Makes clients, sync or async, tracing themselves or not, and closes them at the end."""
    connect = Connect(server, otel, *request.param)
    yield connect
    await connect.close()


# --- one call, one span ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("api", ["messages", "beta"])
async def test_create(otel: Recorder, server: FakeServer, connect: Connect, api: str) -> None:
    """A call is one chat span, which the client's own tracing adds to, and its usage is counted once."""
    server.reply(bodies.message())

    client = connect()
    messages = client.beta.messages if api == "beta" else client.messages
    message = await settled(messages.create(**ASK))

    assert message.content[0].text == "It is sunny."
    assert spans(otel) == [connect.chat()]
    assert tokens(otel) == ONCE


@pytest.mark.parametrize("connect", SYNC[:1], indirect=True)
async def test_native_tracing_switched_off_by_environment(
    otel: Recorder, server: FakeServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `ANTHROPIC_OPEN_TELEMETRY=false` the span is ours alone."""
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "false")
    server.reply(bodies.message())

    connect.keep(anthropic.Anthropic(api_key="key", base_url=server.url)).messages.create(**ASK)

    assert spans(otel) == [connect.chat()]
    assert tokens(otel) == ONCE


async def test_raw_response(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """A raw response tells as much as a parsed one, and its parsed value is the same object each time."""
    server.reply(bodies.message(), headers={"request-id": "req_1"})

    raw = await settled(connect().messages.with_raw_response.create(**ASK))

    assert raw.headers["request-id"] == "req_1"
    assert (await settled(raw.parse())) is (await settled(raw.parse()))
    assert spans(otel) == [connect.chat(**({"anthropic.request.id": "req_1"} if connect.native else {}))]
    assert tokens(otel) == ONCE


@pytest.mark.parametrize("read", ["parse", "json", "text", "read"])
async def test_streaming_response(otel: Recorder, server: FakeServer, connect: Connect, read: str) -> None:
    """A response that is read later ends its call when it is read, in whichever form."""
    server.reply(bodies.message())

    async with entered(connect().messages.with_streaming_response.create(**ASK)) as response:
        assert otel.spans == []
        await settled(getattr(response, read)())

    # the client's own tracing does not look into a body that is read later
    assert spans(otel) == [connect.chat(**dict.fromkeys(BODY_READ_NATIVELY))]
    assert tokens(otel) == ONCE


async def test_streaming_response_never_read(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """A response whose body nobody reads ends with its `with` block; its usage is absent, not 0."""
    server.reply(bodies.message())

    async with entered(connect().messages.with_streaming_response.create(**ASK)):
        pass

    left = {"otel_tools.usage.quality": "absent", "otel_tools.outcome": "cancelled"}
    assert spans(otel) == [connect.chat(**UNKNOWN | left)]
    assert tokens(otel) == {}


async def test_parse(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """Structured output is read like any other, and the format asked for is on the span."""
    pydantic = pytest.importorskip("pydantic")
    weather = pydantic.create_model("Weather", sunny=(bool, ...))
    server.reply(bodies.message(bodies.text('{"sunny": true}')))

    message = await settled(connect().messages.parse(**ASK, output_format=weather))

    assert message.parsed_output.sunny is True
    assert spans(otel) == [connect.chat(**{"gen_ai.output.type": "json"})]


@pytest.mark.parametrize("connect", SYNC[:1], indirect=True)
async def test_request_parameters(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """Parameters are read from what will be sent, `extra_body` included."""
    server.reply(bodies.message())

    body = {"model": "claude-other", "temperature": 0.5, "top_k": 5, "output_config": {"effort": "low"}}
    connect().messages.create(**ASK, stop_sequences=["END"], service_tier="auto", extra_body=body)

    asked = {
        "gen_ai.request.model": "claude-other",
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_k": 5,
        "gen_ai.request.reasoning.level": "low",
        "anthropic.request.service_tier": "auto",
    }
    assert spans(otel) == [connect.chat(**asked)]


@sync
@pytest.mark.skipif(not TRACES_ITSELF, reason="anthropic < 2 has no conversation id")
async def test_conversation_id(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """The conversation that the user gave to the client's own tracing is on our span, whether or not that is on."""
    server.reply(bodies.message())

    connect(open_telemetry={"conversation_id": "conv_1"}).messages.create(**ASK)

    assert spans(otel) == [connect.chat(**{"gen_ai.conversation.id": "conv_1"})]


@sync
async def test_cost(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """What is read from the cache, or kept in it for five minutes or an hour, is priced as such."""
    prices = {"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75, "cache_write_1h": 6}
    otel.instrument(prices={bodies.MODEL: {f"{kind}_per_million": price for kind, price in prices.items()}})
    server.reply(bodies.message())

    connect().messages.create(**ASK)

    cost = pytest.approx((10 * 3 + 64 * 0.3 + 20 * 3.75 + 10 * 6 + 25 * 15) / 1e6)
    assert otel.span()["attributes"]["otel_tools.cost.usd"] == cost
    assert [point["value"] for point in otel.points("otel_tools.client.cost")] == [cost]


# --- retries, errors, cancellation ----------------------------------------------------------------------------------
async def test_retry(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """A call that the client repeats is one call; its own tracing says how often it was sent again."""
    server.reply(bodies.error(), status=500, headers={"retry-after-ms": "1"})
    server.reply(bodies.message())

    await settled(connect().messages.create(**ASK))

    assert len(server.requests) == 2
    assert spans(otel) == [connect.chat(**({"http.request.resend_count": 1} if connect.native else {}))]
    assert tokens(otel) == ONCE


@pytest.mark.parametrize("status", [401, 429, 529])
async def test_error(otel: Recorder, server: FakeServer, connect: Connect, status: int) -> None:
    """A failed call raises what it would raise, and is one failed span without usage."""
    server.reply(bodies.error(), status=status)

    with pytest.raises(anthropic.APIStatusError) as raised:
        await settled(connect(max_retries=0).messages.create(**ASK))

    kind = type(raised.value)
    failed = {"error.type": f"{kind.__module__}.{kind.__name__}", "otel_tools.outcome": "error"}
    code = {"http.response.status_code": status} if connect.native else {}
    assert spans(otel) == [connect.chat(**UNKNOWN | failed | code)]
    assert tokens(otel) == {}


async def test_connection_error(otel: Recorder, connect: Connect) -> None:
    """A server that nobody listens at is an error like any other."""
    with pytest.raises(anthropic.APIConnectionError):
        await settled(connect(max_retries=0, base_url="http://127.0.0.1:9").messages.create(**ASK))

    span = otel.span()
    assert (span["status"], span["attributes"]["error.type"]) == ("ERROR", "anthropic.APIConnectionError")


@pytest.mark.parametrize("connect", ASYNC, indirect=True)
async def test_cancelled(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """A call whose task is cancelled is neither lost nor failed."""
    server.reply(bodies.message(), hold=(held := Held()))
    call = asyncio.create_task(connect().messages.create(**ASK))
    await asyncio.to_thread(held.arrived.wait)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    left = {"otel_tools.outcome": "cancelled", "http.response.status_code": None}
    assert spans(otel) == [connect.chat(**UNKNOWN | left)]


# --- what is not a chat ---------------------------------------------------------------------------------------------
async def test_other_endpoints(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """Counting tokens is not ours: the client's own span for it stays, and no metric is recorded."""
    server.reply({"input_tokens": 10})

    await settled(connect().messages.count_tokens(model=bodies.MODEL, messages=bodies.MESSAGES))

    assert [span["name"] for span in otel.spans] == ["anthropic.messages.count_tokens"] * connect.native
    assert otel.points("gen_ai.client.operation.duration") == []


# --- platforms ------------------------------------------------------------------------------------------------------
PLATFORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "AnthropicBedrock": ("aws.bedrock", {"aws_region": "us-east-1"}),
    "AnthropicVertex": (
        "gcp.vertex_ai",
        {"api_key": None, "region": "r", "project_id": "p", "access_token": "t"},
    ),
}


@pytest.mark.parametrize("name", PLATFORMS)
async def test_platform(otel: Recorder, server: FakeServer, connect: Connect, name: str) -> None:
    """On another platform the URL and the body differ; the call is read before they do, and the provider is named."""
    server.reply(bodies.message())
    provider, options = PLATFORMS[name]

    await settled(connect(name, **options).messages.create(**ASK))

    path = server.requests[0].path
    assert "claude-test" in path
    urls = {"url.path": path, "url.full": f"{server.url}{path}"} if connect.native else {}
    assert spans(otel) == [connect.chat(**{"gen_ai.provider.name": provider}, **urls)]


# --- patching -------------------------------------------------------------------------------------------------------
async def test_client_made_before(recorder: Recorder, server: FakeServer) -> None:
    """A client, and a resource of it, that exist when the program is instrumented are seen, and no more afterwards."""
    connect = Connect(server, recorder, "sync", native=False)
    messages = connect().messages
    for instrument in (recorder.instrument, recorder.uninstrument):
        instrument()
        server.reply(bodies.message())
        messages.create(**ASK)
    await connect.close()

    assert spans(recorder) == [connect.chat()]


@pytest.mark.parametrize("connect", SYNC[:1], indirect=True)
async def test_content(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """Messages, system instructions and tool definitions are recorded only when that is asked for."""
    otel.instrument(capture="span_only")
    server.reply(bodies.message())

    connect().messages.create(**ASK, system="Be brief.", tools=[bodies.TOOL])

    attributes = otel.span("chat claude-test")["attributes"]
    assert attributes["gen_ai.system_instructions"] == '[{"type":"text","content":"Be brief."}]'
    assert '"What is the weather in Paris?"' in attributes["gen_ai.input.messages"]
    assert '"It is sunny."' in attributes["gen_ai.output.messages"]
    assert '"get_weather"' in attributes["gen_ai.tool.definitions"]
