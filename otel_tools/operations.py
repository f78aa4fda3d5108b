"""Seeing and steering the policy of this process at run time: pure reads, and writes with a reason."""

from __future__ import annotations

from otel_tools.engine import active
from otel_tools.policy.pipeline import PipelineView


def circuits() -> dict[str, PipelineView]:
    """Every tool that has been called, by name, and every configured LLM client, as `client:NAME`.

    Each view tells the circuit, the calls in flight and who disabled it. Reading changes nothing: a circuit whose time
    is up shows as half open, and is so once a call asks.
    """
    engine = active()
    if engine is None:
        return {}
    clients = {f"client:{view.name}": view for view in engine.clients.views()}
    return clients | {view.name: view for view in engine.tools.views()}


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
