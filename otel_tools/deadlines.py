"""Deadlines for every shape of call.

* A sync call runs in a worker thread, which is left behind when time is up (`workers` says what that means).
* An awaited call runs in its own task, under `asyncio.timeout`. It cannot be left behind: one that swallows its
  cancellation keeps its caller waiting.
* A generator or stream has each of its steps bounded so, never a `yield`: the reader's own work is not cut short, and
  closing it is not either. The steps that run in workers share one copy of the context that the first one was made in:
  context variables that a generator sets are there in its next step, and the reader does not see them.

Without a deadline nothing of this module is in the way.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final

from otel_tools import workers
from otel_tools.calls import RAISE, Call
from otel_tools.model import Held, InPlace, Invocation, Iterated
from otel_tools.policy.deadline import Deadline
from otel_tools.stepping import await_in_context, in_context

_HTTP_1: Final = (b"HTTP/1.0", b"HTTP/1.1")


class Expired(BaseException):
    """The deadline of a call is over. Never seen outside drivers and streams, nor by what they call.

    Args:
        still_running: The work goes on in a worker thread.
        cause: What the work made of its cancellation.
    """

    def __init__(self, *, still_running: bool = False, cause: BaseException | None = None) -> None:
        self.still_running = still_running
        self.cause = cause


def expire(call: Call[Any], expired: Expired) -> Any:
    """End *call* at its deadline; gives the value to return instead.

    Raises:
        CallTimeout: There is none.
    """
    value = call.timed_out(still_running=expired.still_running)
    if value is RAISE:
        raise call.timeout_error() from expired.cause
    return value


# --- whole calls ----------------------------------------------------------------------------------------------------
def run(call: Call[Any], function: Callable[[], Any]) -> Any:
    """Call *function*, in a worker thread, for at most what is left of the time of *call*.

    Raises:
        Expired: Time is up.
    """
    if call.deadline is None:
        return _in_worker(call, function, call.timeout)
    with call.deadline:
        return _in_worker(call, function, call.deadline.left())


def _in_worker(call: Call[Any], function: Callable[[], Any], limit: float | None) -> Any:
    if limit is None:
        return function()
    work = _Work(call, function)
    try:
        return workers.call(work, limit, work.came_back)
    except workers.Expired:
        raise Expired(still_running=True) from None


class _Work:
    """Work that may be left behind: then nobody uses what it returns."""

    __slots__ = ("_call", "_function", "_value")

    def __init__(self, call: Call[Any], function: Callable[[], Any]) -> None:
        self._call = call
        self._function = function

    def __call__(self) -> Any:
        self._value = value = self._function()
        return value

    def came_back(self, error: BaseException | None, seconds: float) -> None:
        try:
            if error is None:
                _discard(self._call, self._value)
        finally:
            self._call.came_back(error, seconds)


def _discard(call: Call[Any], value: Any) -> None:
    """Close what came too late: an open stream holds a connection, and a coroutine complains when nobody awaits it."""
    if isinstance(value, Coroutine):
        value.close()
        return
    view = call.view(value)
    if isinstance(view, (InPlace, Held)):
        stream = view.stream if isinstance(view, InPlace) else view.holder
        value = stream if view.transport is None else view.transport
    elif not isinstance(view, Iterated):
        return
    with suppress(Exception):  # the library's own, and nobody is there to be told
        value.close()


async def run_async(call: Call[Any], invocation: Invocation) -> Any:
    """Make the call that *invocation* is, likewise, in the caller's task."""
    on_loop = call.on_loop(invocation)
    if on_loop is not None:
        return await _run_on_loop(call, on_loop.function, on_loop.replaced)
    if call.deadline is None:
        return await within(call.timeout, invocation.wrapped, *invocation.args, **invocation.kwargs)
    with call.deadline:
        return await within(call.deadline.left(), invocation.wrapped, *invocation.args, **invocation.kwargs)


async def _run_on_loop(
    call: Call[Any], function: Callable[..., Any], replaced: Callable[[Callable[..., Any]], Invocation]
) -> Any:
    """Make a call in which the framework calls *function* on the event loop: no timer can go off meanwhile."""
    expired = False

    def bounded(*args: Any, **kwargs: Any) -> Any:
        nonlocal expired
        try:
            return run(call, partial(function, *args, **kwargs))
        except Expired:
            expired = True
        raise call.timeout_error()  # which the framework may turn into something else

    wrapped, _, args, kwargs = replaced(bounded)
    try:
        value = await wrapped(*args, **kwargs)
    except Exception:
        if not expired:
            raise
    if expired:
        raise Expired(still_running=True)
    return value


async def within(limit: float | None, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Await *function* for at most *limit* seconds, in the same task, so that its own cancel scopes still work.

    Raises:
        Expired: Time is up, also where *function* turned our cancellation into an error of its own.
    """
    if limit is None or not _in_task():
        return await function(*args, **kwargs)
    try:
        async with asyncio.timeout(limit) as deadline:
            return await function(*args, **kwargs)
    except StopAsyncIteration:  # an end, if a late one
        raise
    except Exception as error:
        if deadline.expired():
            ours = isinstance(error, TimeoutError) and isinstance(error.__cause__, asyncio.CancelledError)
            raise Expired(cause=None if ours else error) from error
        raise


def _in_task() -> bool:
    """False on an event loop that is not asyncio's, where its timeouts do not work."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


# --- calls in steps -------------------------------------------------------------------------------------------------
def steps_of(call: Call[Any], close: Callable[[], Any]) -> tuple[Callable[..., Any], Callable[[], Any]]:
    """How to make the steps of a generator or iterator within the deadline of *call*, and how to close it in the end.

    Args:
        call: The steps are made in its context.
        close: Closes the generator or iterator. It is never called while a step is being made.

    Returns:
        A function that makes a step, and is given it with its arguments. It raises `Expired` when time is up.
        A function that closes: now, or when the step that was left behind is done.
    """
    deadline = call.deadline
    if deadline is not None and deadline.enforced:
        steps = _Steps(call, close, deadline)
        return steps.step, steps.close
    step = partial(in_context, call.context)
    return step if deadline is None else partial(_measured, deadline, step), partial(step, close)


def _measured(deadline: Deadline, step: Callable[..., Any], /, *args: Any) -> Any:
    with deadline:
        item = step(*args)
    deadline.arrived()
    return item


class _Steps:
    """The steps of one generator or iterator, made in worker threads."""

    def __init__(self, call: Call[Any], close: Callable[[], Any], deadline: Deadline) -> None:
        self._came_back = call.came_back
        self._close = close
        self._deadline = deadline
        self._context = in_context(call.context, contextvars.copy_context)
        self._turn = [True]  # whoever takes this out may make a step, or close
        self._left = False

    def step(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Make a step, for at most what is left of the time."""
        with self._deadline:
            limit = self._deadline.left()
            if not limit:
                raise Expired
            self._turn.clear()
            work = partial(self._make, function, *args)
            try:
                item = workers.call(work, limit, self._came_back)
            except workers.Expired:
                raise Expired(still_running=True) from None
        self._deadline.arrived()
        return item

    def _make(self, function: Callable[..., Any], /, *args: Any) -> Any:
        try:
            return self._context.run(function, *args)
        finally:
            self._turn.append(True)
            if self._left:
                self.close()

    def close(self) -> None:
        """Close: now, or when the step that is being made is done."""
        self._left = True
        try:
            self._turn.pop()  # atomic: of two threads that want to close, one does
        except IndexError:
            return
        self._context.run(self._close)


async def step_async(call: Call[Any], function: Callable[..., Any], /, *args: Any) -> Any:
    """Make a step of an async generator or iterator in the context of *call*, within its deadline.

    Raises:
        Expired: Time is up.
    """
    deadline = call.deadline
    if deadline is None:
        return await await_in_context(call.context, function, *args)
    with deadline:
        item = await within(deadline.left(), await_in_context, call.context, function, *args)
    deadline.arrived()
    return item


# --- connections ----------------------------------------------------------------------------------------------------
def hang_up(response: Any) -> None:
    """Shut down the connection of an HTTP response, so that a thread that waits for the rest of it does so no longer.

    Closing would not do: a thread that is in `recv` stays there. Responses of httpx tell their socket; those of
    others, and those that share their connection (HTTP/2), are left alone.
    """
    with suppress(Exception):
        extensions = response.extensions
        if extensions.get("http_version") in _HTTP_1:
            connection = extensions["network_stream"].get_extra_info("socket")
            socket.socket.shutdown(connection, socket.SHUT_RDWR)  # that of TLS sockets is not for a second thread
