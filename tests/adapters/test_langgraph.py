"""LangGraph runs, LangChain's `create_agent` among them: a session with its LLM and tool calls, however it is run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypedDict

import openai
import pytest

from otel_tools import MaxIterationsExceeded
from tests.fake_server import FakeServer
from tests.recorder import Recorder

pytest.importorskip("langgraph")
pytest.importorskip("langchain")
pytest.importorskip("langchain_openai")

from langchain.agents import create_agent
from langchain.agents.middleware import ModelCallLimitMiddleware, ToolCallLimitMiddleware
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, StateGraph
from langgraph.pregel import Pregel
from langgraph.types import Command, interrupt

QUESTION = {"messages": [("user", "hi")]}


# --- a scripted model -----------------------------------------------------------------------------------------------
def completion(text: str | None, *calls: tuple[str, str]) -> dict[str, Any]:
    """A chat completion that says *text* or calls these tools (name, arguments)."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [_called(number, call) for number, call in enumerate(calls, 1)]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "test-model",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def _called(number: int, call: tuple[str, str]) -> dict[str, Any]:
    name, arguments = call
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def chunks(text: str | None, *calls: tuple[str, str]) -> list[Any]:
    """The same as a stream."""
    whole = completion(text, *calls)
    choice = whole["choices"][0]
    delta = choice["message"]
    for number, called in enumerate(delta.get("tool_calls", ())):
        called["index"] = number
    common = {"id": whole["id"], "object": "chat.completion.chunk", "created": 1, "model": whole["model"]}
    return [
        {**common, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]},
        {**common, "choices": [], "usage": whole["usage"]},
        "[DONE]",
    ]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
async def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


@tool("multiply")
def multiply_sync(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def helper(server: FakeServer, tools: list[Any], **options: Any) -> Any:
    """An agent `helper` whose model is the scripted server."""
    model = ChatOpenAI(base_url=f"{server.url}/v1", api_key="sk-test", model="test-model", max_retries=0)
    return create_agent(model, tools, **{"name": "helper", **options})


TWO_CALLS = (("add", '{"a": 2, "b": 3}'), ("multiply", '{"a": 2, "b": 3}'))


# --- what is expected -----------------------------------------------------------------------------------------------
def agent_span(name: str | None = "helper", **attributes: Any) -> dict[str, Any]:
    """The whole span of a run without calls (dots in names are double underscores; `None` takes one away)."""
    expected = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": name,
        "otel_tools.outcome": "ok",
        "otel_tools.session.outcome": "completed",
        "otel_tools.session.cost.usd": 0.0,
        "otel_tools.session.input_tokens": 0,
        "otel_tools.session.output_tokens": 0,
        "otel_tools.session.inference_calls": 0,
        "otel_tools.session.tool_calls": 0,
        "otel_tools.session.tool_errors": 0,
        **{name.replace("__", "."): value for name, value in attributes.items() if name not in ("status", "parent")},
    }
    return {
        "name": f"invoke_agent {name}" if name else "invoke_agent",
        "kind": "INTERNAL",
        "status": attributes.get("status", "UNSET"),
        "parent": attributes.get("parent"),
        "attributes": {name: value for name, value in expected.items() if value is not None},
        "events": [],
    }


def tree(otel: Recorder) -> list[tuple[str, str | None, str]]:
    """Every span with its parent and outcome, in the order of their start."""
    names = {span.context.span_id: span.name for span in otel.finished}
    spans = sorted(otel.finished, key=lambda span: (span.start_time or 0, span.name))
    assert len({span.context.trace_id for span in spans}) == 1
    return [
        (span.name, names[span.parent.span_id] if span.parent else None, str(span.attributes["otel_tools.outcome"]))
        for span in spans
    ]


FULL_RUN_TREE = [
    ("chat test-model", "invoke_agent helper", "ok"),
    ("chat test-model", "invoke_agent helper", "ok"),
    ("execute_tool add", "invoke_agent helper", "ok"),
    ("execute_tool multiply", "invoke_agent helper", "ok"),
    ("invoke_agent helper", None, "ok"),
]
FULL_RUN_SPAN = agent_span(
    gen_ai__conversation__id="thread-1",
    user__id="user-1",
    otel_tools__session__input_tokens=20,
    otel_tools__session__output_tokens=10,
    otel_tools__session__unpriced_tokens=30,
    otel_tools__session__inference_calls=2,
    otel_tools__session__tool_calls=2,
)
CONFIG = {"configurable": {"thread_id": "thread-1", "user_id": "user-1"}}


# --- a whole run, every way -----------------------------------------------------------------------------------------
async def _astream(agent: Any, **options: Any) -> None:
    async for _ in agent.astream(QUESTION, CONFIG, **options):
        pass


async def _astream_events(agent: Any) -> None:
    async for _ in agent.astream_events(QUESTION, CONFIG, version="v2"):
        pass


SYNC_RUNS: dict[str, Callable[[Any], Any]] = {
    "invoke": lambda agent: agent.invoke(QUESTION, CONFIG),
    "stream": lambda agent: list(agent.stream(QUESTION, CONFIG)),
    "stream-modes": lambda agent: list(agent.stream(QUESTION, config=CONFIG, stream_mode=["updates", "values"])),
    "batch": lambda agent: agent.batch([QUESTION], CONFIG),
}
ASYNC_RUNS: dict[str, Callable[[Any], Any]] = {
    "ainvoke": lambda agent: agent.ainvoke(QUESTION, CONFIG),
    "astream": _astream,
    "astream-modes": lambda agent: _astream(agent, stream_mode=["updates", "debug"]),
    "astream_events": _astream_events,
}


@pytest.mark.parametrize("way", SYNC_RUNS)
def test_a_run_is_one_session_with_its_calls_below_it(otel: Recorder, server: FakeServer, way: str) -> None:
    """Two tools in one step run in threads; LLM and tool calls are children of the run, whose totals are right."""
    server.reply(completion(None, *TWO_CALLS))
    server.reply(completion("5 and 6"))

    SYNC_RUNS[way](helper(server, [add, multiply_sync]))

    assert sorted(tree(otel)) == FULL_RUN_TREE
    assert otel.span("invoke_agent helper") == FULL_RUN_SPAN


@pytest.mark.parametrize("way", [*ASYNC_RUNS, "astream-messages"])
async def test_an_async_run_is_one_session_with_its_calls_below_it(
    otel: Recorder, server: FakeServer, way: str
) -> None:
    """The same on an event loop, with a sync tool in an executor next to an async one."""
    if way in ("astream-messages", "astream_events"):  # then LangChain streams from the model, too
        server.reply(events=chunks(None, *TWO_CALLS))
        server.reply(events=chunks("5 and 6"))
    else:
        server.reply(completion(None, *TWO_CALLS))
        server.reply(completion("5 and 6"))

    agent = helper(server, [add, multiply])
    await (_astream(agent, stream_mode="messages") if way == "astream-messages" else ASYNC_RUNS[way](agent))

    assert sorted(tree(otel)) == FULL_RUN_TREE
    assert otel.span("invoke_agent helper") == FULL_RUN_SPAN


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
def test_a_run_read_through_its_projections_is_one_session(otel: Recorder, server: FakeServer) -> None:
    """The newest way to stream a run iterates the same generator, as far as its reader asks for more."""
    server.reply(events=chunks(None, *TWO_CALLS))
    server.reply(events=chunks("5 and 6"))
    agent = helper(server, [add, multiply_sync])
    if "stream_events" not in vars(Pregel):
        pytest.skip("this version of langgraph has no `stream_events`")

    run = agent.stream_events(QUESTION, CONFIG, version="v3")
    assert run.output["messages"][-1].text == "5 and 6"

    assert sorted(tree(otel)) == FULL_RUN_TREE
    assert otel.span("invoke_agent helper") == FULL_RUN_SPAN


def test_a_tool_span_of_an_agent_is_complete(otel: Recorder, server: FakeServer) -> None:
    """The tool span has the model's call id, and the agent and conversation it belongs to."""
    server.reply(completion(None, TWO_CALLS[0]))
    server.reply(completion("5"))

    helper(server, [add]).invoke(QUESTION, CONFIG)

    assert otel.span("execute_tool add") == {
        "name": "execute_tool add",
        "kind": "INTERNAL",
        "status": "UNSET",
        "parent": "invoke_agent helper",
        "attributes": {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "add",
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": "call_1",
            "gen_ai.tool.description": "Add two numbers.",
            "gen_ai.agent.name": "helper",
            "gen_ai.conversation.id": "thread-1",
            "otel_tools.tool.argument_keys": ("a", "b"),
            "otel_tools.circuit_breaker.state": "closed",
            "otel_tools.outcome": "ok",
            "otel_tools.tool.result.size": 1,
        },
        "events": [],
    }


# --- left early -----------------------------------------------------------------------------------------------------
LEFT_AFTER_THE_FIRST_STEP = agent_span(
    otel_tools__outcome="cancelled",
    otel_tools__session__outcome="cancelled",
    otel_tools__session__input_tokens=10,
    otel_tools__session__output_tokens=5,
    otel_tools__session__unpriced_tokens=15,
    otel_tools__session__inference_calls=1,
)


def test_a_stream_left_early_ends_its_run(otel: Recorder, server: FakeServer) -> None:
    """A `break` after the first step: the run ends there, cancelled, which is no failure."""
    server.reply(completion(None, *TWO_CALLS))

    for _ in helper(server, [add, multiply_sync]).stream(QUESTION):
        break

    assert otel.span("invoke_agent helper") == LEFT_AFTER_THE_FIRST_STEP


async def test_an_async_stream_may_be_closed_in_another_task(otel: Recorder, server: FakeServer) -> None:
    """One task reads, another closes; no context is detached where it was not attached (the fixture checks)."""
    server.reply(completion(None, *TWO_CALLS))
    stream = helper(server, [add, multiply]).astream(QUESTION)
    await asyncio.create_task(anext(stream))

    await asyncio.create_task(stream.aclose())

    assert otel.span("invoke_agent helper") == LEFT_AFTER_THE_FIRST_STEP


def test_an_async_stream_that_is_dropped_ends_with_its_loop(otel: Recorder, server: FakeServer) -> None:
    """Nobody closes the stream after a `break`; the event loop does, in a task of its own."""
    server.reply(completion(None, *TWO_CALLS))

    async def main() -> None:
        async for _ in helper(server, [add, multiply]).astream(QUESTION):
            break

    asyncio.run(main())

    assert otel.span("invoke_agent helper") == LEFT_AFTER_THE_FIRST_STEP


async def test_a_cancelled_run_is_no_failure(otel: Recorder) -> None:
    """The task that awaits the run is cancelled while a node waits."""
    entered = asyncio.Event()

    async def wait(_: State) -> State:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(graph(wait).ainvoke({"n": 1}))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert otel.spans == [
        agent_span("counter", otel_tools__outcome="cancelled", otel_tools__session__outcome="cancelled")
    ]


# --- how a run ends -------------------------------------------------------------------------------------------------
class State(TypedDict):
    n: int


def graph(node: Any, name: str | None = "counter", **options: Any) -> Any:
    """A graph of one node."""
    return StateGraph(State).add_node("work", node).add_edge(START, "work").compile(name=name, **options)


def test_a_run_that_uses_up_its_steps_says_so(otel: Recorder) -> None:
    """LangGraph's recursion limit is an error, and the session ended at its maximum of iterations."""
    builder = StateGraph(State).add_node("work", lambda state: state).add_edge(START, "work").add_edge("work", "work")

    with pytest.raises(GraphRecursionError):
        builder.compile(name="counter").invoke({"n": 1}, {"recursion_limit": 3})

    assert otel.spans == [
        agent_span(
            "counter",
            status="ERROR",
            error__type="langgraph.errors.GraphRecursionError",
            otel_tools__outcome="error",
            otel_tools__session__outcome="max_iterations",
        )
    ]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_an_error_in_a_node_is_the_runs_error(otel: Recorder, *, asynchronous: bool) -> None:
    """The exception goes on to the caller as it is."""
    error = ConnectionError("secret")

    def node(_: State) -> State:
        raise error

    with pytest.raises(ConnectionError) as raised:
        _ = asyncio.run(graph(node).ainvoke({"n": 1})) if asynchronous else graph(node).invoke({"n": 1})

    assert raised.value is error
    assert otel.spans == [
        agent_span(
            "counter",
            status="ERROR",
            error__type="ConnectionError",
            otel_tools__outcome="error",
            otel_tools__session__outcome="error",
        )
    ]


def test_an_interrupt_in_a_tool_is_no_error(otel: Recorder, server: FakeServer) -> None:
    """The paused run has completed, its tool call is interrupted; on resume the tool's body runs once more."""

    @tool
    def ask(question: str) -> str:
        """Ask a human."""
        return str(interrupt(question))

    server.reply(completion(None, ("ask", '{"question": "may I?"}')))
    server.reply(completion("thanks"))
    agent = helper(server, [ask], checkpointer=InMemorySaver())

    paused = agent.invoke(QUESTION, CONFIG)
    first = tree(otel)
    otel.clear()
    resumed = agent.invoke(Command(resume="yes"), CONFIG)

    assert paused["__interrupt__"][0].value == "may I?"
    assert resumed["messages"][-1].content == "thanks"
    assert sorted(first) == [
        ("chat test-model", "invoke_agent helper", "ok"),
        ("execute_tool ask", "invoke_agent helper", "interrupted"),
        ("invoke_agent helper", None, "ok"),
    ]
    assert sorted(tree(otel)) == [
        ("chat test-model", "invoke_agent helper", "ok"),
        ("execute_tool ask", "invoke_agent helper", "ok"),
        ("invoke_agent helper", None, "ok"),
    ]


@pytest.mark.parametrize("limit", ["model", "tool"])
def test_a_call_limit_of_langchain_says_so_too(otel: Recorder, server: FakeServer, limit: str) -> None:
    """The limits that LangChain offers as middleware are a maximum of iterations when they raise."""
    middleware = {
        "model": ModelCallLimitMiddleware(run_limit=1, exit_behavior="error"),
        "tool": ToolCallLimitMiddleware(run_limit=1, exit_behavior="error"),
    }
    server.reply(completion(None, *TWO_CALLS))
    server.default = server.reply(completion(None, *TWO_CALLS))

    with pytest.raises(Exception, match="limit"):
        helper(server, [add, multiply_sync], middleware=[middleware[limit]]).invoke(QUESTION)

    assert otel.span("invoke_agent helper")["attributes"]["otel_tools.session.outcome"] == "max_iterations"


def test_a_limit_of_the_session_ends_the_run(otel: Recorder, server: FakeServer) -> None:
    """The LLM call that would be one too many is refused before it is made."""
    otel.instrument(mode="enforce", sessions={"max_iterations": 1})
    server.reply(completion(None, *TWO_CALLS))

    with pytest.raises(MaxIterationsExceeded):
        helper(server, [add, multiply_sync]).invoke(QUESTION)

    assert len(server.requests) == 1
    assert otel.span("invoke_agent helper")["attributes"]["otel_tools.session.outcome"] == "max_iterations"


# --- runs inside runs -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_subgraph_is_a_part_of_the_session(otel: Recorder, server: FakeServer, *, asynchronous: bool) -> None:
    """The inner run has its own span below the outer one, is named after its node, and its calls count for both."""
    server.reply(completion(None, TWO_CALLS[0]))
    server.reply(completion("5"))

    class Messages(TypedDict):
        messages: list[Any]

    inner = helper(server, [add], name=None)
    outer = StateGraph(Messages).add_node("expert", inner).add_edge(START, "expert").compile(name="team")
    _ = asyncio.run(outer.ainvoke(QUESTION, CONFIG)) if asynchronous else outer.invoke(QUESTION, CONFIG)

    assert sorted(tree(otel)) == [
        ("chat test-model", "invoke_agent expert", "ok"),
        ("chat test-model", "invoke_agent expert", "ok"),
        ("execute_tool add", "invoke_agent expert", "ok"),
        ("invoke_agent expert", "invoke_agent team", "ok"),
        ("invoke_agent team", None, "ok"),
    ]
    used = {
        "gen_ai__conversation__id": "thread-1",
        "user__id": "user-1",
        "otel_tools__session__input_tokens": 20,
        "otel_tools__session__output_tokens": 10,
        "otel_tools__session__unpriced_tokens": 30,
        "otel_tools__session__inference_calls": 2,
        "otel_tools__session__tool_calls": 1,
    }
    assert otel.span("invoke_agent expert") == agent_span("expert", parent="invoke_agent team", **used)
    assert otel.span("invoke_agent team") == agent_span("team", **used)
    assert [(point["attributes"], point["value"]) for point in otel.metrics["otel_tools.sessions"]] == [
        ({"gen_ai.agent.name": "team", "otel_tools.session.outcome": "completed"}, 1)
    ]


def test_an_interrupted_subgraph_is_no_error(otel: Recorder) -> None:
    """LangGraph's interrupt bubbles out of the inner run as an exception, and ends at the outer one."""
    inner = graph(lambda state: {"n": interrupt("may I?")}, "inner")
    outer = StateGraph(State).add_node("inner", inner).add_edge(START, "inner")

    outer.compile(name="outer", checkpointer=InMemorySaver()).invoke({"n": 1}, CONFIG)

    assert tree(otel) == [
        ("invoke_agent outer", None, "ok"),
        ("invoke_agent inner", "invoke_agent outer", "interrupted"),
    ]
    assert {span["status"] for span in otel.spans} == {"UNSET"}


def test_a_client_call_in_a_node_is_traced(otel: Recorder, server: FakeServer) -> None:
    """An OpenAI client used directly inside a graph is an LLM call like any other."""
    server.reply(completion("hello"))
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="sk-test", max_retries=0)

    def node(state: State) -> State:
        client.chat.completions.create(model="test-model", messages=[{"role": "user", "content": "hi"}])
        return state

    graph(node).invoke({"n": 1})

    assert tree(otel) == [
        ("invoke_agent counter", None, "ok"),
        ("chat test-model", "invoke_agent counter", "ok"),
    ]


# --- names ----------------------------------------------------------------------------------------------------------
def test_a_graph_without_a_name_is_named_by_its_configuration_or_not_at_all(otel: Recorder) -> None:
    """LangGraph's own default name says nothing, so it is not used; nor is the name of a single run."""
    nameless = graph(lambda state: state, None)

    nameless.invoke({"n": 1}, {"run_name": "run of 9:15"})
    nameless.with_config(run_name="nightly").invoke({"n": 1})

    assert otel.spans == [agent_span(None), agent_span("nightly")]


# --- policy ---------------------------------------------------------------------------------------------------------
def test_the_model_reads_the_note_of_an_optional_tool(otel: Recorder, server: FakeServer) -> None:
    """The failure of an optional tool reaches the model as a tool message, and the run goes on."""
    otel.instrument(mode="enforce", tools={"broken": {"criticality": "optional"}})

    @tool
    def broken(query: str) -> str:
        """Fail."""
        raise ConnectionError("secret")

    server.reply(completion(None, ("broken", '{"query": "x"}')))
    server.reply(completion("I do not know"))

    answer = helper(server, [broken]).invoke(QUESTION)

    assert answer["messages"][-1].content == "I do not know"
    told = server.requests[-1].body["messages"][-1]
    assert (told["role"], told["tool_call_id"]) == ("tool", "call_1")
    assert "broken" in told["content"]
    assert "secret" not in told["content"]
    attributes = otel.span("execute_tool broken")["attributes"]
    assert (attributes["otel_tools.outcome"], attributes["otel_tools.degraded"]) == ("error", True)
    assert otel.span("invoke_agent helper")["attributes"]["otel_tools.session.tool_errors"] == 1
