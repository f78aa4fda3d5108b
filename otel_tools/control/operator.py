"""What an operator does, wherever it comes from: the command, the admin server. Checked, kept, applied, audited."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from otel_tools import steering
from otel_tools.control.applied import applied_in
from otel_tools.control.directives import MAX_DIRECTIVES, Change, Directive, Document, Kind
from otel_tools.control.report import ACTIONS, Report, report_of, this_process
from otel_tools.control.store import Store
from otel_tools.control.stores import service_of
from otel_tools.engine import Engine
from otel_tools.errors import ConfigError, StoreError
from otel_tools.policy.circuit import Action, Override
from otel_tools.policy.pipeline import PipelineView

_KEPT_EXPIRED: Final = 60.0
"""Seconds that an expired directive stays in a store: clocks differ, and none shall end it early elsewhere."""


class Operator:
    """Sets, lifts and resets, and reads what processes report.

    With a store everything is written there, for all processes of the service, and applied to *engine* at once. Without
    one it is for *engine*'s process only.

    Args:
        store: Where the service's overrides are kept.
        engine: The engine of this process, if it is one of the service's.
    """

    def __init__(self, store: Store | None, engine: Engine | None) -> None:
        self.store = store
        self.engine = engine

    # --- writing ------------------------------------------------------------------------------------------------
    def set(
        self, kind: Kind, name: str, action: Action, *, reason: str, actor: str, expires_after: float | None = None
    ) -> Directive:
        """Set *action* on a tool or LLM client; it need not be known yet.

        Args:
            kind: Which of the two *name* is.
            name: The tool or client.
            action: What to set.
            reason: Why, for people; it appears on the spans of refused calls.
            actor: Who does it.
            expires_after: Seconds after which it is lifted by itself, `None` for never.

        Returns:
            What was set.

        Raises:
            ConfigError: An argument cannot be right, or as much is set as can be.
            StoreError: The store cannot be used; nothing has changed.
        """
        steering.check(name=name, actor=actor, reason=reason, expires_after=expires_after)
        now = time.time()
        until = None if expires_after is None else now + expires_after
        directive = Directive(
            kind=kind, name=name, action=action, reason=reason, actor=actor, set_at=now, expires_at=until
        )
        if self.store is None:
            if self.engine is not None:
                steering.override(self.engine, kind, name, action, Override(reason, actor, expires_after))
        else:
            self._change(self.store, _setting(directive), _noted(kind, name, action.value, actor))
        return directive

    def lift(self, kind: Kind, name: str, action: Action, *, actor: str) -> None:
        """Take *action* back; nothing happens if it is not set.

        Raises:
            ConfigError, StoreError: As `set` does.
        """
        steering.check(name=name, actor=actor)
        if self.store is None:
            if self.engine is not None:
                steering.lift(self.engine, kind, name, action, actor=actor)
        else:
            noted = _noted(kind, name, steering.lifted(action), actor)
            self._change(self.store, lambda document: document.without((kind, name), action), noted)

    def reset(self, kind: Kind, name: str, *, actor: str) -> None:
        """Close the circuit of a tool or client, and lift what is set on it; the kill switch stays.

        Raises:
            ConfigError, StoreError: As `set` does.
        """
        steering.check(name=name, actor=actor)
        if self.store is None:
            if self.engine is not None:
                steering.reset(self.engine, kind, name, actor=actor)
        else:
            noted = _noted(kind, name, "reset", actor)
            self._change(self.store, lambda document: document.with_reset((kind, name), noted.at), noted)

    def _change(self, store: Store, change: Callable[[Document], Document], noted: Change) -> None:
        applied = None if self.engine is None else applied_in(self.engine)
        turn = 0 if applied is None else applied.turn()
        document = store.change(
            lambda document: change(document.current(noted.at - _KEPT_EXPIRED)).noting(noted),
        )
        if applied is not None:
            applied.update(document, turn)

    # --- reading ------------------------------------------------------------------------------------------------
    def reports(self) -> list[Report]:
        """What the processes of the service tell of themselves, this one first.

        Raises:
            StoreError: The store cannot be read and there is no engine to tell of.
        """
        own = [] if self.engine is None else [report_of(self.engine, this_process(service_of(self.engine)))]
        try:
            others = [] if self.store is None else self.store.reports()
        except StoreError:
            if not own:
                raise
            others = []  # `document` says what is wrong
        known = {report.process.id for report in own}
        return own + [report for report in others if report.process.id not in known]

    def document(self) -> Document:
        """What operators have set and has not expired; without a store, in this process.

        Raises:
            StoreError: The store cannot be read.
        """
        if self.store is not None:
            return self.store.read().current(time.time())
        return Document() if self.engine is None else Document(tuple(_directives(self.engine)))


def _setting(directive: Directive) -> Callable[[Document], Document]:
    def change(document: Document) -> Document:
        changed = document.with_directive(directive)
        if len(changed.directives) > MAX_DIRECTIVES:
            raise ConfigError(f"{MAX_DIRECTIVES} overrides are set, which is the most there can be: lift some first")
        return changed

    return change


def _noted(kind: Kind, name: str, word: str, actor: str) -> Change:
    return Change(kind=kind, name=name, word=word, actor=actor, at=time.time())


def _directives(engine: Engine) -> Iterable[Directive]:
    kinds: tuple[Kind, ...] = ("tool", "client")
    for kind in kinds:
        for view in steering.pipelines(engine, kind).views():
            for action, override in _overrides(view):
                yield _directive(kind, view.name, action, override)


def _overrides(view: PipelineView) -> Iterable[tuple[Action, Override]]:
    if view.disabled is not None:
        yield Action.DISABLE, view.disabled
    circuit = view.circuit
    if circuit is not None and circuit.override is not None:
        yield ACTIONS[circuit.state.value], circuit.override


def _directive(kind: Kind, name: str, action: Action, override: Override) -> Directive:
    now, left = time.time(), override.expires_after
    return Directive(
        kind=kind,
        name=name,
        action=action,
        reason=override.reason,
        actor=override.actor,
        set_at=now,
        expires_at=None if left is None else now + left,
    )
