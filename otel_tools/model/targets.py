"""What an adapter declares: where to patch, and how to read the calls."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from otel_tools.model.requests import Handled, Invocation, Request
from otel_tools.model.responses import LLMResponse, Response, ToolResponse
from otel_tools.model.views import View


class Shape(enum.Enum):
    """What calling the patched method gives."""

    SYNC = "sync"
    """The value (or, for a handle, `Running`)."""
    ASYNC = "async"
    """An awaitable of the value."""
    GENERATOR = "generator"
    """A generator: the call lasts as long as it is iterated."""
    ASYNC_GENERATOR = "async_generator"
    """An async generator, likewise."""


class OnLoop(NamedTuple):
    """A sync function that a framework is about to call on its event loop.

    Args:
        function: The function.
        replaced: Gives the invocation with another function in its place, which takes the same arguments.
    """

    function: Callable[..., Any]
    replaced: Callable[[Callable[..., Any]], Invocation]


@dataclass(slots=True, frozen=True, kw_only=True)
class Target:
    """A method to patch and how to read its calls.

    Args:
        module: Where it is defined; patched when this module is imported.
        path: `Class.method` or `function` in that module. It must be looked up at call time by its callers.
        shape: What calling it gives.
        request: Reads the call. `None` from it: not ours, the call is left alone. `Handled`: likewise, and the tool
            call around it has failed.
        view: How to read the value, by default `Whole(value)`.
        response: Reads a payload of a tool or agent call (an LLM call has its `Wire`).
        fallback: Builds the framework's return type from a note for the model; without it a refusal is raised.
        errors_as_data: The framework expects failures as data (always, or as it says of a call): a refusal or timeout
            of a critical tool is returned through *fallback*, too, instead of raised. *fallback* is then called with
            `error=True`.
        appended: Given what the call returned and a line for the model, the same value with that line below its text,
            or `None` where there is no text; without it, that is done where the value itself is text.
        control_flow: Qualified names (`module.Class`) of exceptions that are no failure (human in the loop).
        iteration_limit: Qualified names of exceptions that say a run used up its turns.
        propagate: Gives the invocation with W3C headers added, where the library does not do it itself.
        since, until: Library versions (inclusive, exclusive) that have this method; outside it is not looked for.
        optional: Do not report it when missing (the method exists in some supported versions only).
        error: Reads an exception that the call raised, as *response* reads a value: the outcome, a better
            `error.type`, whether it is neutral. `None` from it: the usual rules; an exception: the usual rules for
            that one, around which the library's is only wrapped; an `LLMResponse`: the answer that the exception is
            about, which is billed and says nothing against the service. Policy's own exceptions never get here.
        on_loop: Gives the sync function that an async method is about to call on the event loop, where no timer could
            end it: with a deadline it runs in a worker thread. `None` from it: there is none.
    """

    module: str
    path: str
    shape: Shape
    request: Callable[[Invocation], Request | Handled | None]
    view: Callable[[Any], View] | None = None
    response: Callable[[Any], Response] | None = None
    fallback: Callable[..., Any] | None = None
    errors_as_data: bool | Callable[[Invocation], bool] = False
    appended: Callable[[Any, str], Any] | None = None
    control_flow: tuple[str, ...] = ()
    iteration_limit: tuple[str, ...] = ()
    propagate: Callable[[Invocation, Mapping[str, str]], Invocation] | None = None
    since: str | None = None
    until: str | None = None
    optional: bool = False
    error: Callable[[BaseException], ToolResponse | LLMResponse | BaseException | None] | None = None
    on_loop: Callable[[Invocation], OnLoop | None] | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Native:
    """A tracer of the library itself. Inside a call of ours its span for the same call is ours (its attributes land
    there); everything else it traces is left alone.

    Args:
        module: Where the tracer lives.
        path: A module global (`_tracer`) or a property (`Class._tracer`) that holds or returns a tracer or `None`.
        adopt: Given span name and attributes, whether this is the library's span for the call of ours around it.
        precedes: Given the same, whether the library starts this span just around a call of ours, which takes its
            place: it is not started.
    """

    module: str
    path: str
    adopt: Callable[[str, Mapping[str, Any]], bool]
    since: str | None = None
    until: str | None = None
    precedes: Callable[[str, Mapping[str, Any]], bool] | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Adapter:
    """One library: what to patch in it.

    Args:
        library: Its distribution name on PyPI (`openai`); the name shown by `otel-tools doctor`.
        minimum: The oldest supported version, inclusive. There is no upper bound: targets are probed.
        package: The import package whose presence says that the library is there, when it is not *library* itself.
    """

    library: str
    minimum: str
    targets: tuple[Target, ...]
    natives: tuple[Native, ...] = ()
    package: str | None = None
