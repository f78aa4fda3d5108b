"""What operators have set on one tool or client: by action and layer, each until it is lifted or expires."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from otel_tools.policy.circuit import Action, Layer, Override

_PRECEDENCE: Final = tuple(Action)


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """An override that was set, and the monotonic time at which it ends."""

    action: Action
    override: Override
    until: float

    def left(self, now: float) -> float | None:
        """Seconds until it ends, `None` for never."""
        return None if self.until == inf else self.until - now

    def shown(self, now: float) -> Override:
        """What to show of it at *now*."""
        return replace(self.override, expires_after=self.left(now))

    @property
    def rank(self) -> tuple[int, float, bool]:
        """Orders overrides: by action; of one action what holds longest goes first, and the store's before ours."""
        return _PRECEDENCE.index(self.action), -self.until, self.override.layer != "store"


class Overrides:
    """At most one override for each action and layer.

    Its owner changes it under a lock. `held` is replaced, never changed, so that reading it takes none; what has
    expired stays in it until the owner drops it.
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held: Mapping[tuple[Action, Layer], Held] = {}

    def set(self, action: Action, override: Override, now: float) -> None:
        """Let *override* hold from *now* on, in the place of what its layer had set with the same action."""
        until = inf if override.expires_after is None else now + override.expires_after
        self.held = {**self.held, (action, override.layer): Held(action, override, until)}

    def lift(self, layer: Layer, *actions: Action) -> None:
        """Take back what *layer* has set with these *actions*."""
        lifted = {(action, layer) for action in actions}
        self.held = {key: held for key, held in self.held.items() if key not in lifted}

    def drop_expired(self, now: float) -> None:
        """Forget what has ended."""
        if any(held.until <= now for held in self.held.values()):
            self.held = {key: held for key, held in self.held.items() if now < held.until}

    def first(self, now: float) -> Held | None:
        """The one that goes before all others that hold at *now*."""
        holding = (held for held in self.held.values() if now < held.until)
        return min(holding, key=lambda held: held.rank, default=None)

    def ended(self, now: float) -> float:
        """When the last of those that have expired by *now* did, `-inf` if none has."""
        return max((held.until for held in self.held.values() if held.until <= now), default=-inf)
