"""An MCP server with tools that do well, fail, hang and die; a program of its own when run, over stdio."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
from contextlib import asynccontextmanager
from typing import Any

from mcp import ClientSession
from mcp.shared.exceptions import UrlElicitationRequiredError
from mcp.types import CallToolResult, ElicitRequestURLParams, TextContent
from opentelemetry import trace

MAJOR = int(importlib.metadata.version("mcp").split(".")[0])

if MAJOR == 1:
    from mcp.server.fastmcp import Context
    from mcp.server.fastmcp import FastMCP as Server
    from mcp.shared.memory import create_connected_server_and_client_session
else:
    from mcp.client._memory import InMemoryTransport
    from mcp.server.mcpserver import Context
    from mcp.server.mcpserver import MCPServer as Server


class Tools:
    """The server, and events that let a test know where a tool is."""

    def __init__(self) -> None:
        self.server = Server("fixture")
        self.started = asyncio.Event()
        for tool in (add, fail, unhappy, envelope, numbers, elicit, die, self.hang):
            self.server.tool()(tool)

    async def hang(self) -> str:
        """Never come back."""
        self.started.set()
        return await asyncio.get_running_loop().create_future()


def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


def fail(reason: str) -> str:
    """Raise."""
    raise ValueError(reason)


def unhappy() -> CallToolResult:
    """Return an error as data."""
    return CallToolResult(content=[TextContent(type="text", text="no luck")], isError=True)


def envelope(ctx: Context) -> str:
    """Tell what came with the request, and the span that the tool runs in."""
    meta = ctx.request_context.meta
    span = trace.get_current_span()
    parent = getattr(span, "parent", None)
    told: dict[str, Any] = {
        "meta": dict(meta if isinstance(meta, dict) else meta.model_extra or {}) if meta else {},
        "trace": f"{span.get_span_context().trace_id:032x}",
        "parent": f"{parent.span_id:016x}" if parent else None,
        "name": getattr(span, "name", None),
    }
    return json.dumps(told)


def numbers() -> list[str]:
    """Return two pieces of content."""
    return ["one", "two"]


def elicit() -> str:
    """Ask for a human."""
    ask = {"mode": "url", "message": "log in", "url": "https://example.com", "elicitationId": "e1"}
    raise UrlElicitationRequiredError([ElicitRequestURLParams.model_validate(ask)])


def die() -> str:
    """End the process."""
    os._exit(1)


@asynccontextmanager
async def connected(server: Server, **options: Any):
    """A client session with *server* over streams in memory; the server runs in a task of its own."""
    if MAJOR == 1:
        async with create_connected_server_and_client_session(server._mcp_server, **options) as session:
            yield session
        return
    async with InMemoryTransport(server) as (read, write), ClientSession(read, write, **options) as session:
        await session.initialize()
        yield session


if __name__ == "__main__":
    from tests.recorder import Recorder

    recorder = Recorder()
    trace.set_tracer_provider(recorder.tracer_provider)
    recorder.instrument()
    Tools().server.run()
