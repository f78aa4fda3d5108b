"""A circuit breaker: after failures of a dependency, calls are refused until one probe succeeds.

It has the circuit of one tool or client, those of single keys, and the operators' hand on all of them. A closed
circuit is read without a lock; everything else happens under one, and listeners are told outside it.
"""

from __future__ import annotations

import random as _random
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import replace
from math import inf
from typing import Final, NamedTuple

from otel_tools.errors import internal_error
from otel_tools.policy.circuit import Action, CircuitState, CircuitView, Layer, Opening, Override, Reason, Transition
from otel_tools.policy.forks import renew_in_child
from otel_tools.policy.generation import CLOSED, OPEN, Generation, Permit, Rejection, Terms
from otel_tools.policy.keyed import Keyed, text_of
from otel_tools.policy.machine import FAILURE, Machine
from otel_tools.policy.options import Circuit
from otel_tools.policy.outcome import Verdict
from otel_tools.policy.overrides import Held, Overrides

FORCED_OPEN: Final = CircuitState.FORCED_OPEN
DISABLED: Final = CircuitState.DISABLED
METRICS_ONLY: Final = CircuitState.METRICS_ONLY

_HIDING: Final = frozenset({FORCED_OPEN, DISABLED})
"""States in which the circuit itself is put aside."""

_STATES: Final = {Action.FORCE_OPEN: FORCED_OPEN, Action.BYPASS: DISABLED, Action.METRICS_ONLY: METRICS_ONLY}


class Circuits(NamedTuple):
    """All circuits of a breaker as they are now.

    Args:
        common: The one of calls without a key.
        keyed: Those of single keys that are not closed.
        states: How many there are in each state, closed ones included.
    """

    common: CircuitView
    keyed: tuple[CircuitView, ...]
    states: Mapping[CircuitState, int]


class CircuitBreaker:
    """Decides whether calls of one dependency are admitted, from what became of earlier ones.

    What an operator sets goes before that, for all keys alike: `forced_open`, then `disabled`, then `metrics_only`.
    The first two forget what was counted: the circuit is closed when they end. In `metrics_only` it goes on as ever,
    but what it says is only told.

    Args:
        name: What it protects; for its transitions and views.
        settings: Threshold and times.
        lease: Seconds a probe may take before its slot is given to another one; the settings' by default.
        clock: Monotonic seconds.
        random: A number in [0, 1), for the jitter.
        listener: Told of every transition, by the thread that caused it, outside the lock.
    """

    def __init__(
        self,
        name: str,
        settings: Circuit,
        *,
        lease: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
        listener: Callable[[Transition], None] | None = None,
    ) -> None:
        self._clock = clock
        self._listener = listener
        self._terms = Terms(name, random)
        self._common = Machine(self._terms, clock())
        self._keyed = Keyed(self._terms)
        self._overrides = Overrides()
        self._hand: Held | None = None  # the override in force, as listeners were told
        self._since = -inf  # when its state began
        self._lock = threading.RLock()  # re-entrant: a finaliser may report a call while this thread holds it
        self.configure(settings, lease)
        renew_in_child(self)

    def configure(self, settings: Circuit, lease: float | None = None, *, observe: bool = False) -> None:
        """Let other *settings* apply from now on.

        Args:
            settings: Threshold and times.
            lease: Seconds a probe may take, instead of the settings'.
            observe: It shall refuse nothing that an operator does not refuse.
        """
        with self._lock:
            self._observe = observe
            self._terms.configure(settings, lease)
            self._set_shadow()
            for machine in self._machines():
                machine.configured()

    def after_fork(self) -> None:
        """Renew the lock in a forked child, whatever another thread was about to change."""
        self._lock = threading.RLock()
        self._set_shadow()

    # --- calls --------------------------------------------------------------------------------------------------
    def acquire(self, key: Hashable | None = None) -> Permit | Rejection:
        """Ask to make a call, of the dependency that *key* stands for. Never waits."""
        if key is None and self._hand is None:
            generation = self._common.generation
            if generation.kind is CLOSED:
                return Permit(self._common, generation)
        return self._acquire(None if key is None else text_of(key))

    def _acquire(self, key: str | None) -> Permit | Rejection:
        with self._lock:
            now = self._clock()
            transitions = self._refresh(now)
            hand = self._hand
            ticket: Permit | Rejection
            if hand is None or hand.action is Action.METRICS_ONLY:
                ticket, more = self._machine(key, now).ask(now)
                transitions += more
            elif hand.action is Action.FORCE_OPEN:
                ticket = Rejection(FORCED_OPEN, hand.left(now))
            else:
                ticket = Permit(self._common, self._common.generation)
        self._tell(transitions)
        return ticket

    def _machine(self, key: str | None, now: float) -> Machine:
        return (None if key is None else self._keyed.get(key, now)) or self._common

    def record(self, permit: Permit, verdict: Verdict, retry_after: float | None = None, seconds: float = 0.0) -> None:
        """Report what became of an admitted call. Only the first report of a permit counts.

        Args:
            permit: What `acquire` gave.
            verdict: What the call says about the dependency.
            retry_after: With a failure, the seconds that the dependency itself asks to be left alone: the circuit
                opens at once for that long (at most the settings' `max_reset_after`).
            seconds: How long the call took.
        """
        generation = permit.generation
        if verdict is not FAILURE and generation.tally is None and generation.kind is CLOSED:
            permit.spent = True
            return
        if retry_after is not None and not retry_after > 0:
            retry_after = None
        with self._lock:
            now = self._clock()
            transitions = self._refresh(now)
            transitions += permit.machine.count(permit, verdict, retry_after, seconds, now)
        self._tell(transitions)

    # --- operators ----------------------------------------------------------------------------------------------
    def override(self, action: Action, override: Override) -> None:
        """Set *action* (not the kill switch) until it is lifted or expires; its layer's last one is replaced."""
        with self._lock:
            now = self._clock()
            transitions = self._refresh(now)
            self._overrides.set(action, override, now)
            transitions += self._refresh(now, "manual")
        self._tell(transitions)

    def lift(self, action: Action, layer: Layer) -> None:
        """Take back what *layer* has set with *action*."""
        with self._lock:
            now = self._clock()
            transitions = self._refresh(now)
            self._overrides.lift(layer, action)
            transitions += self._refresh(now, "manual")
        self._tell(transitions)

    def reset(self) -> None:
        """Forget the failures, close every circuit, lift what the layer of this process has set."""
        with self._lock:
            now = self._clock()
            transitions = self._refresh(now) + self._close(now)
            self._overrides.lift("process", *_STATES)
            transitions += self._refresh(now, "manual")
        self._tell(transitions)

    def close(self) -> None:
        """Forget the failures and close every circuit; what operators have set stays."""
        with self._lock:
            now = self._clock()
            transitions = self._refresh(now) + self._close(now)
        self._tell(transitions)

    def _close(self, now: float) -> list[Transition]:
        transitions = self._keyed.clear(now)
        return transitions if self._common.generation.kind in _HIDING else transitions + self._common.close(now)

    def open_for(self, seconds: float, seen: Opening | None) -> None:
        """Open the common circuit for *seconds* because other processes have, or let it probe in that time.

        Args:
            seconds: At most `max_reset_after`; 0: the next call may probe.
            seen: What `opening` gave before. Nothing is done if that is out of date or a probe is running, or while
                an operator has put the circuit aside.
        """
        with self._lock:
            now = self._clock()
            transitions = self._refresh(now)
            if self._common.generation.kind not in _HIDING:
                transitions += self._common.open_for(seconds, seen, now)
        self._tell(transitions)

    def _refresh(self, now: float, reason: Reason = "expired") -> list[Transition]:
        """Let the override be in force that goes first now."""
        before, ended = self._hand, self._overrides.ended(now)
        if before is None and not self._overrides.held:
            return []
        self._overrides.drop_expired(now)
        hand = self._overrides.first(now)
        state, from_ = _state(hand), _state(before) or self._common.generation.kind
        if state is _state(before):
            self._hand = hand
            return []
        since = now if reason == "manual" or ended == -inf else ended
        generation, transitions = self._common.generation, []
        if state in _HIDING:
            generation, transitions = Generation(state, since), self._keyed.clear(now)
        elif from_ in _HIDING:
            generation = self._terms.closed(since)
        if self._hand is not before:  # a finaliser that ran in the middle of this
            return transitions
        self._common.generation = generation  # first: a fork may come in between, and nothing shall be stuck in it
        self._hand, self._since = hand, since
        self._set_shadow()
        return [*transitions, self._changed(from_, hand, reason, now)]

    def _changed(self, from_: CircuitState, hand: Held | None, reason: Reason, now: float) -> Transition:
        generation = self._common.generation
        to, until = (generation.kind, generation.until) if hand is None else (_STATES[hand.action], hand.until)
        wait = until - now if to in (OPEN, FORCED_OPEN) and until > now else inf
        return self._common.transition(from_, to, reason, wait)

    def _set_shadow(self) -> None:
        self._terms.shadow = self._observe or _state(self._hand) is METRICS_ONLY

    def _tell(self, transitions: list[Transition]) -> None:
        if self._listener is None:
            return
        for transition in transitions:
            try:
                self._listener(transition)
            except Exception:
                internal_error("telling of a circuit breaker's transition")

    # --- reading ------------------------------------------------------------------------------------------------
    def view(self) -> CircuitView:
        """The common circuit as it is now; see `circuits`."""
        with self._lock:
            return self._view(self._common, self._clock())

    def circuits(self) -> Circuits:
        """All circuits as they are now. Reading changes nothing: an open one whose time is over shows as half-open."""
        with self._lock:
            now = self._clock()
            views = [self._view(machine, now) for machine in self._machines()]
        common, *keyed = views
        hot = tuple(view for view in keyed if (view.automatic or view.state) is not CLOSED)
        return Circuits(common, hot, Counter(view.state for view in views))

    def opening(self) -> Opening | None:
        """That the common circuit is open by itself or half-open, for other processes; `None` if it is not."""
        with self._lock:
            return self._common.opening(self._clock())

    def _machines(self) -> Iterator[Machine]:
        yield self._common
        yield from self._keyed

    def _view(self, machine: Machine, now: float) -> CircuitView:
        hand, generation = self._overrides.first(now), machine.generation
        state, ended = _state(hand), self._overrides.ended(now)
        if generation.kind in _HIDING and state not in _HIDING:  # the override has ended, which nobody was told yet
            generation = self._terms.closed(ended)
        view = machine.view(generation, now)
        if hand is None or state is None:
            return view
        since = self._since if state is _state(self._hand) else ended
        return replace(
            view,
            state=state,
            retry_after=hand.left(now) if state is FORCED_OPEN else 0.0,
            since=time.time() - (now - since),
            override=hand.shown(now),
            automatic=view.state if state is METRICS_ONLY else None,
        )


def _state(hand: Held | None) -> CircuitState | None:
    return None if hand is None else _STATES[hand.action]
