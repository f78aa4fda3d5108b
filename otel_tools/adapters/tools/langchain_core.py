"""Tools of LangChain: whoever calls one (`invoke`, `ainvoke`, LangGraph's `ToolNode`, an agent) ends in `BaseTool.run`
or `BaseTool.arun`.

A tool may be told to hand errors to the model (`handle_tool_error`, `handle_validation_error`). What comes back is then
a `ToolMessage` that says so, or, for a call without id, a plain string that does not: hence the two module functions
that make it are watched as well.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from otel_tools.model import Adapter, Handled, Invocation, Shape, Target, ToolRequest, ToolResponse
from otel_tools.policy.outcome import Outcome

_LIBRARY = "langchain-core"
_MODULE = "langchain_core.tools.base"
_OUTPUTS = 16  # a list that a tool returned as its result may be long


# --- what a call asks for -------------------------------------------------------------------------------------------
def _request(call: Invocation) -> ToolRequest:
    tool = call.instance
    return ToolRequest(
        tool.name,
        _LIBRARY,
        call_id=call.kwargs.get("tool_call_id"),
        description=tool.description or None,
        arguments=_arguments(tool, call.argument(0, "tool_input")),
    )


def _arguments(tool: Any, given: Any) -> Mapping[str, Any]:
    """What the model passed; the state, store and runtime that the framework injects are not its arguments."""
    if not isinstance(given, Mapping):
        return {"input": given}
    visible: Callable[[Any], Mapping[str, Any]] | None = getattr(tool, "_filter_injected_args", None)
    if visible is not None:  # there is no public name for it
        return visible(given)
    known = tool.args  # older versions
    return {key: value for key, value in given.items() if key in known}


# --- what came of it ------------------------------------------------------------------------------------------------
def _response(value: Any) -> ToolResponse:
    messages = _messages(value)
    if not messages:
        return ToolResponse(result=value)
    contents = [message.content for message in messages]
    failed = any(message.status == "error" for message in messages)
    return ToolResponse(
        Outcome.TOOL_ERROR if failed else Outcome.OK, result=contents[0] if len(contents) == 1 else contents
    )


def _messages(value: Any) -> list[Any]:
    """The `ToolMessage`s in what a tool returned: one, a `Command` that adds some to the state, or a list of these."""
    outputs = value if isinstance(value, list) else [value]
    updates = [getattr(output, "update", None) for output in outputs[:_OUTPUTS]]
    added = [update.get("messages") or () for update in updates if isinstance(update, Mapping)]
    return [message for group in (outputs[:_OUTPUTS], *added) for message in group if _is_tool_message(message)]


def _is_tool_message(value: Any) -> bool:
    return getattr(value, "type", None) == "tool" and hasattr(value, "status")


def _fallback(_call: Invocation, request: ToolRequest, value: Any, *, error: bool = False) -> Any:
    """What the tool itself would have returned for *value*: a `ToolMessage` for a call with an id, else the value."""
    build = importlib.import_module(_MODULE)._format_output  # noqa: SLF001  LangChain has no public name for it
    return build(value, None, request.call_id, request.name, "error" if error else "success")


def _appended(value: Any, line: str) -> Any:
    """*value* itself, or the `ToolMessage` that it is, with its artifact and id."""
    if isinstance(value, str):
        return f"{value}\n{line}"
    if not _is_tool_message(value) or not isinstance(value.content, str):
        return None
    return value.model_copy(update={"content": f"{value.content}\n{line}"})


# --- errors that LangChain turns into data --------------------------------------------------------------------------
def _handled(call: Invocation) -> Handled:
    return Handled(call.argument(0, "e"))


def _run(path: str, shape: Shape) -> Target:
    return Target(
        module=_MODULE,
        path=path,
        shape=shape,
        request=_request,
        response=_response,
        fallback=_fallback,
        appended=_appended,
        control_flow=("langgraph.errors.GraphBubbleUp",),
    )


ADAPTER = Adapter(
    library=_LIBRARY,
    package="langchain_core",
    minimum="1.0",
    targets=(
        _run("BaseTool.run", Shape.SYNC),
        _run("BaseTool.arun", Shape.ASYNC),
        Target(module=_MODULE, path="_handle_tool_error", shape=Shape.SYNC, request=_handled),
        Target(module=_MODULE, path="_handle_validation_error", shape=Shape.SYNC, request=_handled),
    ),
)
