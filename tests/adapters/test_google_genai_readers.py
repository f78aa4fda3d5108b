"""The readers of Gemini's requests and responses, on the models of the client and on plain JSON."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from otel_tools.adapters.llm.google_genai import ADAPTER
from otel_tools.adapters.wire.google_genai import EmbedContent, GenerateContent
from otel_tools.model import Invocation, LLMRequest, LLMResponse, Usage
from tests.clients import google_genai_bodies as bodies

types = pytest.importorskip("google.genai.types")


def model_of(body: dict[str, Any]) -> Any:
    """The client's model of a response."""
    return types.GenerateContentResponse.model_validate(body)


def raw(body: dict[str, Any]) -> Any:
    """The same as JSON."""
    return body


SHAPES = pytest.mark.parametrize("shape", [model_of, raw])


def read(body: Any) -> LLMResponse:
    return GenerateContent().response(body)


def stream(*chunks: Any, complete: bool = True) -> LLMResponse:
    """What is read of a stream of *chunks*."""
    collector = GenerateContent().chunks()
    for chunk in chunks:
        collector.add(chunk)
    return collector.response(complete)


# --- responses ------------------------------------------------------------------------------------------------------
@SHAPES
def test_totals_include_tool_use_and_thoughts_and_details_are_per_modality(shape: Any) -> None:
    """What the service counts apart is added, and the parts of each total are read by modality."""
    counts = bodies.usage(
        300,
        50,
        30,
        toolUsePromptTokenCount=20,
        cachedContentTokenCount=100,
        promptTokensDetails=[
            {"modality": "TEXT", "tokenCount": 40},
            {"modality": "IMAGE", "tokenCount": 258},
            {"modality": "DOCUMENT", "tokenCount": 2},
        ],
        toolUsePromptTokensDetails=[{"modality": "TEXT", "tokenCount": 20}],
        candidatesTokensDetails=[{"modality": "TEXT", "tokenCount": 45}, {"modality": "AUDIO", "tokenCount": 5}],
        cacheTokensDetails=[{"modality": "TEXT", "tokenCount": 30}, {"modality": "IMAGE", "tokenCount": 70}],
    )

    assert read(shape(bodies.response(bodies.candidate(), counts=counts))).usage == Usage(
        input_tokens=320,
        output_tokens=80,
        cache_read_tokens=100,
        reasoning_tokens=30,
        text_input_tokens=60,
        image_input_tokens=258,
        text_output_tokens=45,
        audio_output_tokens=5,
        text_cache_read_tokens=30,
        image_cache_read_tokens=70,
    )


def test_a_count_of_zero_is_left_out_by_the_service() -> None:
    """A complete response that generated nothing has 0 output tokens; one without any counts has no usage."""
    assert read(bodies.response(counts=bodies.usage(4))).usage == Usage(input_tokens=4, output_tokens=0)
    assert read(bodies.response()).usage is None


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("OTHER", "error"),
        ("FINISH_REASON_UNSPECIFIED", "error"),
        ("MALFORMED_FUNCTION_CALL", "malformed_function_call"),
        ("LANGUAGE", "language"),
        (None, "error"),
    ],
)
@SHAPES
def test_finish_reasons_are_the_words_of_the_conventions(shape: Any, reason: str | None, word: str) -> None:
    """Each candidate has one; what the conventions have no word for keeps its own."""
    response = read(shape(bodies.response(bodies.candidate(reason=reason), bodies.candidate(index=1))))

    assert list(response.finish_reasons) == [word, "stop"]


@SHAPES
def test_a_blocked_prompt_is_a_filtered_answer(shape: Any) -> None:
    """There is no candidate then; the reason stands in for the one that was expected."""
    response = read(shape({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": bodies.usage(4)}))

    assert list(response.finish_reasons) == ["content_filter"]
    assert response.usage == Usage(input_tokens=4, output_tokens=0)


@SHAPES
def test_the_last_count_of_a_stream_wins(shape: Any) -> None:
    """Counts of chunks are cumulative and are never summed; a chunk without counts takes none away."""
    plain = bodies.response(bodies.candidate(bodies.text("!")), counts={"trafficType": "ON_DEMAND"})
    response = stream(*map(shape, [*bodies.CHUNKS, plain]))

    assert response.usage == Usage(input_tokens=10, output_tokens=6, reasoning_tokens=4)
    assert response.output is not None
    assert response.output() == [
        {
            "role": "assistant",
            "parts": [{"type": "reasoning", "content": "Hmm"}, {"type": "text", "content": "Hello!"}],
            "finish_reason": "stop",
        }
    ]


def test_a_stream_left_early_has_partial_usage() -> None:
    """What was counted so far is kept and marked; output that was not counted yet is unknown, not 0."""
    left = stream(*bodies.CHUNKS[:2], complete=False)
    at_once = stream(bodies.response(counts=bodies.usage(10)), complete=False)

    assert left.usage == Usage(input_tokens=10, output_tokens=4, reasoning_tokens=3, quality="partial")
    assert at_once.usage == Usage(input_tokens=10, quality="partial")
    assert [list(left.finish_reasons), list(at_once.finish_reasons)] == [["error"], ["error"]]


def test_the_finish_reason_says_whether_a_stream_came_to_its_end() -> None:
    """Leaving after the last chunk loses nothing; a connection that breaks off looks like an end, but is none."""
    left = stream(*bodies.CHUNKS, complete=False)
    broken = stream(*bodies.CHUNKS[:3], complete=True)

    assert (left.usage.quality, list(left.finish_reasons)) == ("exact", ["stop"])  # type: ignore[union-attr]  # it is there
    assert (broken.usage.quality, list(broken.finish_reasons)) == ("partial", ["error"])  # type: ignore[union-attr]  # likewise


def test_candidates_of_a_stream_are_told_apart_by_their_index() -> None:
    """An index of 0 is left out by the service; chunks of several candidates arrive interleaved."""
    response = stream(
        bodies.response(bodies.candidate(bodies.text("a"), reason=None)),
        bodies.response(bodies.candidate(bodies.text("b"), reason=None, index=1)),
        bodies.response(bodies.candidate(bodies.text("c"), reason="MAX_TOKENS", index=1)),
        bodies.response(bodies.candidate(bodies.text("d"))),
    )

    assert list(response.finish_reasons) == ["stop", "length"]
    assert response.output is not None
    assert [message["parts"][0]["content"] for message in response.output()] == ["ad", "bc"]


def test_only_chunks_with_content_start_the_clock() -> None:
    """Thoughts and function calls count as content; counts, signatures and empty texts do not."""
    chunks = GenerateContent().chunks()
    parts = [
        bodies.text(""),
        {"thoughtSignature": "c2ln"},
        bodies.text("Hmm", thought=True),
        bodies.function_call("get_weather"),
    ]
    carried = [chunks.add(model_of(bodies.response(bodies.candidate(part)))) for part in parts]

    assert [chunks.add(model_of(bodies.response(counts=bodies.usage(1)))), *carried] == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_embeddings_of_both_services() -> None:
    """The Gemini API counts tokens per response, Vertex AI per embedding; older clients do not pass the former on."""
    gemini = EmbedContent().response(bodies.EMBEDDINGS)
    statistics = [{"values": [0.1], "statistics": {"token_count": count}} for count in (3.0, 4.0)]
    vertex = EmbedContent().response({"embeddings": statistics})
    uncounted = EmbedContent().response({"embeddings": [{"values": [0.1]}]})

    assert (gemini.usage, gemini.fields) == (Usage(input_tokens=7, text_input_tokens=7), {"dimension_count": 3})
    assert (vertex.usage, vertex.fields) == (Usage(input_tokens=7), {"dimension_count": 1})
    assert (uncounted.usage, EmbedContent().response({}).fields) == (None, {"dimension_count": None})


# --- requests -------------------------------------------------------------------------------------------------------
def request(**arguments: Any) -> LLMRequest:
    """What is read of a call of `generate_content`."""
    options = SimpleNamespace(base_url="https://generativelanguage.googleapis.com/")
    client = SimpleNamespace(vertexai=False, _http_options=options)
    instance = SimpleNamespace(_api_client=client)
    found = ADAPTER.targets[0].request(Invocation(print, instance, (), {"model": bodies.MODEL, **arguments}))
    assert isinstance(found, LLMRequest)
    return found


CONFIG = {
    "temperature": 0.5,
    "topP": 0.9,
    "top_k": 40.0,
    "max_output_tokens": 100,
    "stop_sequences": ["END"],
    "seed": 7,
    "candidate_count": 2,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "response_mime_type": "application/json",
    "thinking_config": {"thinking_level": "LOW"},
}


@pytest.mark.parametrize("config", [CONFIG, types.GenerateContentConfig.model_validate(CONFIG)], ids=["dict", "model"])
def test_every_setting_of_a_request_is_read(config: Any) -> None:
    """`top_k` is a whole number for the conventions, though the client makes a float of it."""
    fields = request(config=config).fields

    assert fields == {
        "choice_count": 2,
        "frequency_penalty": 0.2,
        "max_tokens": 100,
        "output_type": "json",
        "presence_penalty": 0.1,
        "reasoning_level": "LOW",
        "seed": 7,
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "top_k": 40,
        "top_p": 0.9,
    }
    assert type(fields["top_k"]) is int


def test_one_choice_is_not_worth_a_word() -> None:
    """The conventions want the count of choices only where it is not 1; no config has no fields."""
    assert request(config={"candidate_count": 1}).fields["choice_count"] is None
    assert request().fields == {}


@pytest.mark.parametrize(
    ("config", "output_type"),
    [
        ({"response_schema": {"type": "STRING"}}, "json"),
        ({"response_json_schema": {"type": "string"}}, "json"),
        ({"response_mime_type": "text/plain"}, "text"),
        ({"response_mime_type": "text/x.enum"}, "text"),
        ({"response_modalities": ["AUDIO"]}, "speech"),
        ({"response_modalities": ["TEXT", "IMAGE"]}, "image"),
        ({"response_modalities": ["text"]}, "text"),
        ({}, None),
    ],
)
def test_the_output_type_is_what_was_asked_for(config: dict[str, Any], output_type: str | None) -> None:
    """It may be asked for by schema, by MIME type or by modality."""
    model = types.GenerateContentConfig.model_validate(config)

    assert request(config=model).fields["output_type"] == output_type


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gemini-2.5-flash", "gemini-2.5-flash"),
        ("models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("google/gemini-2.5-flash", "gemini-2.5-flash"),
        ("publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("projects/p/locations/l/publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("tunedModels/mine", "tunedModels/mine"),
        ("projects/p/locations/l/endpoints/1", "projects/p/locations/l/endpoints/1"),
    ],
)
def test_a_model_has_one_name(name: str, model: str) -> None:
    """The ways to write a model's name are one series of a metric, and one price."""
    assert request(model=name).model == model


def test_the_endpoint_of_the_request_goes_before_that_of_the_client() -> None:
    """A request may be sent elsewhere by its own `http_options`."""
    usual = request()
    config = types.GenerateContentConfig(http_options=types.HttpOptions(base_url="http://proxy.example:8080/x"))
    elsewhere = request(config=config)

    assert (usual.address, usual.port) == ("generativelanguage.googleapis.com", 443)
    assert (elsewhere.address, elsewhere.port) == ("proxy.example", 8080)
