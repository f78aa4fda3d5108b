"""LangChain tools: one span per call, whoever calls them, and what is no failure."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Annotated, Any

import pytest

from otel_tools.adapters.tools import langchain_core
from tests.adapters.runs import tool_span
from tests.recorder import Recorder

pytest.importorskip("langchain_core")
pytest.importorskip("langgraph")

from langchain_core.messages import ToolMessage
from langchain_core.tools import InjectedToolArg, Tool, ToolException, tool
from langgraph.errors import GraphInterrupt
from langgraph.types import Interrupt

from tests.adapters.langchain_tools import EVERY_WAY, fail, search_tool, tool_call


@EVERY_WAY
def test_a_call_with_an_id_is_one_span_and_gives_a_tool_message(otel: Recorder, make: Any, call: Any) -> None:
    """The call of an agent: its id is on the span, the size is that of the message's content."""
    message = call(make(str.upper), tool_call(query="otel"))

    assert type(message) is ToolMessage
    assert (message.content, message.status, message.tool_call_id) == ("OTEL", "success", "call_1")
    assert otel.spans == [tool_span(gen_ai__tool__call__id="call_1", otel_tools__tool__result__size=4)]


@EVERY_WAY
def test_a_direct_call_gives_the_bare_value(otel: Recorder, make: Any, call: Any) -> None:
    """Without an id the tool's own value comes back, the very same object, and its size is that of its JSON."""
    found = {"hits": [1, 2]}

    assert call(make(lambda query: found), {"query": "otel"}) is found
    assert otel.spans == [tool_span(otel_tools__tool__result__size=14)]


def test_run_and_arun_are_calls_too(otel: Recorder) -> None:
    """Code that calls `run` or `arun` itself is not missed."""
    search_tool(str.upper).run({"query": "otel"})
    asyncio.run(search_tool(str.upper).arun({"query": "otel"}))

    assert otel.spans == [tool_span(otel_tools__tool__result__size=4)] * 2


def test_a_plain_string_is_an_argument_called_input(otel: Recorder) -> None:
    """A tool of the old kind takes one string; it has no name, so the key is `input`."""
    old = Tool("search", str.upper, "Search the web.")

    assert old.invoke("otel") == "OTEL"
    assert otel.spans == [tool_span(otel_tools__tool__argument_keys=("input",), otel_tools__tool__result__size=4)]


def test_injected_arguments_are_not_the_models(otel: Recorder) -> None:
    """What the framework injects (state, store, runtime) is not listed among the argument keys."""

    @tool
    def search(query: str, user: Annotated[str, InjectedToolArg]) -> str:
        """Search the web."""
        return query + user

    assert search.invoke({"query": "otel", "user": "!"}) == "otel!"
    assert otel.spans == [tool_span(otel_tools__tool__result__size=5)]


def test_injected_arguments_are_not_the_models_in_older_versions_either() -> None:
    """Before LangChain filtered them itself, what the tool shows to the model says which arguments are its own."""
    older = SimpleNamespace(args={"query": {"type": "string"}})

    assert langchain_core._arguments(older, {"query": "otel", "state": {}}) == {"query": "otel"}


# --- what is no failure ---------------------------------------------------------------------------------------------
@EVERY_WAY
def test_an_interrupt_is_no_failure(otel: Recorder, make: Any, call: Any) -> None:
    """A tool that waits for a human raises LangGraph's control flow, which goes through."""
    with pytest.raises(GraphInterrupt):
        call(make(fail(GraphInterrupt((Interrupt("may I?"),)))), tool_call(query="otel"))

    assert otel.spans == [tool_span("interrupted", gen_ai__tool__call__id="call_1")]


def test_an_exception_that_is_only_called_like_an_interrupt_is_an_error(otel: Recorder) -> None:
    """Control flow is told by type, not by name."""
    lookalike = type("GraphInterrupt", (Exception,), {"__module__": "shop.errors"})

    with pytest.raises(lookalike):
        search_tool(fail(lookalike())).invoke({"query": "otel"})

    assert otel.spans == [tool_span("error", "ERROR", error__type="shop.errors.GraphInterrupt")]


async def test_a_cancelled_call_is_no_failure(otel: Recorder) -> None:
    """The caller's task is cancelled while the tool waits."""
    entered = asyncio.Event()

    @tool
    async def search(query: str) -> None:
        """Search the web."""
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(search.ainvoke({"query": "otel"}))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert otel.spans == [tool_span("cancelled")]


# --- policy ---------------------------------------------------------------------------------------------------------
@EVERY_WAY
def test_an_optional_tools_failure_becomes_a_note_in_a_tool_message(otel: Recorder, make: Any, call: Any) -> None:
    """The model gets a note in the message type that it would have got the result in; the outcome stays what it was."""
    otel.instrument(mode="enforce", tools={"search": {"criticality": "optional"}})

    message = call(make(fail(ConnectionError("secret"))), tool_call(query="otel"))

    assert type(message) is ToolMessage
    assert (message.name, message.tool_call_id, message.status) == ("search", "call_1", "success")
    assert "search" in message.content
    assert "secret" not in message.content
    assert otel.spans == [
        tool_span(
            "error",
            "ERROR",
            error__type="ConnectionError",
            gen_ai__tool__call__id="call_1",
            otel_tools__tool__criticality="optional",
            otel_tools__degraded=True,
        )
    ]


def test_an_optional_tools_note_without_a_call_id_is_plain_text(otel: Recorder) -> None:
    """A direct call gives a bare value, so the note is a bare string."""
    otel.instrument(mode="enforce", tools={"search": {"criticality": "optional"}})

    assert isinstance(search_tool(fail(ConnectionError())).invoke({"query": "otel"}), str)


def test_an_error_handled_in_a_worker_thread_is_still_seen(otel: Recorder) -> None:
    """A sync tool with a deadline runs in a worker; what LangChain makes of its error there is part of the call."""
    otel.instrument(mode="enforce", tools={"search": {"timeout": 30}})
    threads: list[threading.Thread] = []

    def body(query: str) -> Any:
        threads.append(threading.current_thread())
        raise ToolException("sorry")

    assert search_tool(body, handle_tool_error=True).invoke({"query": "otel"}) == "sorry"
    assert threads != [threading.current_thread()]
    assert otel.spans == [
        tool_span(
            "tool_error",
            "ERROR",
            error__type="tool_error",
            otel_tools__timeout__duration=30.0,
            otel_tools__tool__result__size=5,
        )
    ]
