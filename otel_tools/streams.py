"""Streams watched while they are read: each chunk is noted, and the call ends exactly once, whoever ends it.

A stream may be exhausted, closed, left early, fail, be dropped unread or be collected by the garbage collector. The
call's context is current only while a chunk is fetched, never across a `yield`: the reader's own work is not part of
the LLM call, and a generator may be finalised in another task.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from otel_tools.errors import internal_error
from otel_tools.model import Held, InPlace, Iterated
from otel_tools.telemetry import attach, detach

if TYPE_CHECKING:
    from otel_tools.calls import LLMCall


def watch(call: LLMCall, view: InPlace | Iterated | Held) -> Any:
    """Begin to watch what the caller is about to get; returns what to give them."""
    if isinstance(view, Iterated):
        return _watched(call, view.iterator, asynchronous=view.asynchronous)
    if isinstance(view, InPlace):
        _watch_in_place(call, view)
        return view.stream
    _watch_held(call, view)
    return view.holder


def _watched(call: LLMCall, iterator: Any, *, asynchronous: bool) -> Any:
    generator = _chunks_async(call, iterator) if asynchronous else _chunks(call, iterator)
    # a generator that is dropped before its first step runs no code of its own
    weakref.finalize(generator, call.streamed)
    return generator


def _chunks(call: LLMCall, iterator: Iterator[Any]) -> Iterator[Any]:
    try:
        while True:
            token, call.reading = attach(call.context), True
            try:
                chunk = next(iterator)
            except StopIteration:
                call.streamed(complete=True)
                return
            except BaseException as error:
                call.streamed(error)
                raise
            finally:
                call.reading = False
                detach(token)
            call.chunk(chunk)
            yield chunk
    finally:
        call.streamed()
        _close(iterator)


async def _chunks_async(call: LLMCall, iterator: AsyncIterator[Any]) -> AsyncIterator[Any]:
    try:
        while True:
            token, call.reading = attach(call.context), True
            try:
                chunk = await anext(iterator)
            except StopAsyncIteration:
                call.streamed(complete=True)
                return
            except BaseException as error:
                call.streamed(error)
                raise
            finally:
                call.reading = False
                detach(token)
            call.chunk(chunk)
            yield chunk
    finally:
        call.streamed()
        aclose = getattr(iterator, "aclose", None)
        if aclose is not None:
            await aclose()


def _close(iterator: Any) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


def _watch_in_place(call: LLMCall, view: InPlace) -> None:
    stream = view.stream
    iterator = getattr(stream, view.iterator)
    setattr(stream, view.iterator, _watched(call, iterator, asynchronous=view.asynchronous))
    for name in view.close:
        _shadow(stream, name, call.left)
        if view.transport is not None:
            _shadow(view.transport, name, call.left)
    weakref.finalize(stream, call.streamed)


def _watch_held(call: LLMCall, view: Held) -> None:
    for name in view.read:
        _shadow_reader(call, view.holder, name)
    for name in view.close:
        _shadow(view.holder, name, call.left)
    weakref.finalize(view.holder, call.streamed)


def _shadow(owner: Any, name: str, after: Callable[[], None]) -> None:
    """Let the method *name* of *owner* call *after* when it is done. The owner is not kept alive by it."""
    method = getattr(type(owner), name, None)
    if method is None:
        return
    reference = weakref.ref(owner)

    if _is_coroutine_function(method):

        @functools.wraps(method)
        async def shadow(*args: Any, **kwargs: Any) -> Any:
            try:
                return await method(reference(), *args, **kwargs)
            finally:
                after()
    else:

        @functools.wraps(method)
        def shadow(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(reference(), *args, **kwargs)
            finally:
                after()

    setattr(owner, name, shadow)


def _shadow_reader(call: LLMCall, holder: Any, name: str) -> None:
    """See what the caller reads out of *holder*: a whole response ends the call, a stream goes on being watched."""
    method = getattr(type(holder), name, None)
    if method is None:
        return
    reference = weakref.ref(holder)

    if _is_coroutine_function(method):

        @functools.wraps(method)
        async def shadow(*args: Any, **kwargs: Any) -> Any:
            return _seen(call, await method(reference(), *args, **kwargs))
    else:

        @functools.wraps(method)
        def shadow(*args: Any, **kwargs: Any) -> Any:
            return _seen(call, method(reference(), *args, **kwargs))

    setattr(holder, name, shadow)


def _seen(call: LLMCall, value: Any) -> Any:
    try:
        view = call.view(value)
        if isinstance(view, (InPlace, Iterated)):
            return watch(call, view)
        call.returned(value)
    except Exception:
        internal_error("reading a response that the caller holds")
    return value


def _is_coroutine_function(method: Any) -> bool:
    return bool(getattr(getattr(method, "__code__", None), "co_flags", 0) & 0x80)
