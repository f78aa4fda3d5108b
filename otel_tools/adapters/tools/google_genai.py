"""Python functions that `google-genai` calls by itself (automatic function calling).

Its MCP tools are calls of `ClientSession.call_tool`, which the adapter of `mcp` covers. Nothing that a function raises
gets to the caller: the model is given it as text.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeAlias

from otel_tools.adapters.wire.google_genai_fields import read
from otel_tools.model import Adapter, Invocation, Shape, Target, ToolRequest, ToolResponse
from otel_tools.policy.outcome import Outcome

_Announced: TypeAlias = "deque[tuple[str | None, Mapping[str, Any], str | None]]"

_announced: ContextVar[_Announced] = ContextVar("otel_tools.google_genai.announced")
"""The function calls of the response that is being answered: name, arguments and id, in order."""


def _batch(call: Invocation) -> None:
    """Note the calls of a response: the id of a call is known here, but not where its function is invoked."""
    candidates = call.argument(0, "response").candidates
    parts = read(read(candidates[0], "content"), "parts") if candidates else None
    calls = [part.function_call for part in parts or () if part.function_call]
    _announced.set(deque((call.name, call.args or {}, call.id) for call in calls))


def _function(call: Invocation) -> ToolRequest:
    arguments, function = call.argument(0, "args"), call.argument(1, "function_to_invoke")
    name = getattr(function, "__otel_tools__", None) or function.__name__  # `@tool("name")` may give it another one
    return ToolRequest(
        name,
        "google-genai",
        call_id=_call_id(function.__name__, arguments),
        description=(inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ") or None,
        arguments=arguments,
    )


def _call_id(name: str, arguments: Mapping[str, Any]) -> str | None:
    announced = _announced.get(deque())
    while announced:
        found = announced.popleft()
        if found[:2] == (name, arguments):
            return found[2]
    return None


def _result(value: Any) -> ToolResponse:
    return ToolResponse(result=value)


def _error(error: BaseException) -> ToolResponse | BaseException | None:
    """What the function raised (`FunctionInvocationError` is only around it), unless the arguments do not fit it."""
    kind, cause = type(error).__name__, error.__context__
    if kind == "UnknownFunctionCallArgumentError":
        return ToolResponse(Outcome.ERROR, neutral=True)
    if kind != "FunctionInvocationError" or cause is None:
        return None
    entered = cause.__traceback__ is not None and cause.__traceback__.tb_next is not None
    if isinstance(cause, TypeError) and not entered:
        return ToolResponse(Outcome.ERROR, neutral=True, error_type="TypeError")
    return cause


def _value(_call: Invocation, _request: ToolRequest, value: Any, **_error: bool) -> Any:
    """A function may give anything, and so may what stands for it."""
    return value


def _target(path: str, shape: Shape, request: Callable[[Invocation], ToolRequest | None], **options: Any) -> Target:
    return Target(module="google.genai._extra_utils", path=path, shape=shape, request=request, **options)


def _invocation(path: str, shape: Shape) -> Target:
    return _target(path, shape, _function, response=_result, error=_error, fallback=_value, errors_as_data=True)


ADAPTER = Adapter(
    library="google-genai",
    minimum="1.20",
    package="google.genai",
    targets=(
        _target("get_function_response_parts", Shape.SYNC, _batch),
        _target("get_function_response_parts_async", Shape.ASYNC, _batch),
        _invocation("invoke_function_from_dict_args", Shape.SYNC),
        _invocation("invoke_function_from_dict_args_async", Shape.ASYNC),
    ),
)
