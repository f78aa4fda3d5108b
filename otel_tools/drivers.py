"""The only module where sync and async differ: one driver for each shape of callable.

A driver opens a `Call`, runs the library's own method inside the call's context and under its deadline, and tells the
call what came of it; everything else is decided by the call.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from functools import partial
from typing import Any, cast

from otel_tools.calls import RAISE, Call, LLMCall
from otel_tools.deadlines import Expired, expire, run, run_async, step_async, steps_of
from otel_tools.drops import when_dropped
from otel_tools.errors import internal_error
from otel_tools.model import Held, InPlace, Invocation, Iterated, Later, Running, Target, View, Whole
from otel_tools.stepping import await_in_context, items_of, next_item, next_step, restore, steps, throw_into
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
        expired = None
        try:
            value = self._run(call)
        except Expired as error:
            expired = error.with_traceback(None)
        except BaseException as error:
            replacement = call.failed(error)
            if replacement is RAISE:
                raise
            return replacement
        if expired is not None:
            return expire(call, expired)
        return _finish(call, value)

    def _run(self, call: Call[Any]) -> Any:
        wrapped, _, args, kwargs = call.prepared()
        token = attach(call.context)
        try:
            if call.timeout is None and call.deadline is None:
                return wrapped(*args, **kwargs)
            return run(call, partial(wrapped, *args, **kwargs))
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
        expired = None
        try:
            value = await self._await(call)
        except Expired as error:
            expired = error.with_traceback(None)
        except BaseException as error:
            replacement = call.failed(error)
            if replacement is RAISE:
                raise
            return await _settled(replacement)
        if expired is not None:
            return await _settled(expire(call, expired))
        return await _finish_async(call, value)

    @staticmethod
    async def _await(call: Call[Any]) -> Any:
        invocation = call.prepared()
        token = attach(call.context)
        try:
            if call.timeout is None and call.deadline is None:
                return await invocation.wrapped(*invocation.args, **invocation.kwargs)
            return await run_async(call, invocation)
        finally:
            restore(token)

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
        run_step, close = steps_of(call, inner.close)
        step: Callable[..., Any] = inner.__next__
        while True:
            try:
                item = run_step(step)
            except StopIteration as stop:
                call.returned(stop.value)
                return stop.value
            except Expired as error:
                expired = error.with_traceback(None)
                break
            except BaseException as error:
                replacement = call.failed(error)
                if replacement is RAISE:
                    raise
                return (yield replacement)
            call.item(item)
            try:
                step = next_step(inner, (yield item))
            except GeneratorExit:
                _leave(call, close)
                raise
            except BaseException as error:
                step = partial(inner.throw, error)
        return (yield _expire(call, expired, close))

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
                    item = await step_async(call, step)
                except StopAsyncIteration:
                    call.returned(None)
                    return
                except Expired as error:
                    expired = error.with_traceback(None)
                    break
                except BaseException as error:
                    replacement = call.failed(error)
                    if replacement is RAISE:
                        raise
                    yield await _settled(replacement)
                    return
                call.item(item)
                try:
                    step = next_item(inner, (yield item))
                except BaseException as error:  # its end (`GeneratorExit`), too
                    step = partial(throw_into, inner, error)
            yield await _settled(expire(call, expired))
        finally:
            await _leave_async(call, inner)


# --- the ends of a call ---------------------------------------------------------------------------------------------
def _refuse(call: Call[Any]) -> Any:
    error = call.refusal
    assert error is not None
    value = call.failed(error)
    call.refusal = None  # or the error's frames, the call and the error would keep one another, and the arguments
    try:
        if value is RAISE:
            raise error
    finally:
        del error
    return value


def _expire(call: Call[Any], expired: Expired, close: Callable[[], Any]) -> Any:
    try:
        close()
    finally:
        instead = expire(call, expired)
    return instead


def _leave(call: Call[Any], close: Callable[[], Any]) -> None:
    try:
        close()
    finally:
        call.closed()


async def _leave_async(call: Call[Any], inner: AsyncGenerator[Any, Any]) -> None:
    try:
        await await_in_context(call.context, inner.aclose)
    finally:
        call.closed()


def _finish(call: Call[Any], value: Any) -> Any:
    """Read what the library returned, now or when its time comes; gives what the caller gets."""
    try:
        view = call.view(value)
        if not isinstance(view, Later):
            return _observe(call, view, value)
        call.begin_waiting(opened=True, items=False)
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
        when_dropped(view.handle, call.closed)  # of work that is never done
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
    expired = None
    try:
        value = await step_async(call, view.read)
    except Expired as error:
        expired = error.with_traceback(None)
    except BaseException as error:
        replacement = call.failed(error)
        if replacement is RAISE:
            raise
        return await _settled(replacement)
    if expired is not None:
        return await _settled(expire(call, expired))
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
