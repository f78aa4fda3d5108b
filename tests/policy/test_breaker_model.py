"""The circuit breaker against a plain model of it: any history on a virtual clock gives the same states."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Any
from unittest import mock

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from otel_tools.policy import Circuit, CircuitBreaker, Permit, Rejection, Transition, Verdict
from tests.policy.tools import Clock

DRAWS = (0.0, 0.25, 0.999, 0.5)
SECONDS = st.sampled_from([0.0, 0.5, 1.0, 5.0, 9.75, 10.0, 11.0, 40.0, 200.0])
EXPIRY = st.sampled_from([None, 1.0, 7.0, 30.0])


@dataclass
class Token:
    """A call that the model admitted."""

    generation: int
    kind: str
    open: bool = True


class Model:
    """What the breaker is meant to do, without locks, threads or speed. Times are absolute."""

    def __init__(self, settings: Circuit, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.draws: Iterator[float] = itertools.cycle(DRAWS)
        self.overrides: dict[str, float] = {}
        self.generation = 0
        self.become("closed")

    def become(self, kind: str, until: float = inf, reopens: int = 0) -> None:
        self.generation += 1
        self.kind, self.until, self.reopens, self.failures = kind, until, reopens, 0

    def lift(self) -> None:
        """Overrides end by themselves, and leave a closed circuit."""
        if self.overrides:
            self.overrides = {kind: until for kind, until in self.overrides.items() if self.clock() < until}
            if not self.overrides:
                self.become("closed")

    @property
    def manual(self) -> str | None:
        return next((kind for kind in ("forced_open", "disabled") if kind in self.overrides), None)

    def state(self) -> tuple[str, float | None]:
        """The state's name, and the seconds until a call would be admitted."""
        self.lift()
        now = self.clock()
        if self.manual == "forced_open":
            until = self.overrides["forced_open"]
            return "forced_open", None if until == inf else until - now
        if self.manual == "disabled":
            return "disabled", 0.0
        if self.kind == "open":
            return ("open", self.until - now) if now < self.until else ("half_open", 0.0)
        if self.kind == "half_open":
            return "half_open", max(0.0, self.until - now)
        return "closed", 0.0

    def acquire(self) -> Token | None:
        state, wait = self.state()
        if wait != 0.0:
            return None
        if state == "half_open":
            self.become("half_open", self.clock() + self.settings.lease, self.reopens)
        return Token(self.generation if self.manual is None else -1, state)

    def record(self, token: Token, verdict: Verdict, retry_after: float | None) -> None:
        self.lift()
        if not token.open or token.generation != self.generation or self.manual is not None:
            token.open = False
            return
        token.open = False
        if self.kind == "closed":
            self.closed(verdict, retry_after)
        elif verdict is Verdict.SUCCESS:
            self.become("closed")
        elif verdict is Verdict.FAILURE:
            self.open(self.reopens + 1, retry_after)
        else:
            self.become("half_open", -inf, self.reopens)

    def closed(self, verdict: Verdict, retry_after: float | None) -> None:
        if verdict is Verdict.SUCCESS:
            self.failures = 0
        elif verdict is Verdict.FAILURE:
            self.failures += 1
            if self.failures == self.settings.failures or retry_after:
                self.open(0, retry_after)

    def open(self, reopens: int, retry_after: float | None) -> None:
        seconds = min(retry_after or self.settings.reset_after * 2**reopens, self.settings.max_reset_after)
        seconds *= 1 + self.settings.jitter * next(self.draws)
        self.become("open", self.clock() + seconds, reopens)

    def override(self, kind: str, expires_after: float | None) -> None:
        self.lift()
        self.overrides[kind] = inf if expires_after is None else self.clock() + expires_after
        self.become("overridden")

    def reset(self) -> None:
        self.overrides = {}
        self.become("closed")


class BreakerMachine(RuleBasedStateMachine):
    """Drives breaker and model with the same history.

    Holds properties 1 (refinement), 2, 3, 5, 6 (liveness, in `teardown`), 7 (stale outcomes), 8 (deadlines never move),
    9 (idempotent), 12 (manual states), 13 (clock and jitter) and 15 (the event log is a path).
    """

    permits = Bundle("permits")

    @initialize(
        failures=st.integers(1, 4),
        jitter=st.sampled_from([0.0, 0.1, 1.0]),
        lease=st.sampled_from([1.0, 5.0, 60.0]),
        operators=st.sampled_from([False, False, True]),
    )
    def start(self, failures: int, jitter: float, lease: float, operators: bool) -> None:
        self.operators = operators  # where they act often, little else happens
        settings = Circuit(failures=failures, reset_after=10.0, max_reset_after=80.0, jitter=jitter, lease=lease)
        self.clock = Clock()
        self.wall = mock.patch.object(time, "time", self.wall_time)
        self.jump = 0.0
        self.wall.start()
        self.model = Model(settings, self.clock)
        self.log: list[Transition] = []
        draws = itertools.cycle(DRAWS)
        self.breaker = CircuitBreaker(
            "tool", settings, clock=self.clock, random=lambda: next(draws), listener=self.log.append
        )

    def wall_time(self) -> float:
        return 1e9 + self.jump

    def teardown(self) -> None:
        """Wherever it has got to: with no override, waiting as told leads to an admitted call."""
        if not hasattr(self, "breaker"):
            return
        self.wall.stop()
        self.breaker.reset() if self.breaker.view().override else None
        self.clock.tick(self.breaker.view().retry_after or 0.0)
        self.clock.tick(1e-6)  # the sum of two floats may fall short of a third
        assert isinstance(self.breaker.acquire(), Permit)

    @rule(target=permits)
    def call(self) -> Any:
        state, wait = self.model.state()
        token = self.model.acquire()
        answer = self.breaker.acquire()
        if token is None:
            assert isinstance(answer, Rejection)
            assert (answer.state, answer.retry_after) == (state, pytest.approx(wait, abs=1e-9))
        else:
            assert isinstance(answer, Permit)
            assert (answer.state, answer.probe) == (token.kind, token.kind == "half_open")
        return answer, token

    @rule(
        permit=permits,
        verdict=st.sampled_from(list(Verdict)),
        retry_after=st.sampled_from([None, None, None, 0.0, -1.0, 3.0, 500.0]),
    )
    def finish(self, permit: Any, verdict: Verdict, retry_after: float | None) -> None:
        answer, token = permit
        if token is not None:
            self.model.record(token, verdict, retry_after if retry_after and retry_after > 0 else None)
            self.breaker.record(answer, verdict, retry_after)

    @rule(target=permits, verdict=st.sampled_from(list(Verdict)))
    def call_and_finish(self, verdict: Verdict) -> Any:
        permit = self.call()
        self.finish(permit, verdict, None)
        return permit

    @rule(seconds=SECONDS)
    def tick(self, seconds: float) -> None:
        self.clock.tick(seconds)

    @rule(jump=st.sampled_from([-3600.0, 3600.0]))
    def jump_wall_clock(self, jump: float) -> None:
        self.jump += jump

    @precondition(lambda self: self.operators)
    @rule(expires_after=EXPIRY)
    def force_open(self, expires_after: float | None) -> None:
        self.model.override("forced_open", expires_after)
        self.breaker.force_open("incident 7", "ann", expires_after)

    @precondition(lambda self: self.operators)
    @rule(expires_after=EXPIRY)
    def disable(self, expires_after: float | None) -> None:
        self.model.override("disabled", expires_after)
        self.breaker.disable("too touchy", "ann", expires_after)

    @precondition(lambda self: self.operators)
    @rule()
    def reset(self) -> None:
        self.model.reset()
        self.breaker.reset()

    @precondition(lambda self: self.operators)
    @rule(failures=st.integers(1, 4))
    def reconfigure(self, failures: int) -> None:
        if self.model.failures < failures:
            self.model.settings = Circuit(failures=failures, reset_after=10.0, max_reset_after=80.0, lease=5.0)
            self.breaker.configure(self.model.settings)

    @invariant()
    def same_state(self) -> None:
        if not hasattr(self, "breaker"):
            return
        state, wait = self.model.state()
        view = self.breaker.view()
        assert (view.state, view.retry_after) == (state, pytest.approx(wait, abs=1e-9))
        assert view == self.breaker.view()
        assert (view.override is not None) == (self.model.manual is not None)
        if view.override is None:
            assert (view.failures, view.reopens) == (self.model.failures, self.model.reopens)
        assert view.probe_in_flight == (state == "half_open" and wait != 0.0)

    @invariant()
    def log_is_a_path(self) -> None:
        state = "closed"
        for number, transition in enumerate(getattr(self, "log", ()), start=1):
            assert (transition.from_, transition.sequence) == (state, number)
            assert transition.from_ != transition.to or transition.reason == "probe_lost"
            state = transition.to


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.__doc__ = BreakerMachine.__doc__
