"""Around one call, and the only module where sync and async differ.

Each shape of callable has one driver. A driver opens a `Call`, runs the library's own method inside the call's context
and under its deadline, and tells the call what came of it; everything else is decided by the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeAlias

from opentelemetry.context import Context

from otel_tools import workers
from otel_tools.calls import RAISE, AgentCall, Call, FoldedCall, LLMCall, ToolCall, current_call
from otel_tools.config import Settings, load_or_default
from otel_tools.errors import CallTimeout, internal_error
from otel_tools.model import (
    AgentRequest,
    Handled,
    Held,
    InPlace,
    Invocation,
    Iterated,
    Later,
    LLMRequest,
    Request,
    Running,
    Shape,
    Target,
    ToolRequest,
    View,
    Whole,
)
from otel_tools.policy import Limits, Mode, Pipeline, Pipelines, Policy, Transition
from otel_tools.pricing import Prices
from otel_tools.streams import watch
from otel_tools.telemetry import Telemetry, attach, detach

Wrapper: TypeAlias = Callable[[Callable[..., Any], Any, tuple[Any, ...], Mapping[str, Any]], Any]
"""The signature of a wrapt wrapper: wrapped, instance, args, kwargs."""


class _Told(threading.local):
    """Transitions of circuits that policy told of in this thread, until the call that caused them writes them down."""

    def __init__(self) -> None:
        self.transitions: list[Transition] = []

    def append(self, transition: Transition) -> None:
        self.transitions.append(transition)


class Engine:
    """What all calls share: settings, telemetry, pipelines of policy and prices."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self.settings = settings
        self.telemetry = telemetry
        self.prices = Prices(settings.prices)
        self._told = _Told()
        self.tools = Pipelines(partial(self._policy, "tool"), listener=self._told.append)
        self.clients = Pipelines(partial(self._policy, "client"), listener=self._told.append)
        self._given: dict[str, Mapping[str, Any]] = {}
        self.on_llm_request: Callable[[LLMRequest], None] | None = None
        telemetry.observe_circuits(lambda: (*self.tools.views(), *self.clients.views()))

    # --- policy -------------------------------------------------------------------------------------------------
    def _policy(self, kind: Literal["tool", "client"], name: str) -> tuple[Policy, Mode]:
        policy, mode = self.settings.policy(kind, name)
        given = self._given.get(name) if kind == "tool" else None
        return (replace(policy, **given), Mode.ENFORCE) if given else (policy, mode)

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
        """The policy at work for an LLM client, if one is configured."""
        return self.clients.get(name) if name in self.settings.clients else None

    def write_transitions(self, context: Context | None = None) -> None:
        """Write down what policy told of in this thread, in the trace of *context*."""
        told = self._told.transitions
        while told:
            self.telemetry.transition(told.pop(0), context)

    def hands_over(self, target: Target, pipeline: Pipeline | None) -> bool:
        """Whether a call runs in a worker thread: a sync one that has a deadline."""
        return target.shape is Shape.SYNC and pipeline is not None and pipeline.timeout is not None

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
            call = self._call(target, invocation, request)
            call.open()
        except Exception:
            internal_error("opening a call")
            return None
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

    # --- drivers ------------------------------------------------------------------------------------------------
    def sync(self, target: Target, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Drive a call that returns its value."""
        call = self.begin(target, Invocation(wrapped, instance, args, kwargs))
        if call is None:
            return wrapped(*args, **kwargs)
        if call.refusal is not None:
            return _refuse(call)
        expired = False
        try:
            value = self._run(call)
        except workers.Expired:
            expired = True
        except BaseException as error:
            replacement = call.failed(error)
            if replacement is RAISE:
                raise
            return replacement
        if expired:
            return _expire(call, still_running=True)
        return _finish(call, value)

    def _run(self, call: Call[Any]) -> Any:
        wrapped, _, args, kwargs = call.prepared()
        token = attach(call.context)
        try:
            if call.timeout is None :
                return wrapped(*args, **kwargs)
            return workers.call(partial(wrapped, *args, **kwargs), call.timeout, call.came_back)
        finally:
            detach(token)

    async def async_(
        self, target: Target, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Drive a call that is awaited."""
        call = self.begin(target, Invocation(wrapped, instance, args, kwargs))
        if call is None:
            return await wrapped(*args, **kwargs)
        if call.refusal is not None:
            return await _settled(_refuse(call))
        expired = False
        try:
            value = await self._await(call)
        except _Expired:
            expired = True
        except BaseException as error:
            replacement = call.failed(error)
            if replacement is RAISE:
                raise
            return await _settled(replacement)
        if expired:
            return await _settled(_expire(call))
        return await _finish_async(call, value)

    @staticmethod
    async def _await(call: Call[Any]) -> Any:
        wrapped, _, args, kwargs = call.prepared()
        token = attach(call.context)
        try:
            return await _within(call.timeout, wrapped, *args, **kwargs)
        finally:
            detach(token)

    def generator(
        self, target: Target, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Generator[Any, Any, Any]:
        """Drive a generator: the call lasts from its first step to its last."""
        call = self.begin(target, Invocation(wrapped, instance, args, kwargs))
        if call is None:
            return (yield from wrapped(*args, **kwargs))
        if call.refusal is not None:
            return (yield _refuse(call))
        inner = _in_context(call, wrapped, *args, **kwargs)
        step: Callable[..., Any] = inner.__next__
        argument: tuple[Any, ...] = ()
        while True:
            try:
                item = _in_context(call, step, *argument)
            except StopIteration as stop:
                call.returned(stop.value)
                return stop.value
            except BaseException as error:
                replacement = call.failed(error)
                if replacement is RAISE:
                    raise
                return (yield replacement)
            call.item(item)
            try:
                sent = yield item
            except GeneratorExit:
                _in_context(call, inner.close)
                call.closed()
                raise
            except BaseException as error:
                step, argument = inner.throw, (error,)
            else:
                step, argument = (inner.__next__, ()) if sent is None else (inner.send, (sent,))

    async def async_generator(
        self, target: Target, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> AsyncIterator[Any]:
        """Drive an async generator likewise."""
        call = self.begin(target, Invocation(wrapped, instance, args, kwargs))
        if call is None:
            async with contextlib.aclosing(wrapped(*args, **kwargs)) as items:
                async for item in items:
                    yield item
            return
        if call.refusal is not None:
            yield await _settled(_refuse(call))
            return
        inner = wrapped(*args, **kwargs)
        try:
            while True:
                token = attach(call.context)
                try:
                    item = await anext(inner)
                except StopAsyncIteration:
                    call.returned(None)
                    return
                except BaseException as error:
                    replacement = call.failed(error)
                    if replacement is RAISE:
                        raise
                    yield await _settled(replacement)
                    return
                finally:
                    detach(token)
                call.item(item)
                yield item
        finally:
            call.closed()
            await inner.aclose()


def _same_tool(outer: ToolRequest, inner: ToolRequest) -> bool:
    """A framework's tool that is made of another framework's tool of the same name is one tool call."""
    return outer.name == inner.name and outer.library != inner.library


def _hand_on(handled: Handled | None) -> None:
    """Tell the tool call around this one of an error that its framework is about to turn into data."""
    outer = current_call()
    if handled is not None and isinstance(outer, (ToolCall, FoldedCall)):
        outer.handled = handled.error


# --- the ends of a call ---------------------------------------------------------------------------------------------
def _refuse(call: Call[Any]) -> Any:
    error = call.refusal
    assert error is not None
    value = call.failed(error)
    if value is RAISE:
        raise error
    return value


def _expire(call: Call[Any], *, still_running: bool = False) -> Any:
    timeout = call.timeout
    assert timeout is not None
    value = call.timed_out(still_running=still_running)
    if value is RAISE:
        raise CallTimeout(call.request.name, timeout)
    return value


def _finish(call: Call[Any], value: Any) -> Any:
    """Read what the library returned, now or when its time comes; gives what the caller gets."""
    try:
        view = call.view(value)
        return _later(call, view) if isinstance(view, Later) else _observe(call, view, value)
    except Exception:
        internal_error("reading a returned value")
        call.returned(None)
        return value


def _observe(call: Call[Any], view: View, value: Any) -> Any:
    if isinstance(view, Whole):
        call.returned(view.payload)
    elif isinstance(view, Running):
        view.on_done(partial(_done, call, view))
    elif isinstance(view, Iterated):
        return watch(call, view)
    elif isinstance(view, (InPlace, Held)):
        watch(call, view)
    return value


def _done(call: Call[Any], view: Running, error: BaseException | None) -> None:
    if error is None:
        call.returned(view.payload)
    else:
        call.failed(error)


async def _later(call: Call[Any], view: Later) -> Any:
    """A sync callable returned an awaitable: its value is what the call is about."""
    try:
        token = attach(call.context)
        try:
            value = await view.read()
        finally:
            detach(token)
    except BaseException as error:
        replacement = call.failed(error)
        if replacement is RAISE:
            raise
        return await _settled(replacement)
    call.returned(value)
    return value


async def _finish_async(call: Call[Any], value: Any) -> Any:
    try:
        view = call.view(value)
        while isinstance(view, Later):
            view = call.view(await view.read())
        return _observe(call, view, value)
    except Exception:
        internal_error("reading a returned value")
        call.returned(None)
        return value
    except BaseException as error:  # cancelled while a raw response was being read
        call.failed(error)
        raise


async def _settled(value: Any) -> Any:
    """The value of an async fallback."""
    return await value if inspect.isawaitable(value) else value


# --- deadlines and context ------------------------------------------------------------------------------------------
class _Expired(BaseException):
    """The deadline that policy gave an async call is over. Never seen outside this module."""


async def _within(timeout: float | None, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Await *function* for at most *timeout* seconds, in the same task, so that its own cancel scopes still work."""
    if timeout is None or not _in_task():
        return await function(*args, **kwargs)
    async with asyncio.timeout(timeout) as deadline:
        try:
            return await function(*args, **kwargs)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if deadline.expired():  # it turned our cancellation into an error of its own
                raise _Expired from error
            raise


def _in_task() -> bool:
    """False on an event loop that is not asyncio's, where its timeouts do not work."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


def _in_context(call: Call[Any], function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    token = attach(call.context)
    try:
        return function(*args, **kwargs)
    finally:
        detach(token)


# --- the engine at work ---------------------------------------------------------------------------------------------
_active: Engine | None = None
_off = False


def active() -> Engine | None:
    """The engine that plain callables use; made on first use for a program that only uses `tool` and `session`."""
    if _active is None and not _off:
        activate(Engine(load_or_default(), Telemetry()))
    return _active


def activate(engine: Engine | None) -> None:
    """Make *engine* the one at work; `None` switches decorated callables to passing calls on."""
    global _active, _off  # noqa: PLW0603  one engine a process, like one provider
    _active, _off = engine, engine is None
