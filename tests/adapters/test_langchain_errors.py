"""Errors of LangChain tools: raised, or turned into data, where the tool's own boundary shows what they were."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runs import tool_span
from tests.recorder import Recorder

pytest.importorskip("langchain_core")
pytest.importorskip("langgraph")

from langchain_core.messages import ToolMessage
from langchain_core.tools import ToolException, tool
from langgraph.types import Command

from tests.adapters.langchain_tools import EVERY_WAY, fail, search_tool, tool_call


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
