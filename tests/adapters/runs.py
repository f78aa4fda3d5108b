"""What the tests of agent frameworks share: a scripted model's answers, and whole spans of runs and tool calls."""

from __future__ import annotations

from typing import Any

from tests.recorder import Recorder

CALL_ADD = ("add", '{"a": 2, "b": 3}')
TWO_CALLS = (CALL_ADD, ("multiply", '{"a": 2, "b": 3}'))


# --- a scripted model -----------------------------------------------------------------------------------------------
def completion(text: str | None, *calls: tuple[str, str], first: int = 1) -> dict[str, Any]:
    """A chat completion that says *text* or calls these tools (name, arguments), with ids from `call_{first}` on."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [_called(number, call) for number, call in enumerate(calls, first)]
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
    for number, called in enumerate(choice["message"].get("tool_calls", ())):
        called["index"] = number
    common = {"id": whole["id"], "object": "chat.completion.chunk", "created": 1, "model": whole["model"]}
    return [
        {**common, "choices": [{"index": 0, "delta": choice["message"], "finish_reason": None}]},
        {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]},
        {**common, "choices": [], "usage": whole["usage"]},
        "[DONE]",
    ]


# --- expected spans: dots in names are double underscores, `None` takes an attribute away ----------------------------
def agent_span(
    name: str | None = "helper", *, status: str = "UNSET", parent: str | None = None, **attributes: Any
) -> dict[str, Any]:
    """The whole span of a run; by default one without calls that went well."""
    expected = {
        "gen_ai__operation__name": "invoke_agent",
        "gen_ai__agent__name": name,
        "otel_tools__outcome": "ok",
        "otel_tools__session__outcome": "completed",
        "otel_tools__session__cost__usd": 0.0,
        **used(),
        **attributes,
    }
    return _span(f"invoke_agent {name}" if name else "invoke_agent", status, parent, expected)


def used(calls: int = 0, tools: int = 0, errors: int = 0) -> dict[str, Any]:
    """What a session has used after so many calls of the scripted model (whose price is not known) and of tools."""
    return {
        "otel_tools__session__input_tokens": 10 * calls,
        "otel_tools__session__output_tokens": 5 * calls,
        "otel_tools__session__unpriced_tokens": 15 * calls or None,
        "otel_tools__session__inference_calls": calls,
        "otel_tools__session__tool_calls": tools,
        "otel_tools__session__tool_errors": errors,
    }


def tool_span(
    outcome: str = "ok", status: str = "UNSET", *, parent: str | None = None, **attributes: Any
) -> dict[str, Any]:
    """The whole span of a call of the tool `search`; with the run *parent*, of one that its model asked for."""
    expected = {
        "gen_ai__operation__name": "execute_tool",
        "gen_ai__tool__name": "search",
        "gen_ai__tool__type": "function",
        "gen_ai__tool__call__id": "call_1" if parent else None,
        "gen_ai__agent__name": parent.removeprefix("invoke_agent ") if parent else None,
        "gen_ai__tool__description": "Search the web.",
        "otel_tools__tool__argument_keys": ("query",),
        "otel_tools__circuit_breaker__state": "closed",
        "otel_tools__outcome": outcome,
        **attributes,
    }
    return _span("execute_tool search", status, parent, expected)


def _span(name: str, status: str, parent: str | None, attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "INTERNAL",
        "status": status,
        "parent": parent,
        "attributes": {key.replace("__", "."): value for key, value in attributes.items() if value is not None},
        "events": [],
    }


def tree(otel: Recorder) -> list[tuple[str, str | None, str]]:
    """Every span with its parent and outcome, sorted; all are of one trace."""
    assert len({span.context.trace_id for span in otel.finished}) == 1
    return sorted((span["name"], span["parent"], span["attributes"]["otel_tools.outcome"]) for span in otel.spans)


FULL_RUN_TREE = [
    ("chat test-model", "invoke_agent helper", "ok"),
    ("chat test-model", "invoke_agent helper", "ok"),
    ("execute_tool add", "invoke_agent helper", "ok"),
    ("execute_tool multiply", "invoke_agent helper", "ok"),
    ("invoke_agent helper", None, "ok"),
]
"""A run of `helper` whose model calls two tools in one turn and then answers."""
