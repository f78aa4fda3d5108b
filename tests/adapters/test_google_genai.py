"""The `google-genai` client over real HTTP: one span per request, of the Gemini API and of Vertex AI."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import ANY

import pytest

from tests.clients import google_genai_bodies as bodies
from tests.clients.google_genai_calls import (
    CONTENTS,
    chat,
    chat_async,
    embed,
    embed_async,
    generate,
    generate_async,
    perform,
)
from tests.clients.google_genai_spans import STREAMED, UNANSWERED, llm_span
from tests.fake_server import FakeServer
from tests.recorder import Recorder

pytest.importorskip("google.genai")
from google.genai import types

GENERATE = pytest.mark.parametrize("use", [generate, generate_async])


@GENERATE
@pytest.mark.parametrize("provider", ["gcp.gemini", "gcp.vertex_ai"])
def test_a_call_is_one_span(otel: Recorder, server: FakeServer, use: Any, provider: str) -> None:
    """Settings of the request, counts and cost of the answer; the provider by the client's own flag."""
    server.reply(bodies.HELLO)
    config = types.GenerateContentConfig(temperature=0.5, top_k=40, max_output_tokens=100, seed=7)

    answer = perform(server.url, use, vertexai=provider == "gcp.vertex_ai", config=config)

    assert (type(answer), answer.text) == (types.GenerateContentResponse, "Hello")
    assert otel.spans == [
        llm_span(
            server,
            gen_ai__provider__name=provider,
            gen_ai__request__temperature=0.5,
            gen_ai__request__top_k=40,
            gen_ai__request__max_tokens=100,
            gen_ai__request__seed=7,
        )
    ]


@GENERATE
def test_metrics_of_a_call(otel: Recorder, server: FakeServer, use: Any) -> None:
    """Duration once, tokens by type, cost in USD."""
    server.reply(bodies.HELLO)
    perform(server.url, use)

    labels = {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": bodies.MODEL,
        "gen_ai.response.model": bodies.VERSION,
        "server.address": "127.0.0.1",
        "server.port": server.port,
    }
    spent = {"gen_ai.provider.name": "gcp.gemini", "gen_ai.request.model": bodies.MODEL}
    assert otel.points("gen_ai.client.operation.duration") == [{"attributes": labels, "count": 1, "sum": ANY}]
    assert otel.points("gen_ai.client.token.usage") == [
        {"attributes": {**labels, "gen_ai.token.type": kind}, "count": 1, "sum": count}
        for kind, count in (("input", 10), ("output", 2))
    ]
    assert otel.points("otel_tools.client.cost") == [{"attributes": spent, "value": pytest.approx(8e-6)}]


@GENERATE
def test_a_raw_response_is_read_from_its_body(otel: Recorder, server: FakeServer, use: Any) -> None:
    """With `should_return_http_response` the caller gets the JSON, and the span what is in it."""
    server.reply(bodies.HELLO)

    answer = perform(server.url, use, config={"should_return_http_response": True})

    assert json.loads(answer.sdk_http_response.body) == bodies.HELLO
    assert otel.spans == [llm_span(server)]


@pytest.mark.parametrize("use", [chat, chat_async])
def test_each_turn_of_a_chat_is_one_span(otel: Recorder, server: FakeServer, use: Any) -> None:
    """`send_message` and `send_message_stream` end in the same calls as the rest."""
    server.reply(bodies.HELLO)
    server.reply(events=bodies.CHUNKS)

    assert [answer.text for answer in perform(server.url, use)] == ["Hello", None, "Hel", "lo", ""]
    assert otel.spans == [llm_span(server), llm_span(server, **STREAMED)]


@GENERATE
def test_each_part_of_a_long_answer_is_one_span(otel: Recorder, server: FakeServer, use: Any) -> None:
    """The client goes on by itself where the service cuts an answer in parts: one request each, its own counts each."""
    if "continuation_token" not in types.Candidate.model_fields:
        pytest.skip("this version of the client does not continue answers")
    part = bodies.candidate(bodies.text("Hel"), reason="CONTINUATION", continuationToken="dG9rZW4=")
    server.reply(bodies.response(part, counts=bodies.usage(10, 1)))
    server.reply(bodies.response(bodies.candidate(bodies.text("lo")), counts=bodies.usage(10, 2)))

    assert perform(server.url, use).text == "Hello"
    assert otel.spans == [
        llm_span(server, gen_ai__response__finish_reasons=("continuation",), gen_ai__usage__output_tokens=1),
        llm_span(server),
    ]


@pytest.mark.parametrize("use", [embed, embed_async])
@pytest.mark.parametrize("vertexai", [False, True])
def test_embeddings_are_one_span(otel: Recorder, server: FakeServer, use: Any, *, vertexai: bool) -> None:
    """The public method and the private one below it are one call. Clients before 3 drop the Gemini API's counts."""
    server.reply(bodies.VERTEX_EMBEDDINGS if vertexai else bodies.EMBEDDINGS)
    counted = vertexai or "usage_metadata" in types.EmbedContentResponse.model_fields

    answer = perform(server.url, use, vertexai=vertexai)

    assert len(answer.embeddings) == 2
    assert otel.spans == [
        llm_span(
            server,
            gen_ai__operation__name="embeddings",
            gen_ai__provider__name="gcp.vertex_ai" if vertexai else "gcp.gemini",
            gen_ai__embeddings__dimension__count=3,
            **UNANSWERED
            | {
                "otel_tools__usage__quality": "exact" if counted else "absent",
                "gen_ai__usage__input_tokens": 7 if counted else None,
                "gen_ai__usage__text__input_tokens": None if vertexai or not counted else 7,
                "otel_tools__cost__source": "genai-prices" if counted else None,
            },
        )
    ]


# --- content --------------------------------------------------------------------------------------------------------
@GENERATE
def test_no_content_is_recorded_by_default(otel: Recorder, server: FakeServer, use: Any) -> None:
    """Neither what is asked nor what is answered, nor the key that it is asked with."""
    server.reply(bodies.HELLO)
    perform(server.url, use, config={"system_instruction": "Be brief.", "tools": [get_weather]})

    recorded = json.dumps([otel.spans, otel.logs, otel.metrics])
    assert not [word for word in ("Bonn", "Hello", "brief", "weather", "secret-key") if word in recorded]


@GENERATE
def test_content_is_recorded_when_it_is_asked_for(otel: Recorder, server: FakeServer, use: Any) -> None:
    """Messages, system instructions and tools, in the structure of the GenAI schemas."""
    otel.instrument(capture="span_and_event")
    server.reply(bodies.HELLO)
    perform(server.url, use, config={"system_instruction": "Be brief.", "tools": [get_weather]})

    content = {
        "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": CONTENTS}]}],
        "gen_ai.output.messages": [
            {"role": "assistant", "parts": [{"type": "text", "content": "Hello"}], "finish_reason": "stop"}
        ],
        "gen_ai.tool.definitions": [
            {"type": "function", "name": "get_weather", "description": "The weather of a city."}
        ],
    }
    attributes = otel.span(f"generate_content {bodies.MODEL}")["attributes"]
    details = next(log for log in otel.logs if log["event"] == "gen_ai.client.inference.operation.details")
    assert {name: json.loads(attributes[name]) for name in content} == content
    assert {name: _plain(details["attributes"][name]) for name in content} == content


def _plain(value: Any) -> Any:
    """The SDK freezes what log records hold; lists and dictionaries again."""
    return json.loads(json.dumps(value, default=dict))


def get_weather(city: str) -> str:
    """The weather of a city."""
    return city
