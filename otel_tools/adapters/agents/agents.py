"""Runs of the OpenAI Agents SDK: `Runner.run` and `run_sync` end in `AgentRunner.run`, `run_streamed` in its own.

A streamed run is a background task; its session ends when that task does, however (or whether) its events are read.
A run that stops to ask for approval has completed, and resuming it is a run of its own.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from otel_tools.model import Adapter, AgentRequest, Invocation, Running, Shape, Target

_LIBRARY = "openai-agents"
_Done = Callable[[BaseException | None], None]


# --- what a run asks for --------------------------------------------------------------------------------------------
def _request(call: Invocation) -> AgentRequest:
    agent = call.argument(0, "starting_agent")
    model = getattr(agent, "model", None)
    return AgentRequest(
        agent.name,
        _LIBRARY,
        conversation_id=_conversation(call.argument(1, "input"), call.kwargs),
        description=getattr(agent, "handoff_description", None),
        model=model if isinstance(model, str) else None,
    )


def _conversation(given: Any, options: Mapping[str, Any]) -> str | None:
    """What ties this run to others: a session, a conversation that OpenAI keeps (a resumed run knows it from before),
    or the group of its traces."""
    conversation = options.get("conversation_id") or getattr(given, "_conversation_id", None)
    return _session_id(options.get("session")) or conversation or _group(options.get("run_config"))


def _session_id(session: Any) -> str | None:
    try:
        return getattr(session, "session_id", None)
    except ValueError:  # a session that OpenAI keeps has no id before its first request
        return None


def _group(run_config: Any) -> str | None:
    return run_config.get("group_id") if isinstance(run_config, Mapping) else getattr(run_config, "group_id", None)


# --- how a streamed run ends ----------------------------------------------------------------------------------------
def _view(result: Any) -> Running:
    def on_done(done: _Done) -> None:
        result.run_loop_task.add_done_callback(lambda task: done(_failure(result, task)))

    return Running(result, on_done)


def _failure(result: Any, task: asyncio.Task[Any]) -> BaseException | None:
    """Why the run failed. The SDK works some of it out only when someone reads the events."""
    error = None if task.cancelled() else task.exception()
    error = error or result._stored_exception or _guardrail_error(result) or _turns_error(result)  # noqa: SLF001
    return error or (asyncio.CancelledError() if task.cancelled() else None)


def _guardrail_error(result: Any) -> BaseException | None:
    tripped = result._triggered_input_guardrail_result  # noqa: SLF001  no public name before the events are read
    if tripped is not None:
        return _sdk_error("InputGuardrailTripwireTriggered", tripped)
    task = result._input_guardrails_task  # noqa: SLF001  a guardrail that fails cancels the run
    return task.exception() if task is not None and task.done() and not task.cancelled() else None


def _turns_error(result: Any) -> BaseException | None:
    if result.max_turns is None or result.current_turn <= result.max_turns or result._max_turns_handled:  # noqa: SLF001
        return None
    return _sdk_error("MaxTurnsExceeded", f"Max turns ({result.max_turns}) exceeded")


def _sdk_error(name: str, argument: Any) -> BaseException:
    error: BaseException = getattr(importlib.import_module("agents.exceptions"), name)(argument)
    return error


def _target(path: str, shape: Shape, view: Callable[[Any], Running] | None = None) -> Target:
    return Target(
        module="agents.run",
        path=path,
        shape=shape,
        request=_request,
        view=view,
        iteration_limit=("agents.exceptions.MaxTurnsExceeded",),
    )


ADAPTER = Adapter(
    library=_LIBRARY,
    package="agents",
    minimum="0.20",
    targets=(
        _target("AgentRunner.run", Shape.ASYNC),
        _target("AgentRunner.run_streamed", Shape.SYNC, _view),
    ),
)
