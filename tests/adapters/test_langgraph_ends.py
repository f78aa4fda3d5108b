"""How LangGraph runs end, runs inside runs, and what policy makes of them."""

from __future__ import annotations

import asyncio
from typing import Any, TypedDict

import openai
import pytest

from otel_tools import MaxIterationsExceeded
from tests.adapters.runs import TWO_CALLS, agent_span, completion, tree, used
from tests.fake_server import FakeServer
from tests.recorder import Recorder

pytest.importorskip("langgraph")
pytest.importorskip("langchain")
pytest.importorskip("langchain_openai")

from langchain.agents.middleware import ModelCallLimitMiddleware, ToolCallLimitMiddleware
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from tests.adapters.langgraph_agents import CONFIG, QUESTION, State, add, graph, helper, multiply_sync


# --- how a run ends -------------------------------------------------------------------------------------------------
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
    assert first == [
        ("chat test-model", "invoke_agent helper", "ok"),
        ("execute_tool ask", "invoke_agent helper", "interrupted"),
        ("invoke_agent helper", None, "ok"),
    ]
    assert tree(otel) == [
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

    assert tree(otel) == [
        ("chat test-model", "invoke_agent expert", "ok"),
        ("chat test-model", "invoke_agent expert", "ok"),
        ("execute_tool add", "invoke_agent expert", "ok"),
        ("invoke_agent expert", "invoke_agent team", "ok"),
        ("invoke_agent team", None, "ok"),
    ]
    both = {"gen_ai__conversation__id": "thread-1", "user__id": "user-1", **used(2, 1)}
    assert otel.span("invoke_agent expert") == agent_span("expert", parent="invoke_agent team", **both)
    assert otel.span("invoke_agent team") == agent_span("team", **both)
    assert [(point["attributes"], point["value"]) for point in otel.metrics["otel_tools.sessions"]] == [
        ({"gen_ai.agent.name": "team", "otel_tools.session.outcome": "completed"}, 1)
    ]


def test_an_interrupted_subgraph_is_no_error(otel: Recorder) -> None:
    """LangGraph's interrupt bubbles out of the inner run as an exception, and ends at the outer one."""
    inner = graph(lambda state: {"n": interrupt("may I?")}, "inner")
    outer = StateGraph(State).add_node("inner", inner).add_edge(START, "inner")

    outer.compile(name="outer", checkpointer=InMemorySaver()).invoke({"n": 1}, CONFIG)

    assert tree(otel) == [
        ("invoke_agent inner", "invoke_agent outer", "interrupted"),
        ("invoke_agent outer", None, "ok"),
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
        ("chat test-model", "invoke_agent counter", "ok"),
        ("invoke_agent counter", None, "ok"),
    ]


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
