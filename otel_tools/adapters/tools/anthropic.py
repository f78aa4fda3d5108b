"""Tools of the `anthropic` package: those its tool runner calls, and `@beta_tool` functions called by hand.

Since 2.0 the runner calls a tool through `_run_tool`, which knows the call's id and returns errors as data. Below it,
and all there is in 0.x, is the tool's own `call`; inside `_run_tool` it is the same call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from otel_tools.adapters.wire.reading import get, text
from otel_tools.model import Adapter, Invocation, Shape, Target, ToolRequest, ToolResponse
from otel_tools.policy.outcome import Outcome

_RUNNER = "anthropic.lib.tools._beta_runner"
_FUNCTIONS = "anthropic.lib.tools._beta_functions"
_MEMORY = "anthropic.lib.tools._beta_builtin_memory_tool"


# --- the runner's view ----------------------------------------------------------------------------------------------
def _read_run(call: Invocation) -> ToolRequest:
    return _read_tool_use(call.argument(1, "tool_use"), description=get(call.argument(0, "tool"), "description"))


def _read_member(call: Invocation) -> ToolRequest:
    return _read_tool_use(call.argument(0, "tool_use"))


def _read_tool_use(tool_use: Any, description: Any = None) -> ToolRequest:
    return ToolRequest(
        tool_use.name,
        "anthropic.tool_runner",
        call_id=tool_use.id,
        description=text(description),
        arguments=_arguments(tool_use.input),
    )


def _read_result(result: Any) -> ToolResponse:
    outcome = Outcome.TOOL_ERROR if get(result, "is_error") else Outcome.OK
    return ToolResponse(outcome, result=get(result, "content"))


def _block(call: Invocation, request: ToolRequest, note: Any, *, error: bool = False) -> dict[str, Any]:
    """The `tool_result` block for the model; a member of a toolset names its toolset."""
    block = {"type": "tool_result", "tool_use_id": request.call_id, "content": _content(note)}
    if toolset := get(call.args[-1] if call.args else call.kwargs.get("tool_use"), "toolset_name"):
        block["toolset_name"] = toolset
    return {**block, "is_error": True} if error else block


# --- the tool's view ------------------------------------------------------------------------------------------------
def _read_call(call: Invocation) -> ToolRequest:
    tool, arguments = call.instance, _arguments(call.argument(0, "input"))
    return ToolRequest(tool.name, "anthropic", description=text(get(tool, "description")), arguments=arguments)


def _read_value(value: Any) -> ToolResponse:
    return ToolResponse(result=value)


def _read_error(error: BaseException) -> ToolResponse | None:
    """`ToolError` is what a tool tells the model; arguments that do not fit are the model's fault."""
    if any(cls.__name__ == "ToolError" for cls in type(error).__mro__):
        return ToolResponse(Outcome.TOOL_ERROR, result=get(error, "content"), error_type="tool_error")
    if type(error.__cause__).__name__ == "ValidationError" and isinstance(error, ValueError):
        return ToolResponse(Outcome.ERROR, neutral=True)
    return None


def _note(_call: Invocation, _request: ToolRequest, note: Any, **_: Any) -> Any:
    return _content(note)


def _content(note: Any) -> Any:
    """*note* as a tool may return it: text or a list of content blocks."""
    return note if isinstance(note, str | list) else json.dumps(note, default=str)


def _with_line(content: Any, line: str) -> Any:
    if isinstance(content, str):
        return f"{content}\n{line}"
    return [*content, {"type": "text", "text": line}] if isinstance(content, list) else None


def _block_with_line(block: Any, line: str) -> Any:
    content = _with_line(get(block, "content"), line)
    return None if content is None or not isinstance(block, dict) else {**block, "content": content}


def _arguments(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None


# --- targets --------------------------------------------------------------------------------------------------------
def _runner(path: str, shape: Shape, *, member: bool = False) -> Target:
    return Target(
        module=_RUNNER,
        path=path,
        shape=shape,
        request=_read_member if member else _read_run,
        response=_read_result,
        fallback=_block,
        errors_as_data=True,
        appended=_block_with_line,
        since="2.0",
    )


def _tool(module: str, path: str, shape: Shape) -> Target:
    return Target(
        module=module,
        path=path,
        shape=shape,
        request=_read_call,
        response=_read_value,
        error=_read_error,
        fallback=_note,
        appended=_with_line,
    )


ADAPTER = Adapter(
    library="anthropic",
    minimum="0.125",
    targets=(
        _runner("BaseSyncToolRunner._run_tool", Shape.SYNC),
        _runner("BaseAsyncToolRunner._run_tool", Shape.ASYNC),
        _runner("BaseSyncToolRunner._run_toolset_member", Shape.SYNC, member=True),
        _runner("BaseAsyncToolRunner._run_toolset_member", Shape.ASYNC, member=True),
        _tool(_FUNCTIONS, "BetaFunctionTool.call", Shape.SYNC),
        _tool(_FUNCTIONS, "BetaAsyncFunctionTool.call", Shape.ASYNC),
        _tool(_MEMORY, "BetaAbstractMemoryTool.call", Shape.SYNC),
        _tool(_MEMORY, "BetaAsyncAbstractMemoryTool.call", Shape.ASYNC),
    ),
)
