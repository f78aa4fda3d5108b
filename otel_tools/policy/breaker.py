"""A circuit breaker: after consecutive failures of a dependency, calls are refused until one probe succeeds.

The state is one small object, captured by every call that is admitted. What a call reports counts against the object
it captured and is ignored once another one has taken its place, so results of an older generation change nothing.
A closed circuit is read without a lock. A half-open circuit's object is its probe's lease.
"""

from __future__ import annotations

import random as _random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Final

from otel_tools.errors import internal_error
from otel_tools.policy.circuit import CircuitState, CircuitView, Override, Reason, Transition
from otel_tools.policy.forks import renew_in_child
from otel_tools.policy.options import Circuit
from otel_tools.policy.outcome import Verdict

CLOSED: Final = CircuitState.CLOSED
OPEN: Final = CircuitState.OPEN
HALF_OPEN: Final = CircuitState.HALF_OPEN
FORCED_OPEN: Final = CircuitState.FORCED_OPEN
DISABLED: Final = CircuitState.DISABLED
SUCCESS: Final = Verdict.SUCCESS
FAILURE: Final = Verdict.FAILURE

_ADMITTING: Final = frozenset({CLOSED, DISABLED})
_MAX_DOUBLINGS: Final = 60


class _Generation:
    """A state of the circuit. A new object is a new generation; only `failures` ever changes, under the lock."""

    __slots__ = ("failures", "kind", "override", "reopens", "since", "until")

    def __init__(
        self, kind: CircuitState, since: float, until: float, reopens: int = 0, override: Override | None = None
    ) -> None:
        self.kind = kind
        self.since = since
        self.until = until  # end of the open time, of the probe's lease (-inf: no probe), of the override
        self.reopens = reopens
        self.override = override
        self.failures = 0


class Permit:
    """Leave to make one call; hand it back with `CircuitBreaker.record`."""

    __slots__ = ("generation", "spent")

    def __init__(self, generation: _Generation) -> None:
        self.generation = generation
        self.spent = False

    @property
    def state(self) -> CircuitState:
        """The circuit's state at admission."""
        return self.generation.kind

    @property
    def probe(self) -> bool:
        """Whether this call decides what becomes of a half-open circuit."""
        return self.generation.kind is HALF_OPEN


class Rejection:
    """No leave: the circuit's *state*, and in how many seconds to ask again (`None` when that is unknown)."""

    __slots__ = ("retry_after", "state")

    def __init__(self, state: CircuitState, retry_after: float | None) -> None:
        self.state = state
        self.retry_after = retry_after

    probe = False


class CircuitBreaker:
    """Decides whether calls of one dependency are admitted, from what became of earlier ones.

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
        self.name = name
        self.configure(settings, lease)
        self._clock = clock
        self._random = random
        self._listener = listener
        self._overrides: dict[CircuitState, _Generation] = {}
        self._sequence = 0
        self._lock = threading.RLock()  # re-entrant: a finaliser may report a call while this thread holds it
        self._generation = _Generation(CLOSED, clock(), inf)
        renew_in_child(self)

    def configure(self, settings: Circuit, lease: float | None = None) -> None:
        """Let other *settings* apply from the next transition on."""
        self._settings = settings
        self._lease = settings.lease if lease is None else lease

    def after_fork(self) -> None:
        """Renew the lock in a forked child."""
        self._lock = threading.RLock()

    # --- calls --------------------------------------------------------------------------------------------------
    def acquire(self) -> Permit | Rejection:
        """Ask to make a call. Never waits."""
        generation = self._generation
        if generation.kind is CLOSED:
            return Permit(generation)
        return self._acquire()

    def _acquire(self) -> Permit | Rejection:
        with self._lock:
            now = self._clock()
            transitions = self._lift_expired(now)
            generation = self._generation
            if generation.kind not in _ADMITTING:
                if now < generation.until:
                    return Rejection(generation.kind, _seconds(generation.until - now))
                transitions += self._lend(generation, now)
            permit = Permit(self._generation)
        self._tell(transitions)
        return permit

    def _lend(self, before: _Generation, now: float) -> list[Transition]:
        """Make the calling thread the probe."""
        if before.kind is OPEN:
            return self._become(before, _Generation(HALF_OPEN, now, now + self._lease, before.reopens), "expired")
        probe = _Generation(HALF_OPEN, before.since, now + self._lease, before.reopens)
        if before.until == -inf:  # the last probe told nothing and gave its slot back: the state stays the same
            self._generation = probe
            return []
        return self._become(before, probe, "probe_lost")

    def record(self, permit: Permit, verdict: Verdict, retry_after: float | None = None) -> None:
        """Report what became of an admitted call. Only the first report of a permit counts.

        Args:
            permit: What `acquire` gave.
            verdict: What the call says about the dependency.
            retry_after: With a failure, the seconds that the dependency itself asks to be left alone: the circuit
                opens at once for that long (at most the settings' `max_reset_after`).
        """
        generation = permit.generation
        if verdict is not FAILURE and not generation.failures and generation.kind is CLOSED:
            permit.spent = True
            return
        if retry_after is not None and not retry_after > 0:
            retry_after = None
        with self._lock:
            if permit.spent:
                return
            permit.spent = True
            if generation is not self._generation:
                return  # of an older generation: what it says is out of date
            transitions = self._count(generation, verdict, retry_after)
        self._tell(transitions)

    def _count(self, generation: _Generation, verdict: Verdict, retry_after: float | None) -> list[Transition]:
        if generation.kind is CLOSED:
            return self._count_closed(generation, verdict, retry_after)
        if generation.kind is HALF_OPEN:
            return self._count_probe(generation, verdict, retry_after)
        return []

    def _count_closed(self, generation: _Generation, verdict: Verdict, retry_after: float | None) -> list[Transition]:
        if verdict is SUCCESS:
            generation.failures = 0
        elif verdict is FAILURE:
            generation.failures += 1
            if retry_after is not None or generation.failures >= self._settings.failures:
                return self._open(generation, 0, "threshold", retry_after)
        return []

    def _count_probe(self, generation: _Generation, verdict: Verdict, retry_after: float | None) -> list[Transition]:
        if verdict is SUCCESS:
            return self._become(generation, _Generation(CLOSED, self._clock(), inf), "probe_success")
        if verdict is FAILURE:
            return self._open(generation, generation.reopens + 1, "probe_failure", retry_after)
        # a neutral probe has told nothing: the next call may probe at once
        self._generation = _Generation(HALF_OPEN, generation.since, -inf, generation.reopens)
        return []

    def _open(self, before: _Generation, reopens: int, reason: Reason, retry_after: float | None) -> list[Transition]:
        settings = self._settings
        seconds = settings.reset_after * 2.0 ** min(reopens, _MAX_DOUBLINGS)
        if retry_after is not None:
            seconds, reason = retry_after, "retry_after"
        seconds = min(seconds, max(settings.max_reset_after, settings.reset_after))
        seconds *= 1 + settings.jitter * self._random()
        now = self._clock()
        return self._become(before, _Generation(OPEN, now, now + seconds, reopens), reason)

    # --- operators ----------------------------------------------------------------------------------------------
    def force_open(self, reason: str, actor: str, expires_after: float | None = None) -> None:
        """Refuse every call until *expires_after* seconds have passed or `reset` is called."""
        self._override(FORCED_OPEN, Override(reason, actor, expires_after))

    def disable(self, reason: str, actor: str, expires_after: float | None = None) -> None:
        """Switch the breaker off: admit every call and count none. A forced-open circuit stays open all the same."""
        self._override(DISABLED, Override(reason, actor, expires_after))

    def reset(self) -> None:
        """Lift what an operator set, forget the failures, close the circuit."""
        with self._lock:
            self._overrides = {}
            transitions = self._become(self._generation, _Generation(CLOSED, self._clock(), inf), "manual")
        self._tell(transitions)

    def _override(self, kind: CircuitState, override: Override) -> None:
        with self._lock:
            now = self._clock()
            until = inf if override.expires_after is None else now + override.expires_after
            transitions = self._lift_expired(now)
            self._overrides = {**self._overrides, kind: _Generation(kind, now, until, override=override)}
            transitions += self._become(self._generation, self._at(now), "manual")
        self._tell(transitions)

    def _lift_expired(self, now: float) -> list[Transition]:
        generation = self._generation
        if generation.override is None or now < generation.until:
            return []
        return self._become(generation, self._at(now), "expired")

    def _at(self, now: float) -> _Generation:
        """The generation in force: of the operator's overrides that still hold `forced_open` comes first."""
        for kind in (FORCED_OPEN, DISABLED):
            override = self._overrides.get(kind)
            if override is not None and now < override.until:
                return override
        generation = self._generation
        return generation if generation.override is None else _Generation(CLOSED, generation.until, inf)

    # --- changes ------------------------------------------------------------------------------------------------
    def _become(self, before: _Generation, after: _Generation, reason: Reason) -> list[Transition]:
        if self._generation is not before:  # a finaliser that ran in the middle of this (the lock is re-entrant)
            return []
        self._generation = after
        if before.kind is after.kind and reason != "probe_lost":
            return []
        self._sequence += 1
        wait = after.until - after.since if after.kind in (OPEN, FORCED_OPEN) else inf
        return [Transition(self.name, before.kind, after.kind, reason, _seconds(wait), self._sequence)]

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
        """The circuit as it is now. Reading changes nothing: an open circuit whose time is over shows as half-open."""
        now = self._clock()
        generation = self._at(now)
        kind, since, left = generation.kind, generation.since, generation.until - now
        if kind is OPEN and left <= 0:
            kind, since = HALF_OPEN, generation.until
        refusing = kind not in _ADMITTING and left > 0
        override = generation.override
        return CircuitView(
            name=self.name,
            state=kind,
            failures=generation.failures,
            retry_after=_seconds(left) if refusing else 0.0,
            reopens=generation.reopens,
            since=time.time() - (now - since),
            probe_in_flight=refusing and kind is HALF_OPEN,
            override=None if override is None else replace(override, expires_after=_seconds(left)),
        )


def _seconds(seconds: float) -> float | None:
    return None if seconds == inf else seconds
