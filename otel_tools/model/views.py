"""How a returned value is to be read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(slots=True, frozen=True)
class Whole:
    """The value, or what it wraps, is the response."""

    payload: Any


@dataclass(slots=True, frozen=True)
class Later:
    """Awaiting `read()` gives the payload, which is then viewed in turn."""

    read: Callable[[], Awaitable[Any]]


@dataclass(slots=True, frozen=True)
class InPlace:
    """A stream object that must stay itself: its iterator attribute is replaced and its close methods are shadowed.

    Args:
        stream: The object the caller gets (or will get, from a raw response that caches it).
        iterator: Name of the attribute that holds the iterator.
        asynchronous: Whether that is an async iterator.
        close: Names of its closing methods, those that exist are shadowed.
        transport: The response below it, through which some helpers close it instead. Its closing methods are shadowed
            likewise; a stream read to its end closes it, too, from inside `next`.
    """

    stream: Any
    iterator: str = "_iterator"
    asynchronous: bool = False
    close: tuple[str, ...] = ("close", "aclose")
    transport: Any = None


@dataclass(slots=True, frozen=True)
class Iterated:
    """An iterator (or async iterator) that the caller only iterates: it is replaced by a watching one."""

    iterator: Any
    asynchronous: bool = False


@dataclass(slots=True, frozen=True)
class Held:
    """An object that the caller will read later (a streaming response).

    Args:
        holder: The object; its *read* methods are shadowed to see what they give, its *close* methods to end the call.
        transport: The response below it, through which it closes.
    """

    holder: Any
    read: tuple[str, ...] = ("parse",)
    close: tuple[str, ...] = ("close", "aclose")
    asynchronous: bool = False
    transport: Any = None


@dataclass(slots=True, frozen=True)
class Running:
    """A handle to work that goes on (an agent run streamed in the background).

    Args:
        handle: What the caller gets; if it is dropped before the work is done, the call was cancelled.
        on_done: Registers `callback(error, cancelled)` to be called once when the work is done.
        payload: Read when done.
    """

    handle: Any
    on_done: Callable[[Callable[[BaseException | None], None]], None]
    payload: Any = None


View: TypeAlias = Whole | Later | InPlace | Iterated | Held | Running
