"""Tools called over MCP, client side: every Python client ends in `ClientSession.call_tool`.

That goes for `Client`, `ClientSessionGroup`, fastmcp's client and the frameworks' MCP tools. The SDK 2.x traces its
requests itself: its span for our call becomes ours, and it carries the trace context in `_meta`; for 1.x we do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_tools.adapters.wire.mcp import METHOD, build_result, read_error, read_result
from otel_tools.model import Adapter, Invocation, Native, Shape, Target, ToolRequest


def _request(call: Invocation) -> ToolRequest:
    session = call.instance
    fields = {"mcp_method": METHOD, "mcp_protocol_version": getattr(session, "protocol_version", None)}
    if isinstance(number := getattr(session, "_request_id", None), int):
        fields["mcp_request_id"] = str(number)  # 1.x, the id that comes next; in 2.x the SDK's own span brings it
    return ToolRequest(call.argument(0, "name"), "mcp", arguments=call.argument(1, "arguments"), fields=fields)


def _propagate(call: Invocation, headers: Mapping[str, str]) -> Invocation:
    """Add the trace context to the caller's own `_meta`, as the SDK 2.x does."""
    return call._replace(kwargs={**call.kwargs, "meta": {**(call.kwargs.get("meta") or {}), **headers}})


def _fallback(_call: Invocation, _request: ToolRequest, text: str, *, error: bool = False) -> Any:
    return build_result(text, error=error)


def _appended(result: Any, line: str) -> Any:
    """One more block of text; structured content stays what it is."""
    return result.model_copy(update={"content": [*result.content, *build_result(line, error=False).content]})


def _adopt(name: str, attributes: Mapping[str, Any]) -> bool:
    return name.startswith("MCP send ") and attributes.get("mcp.method.name") == METHOD


def _target(**options: Any) -> Target:
    return Target(
        module="mcp.client.session",
        path="ClientSession.call_tool",
        shape=Shape.ASYNC,
        request=_request,
        response=read_result,
        error=read_error,
        fallback=_fallback,
        errors_as_data=True,
        appended=_appended,
        **options,
    )


ADAPTER = Adapter(
    library="mcp",
    minimum="1.19",  # `call_tool(meta=...)`
    targets=(_target(until="2", propagate=_propagate), _target(since="2")),
    natives=(Native(module="mcp.shared._otel", path="_tracer", adopt=_adopt, since="2"),),
)
