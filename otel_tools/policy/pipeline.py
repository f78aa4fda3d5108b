"""What stands before each call of one tool or client: kill switch, bulkhead, circuit breaker, in that order."""

from __future__ import annotations

import random as _random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from otel_tools.policy.breaker import CircuitBreaker, Permit, Rejection
from otel_tools.policy.circuit import CircuitState, CircuitView, Override, Transition
from otel_tools.policy.forks import renew_in_child
from otel_tools.policy.options import Circuit, Mode, Policy
from otel_tools.policy.outcome import Outcome, Verdict
from otel_tools.policy.refusal import Refusal

MAX_WORKERS: Final = 16
"""Calls of one tool that may be in worker threads at once, unless its policy says otherwise."""

_PROBE_MARGIN: Final = 1.0
"""Seconds that a probe's lease outlasts the call's own timeout."""

_DETAILS: Final = {
    CircuitState.HALF_OPEN: "its probe is still running",
    CircuitState.FORCED_OPEN: "an operator opened it",
}


class Attempt:
    """An admitted call; hand it back with `Pipeline.settle`.

    Args:
        timeout: The deadline to enforce in seconds; `None` for none, and always in observe mode.
        limit: The deadline of the policy, enforced or not.
        ticket: What the circuit breaker said.
        would_refuse: In observe mode, the outcome that the call would have had in enforce mode.
    """

    __slots__ = ("has_returned", "limit", "ticket", "timeout", "would_refuse")

    ticket: Permit | Rejection

    def __init__(self, timeout: float | None, limit: float | None) -> None:
        self.timeout = timeout
        self.limit = limit
        self.would_refuse: Outcome | None = None
        self.has_returned = False

    @property
    def state(self) -> CircuitState:
        """The circuit's state at admission."""
        return self.ticket.state

    @property
    def probe(self) -> bool:
        """Whether this call decides what becomes of a half-open circuit."""
        return self.ticket.probe


@dataclass(frozen=True, slots=True)
class PipelineView:
    """A tool or client as it is now.

    Args:
        in_flight: Calls running, the abandoned ones included.
        abandoned: Calls that timed out and whose worker thread has not come back.
        max_in_flight: How many may run at once.
        disabled: The operator's hand on the kill switch.
        circuit: `None` when the policy has no circuit breaker and no operator forced one.
        keyed: The circuits of single keys (`Policy.key`) that are not closed.
    """

    name: str
    mode: Mode
    in_flight: int
    abandoned: int
    max_in_flight: int | None
    disabled: Override | None
    circuit: CircuitView | None
    keyed: tuple[CircuitView, ...] = ()


class Pipeline:
    """The run-time state of one tool or client.

    Args:
        name: The tool's or client's name.
        policy: What applies to it; its own mode, if it has one, goes before *mode*.
        mode: In observe mode nothing is refused but by an operator (kill switch, forced-open circuit).
        clock: Monotonic seconds.
        random: A number in [0, 1), for the circuit's jitter.
        listener: Told of every transition of the circuit.

    Attributes:
        timeout: The deadline to enforce in seconds; `None` for none, and always in observe mode.
    """

    def __init__(
        self,
        name: str,
        policy: Policy,
        mode: Mode,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
        listener: Callable[[Transition], None] | None = None,
    ) -> None:
        self.name = name
        self._breaker = CircuitBreaker(name, Circuit(), clock=clock, random=random, listener=listener)
        self._clock = clock
        self._switch: tuple[Override, float] | None = None
        self._running: set[Attempt] = set()
        self._abandoned: set[Attempt] = set()
        self._lock = threading.RLock()  # re-entrant: a finaliser may settle a call while this thread holds it
        self.configure(policy, mode)
        renew_in_child(self)

    def configure(self, policy: Policy, mode: Mode) -> None:
        """Let *policy* apply from the next call on. Circuit, running calls and operators' overrides stay."""
        self.policy = policy
        self.mode = policy.mode or mode
        self.timeout = policy.timeout if self.mode is Mode.ENFORCE else None
        self._cap = policy.max_in_flight
        self._worker_cap = MAX_WORKERS if policy.max_in_flight is None else policy.max_in_flight
        lease = None if policy.timeout is None else policy.timeout + _PROBE_MARGIN
        self._breaker.configure(policy.circuit or Circuit(), lease)

    def after_fork(self) -> None:
        """Renew the lock in a forked child, and forget the calls of threads that it does not have."""
        self._lock = threading.RLock()
        self._running.clear()
        self._abandoned.clear()

    # --- calls --------------------------------------------------------------------------------------------------
    def admit(self, worker: bool = False) -> Attempt | Refusal:
        """Ask to make a call. Never waits, never raises.

        Args:
            worker: The call would be handed to a worker thread, so that hung ones hold threads.
        """
        if self._switch is not None and (switch := self._disabled()) is not None:
            return self._refusal(Outcome.DISABLED, switch.expires_after, switch.reason)
        attempt = Attempt(self.timeout, self.policy.timeout)
        cap = self._worker_cap if worker else self._cap
        if cap is None:
            self._running.add(attempt)
        elif not self._take_place(attempt, cap):
            return self._refusal(Outcome.BULKHEAD_FULL, None, f"{cap} calls in flight")
        if attempt.would_refuse is None:
            attempt.ticket = ticket = self._breaker.acquire()
            if isinstance(ticket, Rejection):
                return self._rejected(attempt, ticket)
        return attempt

    def _take_place(self, attempt: Attempt, cap: int) -> bool:
        with self._lock:  # or several threads would take the last place
            if self.in_flight >= cap:
                if self.mode is Mode.ENFORCE:
                    return False
                attempt.would_refuse = Outcome.BULKHEAD_FULL
                attempt.ticket = Rejection(self._breaker.view().state, None)
            self._running.add(attempt)
            return True

    def _rejected(self, attempt: Attempt, rejection: Rejection) -> Attempt | Refusal:
        if self.mode is Mode.ENFORCE or rejection.state is CircuitState.FORCED_OPEN:
            self._running.discard(attempt)
            state = rejection.state
            return Refusal(
                self.name, Outcome.CIRCUIT_OPEN, rejection.retry_after, detail=_DETAILS.get(state, ""), state=state
            )
        attempt.would_refuse = Outcome.CIRCUIT_OPEN
        return attempt

    def _refusal(self, outcome: Outcome, retry_after: float | None, detail: str) -> Refusal:
        return Refusal(self.name, outcome, retry_after, detail=detail, state=self._breaker.view().state)

    def settle(
        self, attempt: Attempt, verdict: Verdict, retry_after: float | None = None, *, still_running: bool = False
    ) -> None:
        """Report what became of an admitted call. Only the first report of an attempt counts.

        Args:
            attempt: What `admit` gave.
            verdict: What the call says about the dependency.
            retry_after: With a failure, the seconds that the dependency asks to be left alone.
            still_running: Its worker thread has not come back; its place stays taken until `returned`.
        """
        if still_running:
            self._abandon(attempt)
        else:
            self._running.discard(attempt)
        if self.policy.circuit is not None and attempt.would_refuse is None:
            self._breaker.record(attempt.ticket, verdict, retry_after)  # type: ignore[arg-type]  # refused otherwise

    def _abandon(self, attempt: Attempt) -> None:
        with self._lock:
            if attempt in self._running and not attempt.has_returned:
                self._abandoned.add(attempt)
            self._running.discard(attempt)

    def returned(self, attempt: Attempt) -> None:
        """The worker thread of an attempt that was settled with `still_running`, or is about to be, has come back."""
        with self._lock:
            attempt.has_returned = True
            self._abandoned.discard(attempt)

    # --- operators ----------------------------------------------------------------------------------------------
    def disable(self, reason: str, actor: str, expires_after: float | None = None) -> None:
        """Throw the kill switch: refuse every call, in either mode, until `enable` or for *expires_after* seconds."""
        until = inf if expires_after is None else self._clock() + expires_after
        self._switch = Override(reason, actor), until

    def enable(self) -> None:
        """Take the kill switch back."""
        self._switch = None

    def force_open(self, reason: str, actor: str, expires_after: float | None = None) -> None:
        """Open the circuit by hand, in either mode, until `reset` or for *expires_after* seconds."""
        self._breaker.force_open(reason, actor, expires_after)

    def bypass(self, reason: str, actor: str, expires_after: float | None = None) -> None:
        """Switch the circuit breaker (not the tool) off until `reset` or for *expires_after* seconds."""
        self._breaker.disable(reason, actor, expires_after)

    def reset(self) -> None:
        """Close the circuit and lift what an operator set on it; the kill switch stays as it is."""
        self._breaker.reset()

    # --- reading ------------------------------------------------------------------------------------------------
    @property
    def in_flight(self) -> int:
        """Calls running, the abandoned ones included."""
        return len(self._running) + len(self._abandoned)

    @property
    def abandoned(self) -> int:
        """Calls that were given up and whose worker thread has not come back."""
        return len(self._abandoned)

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost with it: no call running, closed, no operator's hand on it."""
        return not self.in_flight and self._switch is None and self._breaker.view().state is CircuitState.CLOSED

    def _disabled(self) -> Override | None:
        if self._switch is None:
            return None
        override, until = self._switch
        left = until - self._clock()
        return replace(override, expires_after=None if left == inf else left) if left > 0 else None

    def view(self) -> PipelineView:
        """The tool or client as it is now; reading changes nothing."""
        circuit = self._breaker.view()
        return PipelineView(
            name=self.name,
            mode=self.mode,
            in_flight=self.in_flight,
            abandoned=self.abandoned,
            max_in_flight=self.policy.max_in_flight,
            disabled=self._disabled(),
            circuit=circuit if self.policy.circuit is not None or circuit.override is not None else None,
        )
