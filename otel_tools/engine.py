"""What all calls share (settings, telemetry, policy at work, prices), what a call is, and the engine at work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeAlias

from opentelemetry.context import Context

from otel_tools import implicit
from otel_tools.calls import AgentCall, Call, FoldedCall, LLMCall, ToolCall, current_call
from otel_tools.config import Settings, load_or_default
from otel_tools.drivers import Drivers
from otel_tools.errors import internal_error
from otel_tools.ledger import Ledger
from otel_tools.model import (
    AgentRequest,
    Handled,
    Invocation,
    LLMRequest,
    Request,
    Shape,
    Target,
    ToolRequest,
)
from otel_tools.policy import Criticality, Limits, Mode, Pipeline, Pipelines, Policy, Transition
from otel_tools.pricing import Prices
from otel_tools.sessions import current_session
from otel_tools.telemetry import Telemetry, attach, detach

Wrapper: TypeAlias = Callable[[Callable[..., Any], Any, tuple[Any, ...], Mapping[str, Any]], Any]
"""The signature of a wrapt wrapper: wrapped, instance, args, kwargs."""


class _Told(threading.local):
    """Transitions of circuits that policy told of in this thread, until the call that caused them writes them down."""

    def __init__(self) -> None:
        self.transitions: list[Transition] = []

    def append(self, transition: Transition) -> None:
        self.transitions.append(transition)


class Engine(Drivers):
    """What all calls share: settings, telemetry, pipelines of policy and prices.

    Args:
        clock: Monotonic seconds, by which circuits open, operators' overrides expire and sessions run out of time.
    """

    def __init__(
        self, settings: Settings, telemetry: Telemetry, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self.telemetry = telemetry
        self.clock = clock
        self.prices = Prices(settings.prices)
        if self.session_limits is not None and self.session_limits.max_cost_usd is not None:
            self.prices.load()
        self.ledger = Ledger()
        self._told = _Told()
        self.tools = Pipelines(partial(self.policy, "tool"), clock=clock, listener=self._told.append)
        self.clients = Pipelines(partial(self.policy, "client"), clock=clock, listener=self._told.append)
        self._given: dict[str, Mapping[str, Any]] = {}
        self.on_llm_request: Callable[[LLMRequest], None] | None = None
        self.on_first_call: Callable[[], None] | None = None
        for tool in settings.tools:
            telemetry.tool_label(tool)
        telemetry.observe_circuits(lambda: (*self.tools.views(), *self.clients.views()), settings.clients)
        telemetry.observe_switches(self.tools.views)

    # --- policy -------------------------------------------------------------------------------------------------
    def policy(self, kind: Literal["tool", "client"], name: str) -> tuple[Policy, Mode]:
        """What applies to a tool or client, and whether it acts: what code gave, else the configuration."""
        policy, mode = self.settings.policy(kind, name)
        given = self._given.get(name) if kind == "tool" else None
        if given:
            policy, mode = replace(policy, **given), Mode.ENFORCE
        if self.settings.strict and policy.criticality is not Criticality.CRITICAL:
            policy = replace(policy, criticality=Criticality.CRITICAL)
        return policy, mode

    def give_policy(self, tool: str, given: Mapping[str, Any]) -> None:
        """Let policy given in code go before the configuration's; it is enforced.

        Args:
            tool: The tool's name.
            given: Fields of `Policy` -> value.
        """
        self._given[tool] = given
        self.tools.forget(tool)

    def tool_pipeline(self, name: str) -> Pipeline:
        """The policy at work for a tool."""
        return self.tools.get(name)

    def client_pipeline(self, name: str) -> Pipeline | None:
        """The policy at work for an LLM client, if one is configured or an operator has set something on it."""
        return self.clients.get(name) if name in self.settings.clients or name in self.clients else None

    def write_transitions(self, context: Context | None = None) -> None:
        """Write down what policy told of in this thread, in the trace of *context*."""
        told = self._told.transitions
        while told:
            self.telemetry.transition(told.pop(0), context)

    @property
    def session_limits(self) -> Limits | None:
        """What an outermost session may use by configuration."""
        return self.settings.limits if self.settings.mode is Mode.ENFORCE else None

    # --- calls --------------------------------------------------------------------------------------------------
    def begin(self, target: Target, invocation: Invocation) -> Call[Any] | None:
        """Open the call, or `None`: not ours, or a fault of ours; then the library's method runs as if we were not."""
        try:
            request = target.request(invocation)
            if request is None or isinstance(request, Handled):
                _hand_on(request)
                return None
            if self.on_first_call is not None:
                self._first_call()
            call = self._call(target, invocation, request)
        except Exception:
            internal_error("reading a call")
            return None
        return self._opened(call)

    def _first_call(self) -> None:
        first, self.on_first_call = self.on_first_call, None
        if first is not None:  # another thread was faster
            first()

    def _opened(self, call: Call[Any]) -> Call[Any] | None:
        declared = call.session is not None or not self.settings.discover
        run = None if declared else implicit.run_of(self, call.request)
        token = attach(run.context) if run is not None else None
        try:
            if run is not None:
                call.session = current_session()
                implicit.follow(call, run)
            call.open()
        except Exception:
            internal_error("opening a call")
            return None
        finally:
            if token is not None:
                detach(token)
        return call

    def _call(self, target: Target, invocation: Invocation, request: Request) -> Call[Any]:
        if isinstance(request, LLMRequest):
            if self.on_llm_request is not None:
                self.on_llm_request(request)
            return LLMCall(self, target, invocation, request)
        if isinstance(request, AgentRequest):
            return AgentCall(self, target, invocation, request)
        outer = current_call()
        if isinstance(outer, ToolCall) and _same_tool(outer.request, request):
            return FoldedCall(self, target, invocation, request, outer)
        return ToolCall(self, target, invocation, request)

    def wrapper(self, target: Target) -> Wrapper:
        """The driver for calls of *target*, as a wrapt wrapper."""
        drivers: dict[Shape, Callable[..., Any]] = {
            Shape.SYNC: self.sync,
            Shape.ASYNC: self.async_,
            Shape.GENERATOR: self.generator,
            Shape.ASYNC_GENERATOR: self.async_generator,
        }
        return partial(drivers[target.shape], target)


def _same_tool(outer: ToolRequest, inner: ToolRequest) -> bool:
    """A framework's tool that is made of another framework's tool of the same name is one tool call.

    So is a call that is served in the process that makes it (an MCP server in memory).
    """
    return outer.name == inner.name and (outer.library != inner.library or inner.remote is not None)


def _hand_on(handled: Handled | None) -> None:
    """Tell the tool call around this one of an error that its framework is about to turn into data."""
    outer = current_call()
    if handled is not None and isinstance(outer, (ToolCall, FoldedCall)):
        outer.handled = handled.error


# --- the engine at work ---------------------------------------------------------------------------------------------
_active: Engine | None = None
_off = False
_followers: list[Callable[[Engine | None], None]] = []


def active() -> Engine | None:
    """The engine that plain callables use; made on first use for a program that only uses `tool` and `session`."""
    if _active is None and not _off:
        activate(Engine(load_or_default(), Telemetry()))
    return _active


def activate(engine: Engine | None) -> None:
    """Make *engine* the one at work; `None` switches decorated callables to passing calls on."""
    global _active, _off
    _active, _off = engine, engine is None
    for follower in _followers:
        follower(engine)


def followed_by(follower: Callable[[Engine | None], None]) -> None:
    """Tell *follower*, which is above the engine, of the one at work whenever that changes."""
    _followers.append(follower)
