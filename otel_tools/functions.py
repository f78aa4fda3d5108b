"""Plain callables: `@tool`, registries of functions, and `session` for the function or block that is an agent run.

The decorators are `functools.wraps` functions, not proxies: frameworks copy, pickle and inspect what they are given.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from types import TracebackType
from typing import Any, Final, TypeVar, cast, overload

from opentelemetry import context as otel_context

from otel_tools.calls import AgentCall
from otel_tools.engine import Engine, active
from otel_tools.errors import ConfigError, internal_error
from otel_tools.model import AgentRequest, Invocation, Later, Shape, Target, ToolRequest, ToolResponse, View, Whole
from otel_tools.policy import Circuit, Criticality, Limits, Policy
from otel_tools.sessions import Session, current_session
from otel_tools.telemetry import attach, detach

F = TypeVar("F", bound=Callable[..., Any])

_MARK: Final = "__otel_tools__"
_UNSET: Final[Any] = object()
_CONVERSATION = ("conversation_id", "session_id", "thread_id")


# --- tools ----------------------------------------------------------------------------------------------------------
@overload
def tool(function: F, /) -> F: ...
@overload
def tool(
    name: str | None = None,
    /,
    *,
    timeout: float | None = ...,
    circuit: Circuit | None = ...,
    criticality: Criticality | str = ...,
    fallback: Callable[..., Any] | None = ...,
    max_in_flight: int | None = ...,
    is_failure: Callable[[Any], bool] | None = ...,
) -> Callable[[F], F]: ...
def tool(
    name: Any = None,
    /,
    *,
    timeout: float | None = _UNSET,
    circuit: Circuit | None = _UNSET,
    criticality: Criticality | str = _UNSET,
    fallback: Callable[..., Any] | None = _UNSET,
    max_in_flight: int | None = _UNSET,
    is_failure: Callable[[Any], bool] | None = _UNSET,
) -> Any:
    """Make a function a tool: each call is one span, with metrics and a log record, and policy applies to it.

    Works on sync and async functions and generators, bare (`@tool`) or with arguments. What is given here goes before
    the configuration's `tools:` entry of the same name, and is enforced even where the process only observes.

    Args:
        name: The tool's name as the model knows it, by default the function's.
        timeout: Deadline in seconds. A sync function with one runs in a worker thread.
        circuit: Settings of its circuit breaker, `None` for none.
        criticality: `optional`: a failure becomes a note for the model instead of an exception.
        fallback: Called with the same arguments when an optional tool failed; gives the value instead of the note.
        max_in_flight: Calls that may run at once; further ones are refused with `BulkheadFull`.
        is_failure: Given the returned value, whether it is an error returned as data.

    Raises:
        ConfigError: A value is not in its range.
        CallTimeout, CallRefused: From the decorated function, when policy says so and the tool is critical.
    """
    if callable(name):
        return instrument_function(name)
    options = {
        "timeout": timeout,
        "circuit": circuit,
        "criticality": criticality,
        "fallback": fallback,
        "max_in_flight": max_in_flight,
        "is_failure": is_failure,
    }
    given = {key: value for key, value in options.items() if value is not _UNSET}
    if "criticality" in given:
        given["criticality"] = _criticality(given["criticality"])
    Policy(**given)  # complain where the mistake is made
    return functools.partial(instrument_function, name=name, given=given)


def _criticality(value: Criticality | str) -> Criticality:
    try:
        return Criticality(value)
    except ValueError:
        allowed = ", ".join(repr(item.value) for item in Criticality)
        raise ConfigError(f"criticality must be one of {allowed}, not {value!r}") from None


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
    return inspect.isroutine(value) or isinstance(value, functools.partial) or not hasattr(value, "name")


def instrument_function(function: F, *, name: str | None = None, given: dict[str, Any] | None = None) -> F:
    """The function as a tool, with policy *given* in code (fields of `Policy`)."""
    if hasattr(function, _MARK):
        return function
    name = name or str(getattr(function, "__name__", type(function).__name__))
    target = _tool_target(function, name)
    if not given:
        return cast("F", _driven(function, target, active))
    told: Engine | None = None

    def engine() -> Engine | None:
        nonlocal told
        running = active()
        if running is not told and running is not None:
            running.give_policy(name, given)
        told = running
        return running

    return cast("F", _driven(function, target, engine))


def _tool_target(function: Callable[..., Any], name: str) -> Target:
    parameters = _parameters(function)
    description = (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ") or None
    if isinstance(function, functools.partial):
        description = None  # the docstring of `partial` itself

    def request(call: Invocation) -> ToolRequest:
        arguments = dict(zip(parameters, call.args, strict=False))
        arguments.update(call.kwargs)
        arguments.pop("self", None)
        return ToolRequest(name, "function", description=description, arguments=arguments)

    return Target(
        module=str(getattr(function, "__module__", "")),
        path=name,
        shape=_shape(function),
        request=request,
        view=_view,
        response=_response,
        fallback=_given_as_is,
    )


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(function).parameters)
    except (ValueError, TypeError):  # some built-ins have none
        return ()


def _shape(function: Callable[..., Any]) -> Shape:
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    candidates = (inner, getattr(inner, "__call__", None))  # noqa: B004  the method itself is looked at
    for test, shape in (
        (inspect.isasyncgenfunction, Shape.ASYNC_GENERATOR),
        (inspect.isgeneratorfunction, Shape.GENERATOR),
        (inspect.iscoroutinefunction, Shape.ASYNC),
    ):
        if any(test(candidate) for candidate in candidates):
            return shape
    return Shape.SYNC


def _view(value: Any) -> View:
    if hasattr(type(value), "__await__"):

        async def read() -> Any:
            return await value

        return Later(read)
    return Whole(value)


def _response(value: Any) -> ToolResponse:
    return ToolResponse(result=value)


def _given_as_is(_call: Invocation, _request: ToolRequest, value: Any, *, error: bool = False) -> Any:  # noqa: ARG001
    return value


# --- driving a plain callable ---------------------------------------------------------------------------------------
def _driven(function: Any, target: Target, engine: Callable[[], Engine | None]) -> Any:
    """*function* run by the engine's driver for its shape; by itself while there is no engine."""
    match target.shape:
        case Shape.SYNC:

            def call(*args: Any, **kwargs: Any) -> Any:
                running = engine()
                if running is None:
                    return function(*args, **kwargs)
                return running.sync(target, function, None, args, kwargs)

        case Shape.ASYNC:

            async def call(*args: Any, **kwargs: Any) -> Any:
                running = engine()
                if running is None:
                    return await function(*args, **kwargs)
                return await running.async_(target, function, None, args, kwargs)

        case Shape.GENERATOR:

            def call(*args: Any, **kwargs: Any) -> Iterator[Any]:
                running = engine()
                if running is None:
                    return (yield from function(*args, **kwargs))
                return (yield from running.generator(target, function, None, args, kwargs))

        case _:

            async def call(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
                running = engine()
                items = function(*args, **kwargs)
                if running is not None:
                    items = running.async_generator(target, function, None, args, kwargs)
                async with contextlib.aclosing(items):
                    async for item in items:
                        yield item

    wrapped = functools.wraps(function)(call)
    setattr(wrapped, _MARK, True)
    return wrapped


# --- sessions -------------------------------------------------------------------------------------------------------
class session:  # noqa: N801  used like a function: `with session(...)`, `@session`
    """An agent run: `with session("support") as run:`, `async with`, or a decorator, bare or with arguments.

    Everything inside, in threads and tasks started there, too, belongs to it: one trace, one account. The block gets
    the `Session`, whose `totals` (tokens, USD, LLM calls, tool calls and errors) are kept up to date. A session inside
    another one is a part of it.

    Args:
        name: The agent's name, by default the decorated function's.
        conversation_id: Ties several sessions together. A decorated function's argument `conversation_id`,
            `session_id` or `thread_id` is taken if none is given here.
        user_id: For whom the session runs (likewise the argument `user_id`). Never on metrics.
        limits: What the session may use; a call beyond is refused with `BudgetExceeded` before it is made.
    """

    def __new__(cls, name: Any = None, /, **options: Any) -> Any:
        """Decorate at once when used bare: `@session`."""
        if callable(name):
            return cls(**options)(name)
        return super().__new__(cls)

    def __init__(
        self,
        name: str | None = None,
        /,
        *,
        conversation_id: str | None = None,
        user_id: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._name = name
        self._conversation_id = conversation_id
        self._user_id = user_id
        self._limits = limits
        self._runs: list[tuple[AgentCall | None, Any, Any]] = []

    def __call__(self, function: F) -> F:
        """Decorate: each call of *function* is one session."""
        parameters = _parameters(function)
        name = self._name or str(getattr(function, "__name__", "session"))

        def request(call: Invocation) -> AgentRequest:
            arguments = {**dict(zip(parameters, call.args, strict=False)), **call.kwargs}
            conversation = next((arguments[key] for key in _CONVERSATION if arguments.get(key)), None)
            return self._request(name, conversation, arguments.get("user_id"))

        if hasattr(function, _MARK):
            return function
        target = Target(module=function.__module__, path=name, shape=_shape(function), request=request, view=_view)
        return cast("F", _driven(function, target, active))

    def _request(self, name: str | None, conversation: Any = None, user: Any = None) -> AgentRequest:
        return AgentRequest(
            name,
            "function",
            conversation_id=self._conversation_id or (str(conversation) if conversation else None),
            user_id=self._user_id or (str(user) if user else None),
            limits=self._limits,
        )

    def __enter__(self) -> Session:
        call = self._open()
        if call is None:
            self._runs.append((None, None, None))
            return Session(self._name, parent=current_session())
        token = attach(call.context)
        self._runs.append((call, token, otel_context.get_current()))
        return call.session

    def _open(self) -> AgentCall | None:
        engine = active()
        if engine is None:
            return None
        try:
            call = AgentCall(engine, _BLOCK, Invocation(_nothing, None, (), {}), self._request(self._name))
            call.open()
        except Exception:
            internal_error("opening a session")
            return None
        return call

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        call, token, context = self._runs.pop()
        if call is None:
            return
        if otel_context.get_current() is context:  # else the block was left in another task: nothing to restore there
            detach(token)
        if error is None:
            call.returned(None)
        else:
            call.failed(error)

    async def __aenter__(self) -> Session:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)


def _nothing() -> None:
    """What a block runs is not a callable of ours."""


_BLOCK = Target(module=__name__, path="session", shape=Shape.SYNC, request=lambda _: None)
