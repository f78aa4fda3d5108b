"""Objects with locks survive `os.fork`: the child gets fresh ones, whatever another thread held at that moment."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

from otel_tools.errors import internal_error


class Forkable(Protocol):
    """What has something to renew in a forked child."""

    def after_fork(self) -> None:
        """Called in the child, which has one thread."""


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()


def renew_in_child(forkable: Forkable) -> None:
    """Call *forkable*'s `after_fork` in every forked child, for as long as it lives."""
    _forkables.add(forkable)


def _after_fork_in_child() -> None:
    for forkable in list(_forkables):
        try:
            forkable.after_fork()
        except Exception:
            internal_error("renewing what a forked child inherits")  # the others have locks to be renewed, too


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
