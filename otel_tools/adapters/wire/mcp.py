"""Results and errors of MCP tool calls, as both sides of the SDK (1.x and 2.x) hold them."""

from __future__ import annotations

import importlib
import re
from typing import Any

from otel_tools.model import ToolResponse
from otel_tools.policy.outcome import Outcome

METHOD = "tools/call"
_TIMEOUTS = (408, -32001)  # the SDK's own codes for its read timeout, 1.x and 2.x
_INVALID_PARAMS = -32602
_URL_ELICITATION = -32042

# How servers say, as data, that the model called a tool wrongly: there is no structured form.
_MODEL_ERROR = re.compile(
    r"Error executing tool .+: \d+ validation errors? for \w+Arguments\b"  # FastMCP, MCPServer
    r"|(MCP error -32602: )?Input validation error: "  # low-level Python server, TypeScript SDK
    r"|(MCP error -32602: )?(Unknown tool: |Tool .+ not found$)"
)


def read_result(result: Any) -> ToolResponse:
    """Read a `CallToolResult`, or what a server's tool function gave."""
    if getattr(result, "result_type", None) == "input_required":
        return ToolResponse(Outcome.INTERRUPTED)
    content = _content(result)
    # `is_error` in 2.x, `isError` in 1.x
    if not (getattr(result, "is_error", False) or getattr(result, "isError", False)):
        return ToolResponse(result=content)
    text = content if isinstance(content, str) else ""
    return ToolResponse(Outcome.TOOL_ERROR, neutral=bool(_MODEL_ERROR.match(text)), result=content)


def _content(result: Any) -> Any:
    """The content blocks that go back to the model; the text alone where it is all there is."""
    if isinstance(result, tuple) and len(result) == 2:  # noqa: PLR2004  a 1.x server: (content, structured content)
        result = result[0]
    blocks = getattr(result, "content", result)
    if not isinstance(blocks, list):
        return blocks
    plain = [getattr(block, "text", block) for block in blocks]
    return plain[0] if len(plain) == 1 else plain


def read_error(error: BaseException) -> ToolResponse | None:
    """Read a JSON-RPC error: `McpError` of 1.x, `MCPError` of 2.x."""
    code = getattr(getattr(error, "error", None), "code", None)
    if not isinstance(code, int):
        return None
    if code in _TIMEOUTS:
        return ToolResponse(Outcome.TIMEOUT, error_type="timeout")
    outcome = Outcome.INTERRUPTED if code == _URL_ELICITATION else Outcome.ERROR
    fields = {"rpc_status_code": str(code)}
    return ToolResponse(outcome, neutral=code == _INVALID_PARAMS, error_type=str(code), fields=fields)


def build_result(text: str, *, error: bool) -> Any:
    """A `CallToolResult` of the installed SDK that holds *text*."""
    types = importlib.import_module("mcp.types")
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], isError=error)
