"""MCP tools called with the real SDK, 1.x or 2.x: one client-side span, whatever becomes of the call."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

pytest.importorskip("mcp")

from mcp.types import CallToolResult, ErrorData, TextContent

import otel_tools
from tests.adapters.mcp_program import MAJOR, Tools, connected
from tests.adapters.mcp_sessions import (
    FIRST_CALL,
    JsonRpcError,
    answering,
    client_span,
    client_spans,
    is_error,
    over_stdio,
    second_major,
    seconds,
    told,
    trace_natively,
)
from tests.recorder import Recorder


async def test_a_call_is_one_span_and_counted_once(otel: Recorder) -> None:
    """A good call over stdio: one client-side span, one duration, one result size, one call, one log record."""
    async with over_stdio() as session:
        otel.clear()
        result = await session.call_tool("add", {"a": 1})
    assert result.content[0].text == "2"
    assert client_spans(otel) == [
        client_span("add", otel_tools__tool__argument_keys=("a",), otel_tools__tool__result__size=1)
    ]
    tool = {"gen_ai.tool.name": "add"}
    metrics = otel.metrics
    (duration,) = metrics["gen_ai.execute_tool.duration"]
    assert (duration["attributes"], duration["count"]) == ({**tool, "gen_ai.tool.type": "function"}, 1)
    assert metrics["otel_tools.tool.result.size"] == [{"attributes": tool, "count": 1, "sum": 1}]
    assert metrics["otel_tools.tool.calls"] == [
        {"attributes": {**tool, "otel_tools.outcome": "ok", "otel_tools.degraded": False}, "value": 1}
    ]
    assert metrics["otel_tools.tool.in_flight"] == [{"attributes": tool, "value": 0}]
    assert [record["event"] for record in otel.logs] == ["otel_tools.tool_call"]


async def test_an_error_as_data_is_an_error_on_the_client_side(otel: Recorder) -> None:
    """A result with `isError` makes the client's span an error and reaches the caller untouched (M2 of demand.md)."""
    async with connected(Tools().server) as session:
        result = await session.call_tool("unhappy")
    assert is_error(result)
    assert result.content == [TextContent(type="text", text="no luck")]
    assert client_spans(otel) == [
        client_span("unhappy", "tool_error", error__type="tool_error", otel_tools__tool__result__size=7)
    ]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("fail", {"reason": "secret"}), ("add", {"a": "many"}), ("no_such_tool", {})],
    ids=["raises", "bad arguments", "unknown"],
)
async def test_what_the_server_tells_as_an_error_is_one(otel: Recorder, tool: str, arguments: dict[str, Any]) -> None:
    """A tool that raises, wrong arguments and a tool that does not exist are tool errors without any of their text."""
    async with connected(Tools().server) as session:
        result = await session.call_tool(tool, arguments)
    (span,) = client_spans(otel)
    size = len(result.content[0].text)
    keys = tuple(arguments) or None
    assert span == client_span(
        tool,
        "tool_error",
        error__type="tool_error",
        otel_tools__tool__argument_keys=keys,
        otel_tools__tool__result__size=size,
    )
    assert "secret" not in json.dumps([otel.spans, otel.logs], default=str)


async def test_wrong_arguments_do_not_open_the_circuit(otel: Recorder) -> None:
    """The model's own mistakes say nothing about the tool: after three of them a good call is still made."""
    otel.instrument(mode="enforce")
    async with connected(Tools().server) as session:
        for _ in range(3):
            await session.call_tool("add", {"a": "many"})
        result = await session.call_tool("add", {"a": 1})
    assert not is_error(result)
    assert client_spans(otel)[-1]["attributes"]["otel_tools.outcome"] == "ok"


async def test_three_failures_open_the_circuit_and_the_refusal_is_data(otel: Recorder) -> None:
    """After three `isError` results the fourth call is refused, in the SDK's own type, without a request."""
    otel.instrument(mode="enforce")
    requests = []
    async with connected(Tools().server) as session:
        session.send_request = answering(CallToolResult(content=[], isError=True), requests)
        for _ in range(3):
            await session.call_tool("unhappy")
        otel.clear()
        result = await session.call_tool("unhappy")
    assert type(result) is CallToolResult
    assert is_error(result)
    assert told(result)["reason"] == "circuit_open"
    assert len(requests) == 3
    (span,) = client_spans(otel)
    assert (span["status"], span["attributes"]["error.type"]) == ("ERROR", "circuit_open")


async def test_our_deadline_is_data_too(otel: Recorder) -> None:
    """A call that hangs past the policy's timeout ends with an error result that says it may have happened."""
    otel.instrument(mode="enforce", tools={"hang": {"timeout": "50ms"}})
    async with connected(Tools().server) as session:
        result = await session.call_tool("hang")
    assert is_error(result)
    assert (told(result)["reason"], told(result)["outcome"]) == ("timeout", "unknown")
    assert client_spans(otel) == [
        client_span("hang", "timeout", error__type="timeout", otel_tools__timeout__duration=0.05)
    ]


async def test_an_optional_tool_degrades_to_a_note(otel: Recorder) -> None:
    """A failing optional tool gives a good result with a note; the span keeps the primary outcome."""
    otel.instrument(mode="enforce", tools={"lost": {"criticality": "optional"}})
    async with connected(Tools().server) as session:
        session.send_request = answering(ConnectionError("the server is gone"))
        result = await session.call_tool("lost")
    assert type(result) is CallToolResult
    assert not is_error(result)
    (span,) = client_spans(otel)
    attributes = span["attributes"]
    assert (attributes["otel_tools.outcome"], attributes["otel_tools.degraded"]) == ("error", True)


async def test_a_read_timeout_of_the_sdk(otel: Recorder) -> None:
    """The SDK's own read timeout (408 in 1.x, -32001 in 2.x) is raised untouched and is a timeout."""
    async with connected(Tools().server) as session:
        with pytest.raises(JsonRpcError) as raised:
            await session.call_tool("hang", read_timeout_seconds=seconds(0.05))
    assert raised.value.error.code == (408 if MAJOR == 1 else -32001)
    assert client_spans(otel) == [client_span("hang", "timeout", error__type="timeout")]


async def test_a_json_rpc_error_is_named_by_its_code(otel: Recorder) -> None:
    """An error of the protocol is raised untouched; `error.type` and the status code are its code."""
    error = JsonRpcError(ErrorData(code=-32050, message="secret")) if MAJOR == 1 else JsonRpcError(-32050, "secret")
    async with connected(Tools().server) as session:
        session.send_request = answering(error)
        with pytest.raises(JsonRpcError) as raised:
            await session.call_tool("add", {"a": 1})
    assert raised.value is error
    (span,) = client_spans(otel)
    attributes = span["attributes"]
    assert (span["status"], attributes["error.type"], attributes["rpc.response.status_code"]) == (
        "ERROR",
        "-32050",
        "-32050",
    )
    assert attributes["otel_tools.outcome"] == "error"


async def test_a_request_for_a_human_is_no_failure(otel: Recorder) -> None:
    """`UrlElicitationRequiredError` (-32042) interrupts the call: no error, and nothing for the breaker."""
    async with connected(Tools().server) as session:
        with pytest.raises(JsonRpcError) as raised:
            await session.call_tool("elicit")
    assert raised.value.error.code == -32042
    assert client_spans(otel) == [client_span("elicit", "interrupted", rpc__response__status_code="-32042")]


async def test_a_cancelled_call(otel: Recorder) -> None:
    """Cancelled from outside: the span ends as cancelled, without an error, and the cancellation goes on."""
    tools = Tools()
    async with connected(tools.server) as session:
        task = asyncio.create_task(session.call_tool("hang"))
        await tools.started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert client_spans(otel) == [client_span("hang", "cancelled")]


async def test_a_server_that_dies(otel: Recorder) -> None:
    """The connection closes under the call: a JSON-RPC error made by the SDK, `-32000`."""
    async with over_stdio() as session:
        with pytest.raises(JsonRpcError):
            await session.call_tool("die")
    (span,) = client_spans(otel)
    assert span == client_span("die", "error", error__type="-32000", rpc__response__status_code="-32000")


@second_major
async def test_the_sdks_other_requests_stay_its_own(otel: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK 2.x traces itself: its `tools/list` inside our call stays its own, its span of the call becomes ours."""
    trace_natively(otel, monkeypatch)
    async with connected(Tools().server) as session:
        otel.clear()
        await session.call_tool("add", {"a": 1})
    assert [(span["name"], span["parent"]) for span in otel.spans if "notif" not in span["name"]] == [
        ("tools/call add", "execute_tool add"),
        ("tools/list", "MCP send tools/list"),
        ("MCP send tools/list", "execute_tool add"),
        ("execute_tool add", None),
    ]


@second_major
async def test_the_sdks_span_of_another_call_is_not_ours(otel: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that goes round `call_tool`, inside a tool of another name, keeps the SDK's own span."""
    trace_natively(otel, monkeypatch)
    from mcp.types import CallToolRequest, CallToolRequestParams

    async with connected(Tools().server) as session:
        otel.clear()
        request = CallToolRequest(params=CallToolRequestParams(name="add", arguments={"a": 1}))
        await otel_tools.tool("d")(session.send_request)(request, CallToolResult)
    assert [(span["name"], span["parent"]) for span in otel.spans][-2:] == [
        ("MCP send tools/call add", "execute_tool d"),
        ("execute_tool d", None),
    ]


async def test_a_framework_tool_around_an_mcp_tool_is_one_call(otel: Recorder) -> None:
    """A LangChain tool that calls the MCP tool of its name is one span and one count, with the MCP attributes."""
    langchain = pytest.importorskip("langchain_core.tools")

    class Add(langchain.BaseTool):
        name: str = "add"
        description: str = "Add two numbers."
        session: Any

        def _run(self, a: int) -> str:
            raise NotImplementedError

        async def _arun(self, a: int) -> str:
            return (await self.session.call_tool("add", {"a": a})).content[0].text

    async with over_stdio() as session:
        otel.clear()
        call = {"type": "tool_call", "id": "c1", "name": "add", "args": {"a": 1}}
        message = await Add(session=session).ainvoke(call)
    assert message.content == "2"
    (span,) = client_spans(otel)
    assert (
        span["attributes"].items()
        >= {
            "gen_ai.tool.call.id": "c1",
            "mcp.method.name": "tools/call",
            "jsonrpc.request.id": FIRST_CALL,
        }.items()
    )
    assert [point["value"] for point in otel.metrics["otel_tools.tool.calls"]] == [1]
