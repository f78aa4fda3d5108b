"""The only module where sync and async differ: one driver for each shape of callable.

A driver opens a `Call`, runs the library's own method inside the call's context and under its deadline, and tells the
call what came of it; everything else is decided by the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from functools import partial
from typing import Any, cast

from otel_tools import workers
from otel_tools.calls import RAISE, Call, LLMCall
from otel_tools.drops import when_dropped
from otel_tools.errors import CallTimeout, internal_error
from otel_tools.model import Held, InPlace, Invocation, Iterated, Later, Running, Target, View, Whole
from otel_tools.stepping import await_in_context, in_context, items_of, next_step, steps, throw_into
from otel_tools.streams import watch
from otel_tools.telemetry import attach, detach


class Drivers:
    """Runs calls of every shape; what a call is, `begin` decides."""

    def begin(self, target: Target, invocation: Invocation) -> Call[Any] | None:
        """Open the call, or `None` if it is to be left alone."""
        raise NotImplementedError  # pragma: no cover - the engine has it

    def sync(
        self, target: Target, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
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
            if call.timeout is None:
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
        inner = steps(wrapped, args, kwargs)
        step: Callable[..., Any] = inner.__next__
        argument: tuple[Any, ...] = ()
        while True:
            try:
                item = in_context(call.context, step, *argument)
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
                try:
                    in_context(call.context, inner.close)
                finally:
                    call.closed()
                raise
            except BaseException as error:
                step, argument = inner.throw, (error,)
            else:
                step, argument = (inner.__next__, ()) if sent is None else (inner.send, (sent,))

    async def async_generator(
        self, target: Target, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> AsyncGenerator[Any, Any]:
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
        inner = items_of(call.context, wrapped, args, kwargs)
        step: Callable[..., Any] = inner.__anext__
        try:
            while True:
                try:
                    item = await await_in_context(call.context, step)
                except StopAsyncIteration:
                    call.returned(None)
                    return
                except BaseException as error:
                    replacement = call.failed(error)
                    if replacement is RAISE:
                        raise
                    yield await _settled(replacement)
                    return
                call.item(item)
                try:
                    sent = yield item
                except BaseException as error:  # its end (`GeneratorExit`), too
                    step = partial(throw_into, inner, error)
                else:
                    step = next_step(inner, sent)
        finally:
            try:
                await await_in_context(call.context, inner.aclose)
            finally:
                call.closed()


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
        if not isinstance(view, Later):
            return _observe(call, view, value)
        later = _later(call, view)
        when_dropped(later, call.closed)  # never awaited, it runs no code of its own
        return later
    except Exception:
        internal_error("reading a returned value")
        call.returned(None)
        return value


def _observe(call: Call[Any], view: View, value: Any) -> Any:
    if isinstance(view, Whole):
        instead = call.returned(view.payload)
        return value if instead is RAISE else instead
    if isinstance(view, Running):
        view.on_done(partial(_done, call, view))
    elif isinstance(view, Iterated):
        return watch(cast("LLMCall", call), view)  # only LLM clients give streams
    elif isinstance(view, (InPlace, Held)):
        watch(cast("LLMCall", call), view)
    return value


def _done(call: Call[Any], view: Running, error: BaseException | None) -> None:
    if error is None:
        call.returned(view.payload)
    else:
        call.failed(error)


async def _later(call: Call[Any], view: Later) -> Any:
    """A sync callable returned an awaitable: its value is what the call is about."""
    try:
        value = await await_in_context(call.context, view.read)
    except BaseException as error:
        replacement = call.failed(error)
        if replacement is RAISE:
            raise
        return await _settled(replacement)
    instead = call.returned(value)
    return value if instead is RAISE else await _settled(instead)


async def _finish_async(call: Call[Any], value: Any) -> Any:
    try:
        view = call.view(value)
        while isinstance(view, Later):
            view = call.view(await view.read())
        observed = _observe(call, view, value)
    except Exception:
        internal_error("reading a returned value")
        call.returned(None)
        return value
    except BaseException as error:  # cancelled while a raw response was being read
        call.failed(error)
        raise
    return value if observed is value else await _settled(observed)


async def _settled(value: Any) -> Any:
    """The value of an async fallback."""
    return await value if inspect.isawaitable(value) else value


# --- deadlines ------------------------------------------------------------------------------------------------------
class _Expired(BaseException):
    """The deadline that policy gave an async call is over. Never seen outside this module."""


async def _within(limit: float | None, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Await *function* for at most *limit* seconds, in the same task, so that its own cancel scopes still work."""
    if limit is None or not _in_task():
        return await function(*args, **kwargs)
    try:
        async with asyncio.timeout(limit) as deadline:
            return await function(*args, **kwargs)
    except Exception as error:
        if deadline.expired():  # also where the tool turned our cancellation into an error of its own
            raise _Expired from error
        raise


def _in_task() -> bool:
    """False on an event loop that is not asyncio's, where its timeouts do not work."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False
