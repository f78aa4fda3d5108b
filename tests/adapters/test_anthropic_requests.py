"""The reader of the body of a request to the Messages API."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from otel_tools.adapters.wire.anthropic_request import read_content, request_fields, tool_names
from tests.clients import anthropic_bodies as bodies

types = pytest.importorskip("anthropic.types")

BLOCKS = [
    {"type": "thinking", "thinking": "Look out of the window.", "signature": "c2ln"},
    bodies.text("I shall look."),
    bodies.tool_use(city="Paris"),
]
PARTS = [
    {"type": "reasoning", "content": "Look out of the window."},
    {"type": "text", "content": "I shall look."},
    {"type": "tool_call", "id": "toolu_1", "name": "get_weather", "arguments": {"city": "Paris"}},
]


def test_request_fields() -> None:
    """Every parameter that has an attribute is read, with the type of that attribute."""
    body = {
        "max_tokens": 100,
        "temperature": 1,
        "top_p": 0.9,
        "top_k": 40,
        "stop_sequences": ["END"],
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {}}},
        "service_tier": "auto",
        "thread": {"type": "continue", "previous_message_id": "msg_0"},
    }
    assert request_fields(body) == {
        "max_tokens": 100,
        "temperature": 1.0,
        "top_p": 0.9,
        "top_k": 40,
        "stop_sequences": ["END"],
        "reasoning_level": "high",
        "output_type": "json",
        "anthropic_service_tier": "auto",
        "previous_response_id": "msg_0",
    }


def test_request_fields_left_out() -> None:
    """What was not given, or has a type that no attribute can hold, is left out."""
    assert set(request_fields({"max_tokens": "many", "temperature": None, "thread": object()}).values()) == {None}


def test_content_of_a_request() -> None:
    """System instructions, every kind of block, and tool definitions have the structure of the GenAI schemas."""
    source = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    searched = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "weather"}}
    hit = {"type": "web_search_result", "url": "https://example.com", "encrypted_content": "opaque"}
    blocks = [
        {"type": "image", "source": source},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Sunny."}},
        {"type": "document", "source": {"type": "content", "content": [bodies.text("Rain.")]}},
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": [bodies.text("rain")], "is_error": True},
        searched,
        {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [hit]},
        {"type": "mcp_tool_use", "id": "mcp_1", "name": "look", "server_name": "eyes", "input": {}},
        {"type": "redacted_thinking", "data": "opaque"},
        {"type": "compaction", "content": "They asked for the weather."},
    ]
    answer = types.Message.construct(**bodies.message(*BLOCKS)).content
    body = {
        "system": [bodies.text("Be brief.")],
        "messages": [*bodies.MESSAGES, {"role": "assistant", "content": answer}, {"role": "user", "content": blocks}],
        "tools": [bodies.TOOL, {"type": "web_search_20260318", "name": "web_search"}],
    }
    content = read_content(body)

    assert content.system_instructions == [{"type": "text", "content": "Be brief."}]
    assert content.input_messages is not None
    assert content.input_messages[:2] == [
        {"role": "user", "parts": [{"type": "text", "content": "What is the weather in Paris?"}]},
        {"role": "assistant", "parts": PARTS},
    ]
    assert content.input_messages[2]["parts"] == [
        {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "aGk="},
        {"type": "uri", "modality": "image", "uri": "https://example.com/a.png"},
        {"type": "file", "modality": "document", "file_id": "file_1"},
        {"type": "text", "content": "Sunny."},
        {"type": "text", "content": "Rain."},
        {"type": "tool_call_response", "id": "toolu_1", "response": "sunny"},
        {"type": "tool_call_response", "id": "toolu_2", "response": [{"type": "text", "content": "rain"}]},
        {
            "type": "server_tool_call",
            "id": "srv_1",
            "name": "web_search",
            "server_tool_call": {"type": "web_search", "input": {"query": "weather"}},
        },
        {
            "type": "server_tool_call_response",
            "id": "srv_1",
            "server_tool_call_response": {
                "type": "web_search",
                "content": [{"type": "web_search_result", "url": "https://example.com"}],
            },
        },
        {
            "type": "server_tool_call",
            "id": "mcp_1",
            "name": "look",
            "server_tool_call": {"type": "mcp", "server_name": "eyes", "input": {}},
        },
        {"type": "redacted_thinking"},
        {"type": "compaction", "content": "They asked for the weather."},
    ]
    assert content.tool_definitions == [
        {
            "type": "function",
            "name": "get_weather",
            "description": "The weather of a city.",
            "parameters": bodies.TOOL["input_schema"],
        },
        {"type": "web_search_20260318", "name": "web_search"},
    ]
    assert tool_names(body) == ["get_weather"]


def test_iterators_are_left_to_the_client() -> None:
    """Messages and tools that can be read only once are not read: the client has yet to send them."""
    body = {"messages": iter(bodies.MESSAGES), "tools": iter([bodies.TOOL])}

    assert asdict(read_content(body)) == {
        "system_instructions": None,
        "input_messages": None,
        "output_messages": None,
        "tool_definitions": None,
    }
    assert tool_names(body) == []
    assert list(body["messages"]) == bodies.MESSAGES
