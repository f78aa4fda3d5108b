"""Seeing and steering the policy of this process at run time: pure reads, and audited writes with a reason.

Names are those of tools; `client:NAME` is an LLM client. What is set here holds in this process only and is apart from
what operators set for all processes of the service (`otel-tools disable` and the like): both hold.
"""

from __future__ import annotations

from collections.abc import Iterable

from otel_tools import steering
from otel_tools.engine import active
from otel_tools.policy import Mode
from otel_tools.policy.circuit import Action, CircuitState, Override
from otel_tools.policy.pipeline import PipelineView


def circuits() -> dict[str, PipelineView]:
    """Every tool that has been called, by name, and every configured LLM client, as `client:NAME`.

    Each view tells the circuit, the calls in flight and who disabled it. Reading changes nothing: a circuit whose time
    is up shows as half open, and is so once a call asks.
    """
    engine = active()
    if engine is None:
        return {}
    clients = {steering.address("client", view.name): view for view in engine.clients.views()}
    return clients | {view.name: view for view in engine.tools.views()}


def available_tools(names: Iterable[str]) -> list[str]:
    """Those of some tools that a call would be admitted of now, in their order: to offer a model no others.

    Reading changes nothing, and a tool that was never called is available. Limits of a session are not looked at. Mind
    that providers cache prompts by their beginning, where the tools stand: a list that changes costs that.

    Args:
        names: The tools' names.
    """
    engine = active()
    views = {} if engine is None else {view.name: view for view in engine.tools.views()}
    return [name for name in names if name not in views or _admits(views[name])]


def _admits(view: PipelineView) -> bool:
    circuit = view.circuit
    if view.disabled is not None or (circuit is not None and circuit.state is CircuitState.FORCED_OPEN):
        return False
    if view.mode is Mode.OBSERVE:
        return True
    if view.max_in_flight is not None and view.in_flight >= view.max_in_flight:
        return False
    waits = circuit is not None and circuit.state is CircuitState.HALF_OPEN and circuit.probe_in_flight
    return not waits and (circuit is None or circuit.state is not CircuitState.OPEN)


def disable_tool(name: str, reason: str, *, actor: str = "code", expires_after: float | None = None) -> None:
    """Refuse all calls of a tool in this process, in observe mode too, until `enable_tool` or expiry.

    Args:
        name: The tool; it need not have been called yet.
        reason: Why, for whoever looks; it appears on spans of refused calls.
        actor: Who did it.
        expires_after: Seconds after which it is enabled again, `None` for never.

    Raises:
        ConfigError: An argument cannot be right: an empty reason, an expiry that is not in the future.
    """
    _set(Action.DISABLE, name, reason, actor, expires_after)


def enable_tool(name: str, *, actor: str = "code") -> None:
    """Take `disable_tool` back.

    Raises:
        ConfigError: *name* or *actor* is empty.
    """
    steering.check(name=name, actor=actor)
    engine = active()
    if engine is not None:
        kind, found = steering.parse(name)
        steering.lift(engine, kind, found, Action.DISABLE, actor=actor)


def force_open(name: str, reason: str, *, actor: str = "code", expires_after: float | None = None) -> None:
    """Open a circuit by hand in this process, in observe mode too: no call is made until `reset` or expiry.

    Takes and raises the same as `disable_tool`.
    """
    _set(Action.FORCE_OPEN, name, reason, actor, expires_after)


def bypass(name: str, reason: str, *, actor: str = "code", expires_after: float | None = None) -> None:
    """Switch a circuit breaker (not the tool) off in this process: calls are made and not counted.

    Takes and raises the same as `disable_tool`.
    """
    _set(Action.BYPASS, name, reason, actor, expires_after)


def metrics_only(name: str, reason: str, *, actor: str = "code", expires_after: float | None = None) -> None:
    """Let a circuit breaker of this process count and tell what it would do, and refuse nothing.

    Takes and raises the same as `disable_tool`.
    """
    _set(Action.METRICS_ONLY, name, reason, actor, expires_after)


def reset(name: str, *, actor: str = "code") -> None:
    """Close a circuit of this process, and take `force_open`, `bypass` and `metrics_only` back.

    Raises:
        ConfigError: *name* or *actor* is empty.
    """
    steering.check(name=name, actor=actor)
    engine = active()
    if engine is not None:
        kind, found = steering.parse(name)
        steering.reset(engine, kind, found, actor=actor)


def _set(action: Action, name: str, reason: str, actor: str, expires_after: float | None) -> None:
    steering.check(name=name, actor=actor, reason=reason, expires_after=expires_after)
    engine = active()
    if engine is not None:
        kind, found = steering.parse(name)
        steering.override(engine, kind, found, action, Override(reason, actor, expires_after))
