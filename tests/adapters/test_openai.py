"""The OpenAI client over real HTTP: every way to ask gives one whole span, with metrics and a log record."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("openai")

from otel_tools.adapters.llm.openai import ADAPTER
from otel_tools.model import Invocation
from tests.clients import openai_bodies as bodies
from tests.clients import openai_client as clients
from tests.clients.openai_client import chat, expected, response

WEATHER = '{"city":"Paris"}'


@pytest.fixture(params=["sync", "async"])
def kind(request):
    """Which client is used."""
    return request.param


@pytest.fixture
async def client(kind, server):
    """A client of the server."""
    client = clients.make(kind, server.url)
    yield client
    await clients.close(client)


# --- chat completions -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "ask",
    [
        clients.create,
        clients.create_raw,
        clients.create_raw_unread,
        lambda client: clients.read_while_it_arrives(client, "parse"),
        lambda client: clients.read_while_it_arrives(client, "json"),
        lambda client: clients.read_while_it_arrives(client, "text"),
        lambda client: clients.read_while_it_arrives(client, "read"),
        lambda client: clients.create(client.with_options(timeout=10)),
    ],
    ids=["create", "raw", "raw unread", "parse", "json", "text", "read", "with_options"],
)
async def test_chat(otel, server, client, ask):
    """However a whole answer is asked for and read, its call is one span with everything that it says."""
    server.reply(bodies.chat())
    await ask(client)
    assert clients.span(otel, server) == expected(chat())
    assert len(server.requests) == 1


@pytest.mark.parametrize("ask", [clients.parse, clients.parse_raw])
async def test_parse(otel, server, client, ask):
    """A structured answer is JSON to telemetry, and the caller's own model to the caller."""
    server.reply(bodies.chat(WEATHER))
    answer = await ask(client)
    assert answer.choices[0].message.parsed == clients.Weather(city="Paris")
    assert clients.span(otel, server) == expected(chat(**{"gen_ai.output.type": "json"}))


async def test_signals(otel, server, client):
    """Beside the span there are duration, token and cost metrics and one log record."""
    server.reply(bodies.chat())
    await clients.create(client)
    labels = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": bodies.MODEL,
        "gen_ai.response.model": "gpt-4.1-2025-04-14",
        "server.address": "127.0.0.1",
        "server.port": server.port,
    }
    tokens = [
        {"attributes": {**labels, "gen_ai.token.type": "input"}, "count": 1, "sum": 117},
        {"attributes": {**labels, "gen_ai.token.type": "output"}, "count": 1, "sum": 25},
    ]
    metrics = otel.metrics
    (duration,) = metrics["gen_ai.client.operation.duration"]
    assert (duration["attributes"], duration["count"]) == (labels, 1)
    assert metrics["gen_ai.client.token.usage"] == tokens
    assert [point["value"] for point in metrics["otel_tools.client.cost"]] == [0.000338]
    assert "gen_ai.client.operation.time_to_first_chunk" not in metrics
    (record,) = otel.logs
    assert record["attributes"].pop("otel_tools.duration_ms") > 0
    assert record == {
        "event": "otel_tools.llm_call",
        "severity": "INFO",
        "body": f"chat {labels['gen_ai.request.model']}: ok",
        "attributes": {
            **labels,
            "gen_ai.usage.input_tokens": 117,
            "gen_ai.usage.output_tokens": 25,
            "otel_tools.cost.usd": 0.000338,
            "otel_tools.outcome": "ok",
            "otel_tools.success": True,
        },
    }


async def test_parameters(otel, server, client):
    """The parameters of a request are attributes; parameters that were not given are not."""
    server.reply(bodies.chat())
    await clients.settle(
        client.chat.completions.create(
            **clients.CHAT,
            n=1,
            seed=7,
            stop=["END"],
            temperature=0,
            top_p=0.5,
            max_completion_tokens=20,
            reasoning_effort="low",
            service_tier="flex",
            response_format={"type": "json_object"},
            extra_body={"top_k": 40},
        )
    )
    parameters = {
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.top_k": 40,
        "gen_ai.request.max_tokens": 20,
        "gen_ai.request.reasoning.level": "low",
        "openai.request.service_tier": "flex",
        "gen_ai.output.type": "json",
    }
    assert clients.span(otel, server) == expected(chat(**parameters))


async def test_content(otel, server, client):
    """With capture on, messages and tools are on the span as JSON and on the event as structure."""
    otel.instrument(capture="span_and_event")
    server.reply(bodies.chat(None, "tool_calls", tool_calls=bodies.tool_calls()))
    await clients.settle(client.chat.completions.create(**clients.CHAT, tools=[bodies.TOOL]))
    call = {"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": {"city": "Paris"}}
    definition = {"type": "function", **{key: bodies.TOOL["function"][key] for key in ("name", "description")}}
    content = {
        "gen_ai.input.messages": [
            {"role": "user", "parts": [{"type": "text", "content": "What is the weather in Paris?"}]}
        ],
        "gen_ai.output.messages": [{"role": "assistant", "parts": [call], "finish_reason": "tool_call"}],
        "gen_ai.tool.definitions": [{**definition, "parameters": bodies.TOOL["function"]["parameters"]}],
    }
    attributes = otel.span()["attributes"]
    assert {name: json.loads(attributes[name]) for name in content} == content
    (event,) = (record for record in otel.logs if record["event"] == "gen_ai.client.inference.operation.details")
    assert {name: plain(event["attributes"][name]) for name in content} == content


def plain(value):
    """What an attribute of a log record holds, tuples as lists."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if hasattr(value, "items") else value


# --- the other APIs -------------------------------------------------------------------------------------------------
async def test_responses(otel, server, client):
    """The responses API is a chat as well."""
    server.reply(bodies.response(bodies.call_item(), conversation={"id": "conv_1"}))
    await clients.settle(client.responses.create(**clients.RESPONSES, previous_response_id="resp_0"))
    changes = {
        "gen_ai.response.finish_reasons": ("tool_calls",),
        "gen_ai.conversation.id": "conv_1",
        "gen_ai.request.previous_response.id": "resp_0",
    }
    assert clients.span(otel, server) == expected(response(**changes))


async def test_responses_parse(otel, server, client):
    """A structured response likewise."""
    server.reply(bodies.response(bodies.text_item(WEATHER)))
    answer = await clients.settle(client.responses.parse(**clients.RESPONSES, text_format=clients.Weather))
    assert answer.output_parsed == clients.Weather(city="Paris")
    assert clients.span(otel, server) == expected(response(**{"gen_ai.output.type": "json"}))


async def test_failed_response(otel, server, client):
    """A response that says that it failed is a failed call, though it came with status 200."""
    server.reply(bodies.response(status="failed", error={"code": "server_error", "message": "Oops"}))
    await clients.settle(client.responses.create(**clients.RESPONSES))
    changes = {
        "gen_ai.response.finish_reasons": ("error",),
        "error.type": "server_error",
        "otel_tools.outcome": "error",
    }
    assert clients.span(otel, server) == expected(response(**changes), status="ERROR")


@pytest.mark.parametrize("raw", [False, True])
async def test_embeddings(otel, server, client, raw):
    """Embeddings come as base64, which the client asks for on its own."""
    server.reply(bodies.embeddings([0.5, 0.25, 0.125]))
    embeddings = client.embeddings.with_raw_response if raw else client.embeddings
    answer = await clients.settle(embeddings.create(model="text-embedding-3-small", input="Hello"))
    assert (answer.parse() if raw else answer).data[0].embedding == [0.5, 0.25, 0.125]
    attributes = {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "text-embedding-3-small",
        "gen_ai.request.encoding_formats": ("base64",),
        "gen_ai.response.model": "text-embedding-3-small",
        "gen_ai.embeddings.dimension.count": 3,
        "gen_ai.usage.input_tokens": 9,
        "otel_tools.usage.quality": "exact",
        "otel_tools.cost.usd": 1.8e-07,
        "otel_tools.cost.source": "genai-prices",
        "otel_tools.outcome": "ok",
    }
    assert clients.span(otel, server) == expected(attributes, "embeddings text-embedding-3-small")


async def test_completions(otel, server, client):
    """The legacy API is a text completion."""
    server.reply(bodies.completion())
    await clients.settle(client.completions.create(model="gpt-3.5-turbo-instruct", prompt="The weather", max_tokens=4))
    found = clients.span(otel, server)
    assert (found["name"], found["attributes"]["gen_ai.response.finish_reasons"]) == (
        "text_completion gpt-3.5-turbo-instruct",
        ("length",),
    )
    assert found["attributes"]["gen_ai.usage.output_tokens"] == 4


async def test_what_is_not_ours(otel, server, client):
    """Other requests of the client, also those below our paths, are left alone."""
    server.default = server.reply({"id": "chatcmpl-1", "object": "list", "data": [], "results": []})
    await clients.settle(client.models.list())
    await clients.settle(client.chat.completions.retrieve("chatcmpl-1"))
    await clients.settle(client.chat.completions.update("chatcmpl-1", metadata={}))
    await clients.settle(client.responses.cancel("resp_1"))
    await clients.settle(client.moderations.create(input="Hello"))
    assert len(server.requests) == 5
    assert otel.spans == []


async def test_azure(otel, server, kind):
    """A client of Azure is a provider of its own; the deployment in the path makes no difference."""
    server.reply(bodies.chat())
    client = clients.make_azure(kind, server.url)
    await clients.create(client)
    await clients.close(client)
    changes = {
        "gen_ai.provider.name": "azure.ai.openai",
        "azure.resource_provider.namespace": "Microsoft.CognitiveServices",
    }
    found = clients.span(otel, server)
    assert {**found["attributes"], "otel_tools.cost.usd": 0.000338} == chat(**changes)
    assert server.requests[0].path.startswith(f"/openai/deployments/{bodies.MODEL}/chat/completions?")


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://eu.api.openai.com/v1", "openai"),
        ("https://acme.openai.azure.com/openai/v1", "azure.ai.openai"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://api.x.ai/v1", "x_ai"),
        ("https://api.mistral.ai/v1", "mistral_ai"),
        ("https://api.moonshot.cn/v1", "moonshot_ai"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "gcp.gemini"),
        ("https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1", "aws.bedrock"),
        ("https://openrouter.ai/api/v1", "openai"),
        ("https://notapi.x.ai.example.org", "openai"),
        ("http://localhost:8000/v1", "openai"),
    ],
)
def test_provider(url, provider):
    """The provider is the service that the client points at, where the conventions have a name for it."""
    options = SimpleNamespace(method="post", url="/chat/completions", json_data={"model": "m"})
    request = ADAPTER.targets[0].request(Invocation(print, SimpleNamespace(base_url=url), (None, options), {}))
    assert request.provider == provider
