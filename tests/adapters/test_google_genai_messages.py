"""Gemini's contents, parts and tools in the structure of the GenAI JSON schemas."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from otel_tools.adapters.wire.google_genai_messages import messages, system_instructions
from otel_tools.adapters.wire.google_genai_tools import tool_definitions, tool_names

types = pytest.importorskip("google.genai.types")

HI = {"type": "text", "content": "hi"}
CALL = {"type": "tool_call", "id": "1", "name": "f", "arguments": {"x": 1}}
PNG = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "YWJj"}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ("hi", [user(HI)]),
        (["hi", "hi"], [user(HI, HI)]),
        (types.Part(text="hi"), [user(HI)]),
        ({"text": "hi"}, [user(HI)]),
        (types.Content(role="user", parts=[types.Part(text="hi")]), [user(HI)]),
        ({"role": "model", "parts": [{"text": "hi"}]}, [{"role": "assistant", "parts": [HI]}]),
        ([{"parts": [{"text": "hi"}]}, "hi", ["hi", "hi"]], [user(HI), user(HI), user(HI, HI)]),
        (types.Content(role="user"), [user()]),
    ],
)
def test_contents_may_be_given_in_many_ways(contents: Any, expected: list[dict[str, Any]]) -> None:
    """Parts that stand alone are one message, contents and lists are one each."""
    assert messages(contents) == expected


def test_function_calls_that_stand_alone_are_the_models() -> None:
    """The client makes a message of the model out of them, and so do we; answers are a message of the tool."""
    call = types.Part(function_call=types.FunctionCall(id="1", name="f", args={"x": 1}))
    answer = types.Part(function_response=types.FunctionResponse(id="1", name="f", response={"result": 2}))

    assert messages(["hi", call, types.Content(role="user", parts=[answer])]) == [
        user(HI),
        {"role": "assistant", "parts": [CALL]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": {"result": 2}}]},
    ]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (types.Part(text="hm", thought=True), {"type": "reasoning", "content": "hm"}),
        (types.Part.from_bytes(data=b"abc", mime_type="image/png"), PNG),
        ({"inlineData": {"data": "YWJj", "mimeType": "image/png"}}, PNG),
        (
            types.Part.from_uri(file_uri="gs://a/b.pdf", mime_type="application/pdf"),
            {"type": "uri", "modality": "document", "mime_type": "application/pdf", "uri": "gs://a/b.pdf"},
        ),
        (
            types.File(name="files/1", uri="https://files/1", mime_type="video/mp4"),
            {"type": "uri", "modality": "video", "mime_type": "video/mp4", "uri": "https://files/1"},
        ),
        (
            {"file_uri": "gs://a/b.mp3", "mime_type": "audio/mpeg"},
            {"type": "uri", "modality": "audio", "mime_type": "audio/mpeg", "uri": "gs://a/b.mp3"},
        ),
        (
            types.Part(executable_code=types.ExecutableCode(code="1+1", language="PYTHON")),
            {
                "type": "server_tool_call",
                "name": "code_execution",
                "server_tool_call": {"type": "code_execution", "code": "1+1"},
            },
        ),
        (
            types.Part(code_execution_result=types.CodeExecutionResult(outcome="OUTCOME_OK", output="2")),
            {
                "type": "server_tool_call_response",
                "server_tool_call_response": {"type": "code_execution", "output": "2"},
            },
        ),
        (SimpleNamespace(), {"type": "simplenamespace"}),
    ],
)
def test_every_kind_of_part(part: Any, expected: dict[str, Any]) -> None:
    """Text, thoughts, media by value and by reference, and what the service runs; anything else only by its type."""
    assert messages([part]) == [user(expected)]


def test_tools_that_the_service_runs_are_named() -> None:
    """Calls and answers of its search, for instance, name the kind of tool."""
    call = types.Part(tool_call=types.ToolCall(id="1", tool_type="GOOGLE_SEARCH_WEB", args={"q": "x"}))
    answer = types.Part(tool_response=types.ToolResponse(id="1", tool_type="GOOGLE_SEARCH_WEB", response={"r": 1}))
    name = "google_search_web"

    assert messages([types.Content(role="model", parts=[call, answer])])[0]["parts"] == [
        {
            "type": "server_tool_call",
            "id": "1",
            "name": name,
            "server_tool_call": {"type": name, "arguments": {"q": "x"}},
        },
        {
            "type": "server_tool_call_response",
            "id": "1",
            "server_tool_call_response": {"type": name, "response": {"r": 1}},
        },
    ]


def test_system_instructions_are_text() -> None:
    """However they are given; the schema has no other parts."""
    content = types.Content(parts=[types.Part(text="hi"), types.Part.from_bytes(data=b"abc", mime_type="image/png")])

    assert [system_instructions(given) for given in ("hi", ["hi", "hi"], content)] == [[HI], [HI, HI], [HI]]


def get_weather(city: str) -> str:
    """The weather of a city."""
    return city


DECLARATION = {
    "name": "get_time",
    "description": "The time.",
    "parameters": {"type": "OBJECT", "properties": {"zone": {"type": "STRING"}}},
}


@pytest.mark.parametrize("declared", [types.Tool, dict], ids=["model", "dict"])
def test_tools_of_every_kind(declared: Any) -> None:
    """Callables, declarations and MCP tools are functions; what the service runs itself is named by its kind."""
    mcp_tool = SimpleNamespace(name="search", description="Search.", inputSchema={"type": "object"})
    tools = [get_weather, declared(function_declarations=[DECLARATION], google_search={}), mcp_tool]

    assert tool_names(tools) == ["get_weather", "get_time", "search"]
    assert tool_definitions(tools) == [
        {"type": "function", "name": "get_weather", "description": "The weather of a city."},
        {"type": "function", **DECLARATION},
        {"type": "google_search", "name": "google_search"},
        {"type": "function", "name": "search", "description": "Search.", "parameters": {"type": "object"}},
    ]
    assert (tool_names(None), tool_definitions(None)) == ([], [])
