"""Runs of LangGraph graphs, LangChain's `create_agent` among them: `invoke` and the event streams all iterate
`Pregel.stream` or `Pregel.astream`.

A graph that runs as a node of another one calls the same method; its session is a part of the outer one. A run that
stops at an `interrupt()` has completed: LangGraph returns normally, and resuming is a run of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_tools.model import Adapter, AgentRequest, Invocation, Shape, Target

_UNNAMED = "LangGraph"  # what a graph is called that was given no name


def _request(call: Invocation) -> AgentRequest:
    bound, given = _mapping(call.instance.config), _mapping(call.argument(1, "config"))
    ids = {**_mapping(bound.get("configurable")), **_mapping(given.get("configurable"))}
    return AgentRequest(
        _own_name(call.instance) or bound.get("run_name") or _node(given),
        "langgraph",
        conversation_id=_text(ids.get("thread_id")),
        user_id=_text(ids.get("user_id")),
    )


def _own_name(graph: Any) -> str | None:
    """The name it was compiled with. That of a single run names no agent: there is no end of such names."""
    return graph.name if graph.name != _UNNAMED else None


def _node(config: Mapping[str, Any]) -> str | None:
    """The node of the outer graph that runs this one."""
    return _mapping(config.get("metadata")).get("langgraph_node")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _target(path: str, shape: Shape) -> Target:
    return Target(
        module="langgraph.pregel.main",
        path=path,
        shape=shape,
        request=_request,
        control_flow=("langgraph.errors.GraphBubbleUp",),
        iteration_limit=(
            "langgraph.errors.GraphRecursionError",
            "langchain.agents.middleware.model_call_limit.ModelCallLimitExceededError",
            "langchain.agents.middleware.tool_call_limit.ToolCallLimitExceededError",
        ),
    )


ADAPTER = Adapter(
    library="langgraph",
    minimum="1.0",
    targets=(_target("Pregel.stream", Shape.GENERATOR), _target("Pregel.astream", Shape.ASYNC_GENERATOR)),
)
