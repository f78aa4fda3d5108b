"""Streams watched while they are read: each chunk is noted, and the call ends exactly once, whoever ends it.

A stream may be exhausted, closed, left early, fail, be dropped unread or be collected by the garbage collector. The
call's context is current only while a chunk is fetched, never across a `yield`: the reader's own work is not part of
the LLM call, and a generator may be finalised in another task.

With a deadline a stream that keeps its reader waiting for too long ends in `CallTimeout`, and its connection is closed.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from otel_tools.deadlines import Expired, expire, hang_up, run, step_async, steps_of, within
from otel_tools.drops import when_dropped
from otel_tools.errors import internal_error
from otel_tools.model import Held, InPlace, Iterated, Whole

if TYPE_CHECKING:
    from otel_tools.calls import LLMCall


def watch(call: LLMCall, view: InPlace | Iterated | Held, transport: Any = None) -> Any:
    """Begin to watch what the caller is about to get, which may come from a *transport*; returns what to give them."""
    call.begin_waiting(opened=True)
    call.opened = True
    if isinstance(view, Iterated):
        return _watched(call, view.iterator, view.asynchronous, transport=transport)
    if isinstance(view, InPlace):
        _watch_in_place(call, view)
        return view.stream
    _watch_held(call, view)
    return view.holder


def _watched(
    call: LLMCall, iterator: Any, asynchronous: bool, ended: Callable[[], None] | None = None, transport: Any = None
) -> Any:
    if asynchronous:
        generator: Any = _chunks_async(call, iterator, ended)
    else:
        generator = _chunks(call, iterator, ended, transport)
    # a generator that is dropped before its first step runs no code of its own
    when_dropped(generator, call.streamed)
    if ended is not None:
        when_dropped(generator, ended)
    return generator


def _chunks(call: LLMCall, iterator: Iterator[Any], ended: Callable[[], None] | None, transport: Any) -> Iterator[Any]:
    step, close = steps_of(call, functools.partial(_close, iterator))
    try:
        while True:
            call.reading = True
            try:
                chunk = step(next, iterator)
            except StopIteration:
                call.streamed(complete=True)
                return
            except Expired as error:
                expired = error.with_traceback(None)
                break
            except BaseException as error:
                call.streamed(error)
                raise
            call.reading = False
            call.chunk(chunk)
            yield chunk
        try:
            expire(call, expired)
        finally:
            hang_up(transport)
    finally:
        call.streamed()
        close()
        if ended is not None:
            ended()


async def _chunks_async(
    call: LLMCall, iterator: AsyncIterator[Any], ended: Callable[[], None] | None
) -> AsyncIterator[Any]:
    try:
        while True:
            call.reading = True
            try:
                chunk = await step_async(call, anext, iterator)
            except StopAsyncIteration:
                call.streamed(complete=True)
                return
            except Expired as error:
                expired = error.with_traceback(None)
                break
            except BaseException as error:
                call.streamed(error)
                raise
            call.reading = False
            call.chunk(chunk)
            yield chunk
        expire(call, expired)
    finally:
        call.streamed()
        aclose = getattr(iterator, "aclose", None)
        if aclose is not None:
            await aclose()
        if ended is not None:
            ended()


_OURS = (_chunks.__code__, _chunks_async.__code__)


def _close(iterator: Any) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


def _watch_in_place(call: LLMCall, view: InPlace) -> None:
    stream = view.stream
    iterator = getattr(stream, view.iterator)
    if getattr(iterator, "gi_code", getattr(iterator, "ag_code", None)) in _OURS:
        return  # a held response gives the same stream each time it is asked
    ended = _watch_close(call, stream, view)
    setattr(stream, view.iterator, _watched(call, iterator, view.asynchronous, ended, view.transport))
    when_dropped(stream, call.streamed)


def _watch_held(call: LLMCall, view: Held) -> None:
    holder = view.holder
    for name in view.read:
        _shadow_reader(call, holder, name, view.transport)
    when_dropped(holder, call.streamed)
    if (ended := _watch_close(call, holder, view)) is not None:
        when_dropped(holder, ended)


def _watch_close(call: LLMCall, owner: Any, view: InPlace | Held) -> Callable[[], None] | None:
    """See the stream closed; gives what undoes that, to be called when nobody can read it any more.

    Where there is a transport it is enough, and better: the caller's object must not become part of a reference cycle
    (dropping it closes the connection at once), and a weak reference to it is gone when a cycle that it is part of is
    collected, which is when generators inside that cycle close the transport.
    """
    if view.transport is None:
        for name in view.close:
            _shadow(weakref.ref(owner), owner, name, call.left)
        return None
    transport = view.transport
    for name in view.close:
        _shadow(lambda: transport, transport, name, call.left)
    return functools.partial(_unshadow, transport, view.close)


def _unshadow(owner: Any, names: tuple[str, ...]) -> None:
    for name in names:
        vars(owner).pop(name, None)


def _shadow(get: Callable[[], Any], owner: Any, name: str, after: Callable[[], None]) -> None:
    """Let the method *name* of *owner* call *after* when it is done; *get* gives the owner when it is called."""
    method = getattr(type(owner), name, None)
    if method is None:
        return

    if _is_coroutine_function(method):

        @functools.wraps(method)
        async def shadow(*args: Any, **kwargs: Any) -> Any:
            try:
                return await method(get(), *args, **kwargs)
            finally:
                after()
    else:

        @functools.wraps(method)
        def shadow(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(get(), *args, **kwargs)
            finally:
                after()

    setattr(owner, name, shadow)


def _shadow_reader(call: LLMCall, holder: Any, name: str, transport: Any) -> None:
    """See what the caller reads out of *holder*: a whole response ends the call, a stream goes on being watched."""
    method = getattr(type(holder), name, None)
    if method is None:
        return
    reference = weakref.ref(holder)

    if _is_coroutine_function(method):

        @functools.wraps(method)
        async def shadow(*args: Any, **kwargs: Any) -> Any:
            read = functools.partial(method, reference(), *args, **kwargs)
            return _seen(call, await _body_async(call, read, transport), transport)
    else:

        @functools.wraps(method)
        def shadow(*args: Any, **kwargs: Any) -> Any:
            read = functools.partial(method, reference(), *args, **kwargs)
            return _seen(call, _body(call, read, transport), transport)

    setattr(holder, name, shadow)


def _body(call: LLMCall, read: Callable[[], Any], transport: Any) -> Any:
    """Read a body that the caller holds; a reader that reads through another one is bounded as a whole."""
    nested = call.reading
    with _reading(call):
        if nested or call.deadline is None:
            return read()
        try:
            return run(call, read)
        except Expired as error:
            expired = error.with_traceback(None)
        try:
            return expire(call, expired)
        finally:
            hang_up(transport)


async def _body_async(call: LLMCall, read: Callable[[], Any], transport: Any) -> Any:
    nested, deadline = call.reading, call.deadline
    with _reading(call):
        if nested or deadline is None:
            return await read()
        try:
            with deadline:
                return await within(deadline.left(), read)
        except Expired as error:
            expired = error.with_traceback(None)
        try:
            return expire(call, expired)
        finally:
            with suppress(Exception):  # the library's own
                await transport.aclose()


@contextmanager
def _reading(call: LLMCall) -> Iterator[None]:
    """Reading a body to its end closes the transport, which is not the caller leaving. May be nested."""
    before, call.reading = call.reading, True
    try:
        yield
    finally:
        call.reading = before


def _seen(call: LLMCall, value: Any, transport: Any) -> Any:
    try:
        view = call.view(value)
        if isinstance(view, (InPlace, Iterated)):
            return watch(call, view, transport)
        call.returned(view.payload if isinstance(view, Whole) else None)
    except Exception:
        internal_error("reading a response that the caller holds")
    return value


def _is_coroutine_function(method: Any) -> bool:
    return bool(getattr(getattr(method, "__code__", None), "co_flags", 0) & 0x80)
