"""MCP tools served by the real SDK, 1.x or 2.x: in the caller's trace, and errors of the same type."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("mcp")

from mcp.types import CallToolResult

import otel_tools
from tests.adapters.mcp_program import MAJOR, Tools
from tests.adapters.mcp_sessions import (
    FIRST_CALL,
    JsonRpcError,
    client_spans,
    is_error,
    over_http,
    over_stdio,
    second_major,
    serving,
    told,
    trace_natively,
)
from tests.recorder import Recorder


# --- one trace ------------------------------------------------------------------------------------------------------
async def test_the_server_joins_the_trace_over_stdio(otel: Recorder) -> None:
    """The tool runs in the client's trace, below a server-side span whose parent is the client's span."""
    async with over_stdio() as session:
        otel.clear()
        result = await session.call_tool("envelope", meta={"mine": 1})
    seen = json.loads(result.content[0].text)
    client = next(span for span in otel.finished if span.name == "execute_tool envelope")
    assert seen["trace"] == f"{client.context.trace_id:032x}"
    assert seen["parent"] == f"{client.context.span_id:016x}"
    assert seen["name"] == ("execute_tool envelope" if MAJOR == 1 else "tools/call envelope")
    meta = seen["meta"]
    assert meta.pop("traceparent").startswith(f"00-{seen['trace']}-{seen['parent']}")
    assert meta == {"mine": 1}


async def test_the_server_joins_the_trace_over_http(otel: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over HTTP the server's span knows its session; its parent is the client's span although no header says so."""
    trace_natively(otel, monkeypatch)
    with serving(Tools().server) as url:
        async with over_http(url) as session:
            otel.clear()
            with otel.tracer_provider.get_tracer("program").start_as_current_span("work"):
                await session.call_tool("numbers")
    tool_spans = [span for span in otel.spans if span["attributes"].get("gen_ai.tool.name") == "numbers"]
    assert [(span["kind"], span["parent"]) for span in tool_spans] == [
        ("SERVER", "execute_tool numbers"),
        ("INTERNAL", "work"),
    ]
    attributes = tool_spans[0]["attributes"]
    assert len(attributes.pop("mcp.session.id")) == 32
    assert attributes == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "numbers",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Return two pieces of content.",
        "mcp.method.name": "tools/call",
        "mcp.protocol.version": "2025-11-25",
        "jsonrpc.request.id": FIRST_CALL,
        "network.transport": "tcp",
        "otel_tools.circuit_breaker.state": "closed",
        "otel_tools.outcome": "ok",
        "otel_tools.tool.result.size": len('["one","two"]'),
    }


# --- the server side ------------------------------------------------------------------------------------------------
async def test_the_servers_errors(otel: Recorder) -> None:
    """The server's own span of a failed call is an error as well, of the same type as the client's."""
    with serving(Tools().server) as url:
        async with over_http(url) as session:
            otel.clear()
            await session.call_tool("fail", {"reason": "secret"})
            await session.call_tool("add", {"a": "many"})
            await session.call_tool("unhappy")
    served = [span for span in otel.spans if span["kind"] == "SERVER" and "gen_ai.tool.name" in span["attributes"]]
    assert [(span["status"], span["attributes"]["error.type"]) for span in served] == [("ERROR", "tool_error")] * 3
    assert [span["attributes"]["otel_tools.outcome"] for span in served] == ["tool_error"] * 3


async def test_a_served_call_asks_for_a_human(otel: Recorder) -> None:
    """A JSON-RPC error that a tool raises goes to the client as such; for our part of it, it is an interruption."""
    with serving(Tools().server) as url:
        async with over_http(url) as session:
            otel.clear()
            with pytest.raises(JsonRpcError):
                await session.call_tool("elicit")
    (served,) = (span for span in otel.spans if span["kind"] == "SERVER" and "gen_ai.tool.name" in span["attributes"])
    assert served["attributes"]["otel_tools.outcome"] == "interrupted"
    assert served["attributes"]["rpc.response.status_code"] == "-32042"


async def test_a_served_tool_degrades_in_a_type_that_clients_accept(otel: Recorder) -> None:
    """An optional tool's note satisfies the tool's output schema, or is marked as an error where it cannot."""
    optional = {"criticality": "optional"}
    otel.instrument(mode="enforce", tools={"fail": optional, "add": optional})
    server = Tools().server
    text = await server.call_tool("fail", {"reason": "secret"})
    number = await server.call_tool("add", {"a": "many"})
    if MAJOR == 1:
        content, structured = text
    else:
        content, structured = text.content, text.structured_content
    assert structured == {"result": content[0].text}
    assert json.loads(content[0].text)["error"]["reason"] == "tool_error"
    assert is_error(number)
    assert [span["attributes"]["otel_tools.degraded"] for span in otel.spans] == [True, True]


async def test_a_refusal_of_the_server_is_data(otel: Recorder) -> None:
    """A critical tool that is switched off gives its caller an error result, not a crash in the server's log."""
    otel_tools.disable_tool("add", reason="test")
    result = await Tools().server.call_tool("add", {"a": 1})
    assert type(result) is CallToolResult
    assert is_error(result)
    assert told(result)["reason"] == "disabled"


@second_major
async def test_in_one_process_a_call_counts_once(otel: Recorder) -> None:
    """With mcp 2.x a call served in the task that makes it is one call, one count."""
    from mcp import Client

    async with Client(Tools().server) as client:
        await client.call_tool("add", {"a": 1})
    assert len(client_spans(otel)) == 1
    assert [point["value"] for point in otel.metrics["otel_tools.tool.calls"]] == [1]
