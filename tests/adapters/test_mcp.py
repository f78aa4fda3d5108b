"""MCP tools with the real SDK, 1.x or 2.x: in memory, over stdio and over HTTP."""

from __future__ import annotations

import asyncio
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
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace

pytest.importorskip("mcp")

import uvicorn
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared import exceptions as mcp_exceptions
from mcp.types import CallToolResult, ErrorData, ImageContent, TextContent

import otel_tools
from otel_tools.adapters.tools import mcp_server
from otel_tools.adapters.wire.mcp import read_result
from otel_tools.model import Invocation, ToolResponse
from otel_tools.policy.outcome import Outcome
from tests.adapters.mcp_program import MAJOR, Tools, connected
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


@pytest.fixture
def native(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """otel-tools instrumented, and mcp 2.x's own tracing on the same recorder (1.x has none)."""
    if MAJOR > 1:
        tracer = recorder.tracer_provider.get_tracer("mcp-python-sdk")
        monkeypatch.setattr("mcp.shared._otel._tracer", tracer)
    recorder.instrument()
    yield recorder
    recorder.uninstrument()


# --- the client side ------------------------------------------------------------------------------------------------
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
async def test_the_sdks_other_requests_stay_its_own(native: Recorder) -> None:
    """The SDK 2.x traces itself: its `tools/list` inside our call stays its own, its span of the call becomes ours."""
    async with connected(Tools().server) as session:
        native.clear()
        await session.call_tool("add", {"a": 1})
    assert [(span["name"], span["parent"]) for span in native.spans if "notif" not in span["name"]] == [
        ("tools/call add", "execute_tool add"),
        ("tools/list", "MCP send tools/list"),
        ("MCP send tools/list", "execute_tool add"),
        ("execute_tool add", None),
    ]


@second_major
async def test_the_sdks_span_of_another_call_is_not_ours(native: Recorder) -> None:
    """A request that goes round `call_tool`, inside a tool of another name, keeps the SDK's own span."""
    from mcp.types import CallToolRequest, CallToolRequestParams

    async with connected(Tools().server) as session:
        native.clear()
        request = CallToolRequest(params=CallToolRequestParams(name="add", arguments={"a": 1}))
        await otel_tools.tool("d")(session.send_request)(request, CallToolResult)
    assert [(span["name"], span["parent"]) for span in native.spans][-2:] == [
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


async def test_the_server_joins_the_trace_over_http(native: Recorder) -> None:
    """Over HTTP the server's span knows its session; its parent is the client's span although no header says so."""
    with serving(Tools().server) as url:
        async with over_http(url) as session:
            native.clear()
            with native.tracer_provider.get_tracer("program").start_as_current_span("work"):
                await session.call_tool("numbers")
    tool_spans = [span for span in native.spans if span["attributes"].get("gen_ai.tool.name") == "numbers"]
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


# --- readers --------------------------------------------------------------------------------------------------------
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
