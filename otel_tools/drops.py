"""What must be ended when an object is dropped (a stream left unread, a run left open), or when the process ends."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable
from typing import Any, Final

_pending: Final[dict[object, weakref.finalize[..., Any]]] = {}


def when_dropped(owner: Any, function: Callable[..., Any], *args: Any) -> weakref.finalize[..., Any]:
    """Call *function* once: when *owner* is collected, when the result is called, or when the process ends.

    Neither *function* nor *args* may refer to *owner*.
    """
    key = object()
    finalizer = weakref.finalize(owner, _finish, key, function, args)
    finalizer.atexit = False  # that hook may come after the SDK's own: see `finish_at_exit`
    _pending[key] = finalizer
    return finalizer


def _forget() -> None:
    """What is open in a process that forks is the parent's to end."""
    for finalizer in tuple(_pending.values()):
        finalizer.detach()
    _pending.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_forget)


def _finish(key: object, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    _pending.pop(key, None)
    function(*args)


def finish_at_exit() -> None:
    """Finish what is pending at exit, before the SDK shuts down: call it once the SDK is set up."""
    weakref.finalize(finish_all, int).detach()  # the first one registers a hook that stops all: it must run after ours
    atexit.unregister(finish_all)
    atexit.register(finish_all)


def finish_all() -> None:
    """Finish what is pending now."""
    for finalizer in tuple(_pending.values()):
        finalizer()
