"""The readers of OpenAI request bodies: parameters, messages, tools."""

from __future__ import annotations

from typing import Any

import pytest

from otel_tools.adapters.wire import (
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_items,
    openai_messages,
    openai_responses,
)
from otel_tools.model import Content
from tests.clients import openai_bodies as bodies

DEFINITION = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": bodies.TOOL["function"]["parameters"],
}


def given(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def test_chat_parameters():
    """Every parameter that the conventions have an attribute for is read, in the attribute's type."""
    body = {
        "model": "gpt-4.1",
        "messages": [],
        "frequency_penalty": 1,
        "max_tokens": 10,
        "max_completion_tokens": 20,
        "n": 2,
        "presence_penalty": 0.5,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer"}},
        "seed": 7,
        "service_tier": "flex",
        "stop": "END",
        "temperature": 0,
        "top_k": 40,
        "top_p": 0.9,
        "top_logprobs": 5,
    }
    assert given(openai_chat.request_fields(body)) == {
        "frequency_penalty": 1.0,
        "max_tokens": 20,
        "choice_count": 2,
        "presence_penalty": 0.5,
        "reasoning_level": "low",
        "output_type": "json",
        "seed": 7,
        "openai_service_tier": "flex",
        "stop_sequences": ["END"],
        "temperature": 0.0,
        "top_k": 40,
        "top_p": 0.9,
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"n": 1, "service_tier": "auto"}, {}),
        ({"temperature": None, "stop": None, "response_format": None}, {}),
        ({"temperature": "warm", "seed": True, "stop": [1]}, {}),
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"response_format": {"type": "text"}}, {"output_type": "text"}),
        ({"modalities": ["text", "audio"]}, {"output_type": "speech"}),
        ({"reasoning": {"effort": "high"}}, {"reasoning_level": "high"}),
    ],
)
def test_chat_parameters_at_their_edges(body, expected):
    """Defaults, wrong types and the spellings of other services are read for what they are."""
    assert given(openai_chat.request_fields(body)) == expected


def test_responses_parameters():
    """Every parameter of the responses API that the conventions have an attribute for is read."""
    body = {
        "input": "Hello",
        "conversation": {"id": "conv_1"},
        "max_output_tokens": 20,
        "previous_response_id": "resp_0",
        "prompt": {"id": "pmpt_1", "version": "2"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "service_tier": "priority",
        "temperature": 1,
        "text": {"format": {"type": "json_object"}},
        "top_p": 0.5,
    }
    assert given(openai_responses.request_fields(body)) == {
        "conversation_id": "conv_1",
        "max_tokens": 20,
        "previous_response_id": "resp_0",
        "prompt_name": "pmpt_1",
        "prompt_version": "2",
        "reasoning_level": "low",
        "openai_service_tier": "priority",
        "temperature": 1.0,
        "output_type": "json",
        "top_p": 0.5,
    }
    assert given(openai_responses.request_fields({"conversation": "conv_2"})) == {"conversation_id": "conv_2"}


def test_embeddings_parameters():
    """Dimensions and encoding format are read."""
    body = {"input": "Hello", "dimensions": 256, "encoding_format": "base64"}
    assert openai_embeddings.request_fields(body) == {"dimension_count": 256, "encoding_formats": ["base64"]}


def test_chat_history():
    """Each message keeps its role and its parts: text, image, audio, file, tool call, tool result."""
    user = [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "mp3"}},
        {"type": "file", "file": {"file_id": "file_1"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
        {"type": "new_kind", "value": 1},
    ]
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": user, "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": bodies.tool_calls()},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"sky":"clear"}'},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "rain"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "audio": {"id": "audio_1"}},
    ]
    assert openai_messages.read_content({"messages": messages}) == Content(
        input_messages=[
            {"role": "developer", "parts": [{"type": "text", "content": "Be brief."}]},
            {
                "role": "user",
                "name": "ann",
                "parts": [
                    {"type": "text", "content": "Look:"},
                    {"type": "uri", "modality": "image", "uri": "https://example.org/cat.png"},
                    {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "iVBORw=="},
                    {"type": "blob", "modality": "audio", "mime_type": "audio/mpeg", "content": "UklGRg=="},
                    {"type": "file", "modality": "document", "file_id": "file_1"},
                    {"type": "blob", "modality": "document", "mime_type": "application/pdf", "content": "JVBERg=="},
                    {"type": "new_kind", "value": 1},
                ],
            },
            {
                "role": "assistant",
                "parts": [{"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": {"city": "Paris"}}],
            },
            {
                "role": "tool",
                "parts": [{"type": "tool_call_response", "id": "call_1", "response": {"sky": "clear"}}],
            },
            {
                "role": "tool",
                "parts": [
                    {
                        "type": "tool_call_response",
                        "id": "call_2",
                        "response": [{"type": "text", "content": "rain"}],
                    }
                ],
            },
            {
                "role": "assistant",
                "parts": [
                    {"type": "text", "content": "No."},
                    {"type": "file", "modality": "audio", "file_id": "audio_1"},
                ],
            },
        ]
    )


def test_chat_tools():
    """Tool definitions and names are read, those of custom tools and of the old `functions` included."""
    body = {
        "tools": [bodies.TOOL, {"type": "custom", "custom": {"name": "sql", "description": "Runs SQL."}}],
        "functions": [{"name": "old"}],
    }
    assert openai_messages.tool_names(body) == ["get_weather", "sql", "old"]
    assert openai_messages.read_content(body).tool_definitions == [
        DEFINITION,
        {"type": "custom", "name": "sql", "description": "Runs SQL."},
        {"type": "function", "name": "old"},
    ]


def test_iterators_of_the_caller_are_left_alone():
    """An iterator given as messages or tools is not read: that would take it from the request."""
    messages, tools = iter(bodies.MESSAGES), iter([bodies.TOOL])
    body = {"messages": messages, "tools": tools}
    assert openai_messages.read_content(body) == Content()
    assert openai_messages.tool_names(body) == []
    assert (list(messages), list(tools)) == (bodies.MESSAGES, [bodies.TOOL])


def test_responses_input():
    """Instructions are apart from the input; each item becomes a message."""
    body = {
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "Hello"},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Look:"},
                    {"type": "input_image", "image_url": "data:image/png;base64,iVBORw=="},
                    {"type": "input_image", "file_id": "file_1"},
                    {"type": "input_file", "file_url": "https://example.org/a.pdf"},
                ],
            },
            bodies.reasoning_item(),
            bodies.call_item(),
            {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
            {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "rain"}]},
            {"type": "item_reference", "id": "msg_0"},
        ],
        "tools": [bodies.RESPONSES_TOOL, {"type": "web_search"}],
    }
    content = openai_items.read_content(body)
    assert content.system_instructions == [{"type": "text", "content": "Be brief."}]
    assert content.tool_definitions == [DEFINITION, {"type": "web_search", "name": "web_search"}]
    assert [message["role"] for message in content.input_messages] == [
        *("user", "user", "assistant", "assistant", "tool", "tool", "assistant")
    ]
    assert [message["parts"] for message in content.input_messages] == [
        [{"type": "text", "content": "Hello"}],
        [
            {"type": "text", "content": "Look:"},
            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "iVBORw=="},
            {"type": "file", "modality": "image", "file_id": "file_1"},
            {"type": "uri", "modality": "document", "uri": "https://example.org/a.pdf"},
        ],
        [{"type": "reasoning", "content": "Look out of the window."}],
        [{"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": {"city": "Paris"}}],
        [{"type": "tool_call_response", "id": "call_1", "response": "sunny"}],
        [{"type": "tool_call_response", "id": "call_1", "response": [{"type": "text", "content": "rain"}]}],
        [{"type": "item_reference", "id": "msg_0"}],
    ]


def test_responses_tool_names():
    """Only what the program itself can run is named: functions and custom tools, in namespaces as well."""
    namespace = {"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "find_customer"}]}
    tools = [bodies.RESPONSES_TOOL, {"type": "custom", "name": "sql"}, {"type": "web_search"}, namespace]
    assert openai_items.tool_names({"tools": tools}) == ["get_weather", "sql", "find_customer"]


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("Once", [{"type": "text", "content": "Once"}]),
        (["Once", "Twice"], [{"type": "text", "content": "Once"}, {"type": "text", "content": "Twice"}]),
    ],
)
def test_completion_prompt(prompt, parts):
    """The prompt of a legacy completion is a user's message."""
    content = openai_completions.read_content({"prompt": prompt})
    assert content == Content(input_messages=[{"role": "user", "parts": parts}])


def test_completion_prompt_of_tokens():
    """A prompt given as tokens has no text to show."""
    assert openai_completions.read_content({"prompt": [1, 2, 3]}) == Content()
