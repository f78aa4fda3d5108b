"""What a store holds: what operators have set on the tools and clients of a service. Values, and their JSON."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from otel_tools.errors import StoreError
from otel_tools.policy.circuit import Action

VERSION: Final = 1
"""Of the JSON; a document of another version is refused, not guessed at."""

Kind: TypeAlias = Literal["tool", "client"]
Target: TypeAlias = tuple[Kind, str]
"""A tool or an LLM client, by name."""

MAX_DIRECTIVES: Final = 1024
"""Directives that are applied; more cannot be set."""

_RESETS_KEPT: Final = 3600.0
"""Seconds after which every process has seen a reset."""

_CHANGES_KEPT: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """One override that an operator has set.

    Args:
        kind: Whether *name* is a tool or an LLM client.
        action: What was set.
        reason: Why, for people and on spans; never shown to a model.
        actor: Who did it.
        set_at: When, in seconds of the wall clock.
        expires_at: When it ends by itself, likewise; `None`: never.
        id: Tells it from an equal one that was set at another time.
    """

    kind: Kind
    name: str
    action: Action
    reason: str
    actor: str
    set_at: float = field(default_factory=time.time)
    expires_at: float | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def target(self) -> Target:
        """What it is set on."""
        return self.kind, self.name

    def holds(self, now: float) -> bool:
        """Whether it has not expired at *now*, in seconds of the wall clock."""
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that an operator did, for the record.

    Args:
        word: An `Action`, `enable` or `lift_…` for taking one back, `reset`.
        at: When, in seconds of the wall clock.
    """

    kind: Kind
    name: str
    word: str
    actor: str
    at: float


@dataclass(frozen=True, slots=True)
class Document:
    """All that operators have set on one service.

    Args:
        directives: At most one for each target and action.
        resets: When the circuit of a target was last reset by hand, by the store's clock, which is the same for all:
            every process closes it once.
        changes: The last things that operators did, oldest first.
        ahead: Seconds that the store's clock is ahead of this machine's, by which all other times are.
    """

    directives: tuple[Directive, ...] = ()
    resets: Mapping[Target, float] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    ahead: float = 0.0

    def with_directive(self, directive: Directive) -> Document:
        """This, with *directive* in place of one that sets the same."""
        kept = self._without(directive.target, frozenset({directive.action}))
        return replace(self, directives=(*kept, directive))

    def without(self, target: Target, *actions: Action) -> Document:
        """This, with those *actions* lifted from *target*."""
        return replace(self, directives=self._without(target, frozenset(actions)))

    def with_reset(self, target: Target, now: float) -> Document:
        """This, with *target*'s circuit closed by hand and nothing set on it any more; the kill switch stays."""
        lifted = self.without(target, Action.FORCE_OPEN, Action.BYPASS, Action.METRICS_ONLY)
        return replace(lifted, resets={**self.resets, target: now + self.ahead})

    def current(self, now: float) -> Document:
        """This, without what has expired at *now*."""
        held = tuple(directive for directive in self.directives if directive.holds(now))
        resets = {target: at for target, at in self.resets.items() if at > now + self.ahead - _RESETS_KEPT}
        return replace(self, directives=held, resets=resets)

    def noting(self, change: Change) -> Document:
        """This, with *change* on record; only the last ones are kept."""
        return replace(self, changes=(*self.changes, change)[-_CHANGES_KEPT:])

    def last(self, target: Target, *words: str) -> Change | None:
        """The last thing on record that was done to *target*, of those that *words* say."""
        done = (one for one in reversed(self.changes) if (one.kind, one.name) == target and one.word in words)
        return next(done, None)

    def _without(self, target: Target, actions: frozenset[Action]) -> tuple[Directive, ...]:
        return tuple(one for one in self.directives if one.target != target or one.action not in actions)


def to_json(document: Document) -> dict[str, Any]:
    """*document* as plain values."""
    return {
        "version": VERSION,
        "overrides": [asdict(directive) for directive in document.directives],
        "resets": [{"kind": kind, "name": name, "at": at} for (kind, name), at in document.resets.items()],
        "changes": [asdict(change) for change in document.changes],
    }


def from_json(value: Any, where: str) -> Document:
    """What `to_json` gave, read back.

    Args:
        value: Plain values.
        where: What the store is called, for the error.

    Raises:
        StoreError: It is something else, or of another version.
    """
    try:
        if value["version"] != VERSION:
            raise StoreError(
                f"{where} is of version {value['version']} and this otel-tools reads {VERSION}: "
                "use the same release everywhere"
            )
        directives = tuple(directive_from_json(one) for one in value["overrides"])
        resets = {(one["kind"], one["name"]): _time(one["at"]) for one in value["resets"]}
        return Document(directives, resets, tuple(Change(**one) for one in value.get("changes", ())))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise StoreError(f"{where} does not hold overrides of otel-tools ({type(error).__name__}: {error})") from error


def directive_from_json(value: Mapping[str, Any]) -> Directive:
    """One directive, read back.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: It is none.
    """
    if value["kind"] not in {"tool", "client"} or not isinstance(value["name"], str):
        raise ValueError(value["kind"])
    expires = value["expires_at"]
    return Directive(
        kind=value["kind"],
        name=value["name"],
        action=Action(value["action"]),
        reason=str(value["reason"]),
        actor=str(value["actor"]),
        set_at=_time(value["set_at"]),
        expires_at=None if expires is None else _time(expires),
        id=str(value["id"]),
    )


def _time(value: Any) -> float:
    found = float(value)
    if not math.isfinite(found):  # JSON knows no such number, Python's reads and writes it
        raise ValueError(value)
    return found
