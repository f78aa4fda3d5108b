"""Function tools of the OpenAI Agents SDK, MCP tools and agents as tools among them. Handoffs are not tools.

A run calls the name that `run_internal.tool_execution` imported, everything else (realtime sessions) the original in
`agents.tool`. By default the SDK makes a sentence for the model out of an error or its own timeout; the two places
where it does are watched, because the sentence does not show it.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping
from typing import Any

from otel_tools.model import Adapter, Handled, Invocation, Shape, Target, ToolRequest, ToolResponse
from otel_tools.policy.outcome import Outcome

_LIBRARY = "openai-agents"


def _request(call: Invocation) -> ToolRequest:
    tool = call.kwargs["function_tool"]
    return ToolRequest(
        tool.qualified_name,
        _LIBRARY,
        call_id=call.kwargs["context"].tool_call_id,
        description=tool.description or None,
        arguments=_arguments(call.kwargs["arguments"]),
    )


def _arguments(given: str) -> Mapping[str, Any] | None:
    try:
        parsed = json.loads(given or "{}")
    except ValueError:
        return None  # the model's mistake; the SDK is about to tell it so
    return parsed if isinstance(parsed, Mapping) else None


def _response(result: Any) -> ToolResponse:
    outcome = Outcome.TOOL_ERROR if result.is_sdk_generated_error else Outcome.OK
    return ToolResponse(outcome, result=result.output)


def _error(error: BaseException) -> ToolResponse | None:
    match type(error).__name__:
        case "ToolTimeoutError":
            return ToolResponse(Outcome.TIMEOUT, error_type="timeout")
        case "ModelBehaviorError":  # arguments that are not what the tool's schema says
            return ToolResponse(Outcome.TOOL_ERROR, neutral=True)
    return None


def _fallback(_call: Invocation, _request: ToolRequest, value: Any, **_error: bool) -> Any:
    """*value* as the SDK hands its own errors to the model: not to be checked against the tool's output schema."""
    tool_module = importlib.import_module("agents.tool")
    return tool_module._FunctionToolInvocationResult(value, is_sdk_generated_error=True)  # noqa: SLF001  no public name


def _expects_data(call: Invocation) -> bool:
    """Whether the SDK makes a sentence for the model out of the tool's errors: not with `failure_error_function=None`.

    Tools that are not functions of the user's (MCP) have neither of the two fields.
    """
    tool = call.kwargs["function_tool"]
    default = getattr(tool, "_use_default_failure_error_function", True)
    return default or getattr(tool, "_failure_error_function", None) is not None


def _appended(result: Any, line: str) -> Any:
    text = result.output
    return dataclasses.replace(result, output=f"{text}\n{line}") if isinstance(text, str) else None


def _handled(call: Invocation) -> Handled:
    return Handled(call.kwargs["error"])


def _timed_out(call: Invocation) -> Handled:
    return Handled(call.instance)


def _invoke(module: str) -> Target:
    return Target(
        module=module,
        path="_invoke_function_tool_with_metadata",
        shape=Shape.ASYNC,
        request=_request,
        response=_response,
        error=_error,
        fallback=_fallback,
        errors_as_data=_expects_data,
        appended=_appended,
    )


ADAPTER = Adapter(
    library=_LIBRARY,
    package="agents",
    minimum="0.20",
    targets=(
        _invoke("agents.tool"),
        _invoke("agents.run_internal.tool_execution"),
        Target(
            module="agents.tool",
            path="maybe_invoke_function_tool_failure_error_function",
            shape=Shape.ASYNC,
            request=_handled,
        ),
        Target(module="agents.exceptions", path="ToolTimeoutError.__init__", shape=Shape.SYNC, request=_timed_out),
    ),
)
