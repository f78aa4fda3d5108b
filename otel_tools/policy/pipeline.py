"""What stands before each call of one tool or client: kill switch, bulkhead, circuit breaker, in that order."""

from __future__ import annotations

import random as _random
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final

from otel_tools.policy.attempt import Attempt
from otel_tools.policy.breaker import CircuitBreaker
from otel_tools.policy.circuit import Action, CircuitState, CircuitView, Layer, Opening, Override, Transition
from otel_tools.policy.forks import renew_in_child
from otel_tools.policy.generation import Rejection
from otel_tools.policy.keyed import text_of
from otel_tools.policy.options import Circuit, Mode, Policy
from otel_tools.policy.outcome import Outcome, Verdict
from otel_tools.policy.overrides import Overrides
from otel_tools.policy.refusal import Refusal

MAX_WORKERS: Final = 16
"""Calls of one tool that may be in worker threads at once, and of a client that may hang there, unless its policy says
otherwise."""

_PROBE_MARGIN: Final = 1.0
"""Seconds that a probe's lease outlasts the call's own timeout."""

_DETAILS: Final = {
    CircuitState.HALF_OPEN: "its probe is still running",
    CircuitState.FORCED_OPEN: "an operator opened it",
}


@dataclass(frozen=True, slots=True)
class PipelineView:
    """A tool or client as it is now.

    Args:
        in_flight: Calls running, the abandoned ones included.
        abandoned: Calls that timed out and whose worker thread has not come back.
        max_in_flight: How many may run at once.
        disabled: The operator's hand on the kill switch. When several hold it is the one that holds longest, the
            store's before that of this process.
        circuit: That of calls without a key. `None` when the policy has no circuit breaker and no operator forced one.
        keyed: The circuits of single keys (`Policy.key`) that are not closed.
        states: How many circuits there are in each state, closed ones included.
    """

    name: str
    mode: Mode
    in_flight: int
    abandoned: int
    max_in_flight: int | None
    disabled: Override | None
    circuit: CircuitView | None
    keyed: tuple[CircuitView, ...] = ()
    states: Mapping[CircuitState, int] = field(default_factory=dict)


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
        timed: Whether `settle` needs to know how long calls took.
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
        self._switch = Overrides()
        self._running: set[Attempt] = set()
        self._abandoned: set[Attempt] = set()
        self._lock = threading.RLock()  # re-entrant: a finaliser may settle a call while this thread holds it
        self.configure(policy, mode)
        renew_in_child(self)

    def configure(self, policy: Policy, mode: Mode) -> None:
        """Let *policy* apply from the next call on. Circuit, running calls and operators' overrides stay.

        Where *policy* has no circuit breaker the circuit closes: nothing would count towards closing it any more.
        """
        self.policy = policy
        self.mode = policy.mode or mode
        self.timeout = policy.timeout if self.mode is Mode.ENFORCE else None
        self._cap = policy.max_in_flight
        self._worker_cap = MAX_WORKERS if policy.max_in_flight is None else policy.max_in_flight
        lease = None if policy.timeout is None else policy.timeout + _PROBE_MARGIN
        circuit = policy.circuit or Circuit()
        self._counts = policy.circuit is not None
        self.timed = self._counts and (circuit.slow_after is not None or circuit.min_span > 0)
        self._breaker.configure(circuit, lease, observe=self.mode is Mode.OBSERVE)
        if not self._counts:
            self._breaker.close()

    def after_fork(self) -> None:
        """Renew the lock in a forked child, and forget the calls of threads that it does not have."""
        self._lock = threading.RLock()
        self._running.clear()
        self._abandoned.clear()

    # --- calls --------------------------------------------------------------------------------------------------
    def admit(self, worker: bool = False, key: Hashable | None = None) -> Attempt | Refusal:
        """Ask to make a call. Never waits, never raises (but what the text of *key* raises).

        Args:
            worker: The call would be handed to a worker thread, so that hung ones hold threads.
            key: Which of the tool's dependencies it is for: those have circuits of their own, told apart by their text.
        """
        key = None if key is None else text_of(key)  # which may raise: before a place is taken
        if self._switch.held and (switch := self._disabled()) is not None:
            return self._refusal(Outcome.DISABLED, switch.expires_after, switch.reason)
        attempt = Attempt(self.timeout, self.policy.timeout)
        cap = self._worker_cap if worker else self._cap
        if cap is None and len(self._abandoned) >= MAX_WORKERS:
            cap = MAX_WORKERS
        if cap is None:
            self._running.add(attempt)
        elif not self._take_place(attempt, cap):
            return self._refusal(Outcome.BULKHEAD_FULL, None, f"{cap} calls in flight")
        if attempt.would_refuse is None:
            attempt.ticket = ticket = self._breaker.acquire(key)
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
        if not rejection.shadow:
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
        self,
        attempt: Attempt,
        verdict: Verdict,
        retry_after: float | None = None,
        *,
        still_running: bool = False,
        seconds: float = 0.0,
    ) -> None:
        """Report what became of an admitted call. Only the first report of an attempt counts.

        Args:
            attempt: What `admit` gave.
            verdict: What the call says about the dependency.
            retry_after: With a failure, the seconds that the dependency asks to be left alone.
            still_running: Its worker thread has not come back; its place stays taken until `returned`.
            seconds: How long the call took; only used if the pipeline is `timed`.
        """
        if still_running:
            self._abandon(attempt)
        else:
            self._running.discard(attempt)
        if self._counts and attempt.would_refuse is None:
            self._breaker.record(attempt.ticket, verdict, retry_after, seconds)  # type: ignore[arg-type]  # refused else

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
    def override(self, action: Action, override: Override) -> None:
        """Set *action* until it is lifted or expires, in either mode; what its layer had set with it is replaced.

        The kill switch (`DISABLE`) holds while any layer's does.
        """
        if action is Action.DISABLE:
            with self._lock:
                now = self._clock()
                self._switch.drop_expired(now)
                self._switch.set(action, override, now)
        else:
            self._breaker.override(action, override)

    def lift(self, action: Action, layer: Layer) -> None:
        """Take back what *layer* has set with *action*."""
        if action is Action.DISABLE:
            with self._lock:
                self._switch.lift(layer, action)
        else:
            self._breaker.lift(action, layer)

    def disable(self, reason: str, actor: str, expires_after: float | None = None) -> None:
        """Throw the kill switch: refuse every call until `enable` or for *expires_after* seconds."""
        self.override(Action.DISABLE, Override(reason, actor, expires_after))

    def enable(self) -> None:
        """Take the kill switch of this process back."""
        self.lift(Action.DISABLE, "process")

    def force_open(self, reason: str, actor: str, expires_after: float | None = None) -> None:
        """Open the circuit by hand until `reset` or for *expires_after* seconds."""
        self.override(Action.FORCE_OPEN, Override(reason, actor, expires_after))

    def bypass(self, reason: str, actor: str, expires_after: float | None = None) -> None:
        """Switch the circuit breaker (not the tool) off until `reset` or for *expires_after* seconds."""
        self.override(Action.BYPASS, Override(reason, actor, expires_after))

    def reset(self) -> None:
        """Close the circuits and lift what this process has set on them; the kill switch stays as it is."""
        self._breaker.reset()

    def open_for(self, seconds: float, seen: Opening | None) -> None:
        """Open the circuit for *seconds* because other processes have; see `CircuitBreaker.open_for`."""
        if self._counts:
            self._breaker.open_for(seconds, seen)

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
        if self.in_flight or self._disabled() is not None:
            return False
        return self._breaker.circuits().states.keys() == {CircuitState.CLOSED}

    @property
    def opening(self) -> Opening | None:
        """That the circuit is open by itself or half-open, for other processes; `None` if it is not."""
        return self._breaker.opening()

    def _disabled(self) -> Override | None:
        now = self._clock()
        first = self._switch.first(now)
        return None if first is None else first.shown(now)

    def view(self) -> PipelineView:
        """The tool or client as it is now; reading changes nothing."""
        circuit, keyed, states = self._breaker.circuits()
        shown = self._counts or circuit.override is not None
        return PipelineView(
            name=self.name,
            mode=self.mode,
            in_flight=self.in_flight,
            abandoned=self.abandoned,
            max_in_flight=self.policy.max_in_flight,
            disabled=self._disabled(),
            circuit=circuit if shown else None,
            keyed=keyed,
            states=states if shown else {},
        )
