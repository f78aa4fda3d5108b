"""What the Stainless clients share: reading requests, and telling apart what `request` returns."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from otel_tools.adapters.wire import stainless
from otel_tools.model import Held, InPlace, Invocation, Later, Whole
from tests.clients import openai_bodies as bodies

openai = pytest.importorskip("openai")

READS = ("parse", "json", "text", "read", "iter_lines", "iter_text", "iter_bytes")


class Omit:
    """Stands for the marker of that name in the clients."""


@pytest.fixture
def client(server):
    """The sync client."""
    with openai.OpenAI(base_url=server.url, api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(server):
    """The async client."""
    async with openai.AsyncOpenAI(base_url=server.url, api_key="k", max_retries=0) as client:
        yield client


def ask(completions, **options):
    return completions.create(model=bodies.MODEL, messages=bodies.MESSAGES, **options)


def options(method="post", url="/chat/completions", **fields):
    return SimpleNamespace(method=method, url=url, json_data=fields.get("json_data"), extra_json=fields.get("extra"))


def test_request():
    """The body that is sent has `extra_body` merged in, and nothing that was not given."""
    given = options(json_data={"model": "a", "n": Omit(), "stop": None}, extra={"top_k": 5, "model": "b"})
    invocation = Invocation(print, None, (object, given), {"stream": True})
    assert stainless.options(invocation) is given
    assert stainless.streamed(invocation)
    assert stainless.body(given) == {"model": "b", "stop": None, "top_k": 5}


@pytest.mark.parametrize("json_data", [None, ["a list"], b"bytes"])
def test_request_without_an_object(json_data):
    """A body that is no object is read as an empty one."""
    assert stainless.body(options(json_data=json_data)) == {}


@pytest.mark.parametrize(
    ("method", "url", "path"),
    [
        ("post", "/chat/completions", "/chat/completions"),
        ("POST", "/v1/messages?beta=true", "/v1/messages"),
        ("get", "/chat/completions", None),
    ],
)
def test_posted_path(method, url, path):
    """Only posts have a path, given without its query."""
    assert stainless.posted_path(options(method, url)) == path


@pytest.mark.parametrize(
    ("base_url", "url", "endpoint"),
    [
        ("https://api.openai.com/v1/", "/responses", ("api.openai.com", 443)),
        ("http://localhost:8080/v1", "/responses", ("localhost", 8080)),
        ("http://[::1]/v1", "/responses", ("::1", 80)),
        ("https://api.openai.com/v1/", "https://api.together.xyz/v1/completions", ("api.together.xyz", 443)),
    ],
)
def test_endpoint(base_url, url, endpoint):
    """Host and port come from the client, or from an absolute URL of the request."""
    assert stainless.endpoint(SimpleNamespace(base_url=base_url), url) == endpoint


def test_model_is_whole(client, server):
    """A model is the response."""
    server.reply(bodies.chat())
    value = ask(client.chat.completions)
    assert stainless.view(value) == Whole(value)


def test_stream_stays_in_place(client, server):
    """A stream stays itself; the HTTP response below it is what its helpers close."""
    server.reply(events=bodies.chat_stream())
    with ask(client.chat.completions, stream=True) as value:
        assert stainless.view(value) == InPlace(value, transport=value.response)


async def test_async_stream_stays_in_place(async_client, server):
    """An async stream likewise."""
    server.reply(events=bodies.chat_stream())
    async with await ask(async_client.chat.completions, stream=True) as value:
        assert stainless.view(value) == InPlace(value, asynchronous=True, transport=value.response)


def test_raw_response_is_parsed_once(client, server):
    """A raw response is read as what it holds, which is what the caller will get from it."""
    server.reply(bodies.chat())
    raw = ask(client.chat.completions.with_raw_response)
    view = stainless.view(raw)
    assert isinstance(view, Whole)
    assert view.payload is raw.parse()


def test_raw_stream_stays_in_place(client, server):
    """The stream in a raw response is the one that the caller will get from it."""
    server.reply(events=bodies.chat_stream())
    raw = ask(client.chat.completions.with_raw_response, stream=True)
    view = stainless.view(raw)
    with raw.parse() as stream:
        assert isinstance(view, InPlace)
        assert view.stream is stream


def test_raw_response_with_a_parser_is_not_parsed(client, server):
    """Where parsing runs the caller's validators, the body is read instead."""
    pydantic = pytest.importorskip("pydantic")
    runs = []

    class Answer(pydantic.BaseModel):
        text: str

        @pydantic.field_validator("text")
        @classmethod
        def check(cls, value):
            runs.append(value)
            return value

    server.reply(bodies.chat('{"text":"hi"}'))
    raw = client.chat.completions.with_raw_response.parse(
        model=bodies.MODEL, messages=bodies.MESSAGES, response_format=Answer
    )
    assert stainless.view(raw) == Whole(bodies.chat('{"text":"hi"}'))
    assert runs == []
    assert raw.parse().choices[0].message.parsed == Answer(text="hi")


def test_streaming_response_is_held(client, server):
    """A response that is read while it arrives is not touched."""
    server.reply(bodies.chat())
    with ask(client.chat.completions.with_streaming_response) as response:
        assert stainless.view(response) == Held(response, read=READS, transport=response.http_response)
        assert not response.is_closed


async def test_async_streaming_response_is_held(async_client, server):
    """An async one likewise."""
    server.reply(bodies.chat())
    async with ask(async_client.chat.completions.with_streaming_response) as response:
        transport = response.http_response
        assert stainless.view(response) == Held(response, read=READS, asynchronous=True, transport=transport)


async def test_async_raw_response_is_read_later(server):
    """Where parsing is a coroutine (anthropic 2, groq, together), it is awaited."""
    anthropic = pytest.importorskip("anthropic")
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key="k", max_retries=0) as client:
        server.reply({"id": "msg_1", "type": "message", "content": []})
        messages = client.messages.with_raw_response
        raw = await messages.create(model="claude-test", max_tokens=8, messages=bodies.MESSAGES)
        view = stainless.view(raw)
        if isinstance(view, Later):
            assert await view.read() is await raw.parse()
        else:  # anthropic before 1.0 parses at once
            assert view.payload is raw.parse()


@pytest.mark.parametrize(
    ("read", "payload"), [(b'{"id": "a"}', {"id": "a"}), ('{"id": "a"}', {"id": "a"}), ("<", None)]
)
def test_text_is_decoded(read, payload):
    """What a streaming response gives as bytes or text is decoded; what is no JSON says nothing."""
    assert stainless.view(read) == Whole(payload)
