"""What of a store's overrides is in force in this process: the one place that brings them to an engine."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from typing import Final, NamedTuple, TypeAlias

from otel_tools import steering
from otel_tools.control.directives import MAX_DIRECTIVES, Directive, Document, Target
from otel_tools.engine import Engine
from otel_tools.errors import internal_error
from otel_tools.policy.circuit import Action, Override
from otel_tools.policy.forks import renew_in_child

_Slot: TypeAlias = tuple[Target, Action]
_Audit: TypeAlias = Callable[[], None]


class _InForce(NamedTuple):
    directive: Directive
    until: float
    """Seconds of the engine's clock: a jump of the wall clock does not change how long it holds once it is in force."""


class Applied:
    """The directives that are in force in *engine*, in the layer `store`.

    Two threads may bring documents (the controller's, and one that has just changed the store): `turn`, taken before
    reading, keeps an older document from undoing a newer one.
    """

    def __init__(self, engine: Engine) -> None:
        self._reference = weakref.ref(engine)
        self._since = time.time()
        self._in_force: dict[_Slot, _InForce] = {}
        self._over: set[str] = set()  # ids of those that expired, which a clock set back must not revive
        self._resets: dict[Target, float] | None = None
        self._turns = itertools.count(1)
        self._last = 0
        self._lock = threading.RLock()
        renew_in_child(self)

    @property
    def _engine(self) -> Engine:
        engine = self._reference()
        assert engine is not None, "who brings a document holds the engine"
        return engine

    def after_fork(self) -> None:
        """Renew the lock in a forked child; what is in force came along."""
        self._lock = threading.RLock()

    def turn(self) -> int:
        """To be taken before a document is read or changed."""
        return next(self._turns)

    def update(self, document: Document, turn: int) -> bool:
        """Let *document* be what is in force.

        Returns:
            Whether anything changed.
        """
        with self._lock:
            if turn < self._last:
                return False
            self._last = turn
            wanted = self._wanted(document)
            audits = [*self._lift(wanted, document), *self._set(wanted), *self._reset(document)]
        for audit in audits:  # telemetry is not ours: outside the lock
            audit()
        return bool(audits)

    def _wanted(self, document: Document) -> dict[_Slot, Directive]:
        """What shall be in force; whether a directive that is so already has expired, the monotonic clock says."""
        now = time.time()
        directives = document.directives[:MAX_DIRECTIVES]
        known = {directive.id for directive, _ in self._in_force.values()}
        self._over &= {directive.id for directive in directives}
        return {
            (one.target, one.action): one
            for one in directives
            if one.id not in self._over and (one.id in known or one.holds(now))
        }

    def _lift(self, wanted: dict[_Slot, Directive], document: Document) -> Iterator[_Audit]:
        now = self._engine.clock()
        for slot, (directive, until) in list(self._in_force.items()):
            if until <= now:
                self._over.add(directive.id)
                if slot in wanted and wanted[slot].id == directive.id:
                    del wanted[slot]
                yield self._lifted(slot, f"expire_{directive.action}", directive.actor)
            elif slot not in wanted:
                yield self._lifted(slot, *_end_of(directive, document))

    def _lifted(self, slot: _Slot, word: str, actor: str) -> _Audit:
        (kind, name), action = slot
        with _guarded():
            steering.pipelines(self._engine, kind).lift(name, action, "store")
        del self._in_force[slot]  # not before: a child that is forked in between would keep what is to be lifted
        return partial(steering.audit, self._engine, kind, name, word, hand=Override("", actor, layer="store"))

    def _set(self, wanted: dict[_Slot, Directive]) -> Iterator[_Audit]:
        for slot, directive in wanted.items():
            known = self._in_force.get(slot)
            if known is None or known.directive.id != directive.id:
                yield self._put(slot, directive)

    def _put(self, slot: _Slot, directive: Directive) -> _Audit:
        (kind, name), action = slot
        left = None if directive.expires_at is None else directive.expires_at - time.time()
        until = inf if left is None else self._engine.clock() + left
        hand = Override(directive.reason, directive.actor, left, "store")
        with _guarded():
            steering.pipelines(self._engine, kind).override(name, action, hand)
        self._in_force[slot] = _InForce(directive, until)  # not before: see `_lifted`
        return partial(steering.audit, self._engine, kind, name, action.value, hand=hand)

    def _reset(self, document: Document) -> Iterator[_Audit]:
        """Resets that this process has not seen; at first, those that came before it are none of its own."""
        known = self._resets
        if known is None:
            since = self._since + document.ahead
            known = {target: at for target, at in document.resets.items() if at <= since}
        for (kind, name), at in document.resets.items():
            if known.get((kind, name)) != at:
                with _guarded():
                    steering.pipelines(self._engine, kind).reset(name)
                last = document.last((kind, name), "reset")
                hand = Override("", "" if last is None else last.actor, layer="store")
                yield partial(steering.audit, self._engine, kind, name, "reset", hand=hand)
        self._resets = dict(document.resets)


def _end_of(directive: Directive, document: Document) -> tuple[str, str]:
    """What the audit calls the end of a *directive* that *document* does not have any more, and who ended it."""
    word = steering.lifted(directive.action)
    ends = {word} if directive.action is Action.DISABLE else {word, "reset"}
    last = document.last(directive.target, directive.action.value, *ends)
    if last is not None and last.word in ends:
        return word, last.actor
    if not directive.holds(time.time()):  # by the wall clock, which was put on; the next writer removed it
        return f"expire_{directive.action}", directive.actor
    return word, ""  # somebody edited or removed the store


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    try:
        yield
    except Exception:
        internal_error("applying an operator's override")


_applied: Final[weakref.WeakKeyDictionary[Engine, Applied]] = weakref.WeakKeyDictionary()


def applied_in(engine: Engine) -> Applied:
    """What is in force in *engine*."""
    return _applied.get(engine) or _applied.setdefault(engine, Applied(engine))
