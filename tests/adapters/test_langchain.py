"""LangChain tools: one span per call, whoever calls them, and the outcome that the tool's own boundary shows."""

from __future__ import annotations

import asyncio
import threading
from typing import Annotated, Any

import pytest

from tests.recorder import Recorder

pytest.importorskip("langchain_core")
pytest.importorskip("langgraph")

from langchain_core.messages import ToolMessage
from langchain_core.tools import InjectedToolArg, StructuredTool, Tool, ToolException, tool
from langgraph.errors import GraphInterrupt
from langgraph.types import Command, Interrupt


def tool_span(outcome: str = "ok", status: str = "UNSET", **attributes: Any) -> dict[str, Any]:
    """The whole span of a call of the tool `search` (dots in names are double underscores; `None` takes one away)."""
    expected = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Search the web.",
        "otel_tools.tool.argument_keys": ("query",),
        "otel_tools.circuit_breaker.state": "closed",
        "otel_tools.outcome": outcome,
        **{name.replace("__", "."): value for name, value in attributes.items()},
    }
    return {
        "name": "execute_tool search",
        "kind": "INTERNAL",
        "status": status,
        "parent": None,
        "attributes": {name: value for name, value in expected.items() if value is not None},
        "events": [],
    }


def tool_call(**arguments: Any) -> dict[str, Any]:
    """What an agent passes to a tool."""
    return {"type": "tool_call", "id": "call_1", "name": "search", "args": arguments}


def search_tool(body: Any, **options: Any) -> StructuredTool:
    """A tool `search` that does what *body* does with the query."""

    def search(query: str) -> Any:
        """Search the web."""
        return body(query)

    return StructuredTool.from_function(search, **options)


def async_search_tool(body: Any, **options: Any) -> StructuredTool:
    """The same as a coroutine."""

    async def search(query: str) -> Any:
        """Search the web."""
        return body(query)

    return StructuredTool.from_function(coroutine=search, **options)


def invoke(tool: Any, value: Any) -> Any:
    return tool.invoke(value)


def ainvoke(tool: Any, value: Any) -> Any:
    return asyncio.run(tool.ainvoke(value))


EVERY_WAY = pytest.mark.parametrize(
    ("make", "call"),
    [
        pytest.param(search_tool, invoke, id="sync"),
        pytest.param(search_tool, ainvoke, id="sync-tool-awaited"),
        pytest.param(async_search_tool, ainvoke, id="async"),
    ],
)


def fail(error: BaseException) -> Any:
    def body(query: str) -> Any:
        raise error

    return body


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


# --- errors ---------------------------------------------------------------------------------------------------------
@EVERY_WAY
def test_an_exception_is_an_error_and_goes_on_untouched(otel: Recorder, make: Any, call: Any) -> None:
    """The caller gets the very same exception; the span has its type, not its text."""
    error = ConnectionError("secret")

    with pytest.raises(ConnectionError) as raised:
        call(make(fail(error)), tool_call(query="otel"))

    assert raised.value is error
    assert otel.spans == [
        tool_span("error", "ERROR", error__type="ConnectionError", gen_ai__tool__call__id="call_1"),
    ]


@EVERY_WAY
@pytest.mark.parametrize("handler", [True, "sorry", lambda error: "sorry"], ids=["flag", "text", "function"])
@pytest.mark.parametrize("call_id", ["call_1", None], ids=["with-id", "without-id"])
def test_an_error_that_becomes_a_result_is_a_tool_error(
    otel: Recorder, make: Any, call: Any, handler: Any, call_id: str | None
) -> None:
    """`handle_tool_error` makes a result of an exception; without a call id nothing in the result shows it."""
    failing = make(fail(ToolException("sorry")), handle_tool_error=handler)

    result = call(failing, tool_call(query="otel") if call_id else {"query": "otel"})

    assert (result.content if call_id else result) == "sorry"
    assert otel.spans == [
        tool_span(
            "tool_error",
            "ERROR",
            error__type="tool_error",
            gen_ai__tool__call__id=call_id,
            otel_tools__tool__result__size=5,
        )
    ]


@EVERY_WAY
@pytest.mark.parametrize("call_id", ["call_1", None], ids=["with-id", "without-id"])
def test_handled_bad_arguments_do_not_speak_against_the_tool(
    otel: Recorder, make: Any, call: Any, call_id: str | None
) -> None:
    """A validation error that became a result is a tool error, but the model's: the circuit stays closed."""
    otel.instrument(mode="enforce", tools={"search": {"circuit": {"failures": 1}}})
    picky = make(str.upper, handle_validation_error="call it properly")
    arguments: dict[str, Any] = {"nonsense": 1}

    for _ in range(2):
        result = call(picky, tool_call(**arguments) if call_id else arguments)
        assert (result.content if call_id else result) == "call it properly"

    assert [span["attributes"]["otel_tools.outcome"] for span in otel.spans] == ["tool_error"] * 2
    assert [span["attributes"]["otel_tools.circuit_breaker.state"] for span in otel.spans] == ["closed"] * 2


@EVERY_WAY
def test_handled_errors_open_the_circuit(otel: Recorder, make: Any, call: Any) -> None:
    """A dependency that fails behind `handle_tool_error` is failing all the same."""
    otel.instrument(mode="enforce", tools={"search": {"circuit": {"failures": 1}}})
    failing = make(fail(ToolException("sorry")), handle_tool_error=True)

    assert call(failing, {"query": "otel"}) == "sorry"
    with pytest.raises(Exception, match="circuit is open"):
        call(failing, {"query": "otel"})

    assert [span["attributes"]["otel_tools.outcome"] for span in otel.spans] == ["tool_error", "circuit_open"]


def test_unhandled_bad_arguments_raise_what_they_always_raised(otel: Recorder) -> None:
    """Without a handler the validation error is the caller's."""
    with pytest.raises(ValueError, match="query"):
        search_tool(str.upper).invoke({})

    span = otel.span()
    assert (span["status"], span["attributes"]["error.type"]) == (
        "ERROR",
        "pydantic_core._pydantic_core.ValidationError",
    )


def test_a_tool_that_says_so_itself_is_a_tool_error(otel: Recorder) -> None:
    """A tool may return a `ToolMessage` with status `error`, on its own or in a `Command`."""
    message = ToolMessage("not found", tool_call_id="call_1", status="error")
    command = Command(update={"messages": [message]})

    assert search_tool(lambda query: message).invoke(tool_call(query="otel")) is message
    assert search_tool(lambda query: command).invoke(tool_call(query="otel")) is command
    assert (
        otel.spans
        == [
            tool_span(
                "tool_error",
                "ERROR",
                error__type="tool_error",
                gen_ai__tool__call__id="call_1",
                otel_tools__tool__result__size=9,
            )
        ]
        * 2
    )


def test_the_tool_that_handles_an_error_is_the_one_that_failed(otel: Recorder) -> None:
    """A tool inside a tool: the inner one raises, the outer one hands the error to the model."""

    @tool
    def inner(query: str) -> str:
        """Raise."""
        raise ToolException("sorry")

    outer = search_tool(lambda query: inner.invoke({"query": query}), handle_tool_error=True)

    assert outer.invoke({"query": "otel"}) == "sorry"
    assert [(span["name"], span["parent"], span["attributes"]["otel_tools.outcome"]) for span in otel.spans] == [
        ("execute_tool inner", "execute_tool search", "error"),
        ("execute_tool search", None, "tool_error"),
    ]


def test_a_tool_that_copes_with_an_inner_tools_error_is_fine(otel: Recorder) -> None:
    """The inner tool's error became its result; what the outer one makes of that is its own affair."""

    @tool
    def inner(query: str) -> str:
        """Raise."""
        raise ToolException("sorry")

    inner.handle_tool_error = True
    outer = search_tool(lambda query: inner.invoke({"query": query}))

    assert outer.invoke({"query": "otel"}) == "sorry"
    assert [(span["name"], span["attributes"]["otel_tools.outcome"]) for span in otel.spans] == [
        ("execute_tool inner", "tool_error"),
        ("execute_tool search", "ok"),
    ]


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
