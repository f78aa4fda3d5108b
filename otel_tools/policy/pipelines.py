"""The pipelines of all tools and clients of this process, bounded: a model can invent tool names."""

from __future__ import annotations

import random as _random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from otel_tools.policy.circuit import Action, Layer, Opening, Override, Transition
from otel_tools.policy.forks import renew_in_child
from otel_tools.policy.options import Mode, Policy
from otel_tools.policy.pipeline import Pipeline, PipelineView

MAX_KEPT: Final = 1024
"""Names that get a pipeline for good."""

MAX_RECENT: Final = 256
"""Names beyond those whose pipeline is kept while it is used."""


class Pipelines:
    """Creates and keeps pipelines by name.

    The first `MAX_KEPT` names keep theirs. Of the names after that the most recently used ones do; one that is not
    idle, whose circuit is not closed or that an operator has a hand on is never dropped. When none can be dropped, a
    further name gets a pipeline that lasts for one call.

    Args:
        lookup: The policy and mode of a name.
        clock: Monotonic seconds.
        random: A number in [0, 1), for the circuits' jitter.
        listener: Told of every transition of every circuit.
    """

    def __init__(
        self,
        lookup: Callable[[str], tuple[Policy, Mode]],
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
        listener: Callable[[Transition], None] | None = None,
    ) -> None:
        self._lookup = lookup
        self._clock = clock
        self._random = random
        self._listener = listener
        self._kept: dict[str, Pipeline] = {}
        self._recent: OrderedDict[str, Pipeline] = OrderedDict()
        self._lock = threading.RLock()
        renew_in_child(self)

    def after_fork(self) -> None:
        """Renew the lock in a forked child."""
        self._lock = threading.RLock()

    def __contains__(self, name: str) -> bool:
        """Whether there is a pipeline for good of that name."""
        return name in self._kept

    def get(self, name: str) -> Pipeline:
        """The pipeline of *name*, created at first use."""
        return self._kept.get(name) or self._get(name, for_good=len(self._kept) < MAX_KEPT)

    def _get(self, name: str, *, for_good: bool) -> Pipeline:
        with self._lock:
            found = self._find(name)
        if found is not None:
            return found
        created = self._create(name)  # outside the lock: `lookup` is not ours
        with self._lock:
            return self._find(name) or self._keep(name, created, for_good)

    def _create(self, name: str) -> Pipeline:
        policy, mode = self._lookup(name)
        return Pipeline(name, policy, mode, clock=self._clock, random=self._random, listener=self._listener)

    def _find(self, name: str) -> Pipeline | None:
        if name in self._kept:
            return self._kept[name]
        if name in self._recent:
            self._recent.move_to_end(name)
        return self._recent.get(name)

    def _keep(self, name: str, pipeline: Pipeline, for_good: bool) -> Pipeline:
        if for_good:
            self._kept[name] = pipeline
        elif len(self._recent) < MAX_RECENT or self._drop_oldest_idle():
            self._recent[name] = pipeline
        return pipeline

    def _drop_oldest_idle(self) -> bool:
        for name, pipeline in self._recent.items():
            if pipeline.idle:
                del self._recent[name]
                return True
        return False

    def forget(self, name: str) -> None:
        """Forget the policy of *name* and look it up again; its circuit and what operators set stay."""
        if (known := self._known(name)) is not None:
            known.configure(*self._lookup(name))

    def views(self) -> list[PipelineView]:
        """Every pipeline as it is now."""
        return [pipeline.view() for pipeline in self._all()]

    def openings(self) -> dict[str, Opening]:
        """The circuits that are open by themselves or half-open, by name; those of single keys apart."""
        return {pipeline.name: opening for pipeline in self._all() if (opening := pipeline.opening) is not None}

    def _all(self) -> list[Pipeline]:
        with self._lock:
            return [*self._kept.values(), *self._recent.values()]

    def _known(self, name: str) -> Pipeline | None:
        with self._lock:
            return self._kept.get(name) or self._recent.get(name)

    # --- operators, also for names that were not seen yet ---------------------------------------------------------
    def override(self, name: str, action: Action, override: Override) -> None:
        """Set *action* on *name* until it is lifted or expires; what its layer had set with it is replaced."""
        self._get(name, for_good=True).override(action, override)

    def lift(self, name: str, action: Action, layer: Layer) -> None:
        """Take back what *layer* has set on *name* with *action*."""
        if (known := self._known(name)) is not None:
            known.lift(action, layer)

    def reset(self, name: str) -> None:
        """Close the circuits of *name* and lift what this process has set on them."""
        if (known := self._known(name)) is not None:
            known.reset()

    def disable(self, name: str, reason: str, actor: str, expires_after: float | None = None) -> None:
        """Throw the kill switch of *name*."""
        self.override(name, Action.DISABLE, Override(reason, actor, expires_after))

    def enable(self, name: str) -> None:
        """Take the kill switch of *name* back."""
        self.lift(name, Action.DISABLE, "process")

    def force_open(self, name: str, reason: str, actor: str, expires_after: float | None = None) -> None:
        """Open the circuit of *name* by hand."""
        self.override(name, Action.FORCE_OPEN, Override(reason, actor, expires_after))

    def bypass(self, name: str, reason: str, actor: str, expires_after: float | None = None) -> None:
        """Switch the circuit breaker of *name* off, not the tool."""
        self.override(name, Action.BYPASS, Override(reason, actor, expires_after))
