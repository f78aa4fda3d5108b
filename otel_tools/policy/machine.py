"""The automatic part of a circuit breaker: closed, open, half-open. No lock, no clock: its owner has both.

The state is one small object, captured by every call that is admitted. What a call reports counts against the object
it captured and is ignored once another one has taken its place, so results of an older generation change nothing.
A half-open circuit's object is its probe's lease.
"""

from __future__ import annotations

import time
from math import inf
from typing import Final

from otel_tools.policy.circuit import CircuitState, CircuitView, Opening, Reason, Transition
from otel_tools.policy.generation import CLOSED, HALF_OPEN, OPEN, Generation, Permit, Rejection, Terms
from otel_tools.policy.outcome import Verdict
from otel_tools.policy.trip import Tally

SUCCESS: Final = Verdict.SUCCESS
FAILURE: Final = Verdict.FAILURE

AUTOMATIC: Final = frozenset({CLOSED, OPEN, HALF_OPEN})
_MAX_DOUBLINGS: Final = 60


class Machine:
    """One circuit. Every method that changes it gives the transitions to tell of."""

    __slots__ = ("_openings", "generation", "key", "terms")

    def __init__(self, terms: Terms, now: float, key: str | None = None) -> None:
        self.terms = terms
        self.key = key
        self.generation = terms.closed(now)
        self._openings = 0

    def configured(self) -> None:
        """Take in that the terms have changed: a closed circuit looks at each call from now on, or need not."""
        generation = self.generation
        if generation.kind is CLOSED:
            if self.terms.looks_at_each:
                generation.tally = generation.tally or Tally()
            elif not generation.failures:
                generation.tally = None

    # --- calls --------------------------------------------------------------------------------------------------
    def ask(self, now: float) -> tuple[Permit | Rejection, list[Transition]]:
        """Ask to make a call."""
        before = self.generation
        if before.kind is CLOSED:
            return Permit(self, before), []
        if now < before.until:
            return Rejection(before.kind, before.until - now, shadow=self.terms.shadow), []
        transitions = self._lend(before, now)
        return Permit(self, self.generation), transitions

    def _lend(self, before: Generation, now: float) -> list[Transition]:
        """Make the caller the probe."""
        since = now if before.kind is OPEN else before.since
        probe = Generation(HALF_OPEN, since, now + self.terms.lease, before.reopens, remote=before.remote)
        if before.until == -inf:  # the last probe told nothing and gave its slot back: the state stays the same
            self.generation = probe
            return []
        return self._become(before, probe, "expired" if before.kind is OPEN else "probe_lost")

    def count(
        self, permit: Permit, verdict: Verdict, retry_after: float | None, seconds: float, now: float
    ) -> list[Transition]:
        """Take in what became of a call; see `CircuitBreaker.record`."""
        generation = permit.generation
        if permit.spent:
            return []
        permit.spent = True
        if generation is not self.generation:
            return []  # of an older generation: what it says is out of date
        slow_after = self.terms.settings.slow_after
        if verdict is SUCCESS and slow_after is not None and seconds >= slow_after:
            verdict, retry_after = FAILURE, None
        if generation.kind is CLOSED:
            return self._count_closed(generation, verdict, retry_after, now - seconds, now)
        if generation.kind is HALF_OPEN:
            return self._count_probe(generation, verdict, retry_after, now)
        return []

    def _count_closed(
        self, generation: Generation, verdict: Verdict, retry_after: float | None, began: float, now: float
    ) -> list[Transition]:
        settings = self.terms.settings
        if verdict is FAILURE:
            tally = generation.tally = generation.tally or Tally()
            reason = tally.failure(settings, began)
            if retry_after is not None or reason is not None:
                return self._open(generation, 0, reason or "threshold", retry_after, now)
        elif verdict is SUCCESS and generation.tally is not None:
            generation.tally.success(settings)
            self.configured()
        return []

    def _count_probe(
        self, generation: Generation, verdict: Verdict, retry_after: float | None, now: float
    ) -> list[Transition]:
        if verdict is SUCCESS:
            return self._become(generation, self.terms.closed(now), "probe_success")
        if verdict is FAILURE:
            return self._open(generation, generation.reopens + 1, "probe_failure", retry_after, now)
        # a neutral probe has told nothing: the next call may probe at once
        self.generation = Generation(HALF_OPEN, generation.since, -inf, generation.reopens, remote=generation.remote)
        return []

    def _open(
        self, before: Generation, reopens: int, reason: Reason, retry_after: float | None, now: float
    ) -> list[Transition]:
        settings = self.terms.settings
        seconds = settings.reset_after * 2.0 ** min(reopens, _MAX_DOUBLINGS)
        if retry_after is not None:
            seconds, reason = retry_after, "retry_after"
        seconds = min(seconds, self.terms.longest) * (1 + settings.jitter * self.terms.random())
        self._openings += 1
        return self._become(before, Generation(OPEN, now, now + seconds, reopens), reason)

    # --- other processes ----------------------------------------------------------------------------------------
    def opening(self, now: float) -> Opening | None:
        """That it is open or half-open, `None` if it is neither."""
        generation = self.generation
        if generation.kind not in (OPEN, HALF_OPEN):
            return None
        left = max(0.0, generation.until - now)
        return Opening(self._openings, left, generation.remote, probing=generation.kind is HALF_OPEN and left > 0)

    def open_for(self, seconds: float, seen: Opening | None, now: float) -> list[Transition]:
        """Do as other processes say; see `CircuitBreaker.open_for`."""
        before, current = self.generation, self.opening(now)
        number = None if current is None else current.number
        if number != (None if seen is None else seen.number) or (current is not None and current.probing):
            return []
        until = now + min(seconds, self.terms.longest)
        if before.kind is OPEN:
            self.generation = Generation(OPEN, before.since, until, before.reopens, remote=before.remote)
            return []
        if seconds <= 0:
            return []
        self._openings += current is None
        remote = current is None or before.remote
        return self._become(before, Generation(OPEN, now, until, before.reopens, remote=remote), "remote")

    # --- changes ------------------------------------------------------------------------------------------------
    def close(self, now: float) -> list[Transition]:
        """Forget everything, by hand."""
        return self._become(self.generation, self.terms.closed(now), "manual")

    def _become(self, before: Generation, after: Generation, reason: Reason) -> list[Transition]:
        if self.generation is not before:  # a finaliser that ran in the middle of this (the lock is re-entrant)
            return []
        self.generation = after
        if before.kind is after.kind and reason != "probe_lost":
            return []
        wait = after.until - after.since if after.kind is OPEN else inf
        return [self.transition(before.kind, after.kind, reason, wait)]

    def transition(self, before: CircuitState, after: CircuitState, reason: Reason, wait: float) -> Transition:
        """The next change of this circuit; *wait* is in seconds, `inf` when unknown."""
        terms = self.terms
        terms.sequence += 1
        shadow = terms.shadow and before in AUTOMATIC and after in AUTOMATIC
        return Transition(terms.name, before, after, reason, _seconds(wait), terms.sequence, shadow, self.key)

    # --- reading ------------------------------------------------------------------------------------------------
    def view(self, generation: Generation, now: float) -> CircuitView:
        """What *generation* of this circuit looks like at *now*."""
        kind, since, left = generation.kind, generation.since, generation.until - now
        if kind is OPEN and left <= 0:
            kind, since = HALF_OPEN, generation.until
        refusing = kind in (OPEN, HALF_OPEN) and left > 0
        return CircuitView(
            name=self.terms.name,
            state=kind,
            failures=generation.failures,
            retry_after=left if refusing else 0.0,
            reopens=generation.reopens,
            since=time.time() - (now - since),
            probe_in_flight=refusing and kind is HALF_OPEN,
            override=None,
            key=self.key,
        )


def _seconds(seconds: float) -> float | None:
    return None if seconds == inf else seconds
