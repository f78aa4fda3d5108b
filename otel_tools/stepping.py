"""The steps of a call: each runs in the call's context, and a generator is driven as `yield from` would do it."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import suppress
from contextvars import Token
from functools import partial
from typing import Any, cast

from opentelemetry.context import Context

from otel_tools.telemetry import attach, detach


def in_context(context: Context, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call *function* with *context* as the current one."""
    token = attach(context)
    try:
        return function(*args, **kwargs)
    finally:
        detach(token)


async def await_in_context(context: Context, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Await what *function* gives with *context* as the current one."""
    token = attach(context)
    try:
        return await function(*args, **kwargs)
    finally:
        restore(token)


def restore(token: Token[Context]) -> None:
    """Take back an `attach` around an `await`: a coroutine that is closed or collected may be so in another context."""
    if isinstance(sys.exception(), GeneratorExit):
        with suppress(ValueError):
            token.var.reset(token)
    else:
        detach(token)


def steps(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Generator[Any, Any, Any]:
    """The generator that *function* gives; wrong arguments fail at its first step, not before."""
    return (yield from function(*args, **kwargs))


def items_of(
    context: Context, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> AsyncGenerator[Any, Any]:
    """The async generator that *function* gives, likewise."""
    try:
        return cast("AsyncGenerator[Any, Any]", in_context(context, function, *args, **kwargs))
    except Exception as error:
        return _failing(error)


async def _failing(error: Exception) -> AsyncGenerator[Any, Any]:
    yield _raise(error)


def _raise(error: Exception) -> Any:
    raise error


def next_step(steps: Generator[Any, Any, Any], sent: Any) -> Callable[..., Any]:
    """How to go on after the caller has sent *sent* (`None`: only asked for the next item)."""
    return steps.__next__ if sent is None else partial(steps.send, sent)


def next_item(items: AsyncGenerator[Any, Any], sent: Any) -> Callable[..., Any]:
    """The same of an async generator."""
    return items.__anext__ if sent is None else partial(items.asend, sent)


async def throw_into(items: AsyncGenerator[Any, Any], error: BaseException) -> Any:
    """Go on with *error* thrown at the `yield`; its end (`GeneratorExit`) comes back however the generator takes it."""
    if isinstance(error, GeneratorExit):
        await items.aclose()
        raise error
    return await items.athrow(error)
