"""What the calls of one tool and its circuits share: generations of state, leave to call, the terms."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Final

from otel_tools.policy.circuit import CircuitState
from otel_tools.policy.options import Circuit
from otel_tools.policy.trip import Tally

if TYPE_CHECKING:
    from otel_tools.policy.machine import Machine

CLOSED: Final = CircuitState.CLOSED
OPEN: Final = CircuitState.OPEN
HALF_OPEN: Final = CircuitState.HALF_OPEN


class Generation:
    """A state of a circuit. A new object is a new generation; only its tally ever changes, under the owner's lock.

    Args:
        kind: The state.
        since: When it began.
        until: End of the open time or of the probe's lease; `-inf`: half-open without a probe.
        reopens: Failed probes since the circuit was last closed.
        tally: What a closed circuit has counted; `None` while a success would change nothing.
        remote: Other processes had it opened.
    """

    __slots__ = ("kind", "remote", "reopens", "since", "tally", "until")

    def __init__(
        self,
        kind: CircuitState,
        since: float,
        until: float = inf,
        reopens: int = 0,
        *,
        tally: Tally | None = None,
        remote: bool = False,
    ) -> None:
        self.kind = kind
        self.since = since
        self.until = until
        self.reopens = reopens
        self.tally = tally
        self.remote = remote

    @property
    def failures(self) -> int:
        """Consecutive failures while closed."""
        return 0 if self.tally is None else self.tally.failures

    @property
    def has_failures(self) -> bool:
        """Whether failures were counted that may yet open it."""
        return self.tally is not None and self.tally.has_failures


class Permit:
    """Leave to make one call; hand it back with `CircuitBreaker.record`."""

    __slots__ = ("generation", "machine", "spent")

    def __init__(self, machine: Machine, generation: Generation) -> None:
        self.machine = machine
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
    """No leave.

    Args:
        state: The circuit's state.
        retry_after: In how many seconds to ask again, `None` when that is unknown.
        shadow: The call may run all the same: this is only what the breaker would have said.
    """

    __slots__ = ("retry_after", "shadow", "state")

    def __init__(self, state: CircuitState, retry_after: float | None, *, shadow: bool = False) -> None:
        self.state = state
        self.retry_after = retry_after
        self.shadow = shadow

    probe = False


class Terms:
    """What the circuits of one tool have in common.

    Args:
        name: What they protect.
        random: A number in [0, 1), for the jitter.
    """

    __slots__ = ("lease", "looks_at_each", "name", "random", "sequence", "settings", "shadow")

    def __init__(self, name: str, random: Callable[[], float]) -> None:
        self.name = name
        self.random = random
        self.sequence = 0  # of their transitions
        self.shadow = False  # they refuse nothing
        self.configure(Circuit(), None)

    def configure(self, settings: Circuit, lease: float | None) -> None:
        """Let other *settings* apply from now on; *lease* goes before theirs."""
        self.settings = settings
        self.lease = settings.lease if lease is None else lease
        self.looks_at_each = settings.slow_after is not None or settings.failure_rate is not None  # also at successes

    @property
    def longest(self) -> float:
        """Seconds that a circuit may stay open, jitter apart."""
        return max(self.settings.max_reset_after, self.settings.reset_after)

    def closed(self, since: float) -> Generation:
        """A closed state in which nothing has been counted."""
        return Generation(CLOSED, since, tally=Tally() if self.looks_at_each else None)
