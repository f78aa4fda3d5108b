"""What a model or program gets instead of a tool's result, in every framework's own type: one table over adapters."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import anthropic
import pytest
from agents import function_tool
from agents.tool import invoke_function_tool
from agents.tool_context import ToolContext
from langchain_core.tools import StructuredTool
from mcp.types import CallToolResult, TextContent

import otel_tools
from otel_tools import Limits, LoopDetected
from tests.adapters.mcp_program import MAJOR, Server, connected
from tests.adapters.mcp_sessions import is_error
from tests.clients import anthropic_bodies, google_genai_bodies
from tests.clients.anthropic_client import TRACES_ITSELF
from tests.clients.google_genai_calls import generate_async, perform_async
from tests.fake_server import FakeServer
from tests.recorder import Recorder

pytestmark = pytest.mark.filterwarnings("ignore:Direct use of automatic function calling")


class Failure(Exception):
    """What the dependency raises."""


class Told(NamedTuple):
    """What came back: the text, and whether the framework calls it an error (`None`: it does not say)."""

    text: str
    error: bool | None


class Body:
    """What the tool does when it is called: find something, fail, or hang until the test is over."""

    def __init__(self) -> None:
        self.does = "find"
        self.over = threading.Event()

    def sync(self, query: str) -> str:
        """Work."""
        if self.does == "hang":
            self.over.wait(30)
        if self.does == "fail":
            raise Failure("secret")
        return "found"

    async def asynchronous(self, query: str) -> str:
        """Work."""
        if self.does == "hang":
            await asyncio.Event().wait()
        return self.sync(query)


@pytest.fixture
def body() -> Iterator[Body]:
    body = Body()
    yield body
    body.over.set()


# --- one call of the tool `work` through each framework -------------------------------------------------------------
async def plain_sync(body: Body, server: FakeServer) -> Told:
    return Told(otel_tools.tool("work")(body.sync)("q"), None)


async def plain_async(body: Body, server: FakeServer) -> Told:
    return Told(await otel_tools.tool("work")(body.asynchronous)("q"), None)


def of_langchain(body: Body) -> Any:
    return StructuredTool.from_function(body.sync, body.asynchronous, name="work", description="Work.")


LANGCHAIN_CALL = {"type": "tool_call", "id": "c-1", "name": "work", "args": {"query": "q"}}


async def langchain_sync(body: Body, server: FakeServer) -> Told:
    message = of_langchain(body).invoke(LANGCHAIN_CALL)
    assert message.tool_call_id == "c-1"
    return Told(message.content, message.status == "error")


async def langchain_async(body: Body, server: FakeServer) -> Told:
    message = await of_langchain(body).ainvoke(LANGCHAIN_CALL)
    assert message.tool_call_id == "c-1"
    return Told(message.content, message.status == "error")


async def langchain_without_id(body: Body, server: FakeServer) -> Told:
    return Told(await of_langchain(body).ainvoke({"query": "q"}), None)


def answered_by(session: Any, answer: Callable[[], Awaitable[CallToolResult]]) -> None:
    """Let *answer* stand for the server in tool calls."""
    original = session.send_request

    async def send_request(request: Any, *args: Any, **options: Any) -> Any:
        return await (answer() if "tools/call" in repr(request) else original(request, *args, **options))

    session.send_request = send_request


async def mcp_client(body: Body, server: FakeServer) -> Told:
    async def answer() -> CallToolResult:
        try:
            text, failed = await body.asynchronous("q"), False
        except Failure:
            text, failed = "the server's words", True
        return CallToolResult(content=[TextContent(type="text", text=text)], isError=failed)

    async with connected(Server("nobody")) as session:
        answered_by(session, answer)
        result = await session.call_tool("work", {"query": "q"})
    assert type(result) is CallToolResult
    return Told("\n".join(block.text for block in result.content), is_error(result))


async def mcp_server(body: Body, server: FakeServer) -> Told:
    served = Server("ours")
    served.tool("work")(body.asynchronous)
    result = await served.call_tool("work", {"query": "q"})
    if isinstance(result, tuple):  # 1.x: content and structured content
        return Told(result[0][0].text, False)
    return Told(result.content[0].text, is_error(result))


async def agents(body: Body, server: FakeServer, **options: Any) -> Told:
    tool = function_tool(body.asynchronous, name_override="work", **options)
    context = ToolContext(None, tool_name="work", tool_call_id="c-1", tool_arguments='{"query": "q"}')
    return Told(await invoke_function_tool(function_tool=tool, context=context, arguments='{"query": "q"}'), None)


async def agents_raising(body: Body, server: FakeServer) -> Told:
    return await agents(body, server, failure_error_function=None)


async def agents_own_words(body: Body, server: FakeServer) -> Told:
    return await agents(body, server, failure_error_function=lambda _context, _error: "own words")


async def anthropic_runner(body: Body, server: FakeServer) -> Told:
    call = anthropic_bodies.tool_use(name="work", query="q")
    server.reply(anthropic_bodies.message(call, stop_reason="tool_use"))
    server.reply(anthropic_bodies.message())
    tool = anthropic.beta_async_tool(body.asynchronous, name="work", description="Work.")
    transport = anthropic.DefaultAsyncHttpxClient(verify=False)
    async with anthropic.AsyncAnthropic(api_key="k", base_url=server.url, http_client=transport) as client:
        messages: Any = [{"role": "user", "content": "hi"}]
        await client.beta.messages.tool_runner(model="m", max_tokens=9, messages=messages, tools=[tool]).until_done()
    (result,) = server.requests[-1].body["messages"][-1]["content"]
    assert (result["type"], result["tool_use_id"]) == ("tool_result", call["id"])
    return Told(result["content"], bool(result.get("is_error")))


async def google(body: Body, server: FakeServer) -> Told:
    async def work(query: str) -> str:
        """Work."""
        return await body.asynchronous(query)

    work.__annotations__ = {"query": str, "return": str}  # older clients cannot read those that are strings
    call = {"functionCall": {"name": "work", "args": {"query": "q"}}}
    server.reply(google_genai_bodies.response(google_genai_bodies.candidate(call)))
    server.reply(google_genai_bodies.SUNNY)
    await perform_async(server.url, generate_async, config={"tools": [work]})
    told = server.requests[-1].body["contents"][-1]["parts"][0]["functionResponse"]["response"]
    return Told(str(told.get("result", told)), None)


# --- the table ------------------------------------------------------------------------------------------------------
RAISED, ERROR_NOTE, NOTE, OWN = "raised", "a note as an error", "a note", "the framework's own words"
Call: TypeAlias = Callable[[Body, FakeServer], Awaitable[Told]]


class Row(NamedTuple):
    """What comes of a critical and of an optional tool that is refused, times out and fails."""

    call: Call
    critical: tuple[str, str, str]
    optional: tuple[str, str, str]


ALL_RAISED, ALL_NOTES = (RAISED,) * 3, (NOTE,) * 3
AS_DATA = (ERROR_NOTE, ERROR_NOTE, OWN)  # what the framework made of an error stays: it tells more than a note
TABLE = {
    "plain, sync": Row(plain_sync, ALL_RAISED, ALL_NOTES),
    "plain, async": Row(plain_async, ALL_RAISED, ALL_NOTES),
    "langchain, sync": Row(langchain_sync, ALL_RAISED, ALL_NOTES),
    "langchain, async": Row(langchain_async, ALL_RAISED, ALL_NOTES),
    "langchain without id": Row(langchain_without_id, ALL_RAISED, ALL_NOTES),
    "mcp client": Row(mcp_client, AS_DATA, (NOTE, NOTE, OWN)),
    "mcp server": Row(mcp_server, (ERROR_NOTE, ERROR_NOTE, RAISED), ALL_NOTES),
    "openai-agents": Row(agents, AS_DATA, (NOTE, NOTE, OWN)),
    "openai-agents, own words": Row(agents_own_words, AS_DATA, (NOTE, NOTE, OWN)),
    "openai-agents, raising": Row(agents_raising, ALL_RAISED, ALL_NOTES),
    # before 2.0 the runner makes its own words of whatever the tool raises, a refusal of ours too
    "anthropic": Row(anthropic_runner, AS_DATA, (NOTE, NOTE, OWN))
    if TRACES_ITSELF
    else Row(anthropic_runner, (OWN, OWN, OWN), ALL_NOTES),
    "google-genai": Row(google, AS_DATA, ALL_NOTES),
}
SITUATIONS = ("refused", "timed out", "failed")
REASONS = {"refused": {"disabled"}, "timed out": {"timeout"}, "failed": {"error", "tool_error"}}
RAISES = {"refused": otel_tools.ToolDisabled, "timed out": otel_tools.CallTimeout, "failed": Exception}


def bring_about(otel: Recorder, body: Body, situation: str, criticality: str, **settings: Any) -> None:
    """Let the next call be refused, time out or fail."""
    policy: dict[str, Any] = {"criticality": criticality, "circuit": None}
    if situation == "timed out":
        policy["timeout"] = 0.05
    otel.instrument(mode="enforce", tools={"work": policy}, **settings)
    body.does = {"refused": "find", "timed out": "hang", "failed": "fail"}[situation]
    if situation == "refused":
        otel_tools.disable_tool("work", "secret reason")


async def check(call: Call, body: Body, server: FakeServer, situation: str, expected: str, criticality: str) -> None:
    if expected == RAISED:
        with pytest.raises(RAISES[situation]):
            await call(body, server)
        return
    told = await call(body, server)
    if expected == OWN:
        assert "is_error" not in told.text
        assert told.error in (True, None)
        return
    error = json.loads(told.text)["error"]
    assert error["reason"] in REASONS[situation]
    assert (error["tool"], error["critical"]) == ("work", criticality == "critical")
    assert told.error in (expected == ERROR_NOTE, None)
    assert "secret" not in told.text


@pytest.mark.parametrize("criticality", ["critical", "optional"])
@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("adapter", TABLE)
async def test_what_comes_instead(
    otel: Recorder, server: FakeServer, body: Body, adapter: str, situation: str, criticality: str
) -> None:
    """A refusal, timeout or failure is raised, a note or the framework's own data, in the framework's own type."""
    row = TABLE[adapter]
    expected = (row.critical if criticality == "critical" else row.optional)[SITUATIONS.index(situation)]
    bring_about(otel, body, situation, criticality)
    await check(row.call, body, server, situation, expected, criticality)
    spans = [span["attributes"] for span in otel.spans if span["name"] == "execute_tool work"]
    assert [span.get("otel_tools.degraded") for span in spans] == [True if expected == NOTE else None]


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("adapter", TABLE)
async def test_strict_means_critical(
    otel: Recorder, server: FakeServer, body: Body, adapter: str, situation: str
) -> None:
    """In strict mode an optional tool is a critical one, in every framework."""
    row = TABLE[adapter]
    bring_about(otel, body, situation, "optional", strict=True)
    await check(row.call, body, server, situation, row.critical[SITUATIONS.index(situation)], "critical")
    assert not any("otel_tools.degraded" in span["attributes"] for span in otel.spans)


def test_strict_goes_before_code(otel: Recorder) -> None:
    """A fallback given in code is not used in strict mode either."""
    otel.instrument(strict=True)

    @otel_tools.tool(criticality="optional", fallback=lambda: "instead")
    def work() -> str:
        raise Failure

    with pytest.raises(Failure):
        work()


# --- the warning of a loop ------------------------------------------------------------------------------------------
WARNING = (
    "\nNote: work has given this result 2 times in a row for the same arguments. It will not be called with them "
    "again. Do not repeat the call. Use this result, or tell the user what is missing."
)
GUARDED = {name: row for name, row in TABLE.items() if name != "mcp server"}  # a served call is in no session


@pytest.mark.parametrize("adapter", GUARDED)
async def test_a_repeated_result_carries_a_warning(
    otel: Recorder, server: FakeServer, body: Body, adapter: str
) -> None:
    """The last same result that is allowed has a line for the model below it; the next call is a refusal."""
    row = GUARDED[adapter]
    with otel_tools.session("support", limits=Limits(max_repeats=2)):
        assert (await row.call(body, server)).text == "found"
        warned = await row.call(body, server)
        assert (warned.text, warned.error in (False, None)) == (f"found{WARNING}", True)
        if row.critical[0] == RAISED:
            with pytest.raises(LoopDetected):
                await row.call(body, server)
        else:
            told = await row.call(body, server)
            assert "again and again" in told.text or "keeps giving the same result" in told.text


async def test_the_rest_of_a_warned_result_stays(otel: Recorder) -> None:
    """What a framework's result holds beside its text is not lost: LangChain's artifact, MCP's structured content."""

    def find(query: str) -> tuple[str, dict[str, int]]:
        """Work."""
        return "found", {"hits": 2}

    tool = StructuredTool.from_function(find, name="work", response_format="content_and_artifact")
    structured = {"structuredContent": {"hits": 2}} if MAJOR == 1 else {"structured_content": {"hits": 2}}

    async def answer() -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text="found")], **structured)

    with otel_tools.session("support", limits=Limits(max_repeats=2)):
        messages = [tool.invoke(LANGCHAIN_CALL) for _ in range(2)]
    async with connected(Server("nobody")) as session:
        answered_by(session, answer)
        with otel_tools.session("support", limits=Limits(max_repeats=2)):
            results = [await session.call_tool("work", {"query": "q"}) for _ in range(2)]
    assert [(message.content, message.artifact) for message in messages] == [
        ("found", {"hits": 2}),
        (f"found{WARNING}", {"hits": 2}),
    ]
    dumped = [result.model_dump(exclude_none=True, exclude={"content"}) for result in results]
    assert dumped[0] == dumped[1]
    assert [block.text for block in results[1].content] == ["found", WARNING[1:]]


# --- the note once a run --------------------------------------------------------------------------------------------
def test_the_note_in_full_once_a_run(otel: Recorder) -> None:
    """In a session a note has its message once for each tool and reason; a sub-agent has not read it yet."""
    otel.instrument(mode="enforce")
    one = otel_tools.tool("one", criticality="optional")(lambda: None)
    two = otel_tools.tool("two", criticality="optional")(lambda: None)
    otel_tools.disable_tool("one", "test")
    otel_tools.disable_tool("two", "test")

    def full(note: Any) -> bool:
        return "message" in json.loads(note)["error"]

    assert [full(one()), full(one())] == [True, True]  # without a session nobody knows what was read
    with otel_tools.session("support"):
        notes = [one(), one(), one()]
        assert [full(note) for note in notes] == [True, False, False]
        assert notes[1] == notes[2]
        assert [full(two()), full(two())] == [True, False]
        with otel_tools.session("inner"):
            assert [full(one()), full(one())] == [True, False]
        assert not full(one())
        otel_tools.enable_tool("one")
    with otel_tools.session("another"):
        assert [full(two()), full(two())] == [True, False]


def test_a_note_that_was_not_given_does_not_count(otel: Recorder) -> None:
    """Where a fallback stood in, the model has read nothing; its first note is in full."""
    otel.instrument(mode="enforce")
    values: Any = iter(["instead"])
    work = otel_tools.tool("work", criticality="optional", fallback=lambda: next(values))(lambda: None)
    otel_tools.disable_tool("work", "test")
    with otel_tools.session("support"):
        assert work() == "instead"


def test_an_operators_circuit_has_its_own_reason(otel: Recorder) -> None:
    """A circuit that an operator opened is told apart from an outage; the outcome on the span is the same."""
    work = otel_tools.tool("work", criticality="optional")(lambda: None)
    otel_tools.operations.force_open("work", "secret reason")
    error = json.loads(work())["error"]
    assert (error["reason"], error["type"], error["retryable"]) == ("forced_open", "tool_unavailable", False)
    assert otel.span("execute_tool work")["attributes"]["otel_tools.outcome"] == "circuit_open"


# --- tools to offer -------------------------------------------------------------------------------------------------
def test_available_tools(otel: Recorder) -> None:
    """Tools that would be refused now are left out; nothing changes by asking, and unknown ones are available."""
    otel.instrument(mode="enforce", tools={"broken": {"circuit": {"failures": 1}}, "busy": {"max_in_flight": 1}})

    @otel_tools.tool
    def broken() -> None:
        raise Failure

    @otel_tools.tool
    def busy() -> list[str]:
        return otel_tools.available_tools(["busy"])

    names = ["off", "forced", "broken", "busy", "new"]
    with pytest.raises(Failure):
        broken()
    assert busy() == []
    otel_tools.disable_tool("off", "test")
    otel_tools.operations.force_open("forced", "test")
    assert otel_tools.available_tools(names) == ["busy", "new"]
    assert "new" not in otel_tools.circuits()
    otel_tools.enable_tool("off")
    otel_tools.operations.reset("broken")
    assert otel_tools.available_tools(iter(names)) == ["off", "broken", "busy", "new"]


def test_available_tools_while_observing(otel: Recorder) -> None:
    """While policy only observes, nothing but an operator makes a tool unavailable; without us everything is."""
    otel.instrument(mode="observe", tools={"broken": {"circuit": {"failures": 1}}})

    @otel_tools.tool
    def broken() -> None:
        raise Failure

    with pytest.raises(Failure):
        broken()
    otel_tools.disable_tool("off", "test")
    assert otel_tools.available_tools(["off", "broken"]) == ["broken"]
    otel.uninstrument()
    assert otel_tools.available_tools(["off", "broken"]) == ["off", "broken"]
