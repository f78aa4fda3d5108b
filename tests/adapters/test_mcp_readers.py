"""What MCP results say, read without a server."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("mcp")

from mcp.types import CallToolResult, ImageContent, TextContent
from opentelemetry import trace

from otel_tools.adapters.tools import mcp_server
from otel_tools.adapters.wire.mcp import read_result
from otel_tools.model import Invocation, ToolResponse
from otel_tools.policy.outcome import Outcome


@pytest.mark.parametrize(
    "text",
    [
        "Error executing tool add: 2 validation errors for addArguments\na\n  Input should be",
        "Input validation error: 'a' is a required property",
        "MCP error -32602: Input validation error: Invalid arguments for tool add: []",
        "Unknown tool: ad",
        "MCP error -32602: Tool ad not found",
    ],
)
def test_what_the_model_got_wrong_is_neutral(text: str) -> None:
    """Servers have no structured form for wrong arguments; their usual sentences are known."""
    result = CallToolResult(content=[TextContent(type="text", text=text)], isError=True)
    assert read_result(result) == ToolResponse(Outcome.TOOL_ERROR, neutral=True, result=text)


def test_what_the_tool_got_wrong_is_not() -> None:
    """A validation error of the tool's own models is a failure of the tool."""
    text = "Error executing tool add: 1 validation error for Answer\nvalue\n  Field required"
    result = CallToolResult(content=[TextContent(type="text", text=text)], isError=True)
    assert read_result(result) == ToolResponse(Outcome.TOOL_ERROR, result=text)


def test_content_that_is_no_text_is_kept() -> None:
    """Other kinds of content stand beside the texts as they are."""
    image = ImageContent(type="image", data="aGk=", mimeType="image/png")
    result = CallToolResult(content=[TextContent(type="text", text="look"), image])
    assert read_result(result) == ToolResponse(result=["look", image])


def test_a_result_that_asks_for_input_is_no_result() -> None:
    """The SDK 2.x may answer with a request for input: the call is interrupted."""
    assert read_result(SimpleNamespace(result_type="input_required")) == ToolResponse(Outcome.INTERRUPTED)


def test_a_tool_run_directly_is_not_served() -> None:
    """`Tool.run` called by the program itself, without a request, has no remote parent and no MCP attributes."""
    tool = SimpleNamespace(name="add", description="Add.")
    (target, _) = mcp_server.ADAPTER.targets
    request = target.request(Invocation(lambda: None, tool, ({"a": 1},), {}))
    assert request is not None
    assert (request.name, request.remote) == ("add", None)
    assert set(request.fields.values()) == {None}
    assert trace.get_current_span() is trace.INVALID_SPAN
