"""What a circuit breaker is meant to do, without locks, threads or speed: the model that it is checked against."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from otel_tools.policy import Action, Circuit, CircuitState, Layer, Opening, Override, Transition, Verdict
from otel_tools.policy.circuit import Reason
from tests.policy.tools import Clock

DRAWS = (0.0, 0.25, 0.999, 0.5)

STATES = {
    Action.FORCE_OPEN: CircuitState.FORCED_OPEN,
    Action.BYPASS: CircuitState.DISABLED,
    Action.METRICS_ONLY: CircuitState.METRICS_ONLY,
}
HIDING = {CircuitState.FORCED_OPEN, CircuitState.DISABLED}
CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


@dataclass(eq=False)
class Generation:
    """A circuit in one state. Times are absolute."""

    kind: CircuitState
    since: float
    until: float = inf
    reopens: int = 0
    remote: bool = False
    failures: list[float] = field(default_factory=list)
    """When the calls began that failed one after the other."""
    window: list[float | None] = field(default_factory=list)
    """Of the last calls, when those that failed began."""


@dataclass(eq=False)
class Token:
    """A call that the model admitted."""

    key: str | None
    generation: Generation | None
    kind: CircuitState
    open: bool = True


@dataclass
class No:
    """A call that it would not admit."""

    kind: CircuitState
    wait: float | None
    shadow: bool


@dataclass
class Held:
    """An override that was set."""

    action: Action
    override: Override
    until: float


class Model:
    """All circuits of one tool."""

    def __init__(self, settings: Circuit, clock: Clock, *, observe: bool, most_keys: int) -> None:
        self.settings, self.clock, self.observe, self.most_keys = settings, clock, observe, most_keys
        self.draws: Iterator[float] = itertools.cycle(DRAWS)
        self.circuits: dict[str | None, Generation] = {None: Generation(CLOSED, clock())}
        self.held: list[Held] = []
        self.told: Held | None = None
        self.since = -inf
        self.openings = 0
        self.log: list[Transition] = []

    # --- operators ----------------------------------------------------------------------------------------------
    @property
    def hand(self) -> Held | None:
        """The override that goes before the others: by action, then what holds longest, then the store's."""
        order = list(Action)
        holding = [one for one in self.held if self.clock() < one.until]
        holding.sort(key=lambda one: (order.index(one.action), -one.until, one.override.layer == "process"))
        return holding[0] if holding else None

    @property
    def shown(self) -> CircuitState | None:
        """The state that listeners were told an operator holds it in."""
        return STATES[self.told.action] if self.told else None

    @property
    def ended(self) -> float:
        """When the last override ran out."""
        return max((one.until for one in self.held if one.until <= self.clock()), default=-inf)

    @property
    def shadow(self) -> bool:
        return self.observe or self.shown is CircuitState.METRICS_ONLY

    def notice(self, reason: Reason = "expired") -> None:
        """Let what is in force now be in force, and tell of it."""
        now, hand, ended, before = self.clock(), self.hand, self.ended, self.shown
        after = STATES[hand.action] if hand else None
        self.held = [one for one in self.held if now < one.until]
        if after is before:
            self.told = hand
            return
        self.since = now if reason == "manual" else ended
        from_ = before or self.circuits[None].kind
        if after in HIDING:
            self.close_keyed()
            self.circuits = {None: Generation(after, self.since)}
        elif from_ in HIDING:
            self.circuits = {None: Generation(CLOSED, self.since)}
        self.told = hand
        common = self.circuits[None]
        to, until = (after, hand.until) if after and hand else (common.kind, common.until)
        waits = to in (OPEN, CircuitState.FORCED_OPEN) and now < until < inf
        self.tell(from_, to, reason, until - now if waits else None, None)

    def override(self, action: Action, override: Override) -> None:
        self.notice()
        self._drop(action, override.layer)
        until = inf if override.expires_after is None else self.clock() + override.expires_after
        self.held.append(Held(action, override, until))
        self.notice("manual")

    def lift(self, action: Action, layer: Layer) -> None:
        self.notice()
        self._drop(action, layer)
        self.notice("manual")

    def reset(self) -> None:
        self.notice()
        self.close_keyed()
        if self.shown not in HIDING:
            self.become(None, Generation(CLOSED, self.clock()), "manual")
        for action in STATES:
            self._drop(action, "process")
        self.notice("manual")

    def _drop(self, action: Action, layer: Layer) -> None:
        self.held = [one for one in self.held if (one.action, one.override.layer) != (action, layer)]

    def close_keyed(self) -> None:
        for key in [key for key in self.circuits if key is not None]:
            self.become(key, Generation(CLOSED, self.clock()), "manual")
            del self.circuits[key]

    # --- calls --------------------------------------------------------------------------------------------------
    def acquire(self, key: str | None) -> Token | No:
        self.notice()
        now = self.clock()
        if self.shown is CircuitState.FORCED_OPEN:
            assert self.told is not None
            return No(self.shown, None if self.told.until == inf else self.told.until - now, shadow=False)
        if self.shown is CircuitState.DISABLED:
            return Token(None, None, self.shown)
        key = self.place(key)
        generation = self.circuits[key]
        if generation.kind is not CLOSED:
            if now < generation.until:
                return No(generation.kind, generation.until - now, shadow=self.shadow)
            generation = self.lend(key, generation)
        return Token(key, generation, generation.kind)

    def place(self, key: str | None) -> str | None:
        """Whose circuit a call with this key uses; the circuits are in the order of their last use."""
        if key is None:
            return None
        if key not in self.circuits and len(self.circuits) > self.most_keys:
            closed = [key for key, one in self.circuits.items() if key is not None and one.kind is CLOSED]
            closed.sort(key=lambda key: bool(self.circuits[key].failures or any(self.circuits[key].window)))
            if not closed:
                return None
            del self.circuits[closed[0]]
        self.circuits[key] = self.circuits.pop(key, None) or Generation(CLOSED, self.clock())
        return key

    def lend(self, key: str | None, before: Generation) -> Generation:
        now = self.clock()
        since = now if before.kind is OPEN else before.since
        probe = Generation(HALF_OPEN, since, now + self.settings.lease, before.reopens, before.remote)
        if before.until == -inf:
            self.circuits[key] = probe
        else:
            self.become(key, probe, "expired" if before.kind is OPEN else "probe_lost")
        return probe

    def record(self, token: Token, verdict: Verdict, retry_after: float | None, seconds: float) -> None:
        was_open, token.open = token.open, False
        generation = token.generation
        if generation and generation.kind is CLOSED and verdict is not Verdict.FAILURE and self.has_nothing(generation):
            return  # nothing to do, and nothing is noticed
        self.notice()
        if not was_open or generation is None or self.circuits.get(token.key) is not generation:
            return
        slow_after = self.settings.slow_after
        if verdict is Verdict.SUCCESS and slow_after is not None and seconds >= slow_after:
            verdict, retry_after = Verdict.FAILURE, None
        if generation.kind is CLOSED:
            self.count(token.key, generation, verdict, retry_after, self.clock() - seconds)
        elif verdict is Verdict.SUCCESS:
            self.become(token.key, Generation(CLOSED, self.clock()), "probe_success")
        elif verdict is Verdict.FAILURE:
            self.open(token.key, generation.reopens + 1, "probe_failure", retry_after)
        else:
            before = generation
            freed = Generation(HALF_OPEN, before.since, -inf, before.reopens, before.remote)
            self.circuits[token.key] = freed

    def has_nothing(self, generation: Generation) -> bool:
        looks_at_each = self.settings.slow_after is not None or self.settings.failure_rate is not None
        return not generation.failures and not looks_at_each

    def count(self, key: str | None, it: Generation, verdict: Verdict, retry_after: float | None, began: float) -> None:
        settings = self.settings
        if verdict is Verdict.NEUTRAL:
            return
        if settings.failure_rate is not None:
            it.window = [*it.window, began if verdict is Verdict.FAILURE else None][-settings.window :]
        if verdict is Verdict.SUCCESS:
            it.failures = []
            return
        it.failures.append(began)
        failed = [one for one in it.window if one is not None]
        if retry_after is not None:
            self.open(key, 0, "retry_after", retry_after)
        elif len(it.failures) >= settings.failures and _span(it.failures) >= settings.min_span:
            self.open(key, 0, "threshold", None)
        elif (
            settings.failure_rate is not None
            and len(it.window) >= settings.minimum_calls
            and len(failed) / len(it.window) >= settings.failure_rate
            and _span(failed) >= settings.min_span
        ):
            self.open(key, 0, "failure_rate", None)

    def open(self, key: str | None, reopens: int, reason: Reason, retry_after: float | None) -> None:
        seconds = min(retry_after or self.settings.reset_after * 2**reopens, self.settings.max_reset_after)
        seconds *= 1 + self.settings.jitter * next(self.draws)
        now = self.clock()
        self.openings += key is None
        self.become(key, Generation(OPEN, now, now + seconds, reopens), "retry_after" if retry_after else reason)

    # --- other processes ----------------------------------------------------------------------------------------
    @property
    def opening(self) -> Opening | None:
        common = self.circuits[None]
        left = max(0.0, common.until - self.clock())
        if common.kind not in (OPEN, HALF_OPEN):
            return None
        return Opening(self.openings, left, common.remote, probing=common.kind is HALF_OPEN and left > 0)

    def open_for(self, seconds: float, seen: Opening | None) -> None:
        self.notice()
        common, now, current = self.circuits[None], self.clock(), self.opening
        if common.kind in HIDING or (seen and seen.number) != (current and current.number):
            return
        until = now + min(seconds, self.settings.max_reset_after)
        if common.kind is OPEN:
            common.until = until
        elif seconds > 0 and not (current and current.probing):
            self.openings += current is None
            remote = current is None or common.remote
            self.become(None, Generation(OPEN, now, until, common.reopens, remote), "remote")

    # --- telling and showing ------------------------------------------------------------------------------------
    def become(self, key: str | None, after: Generation, reason: Reason) -> None:
        before, self.circuits[key] = self.circuits[key], after
        if before.kind is not after.kind or reason == "probe_lost":
            wait = after.until - self.clock() if after.kind is OPEN else None
            self.tell(before.kind, after.kind, reason, wait, key)

    def tell(self, from_: CircuitState, to: CircuitState, reason: Reason, wait: float | None, key: str | None) -> None:
        manual = {from_, to} & set(STATES.values())
        shadow = self.shadow and not manual
        self.log.append(Transition("tool", from_, to, reason, wait, len(self.log) + 1, shadow, key))

    def seen_as(self, key: str | None) -> dict[str, object]:
        """The view of a circuit, without what is for display only."""
        hand, now = self.hand, self.clock()
        generation = self.circuits[key]
        state = STATES[hand.action] if hand else None
        if generation.kind in HIDING and state not in HIDING:
            generation = Generation(CLOSED, self.ended)
        kind, since, left = generation.kind, generation.since, generation.until - now
        if kind is OPEN and left <= 0:
            kind, since = HALF_OPEN, generation.until
        waits = kind in (OPEN, HALF_OPEN) and left > 0
        seen = {
            "state": kind,
            "failures": len(generation.failures),
            "retry_after": left if waits else 0.0,
            "reopens": generation.reopens,
            "since": since,
            "probe_in_flight": waits and kind is HALF_OPEN,
            "override": None,
            "automatic": None,
        }
        if hand is not None and state is not None:
            left_over = None if hand.until == inf else hand.until - now
            seen |= {
                "state": state,
                "retry_after": left_over if state is CircuitState.FORCED_OPEN else 0.0,
                "since": self.since if state is self.shown else self.ended,
                "override": (hand.override.reason, hand.override.layer, left_over),
                "automatic": kind if state is CircuitState.METRICS_ONLY else None,
            }
        return seen


def _span(times: list[float]) -> float:
    return max(times) - min(times)
