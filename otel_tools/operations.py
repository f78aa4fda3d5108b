"""Seeing and steering the policy of this process at run time: pure reads, and writes with a reason."""

from __future__ import annotations

from otel_tools.engine import active
from otel_tools.policy.pipeline import PipelineView


def circuits() -> dict[str, PipelineView]:
    """Every tool and LLM client that has been called, by name: circuit, calls in flight, who disabled it.

    Reading changes nothing: a circuit whose time is up stays open until a call asks.
    """
    engine = active()
    if engine is None:
        return {}
    return {view.name: view for view in (*engine.tools.views(), *engine.clients.views())}


def disable_tool(name: str, reason: str, *, actor: str = "code", expires_after: float | None = None) -> None:
    """Refuse all calls of a tool in this process, in observe mode too, until `enable_tool` or expiry.

    Args:
        name: The tool; it need not have been called yet.
        reason: Why, for whoever looks; it appears on spans of refused calls.
        actor: Who did it.
        expires_after: Seconds after which it is enabled again, `None` for never.
    """
    engine = active()
    if engine is not None:
        engine.tools.disable(name, reason, actor, expires_after)
        engine.write_transitions()


def enable_tool(name: str) -> None:
    """Take `disable_tool` back."""
    engine = active()
    if engine is not None:
        engine.tools.enable(name)
        engine.write_transitions()
