"""Plain callables: `@tool` and registries of functions.

The decorators are `functools.wraps` functions, not proxies: frameworks copy, pickle and inspect what they are given.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, MutableMapping
from typing import Any, Final, TypeVar, cast, overload

from otel_tools.engine import Engine, active
from otel_tools.errors import ConfigError
from otel_tools.model import Invocation, Later, Running, Shape, Target, ToolRequest, ToolResponse, View, Whole
from otel_tools.policy import Circuit, Criticality, Policy
from otel_tools.policy.options import Key

F = TypeVar("F", bound=Callable[..., Any])

_MARK: Final = "__otel_tools__"
_UNSET: Final[Any] = object()


# --- tools ----------------------------------------------------------------------------------------------------------
@overload
def tool(function: F, /) -> F: ...
@overload
def tool(
    name: str | None = None,
    /,
    *,
    timeout: float | None = ...,
    item_timeout: float | None = ...,
    circuit: Circuit | None = ...,
    criticality: Criticality | str = ...,
    fallback: Callable[..., Any] | None = ...,
    max_in_flight: int | None = ...,
    key: Key | None = ...,
    is_failure: Callable[[Any], bool] | None = ...,
) -> Callable[[F], F]: ...
def tool(
    name: Any = None,
    /,
    *,
    timeout: float | None = _UNSET,
    item_timeout: float | None = _UNSET,
    circuit: Circuit | None = _UNSET,
    criticality: Criticality | str = _UNSET,
    fallback: Callable[..., Any] | None = _UNSET,
    max_in_flight: int | None = _UNSET,
    key: Key | None = _UNSET,
    is_failure: Callable[[Any], bool] | None = _UNSET,
) -> Any:
    """Make a function a tool: each call is one span, with metrics and a log record, and policy applies to it.

    Works on sync and async functions and generators, bare (`@tool`) or with arguments. What is given here goes before
    the configuration's `tools:` entry of the same name, and is enforced even where the process only observes.

    Args:
        name: The tool's name as the model knows it, by default the function's.
        timeout: Deadline in seconds, of a generator for all items. A sync function with one runs in a worker thread.
        item_timeout: Seconds that a generator may take for its next item. Time between items, its caller's, is free.
        circuit: Settings of its circuit breaker, `None` for none.
        criticality: `optional`: a failure becomes a note for the model instead of an exception.
        fallback: Called with the same arguments when an optional tool failed; gives the value instead of the note.
        max_in_flight: Calls that may run at once; further ones are refused with `BulkheadFull`.
        key: What tells apart the dependencies (tenants, servers) that it talks to, each with a circuit of its own: the
            name of an argument, or a function of the arguments. People see keys in views: no secrets.
        is_failure: Given the returned value, whether it is an error returned as data.

    Raises:
        ConfigError: A value is not in its range.
        CallTimeout, CallRefused: From the decorated function, when policy says so and the tool is critical.
    """
    if callable(name):
        return instrument_function(name)
    options: dict[str, Any] = {
        "timeout": timeout,
        "item_timeout": item_timeout,
        "circuit": circuit,
        "criticality": criticality,
        "fallback": fallback,
        "max_in_flight": max_in_flight,
        "key": key,
        "is_failure": is_failure,
    }
    given = {key: value for key, value in options.items() if value is not _UNSET}
    if "criticality" in given:
        given["criticality"] = _criticality(given["criticality"])
    Policy(**given)  # complain where the mistake is made
    return functools.partial(instrument_function, name=name, given=given)


def _criticality(value: Criticality | str) -> Criticality:
    allowed = [item.value for item in Criticality]
    if value not in allowed:
        raise ConfigError(f"criticality must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return Criticality(value)


def instrument_registry(registry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Make every function in a registry (name -> callable, such as a `TOOL_REGISTRY`) a tool, in place.

    Args:
        registry: The mapping; its keys are the tools' names. Values that are not plain callables (classes, tool
            objects of a framework) stay as they are: the framework's own adapter sees those.

    Returns:
        The same mapping.
    """
    for name, value in list(registry.items()):
        if is_plain(value):
            registry[name] = instrument_function(value, name=str(name))
    return registry


def is_plain(value: Any) -> bool:
    """Whether a value is a callable that nobody else instruments."""
    if not callable(value) or isinstance(value, type) or hasattr(value, _MARK):
        return False
    if isinstance(value, functools.partial):
        return not hasattr(_without_partials(value), _MARK)
    return inspect.isroutine(value) or not hasattr(value, "name")


def _without_partials(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def instrument_function(function: F, *, name: str | None = None, given: dict[str, Any] | None = None) -> F:
    """The function as a tool, with policy *given* in code (fields of `Policy`)."""
    if hasattr(function, _MARK):
        return function
    name = name or str(getattr(function, "__name__", type(function).__name__))
    target = _tool_target(function, name)
    if not given:
        return cast("F", driven(function, target, active))
    told: Engine | None = None

    def engine() -> Engine | None:
        nonlocal told
        running = active()
        if running is not told and running is not None:
            running.give_policy(name, given)
        told = running
        return running

    return cast("F", driven(function, target, engine))


def _tool_target(function: Callable[..., Any], name: str) -> Target:
    parameters = parameters_of(function)
    documented = None if isinstance(function, functools.partial) else inspect.getdoc(function)  # `partial` has its own
    description = (documented or "").partition("\n\n")[0].replace("\n", " ") or None

    def request(call: Invocation) -> ToolRequest:
        arguments = dict(zip(parameters, call.args, strict=False))
        arguments.update(call.kwargs)
        arguments.pop("self", None)
        return ToolRequest(name, "function", description=description, arguments=arguments)

    return Target(
        module=str(getattr(function, "__module__", "")),
        path=name,
        shape=shape_of(function),
        request=request,
        view=view_awaitable,
        response=_response,
        fallback=_given_as_is,
    )


def parameters_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the parameters of *function*."""
    try:
        return tuple(inspect.signature(function).parameters)
    except (ValueError, TypeError):  # some built-ins have none
        return ()


def shape_of(function: Callable[..., Any]) -> Shape:
    """What calling *function* gives; of a partial, the function in it, and of an object, its `__call__`."""
    inner = _without_partials(function)
    candidates = (inner, getattr(inner, "__call__", None))  # noqa: B004  the method itself is looked at
    for test, shape in (
        (inspect.isasyncgenfunction, Shape.ASYNC_GENERATOR),
        (inspect.isgeneratorfunction, Shape.GENERATOR),
        (inspect.iscoroutinefunction, Shape.ASYNC),
    ):
        if any(test(candidate) for candidate in candidates):
            return shape
    return Shape.SYNC


def view_awaitable(value: Any) -> View:
    """A plain function may hand out a coroutine, task or future: then the call is over when that is.

    Of these only a coroutine can be replaced without the caller's notice. Other awaitables (lazy queries) are values.
    """
    if isinstance(value, asyncio.Future):
        return Running(value, functools.partial(_when_done, value), payload=value)
    if isinstance(value, Coroutine):

        async def read() -> Any:
            return await value

        return Later(read)
    return Whole(value)


def _when_done(future: asyncio.Future[Any], end: Callable[[BaseException | None], None]) -> None:
    def done(_: Any) -> None:
        # `exception()` would count as somebody having seen it, and asyncio then says nothing of an unseen one
        end(asyncio.CancelledError() if future.cancelled() else getattr(future, "_exception", None))

    future.add_done_callback(done)


def _response(value: Any) -> ToolResponse:
    return ToolResponse(result=value.result() if isinstance(value, asyncio.Future) else value)


def _given_as_is(_call: Invocation, _request: ToolRequest, value: Any, *, error: bool = False) -> Any:  # noqa: ARG001
    return value


# --- driving a plain callable ---------------------------------------------------------------------------------------
def driven(function: Any, target: Target, engine: Callable[[], Engine | None], mark: str = _MARK) -> Any:
    """*function* run by the engine's driver for its shape; by itself while there is no engine. It is marked as such."""
    call = _WRAPPERS[target.shape](function, target, engine)
    wrapped = functools.wraps(function)(call)
    setattr(wrapped, mark, target.path)  # the name that it is known by
    return wrapped


def _sync(function: Any, target: Target, engine: Callable[[], Engine | None]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        running = engine()
        if running is None:
            return function(*args, **kwargs)
        return running.sync(target, function, None, args, kwargs)

    return call


def _async(function: Any, target: Target, engine: Callable[[], Engine | None]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        running = engine()
        if running is None:
            return await function(*args, **kwargs)
        return await running.async_(target, function, None, args, kwargs)

    return call


def _generator(function: Any, target: Target, engine: Callable[[], Engine | None]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        running = engine()
        if running is None:
            return (yield from function(*args, **kwargs))
        return (yield from running.generator(target, function, None, args, kwargs))

    return call


def _async_generator(function: Any, target: Target, engine: Callable[[], Engine | None]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        running = engine()
        if running is None:
            items = function(*args, **kwargs)
        else:
            items = running.async_generator(target, function, None, args, kwargs)
        step = items.__anext__
        async with contextlib.aclosing(items):
            while True:  # what `yield from` does for a sync generator
                try:
                    item = await step()
                except StopAsyncIteration:
                    return
                try:
                    step = functools.partial(items.asend, (yield item))
                except GeneratorExit:
                    raise
                except BaseException as error:
                    step = functools.partial(items.athrow, error)

    return call


_WRAPPERS: Final = {
    Shape.SYNC: _sync,
    Shape.ASYNC: _async,
    Shape.GENERATOR: _generator,
    Shape.ASYNC_GENERATOR: _async_generator,
}
