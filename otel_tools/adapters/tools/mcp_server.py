"""Tools served over MCP by the SDK's high-level server: `MCPServer` of 2.x, `FastMCP` of 1.x.

The SDK 2.x has a SERVER span around a call, which is enriched; with 1.x the caller's trace is found in `_meta`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

from otel_tools.adapters.wire.mcp import METHOD, build_result, read_error, read_result
from otel_tools.model import Adapter, Invocation, OnLoop, Shape, Target, ToolRequest, ToolResponse
from otel_tools.policy.outcome import Outcome


def _request(call: Invocation) -> ToolRequest:
    tool, context = call.instance, _context(call)
    return ToolRequest(
        tool.name,
        "mcp",
        description=tool.description,
        arguments=call.argument(0, "arguments"),
        fields=_fields(context),
        remote=None if context is None else _meta(context),
    )


def _context(call: Invocation) -> Any:
    try:
        return call.argument(1, "context").request_context
    except (AttributeError, ValueError):
        return None  # run directly, not for a request


def _fields(context: Any) -> dict[str, Any]:
    headers = getattr(getattr(context, "request", None), "headers", None) or {}
    request_id = getattr(context, "request_id", None)
    return {
        "mcp_method": METHOD if context else None,
        "mcp_protocol_version": getattr(context, "protocol_version", headers.get("mcp-protocol-version")),
        "mcp_request_id": None if request_id is None else str(request_id),
        "mcp_session_id": headers.get("mcp-session-id"),
        "network_transport": "tcp" if headers else None,
    }


def _meta(context: Any) -> Mapping[str, Any]:
    meta = getattr(context, "meta", None)
    return (meta if isinstance(meta, Mapping) else getattr(meta, "model_extra", None)) or {}  # 2.x, 1.x


def _error(error: BaseException) -> ToolResponse | None:
    """The server answers an exception of a tool with an error as data, and a JSON-RPC error with a JSON-RPC error."""
    if (response := read_error(error)) or type(error).__name__ not in {"ToolError", "UnexpectedToolError"}:
        return response
    # pydantic names the model that the SDK builds from the function's parameters
    bad_arguments = str(getattr(error.__cause__, "title", "")).endswith("Arguments")
    return ToolResponse(Outcome.TOOL_ERROR, neutral=bad_arguments, error_type=Outcome.TOOL_ERROR.value)


def _fallback(call: Invocation, _request: ToolRequest, text: str, *, error: bool = False) -> Any:
    if not call.argument(2, "convert_result"):
        return text
    try:
        return build_result(text, error=True) if error else call.instance.fn_metadata.convert_result(text)
    except ValueError:  # the tool has an output schema that a text does not satisfy
        return build_result(text, error=True)


def _on_loop(call: Invocation) -> OnLoop | None:
    """1.x calls a sync function just so, on the event loop that serves all clients; 2.x calls it in a thread."""
    tool, run = call.instance, getattr(call.wrapped, "__func__", None)
    if tool.is_async or run is None:
        return None

    def replaced(function: Callable[..., Any]) -> Invocation:
        other = tool.model_copy(update={"fn": function})
        return call._replace(wrapped=MethodType(run, other), instance=other)

    return OnLoop(tool.fn, replaced)


def _target(module: str, **options: Any) -> Target:
    return Target(
        module=module,
        path="Tool.run",
        shape=Shape.ASYNC,
        request=_request,
        response=read_result,
        error=_error,
        fallback=_fallback,
        errors_as_data=True,
        **options,
    )


ADAPTER = Adapter(
    library="mcp",
    minimum="1.19",
    targets=(
        _target("mcp.server.fastmcp.tools.base", until="2", on_loop=_on_loop),
        _target("mcp.server.mcpserver.tools.base", since="2"),
    ),
)
