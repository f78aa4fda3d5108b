"""Sessions with the MCP server of `mcp_program`, over stdio and HTTP, and the spans that calls should give."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

import uvicorn
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared import exceptions as mcp_exceptions
from mcp.types import CallToolResult

from tests.adapters.mcp_program import MAJOR
from tests.recorder import Recorder

ROOT = Path(__file__).parents[2]
JsonRpcError: Any = mcp_exceptions.McpError if MAJOR == 1 else mcp_exceptions.MCPError
second_major = pytest.mark.skipif(MAJOR == 1, reason="mcp 1.x neither traces itself nor serves in the caller's context")
HANDSHAKE = {} if MAJOR == 1 else {"mcp.protocol.version": "2025-11-25"}
FIRST_CALL = "1" if MAJOR == 1 else "2"


def seconds(value: float) -> Any:
    """A read timeout as the SDK wants it."""
    return timedelta(seconds=value) if MAJOR == 1 else value


def client_span(tool: str, outcome: str = "ok", *, parent: str | None = None, **attributes: Any) -> dict[str, Any]:
    """The whole client-side span of the first call of a session (dots in names are double underscores)."""
    expected = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool,
        "gen_ai.tool.type": "function",
        "mcp.method.name": "tools/call",
        "jsonrpc.request.id": FIRST_CALL,
        "otel_tools.circuit_breaker.state": "closed",
        "otel_tools.outcome": outcome,
        **HANDSHAKE,
        **{name.replace("__", "."): value for name, value in attributes.items()},
    }
    return {
        "name": f"execute_tool {tool}",
        "kind": "INTERNAL",
        "status": "UNSET" if outcome in ("ok", "cancelled", "interrupted") else "ERROR",
        "parent": parent,
        "attributes": {name: value for name, value in expected.items() if value is not None},
        "events": [],
    }


def client_spans(otel: Recorder) -> list[dict[str, Any]]:
    """The client-side spans of tool calls."""
    return [span for span in otel.spans if span["name"].startswith("execute_tool") and span["kind"] == "INTERNAL"]


def is_error(result: CallToolResult) -> bool:
    return bool(getattr(result, "is_error", False) or getattr(result, "isError", False))


def told(result: CallToolResult) -> dict[str, Any]:
    """What a refusal tells the model."""
    return json.loads(result.content[0].text)["error"]


def answering(answer: CallToolResult | Exception, requests: list[Any] | None = None) -> Any:
    """Stands for the session's `send_request`: no server is needed to fail."""

    async def send_request(request: Any, *args: Any, **kwargs: Any) -> CallToolResult:
        if requests is not None:
            requests.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return send_request


@asynccontextmanager
async def over_stdio():
    """A session with the server in a process of its own, which is instrumented, too."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "tests.adapters.mcp_program"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    nowhere: Any = subprocess.DEVNULL
    async with stdio_client(server, errlog=nowhere) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        yield session


@contextmanager
def serving(server: Any) -> Iterator[str]:
    """Run *server* over HTTP in a thread; gives its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    http = uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="error", ws="none", lifespan="on"))
    thread = threading.Thread(target=http.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        http.should_exit = True
        thread.join()
        listening.close()


@asynccontextmanager
async def over_http(url: str):
    """A session with the server at *url*."""
    async with streamable_http_client(url) as (read, write, *_), ClientSession(read, write) as session:
        await session.initialize()
        yield session


def trace_natively(otel: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let mcp 2.x's own tracing (1.x has none) go where ours goes."""
    otel.uninstrument()
    if MAJOR > 1:
        monkeypatch.setattr("mcp.shared._otel._tracer", otel.tracer_provider.get_tracer("mcp-python-sdk"))
    otel.instrument()
