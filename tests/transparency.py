"""A differential suite: what a program sees of a client library must be the same with and without otel-tools.

A `Scenario` uses one public entry point the way a program would and notes everything it gets. `run` gives what was
seen: values as plain data, the exception if one came out, and the HTTP requests that arrived. Two runs are compared
with `==`. `steps` lists the functions of otel-tools that take part in a call; inside `broken(step)` one of them raises.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType, FunctionType, ModuleType
from typing import Any

from tests.fake_server import FakeServer, Received

VOLATILE_HEADERS = {"date", "idempotency-key", "traceparent", "tracestate", "baggage", "x-client-request-id"}
VOLATILE_ATTRIBUTES = {"elapsed", "extensions", "num_bytes_downloaded", "stream"}
_DEPTH = 3


# --- one use of a client --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Scenario:
    """A use of a client.

    Args:
        name: Shown in the test's id.
        client: Gives the client for a base URL.
        replies: Queues the answers of the server.
        run: `run(client, note)`, a function or a coroutine function; `note(value)` for everything that it sees.
        requests: How many HTTP requests it makes.
        collect: Whether it leaves something to the garbage collector.
    """

    name: str
    client: Callable[[str], Any]
    replies: Callable[[FakeServer], Any]
    run: Callable[[Any, Callable[[Any], None]], Any]
    requests: int = 1
    collect: bool = True

    def __str__(self) -> str:
        return self.name


@dataclass
class Seen:
    """What a program saw of one scenario, and what the server saw of the program."""

    notes: list[Any] = field(default_factory=list)
    error: Any = None
    requests: list[Any] = field(default_factory=list)


def run(scenario: Scenario, server: FakeServer) -> Seen:
    """Run *scenario* with a new client against *server*, which is emptied first."""
    server.requests.clear()
    server._replies.clear()
    scenario.replies(server)
    seen = Seen()
    asyncio.run(_run(scenario, server.url, seen))
    if scenario.collect:
        gc.collect()
    seen.requests = [_request(request) for request in server.requests]
    assert len(seen.requests) == scenario.requests, scenario.name
    return seen


async def _run(scenario: Scenario, url: str, seen: Seen) -> None:
    client = scenario.client(url)
    try:
        await _settled(scenario.run(client, lambda value: seen.notes.append(snapshot(value))))
    except Exception as error:
        seen.error = snapshot(error)
    finally:
        await _settled(getattr(client, "aclose", client.close)())


async def _settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def _request(request: Received) -> dict[str, Any]:
    headers = {name.lower(): value for name, value in request.headers.items()}
    kept = {name: value for name, value in headers.items() if name not in VOLATILE_HEADERS}
    return {"method": request.method, "path": request.path, "headers": kept, "body": request.body}


# --- values as plain data -------------------------------------------------------------------------------------------
def snapshot(value: Any, depth: int = _DEPTH) -> Any:
    """*value* as plain data to compare: its type, what it holds, its public attributes and which of them are async."""
    match value:
        case str() | bytes() | int() | float() | None:
            return value
        case list() | tuple():
            return [type(value).__name__, *(snapshot(item, depth) for item in value)]
        case Mapping():
            items = {str(key): item for key, item in value.items() if str(key).lower() not in VOLATILE_HEADERS}
            return {"type": _kind(value), "items": {key: snapshot(item, depth - 1) for key, item in items.items()}}
        case type():
            return _name(value)
    return {"type": _kind(value), **_object(value, depth)}


def _object(value: Any, depth: int) -> dict[str, Any]:
    if isinstance(value, BaseException):
        return _exception(value, depth)
    if hasattr(type(value), "model_dump"):
        return {"fields": value.model_dump(warnings=False), "set": sorted(value.model_fields_set)}
    return {"public": _public(value, depth) if depth > 0 else None}


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _kind(value: Any) -> list[str]:
    return [_name(cls) for cls in type(value).__mro__]


def _public(value: Any, depth: int) -> dict[str, Any]:
    names = [name for name in dir(value) if not name.startswith("_") and name not in VOLATILE_ATTRIBUTES]
    return {name: _attribute(value, name, depth) for name in names}


def _attribute(value: Any, name: str, depth: int) -> Any:
    try:
        attribute = getattr(value, name)
    except Exception as error:
        return {"raises": _name(type(error))}
    if callable(attribute):
        return {"callable": attribute.__name__, "async": inspect.iscoroutinefunction(attribute)}
    return snapshot(attribute, depth - 1)


def _exception(error: BaseException, depth: int) -> dict[str, Any]:
    return {
        "args": snapshot(error.args, depth - 1),
        "text": str(error),
        "public": _public(error, depth - 1),
        "cause": _name(type(error.__cause__)),
        "context": _name(type(error.__context__)),
        "suppress_context": error.__suppress_context__,
        "notes": getattr(error, "__notes__", None),
        "frames": _frames(error),
    }


def _frames(error: BaseException) -> list[str]:
    """Functions in the traceback, in order, those of otel-tools and of wrapt left out."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if "/otel_tools/" not in frame.filename and "/wrapt/" not in frame.filename]
    return [f"{frame.filename.rpartition('/')[2]}:{frame.name}" for frame in theirs]


# --- faults ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Step:
    """A function of otel-tools that takes part in a call: where it hangs, and what it is."""

    name: str
    owner: Any
    attribute: str

    def __str__(self) -> str:
        return self.name


class Injected(Exception):
    """What a broken step raises."""


def steps(modules: Iterable[ModuleType], adapter: Any = None) -> list[Step]:
    """Every function and method that *modules* define, and the readers of *adapter*."""
    found = [step for module in modules for step in _module_steps(module)]
    for target in adapter.targets if adapter else ():
        for name in ("request", "view", "response"):
            if getattr(target, name) is not None:
                found.append(Step(f"{target.path}:{name}", target, name))
    return found


def _module_steps(module: ModuleType) -> Iterator[Step]:
    short = module.__name__.removeprefix("otel_tools.")
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, FunctionType):
            yield Step(f"{short}.{name}", module, name)
        elif isinstance(value, type):
            for method, function in vars(value).items():
                if isinstance(function, FunctionType) and not method.startswith("__"):
                    yield Step(f"{short}.{name}.{method}", value, method)


@contextmanager
def broken(step: Step) -> Iterator[list[str]]:
    """Let *step* raise, under every name that otel-tools knows it by; gives a list that grows with each call of it."""
    original = getattr(step.owner, step.attribute)
    calls: list[str] = []

    def boom(*args: Any, **kwargs: Any) -> Any:
        calls.append(step.name)
        raise Injected(step.name)

    places = [(step.owner, step.attribute), *_aliases(original)] if isinstance(original, FunctionType) else []
    for owner, name in places or [(step.owner, step.attribute)]:
        _set(owner, name, boom)
    try:
        yield calls
    finally:
        for owner, name in places or [(step.owner, step.attribute)]:
            _set(owner, name, original)


def _aliases(function: Any) -> list[tuple[Any, str]]:
    modules = [module for name, module in sys.modules.items() if name.startswith("otel_tools")]
    return [(module, name) for module in modules for name, value in vars(module).items() if value is function]


def _set(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, (type, ModuleType)):
        setattr(owner, name, value)
    else:
        object.__setattr__(owner, name, value)  # a frozen dataclass


def reached(scenario: Scenario, server: FakeServer, candidates: Iterable[Step]) -> list[Step]:
    """The steps that *scenario* goes through."""
    seen = set()

    def profile(frame: FrameType, _event: str, _argument: Any) -> None:
        seen.add(frame.f_code)

    sys.setprofile(profile)
    try:
        run(scenario, server)
    finally:
        sys.setprofile(None)
    return [step for step in candidates if getattr(getattr(step.owner, step.attribute), "__code__", None) in seen]
