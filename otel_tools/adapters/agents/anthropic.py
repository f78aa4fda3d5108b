"""Runs of the `anthropic` package's tool runner (`client.beta.messages.tool_runner`), streaming or not.

The runner is iterated: a run lasts from its first message to its last, or until its caller leaves the loop. It has no
name. When it runs out of iterations it just ends, with tool calls that nobody has answered.
"""

from __future__ import annotations

from typing import Any

from otel_tools.adapters.wire.anthropic_request import conversation_id
from otel_tools.adapters.wire.reading import get, text
from otel_tools.model import Adapter, AgentRequest, AgentResponse, Invocation, Shape, Target


def _request(call: Invocation) -> AgentRequest:
    runner = call.instance
    model, client = text(runner._params.get("model")), runner._client  # noqa: SLF001  there is nothing public
    return AgentRequest(None, "anthropic", conversation_id=conversation_id(client), model=model)


def _response(last: Any) -> AgentResponse:
    """Read the last item: a message, or the stream of one, which the runner has read to its end."""
    reason = get(last, "stop_reason") or get(get(last, "current_message_snapshot"), "stop_reason")
    return AgentResponse("max_iterations" if reason == "tool_use" else "completed")


def _target(path: str, shape: Shape) -> Target:
    return Target(
        module="anthropic.lib.tools._beta_runner", path=path, shape=shape, request=_request, response=_response
    )


ADAPTER = Adapter(
    library="anthropic",
    minimum="0.125",
    targets=(
        _target("BaseSyncToolRunner.__run__", Shape.GENERATOR),
        _target("BaseAsyncToolRunner.__run__", Shape.ASYNC_GENERATOR),
    ),
)
