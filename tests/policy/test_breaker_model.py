"""The circuit breaker against a plain model of it: any history on a virtual clock gives the same answers and events."""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from otel_tools.policy import (
    Action,
    Circuit,
    CircuitBreaker,
    CircuitView,
    Layer,
    Opening,
    Override,
    Permit,
    Rejection,
    Transition,
    Verdict,
    keyed,
)
from tests.policy.reference import DRAWS, STATES, Model, No, Token
from tests.policy.tools import Clock, assert_paths

SECONDS = st.sampled_from([0.0, 0.5, 1.0, 5.0, 9.75, 10.0, 11.0, 40.0, 200.0])
EXPIRY = st.sampled_from([None, None, -1.0, 1.0, 7.0, 30.0])
ACTION = st.sampled_from(list(STATES))
LAYER: st.SearchStrategy[Layer] = st.sampled_from(["process", "store"])
VERDICT = st.sampled_from(list(Verdict))
DURATION = st.sampled_from([0.0, 0.0, 1.0, 4.0, 6.0])
RETRY_AFTER = st.sampled_from([None, None, None, 0.0, -1.0, float("nan"), 3.0, 500.0])
MOST_KEYS = 2

OPTIONS = st.sampled_from(
    [
        {},
        {"min_span": 5.0},
        {"slow_after": 4.0},
        {"failure_rate": 0.5, "window": 4, "minimum_calls": 2},
        {"failure_rate": 0.4, "window": 5, "minimum_calls": 5, "slow_after": 4.0, "min_span": 1.0},
    ]
)


class BreakerMachine(RuleBasedStateMachine):
    """Drives breaker and model with the same history.

    Holds properties 1 (refinement), 2, 3, 5, 6 (liveness, in `teardown`), 7 (stale outcomes), 8 (deadlines never move),
    9 (idempotent), 12 (manual states), 13 (clock and jitter), 14 (keys) and 15 (the event log is a path).
    """

    permits = Bundle("permits")

    @initialize(
        failures=st.integers(1, 4),
        jitter=st.sampled_from([0.0, 0.1, 1.0]),
        lease=st.sampled_from([1.0, 5.0, 60.0]),
        options=OPTIONS,
        observe=st.sampled_from([False, False, True]),
        operators=st.booleans(),
        keys=st.sampled_from([[None], [None, "a"], ["a", "b", "c", "d", None]]),
    )
    def start(
        self, failures: int, jitter: float, lease: float, options: Any, observe: bool, operators: bool, keys: Any
    ) -> None:
        self.operators = operators  # where they act often, little else happens
        self.keys = keys
        self.options = {"reset_after": 10.0, "max_reset_after": 80.0, "lease": lease, "jitter": jitter, **options}
        settings = Circuit(failures=failures, **self.options)
        self.clock = Clock()
        self.jump = 0.0
        self.patches = (
            mock.patch.object(time, "time", self.wall_time),
            mock.patch.object(keyed, "MAX_KEYS", MOST_KEYS),
        )
        for patch in self.patches:
            patch.start()
        self.model = Model(settings, self.clock, observe=observe, most_keys=MOST_KEYS)
        self.log: list[Transition] = []
        draws = itertools.cycle(DRAWS)
        self.breaker = CircuitBreaker(
            "tool", settings, clock=self.clock, random=lambda: next(draws), listener=self.log.append
        )
        self.breaker.configure(settings, observe=observe)
        self.seen: Opening | None = None

    def wall_time(self) -> float:
        return 1e9 + self.jump

    def teardown(self) -> None:
        """The events are paths; with no override, waiting as told leads to an admitted call, whatever the key."""
        if not hasattr(self, "breaker"):
            return
        assert_paths(self.log, observe=self.model.observe)
        for action, layer in itertools.product(STATES, ("process", "store")):
            self.breaker.lift(action, layer)
        for key in self.keys:
            rejection = self.breaker.acquire(key)
            if isinstance(rejection, Rejection):
                self.clock.tick((rejection.retry_after or 0.0) + 1e-6)  # the sum of two floats may fall short
                assert isinstance(self.breaker.acquire(key), Permit)
        for patch in self.patches:
            patch.stop()

    # --- calls --------------------------------------------------------------------------------------------------
    @rule(target=permits, data=st.data())
    def call(self, data: st.DataObject) -> Any:
        permit = self._call(data.draw(st.sampled_from(self.keys)))
        return multiple() if permit is None else permit

    def _call(self, key: str | None) -> tuple[Permit, Token] | None:
        expected, answer = self.model.acquire(key), self.breaker.acquire(key)
        assert self.log == self.model.log
        if isinstance(expected, No):
            assert isinstance(answer, Rejection)
            assert (answer.state, answer.shadow) == (expected.kind, expected.shadow)
            assert answer.retry_after == pytest.approx(expected.wait, abs=1e-9)
            assert not answer.probe
            return None
        assert isinstance(answer, Permit)
        assert (answer.state, answer.probe) == (expected.kind, expected.kind == "half_open")
        return answer, expected

    @rule(permit=permits, verdict=VERDICT, retry_after=RETRY_AFTER, seconds=DURATION)
    def finish(self, permit: tuple[Permit, Token], verdict: Verdict, retry_after: Any, seconds: float) -> None:
        answer, token = permit
        self.model.record(token, verdict, retry_after if retry_after and retry_after > 0 else None, seconds)
        self.breaker.record(answer, verdict, retry_after, seconds)
        assert self.log == self.model.log

    @rule(data=st.data(), ends=st.lists(st.tuples(VERDICT, DURATION), min_size=1, max_size=8))
    def calls(self, data: st.DataObject, ends: list[tuple[Verdict, float]]) -> None:
        """Several calls, one after the other."""
        key = data.draw(st.sampled_from(self.keys))
        for verdict, seconds in ends:
            permit = self._call(key)
            if permit is not None:
                self.finish(permit, verdict, None, seconds)

    @rule(data=st.data(), seconds=SECONDS, retry_after=RETRY_AFTER)
    def outage(self, data: st.DataObject, seconds: float, retry_after: float | None) -> None:
        """As many failures as open it, and some time."""
        key = data.draw(st.sampled_from(self.keys))
        permits = [self._call(key) for _ in range(self.model.settings.failures)]
        for permit in permits:
            if permit is not None:
                self.finish(permit, Verdict.FAILURE, retry_after, 0.0)
        self.clock.tick(seconds)

    @rule(seconds=SECONDS, jump=st.sampled_from([0.0, 0.0, -3600.0, 3600.0]))
    def tick(self, seconds: float, jump: float) -> None:
        """Time goes on; the wall clock may be set."""
        self.clock.tick(seconds)
        self.jump += jump

    # --- operators and other processes --------------------------------------------------------------------------
    @precondition(lambda self: self.operators)
    @rule(action=ACTION, layer=LAYER, expires_after=EXPIRY, seconds=SECONDS)
    def override(self, action: Action, layer: Layer, expires_after: float | None, seconds: float) -> None:
        override = Override(f"incident {len(self.log)}", "ann", expires_after, layer)
        self.model.override(action, override)
        self.breaker.override(action, override)
        assert self.log == self.model.log
        self.clock.tick(seconds)

    @precondition(lambda self: self.operators)
    @rule(what=st.sampled_from([*STATES, "reset"]), layer=LAYER)
    def lift(self, what: Any, layer: Layer) -> None:
        for one in (self.model, self.breaker):
            one.reset() if what == "reset" else one.lift(what, layer)
        assert self.log == self.model.log

    @rule(failures=st.integers(1, 4))
    def reconfigure(self, failures: int) -> None:
        self.model.settings = Circuit(failures=failures, **self.options)
        self.breaker.configure(self.model.settings, observe=self.model.observe)

    @rule(seconds=st.sampled_from([0.0, 0.5, 30.0, 1e6]), looks=st.booleans())
    def open_for(self, seconds: float, looks: bool) -> None:
        """Other processes say so, knowing the circuit as it is or as it was."""
        if looks:
            self.seen = self.breaker.opening()
            assert self.seen == self.model.opening
        self.model.open_for(seconds, self.seen)
        self.breaker.open_for(seconds, self.seen)
        assert self.log == self.model.log

    # --- always -------------------------------------------------------------------------------------------------
    @invariant()
    def same_views(self) -> None:
        if not hasattr(self, "breaker"):
            return
        circuits, model = self.breaker.circuits(), self.model
        assert circuits == self.breaker.circuits()
        assert self.breaker.view() == circuits.common
        expected = {key: model.seen_as(key) for key in model.circuits}
        self.same(circuits.common, None, expected[None])
        hot = [key for key, seen in expected.items() if key and (seen["automatic"] or seen["state"]) != "closed"]
        assert [view.key for view in circuits.keyed] == hot
        for view in circuits.keyed:
            self.same(view, view.key, expected[view.key])
        states = [seen["state"] for seen in expected.values()]
        assert circuits.states == {state: states.count(state) for state in states}

    def same(self, view: CircuitView, key: str | None, expected: dict[str, Any]) -> None:
        shown = asdict(view)
        hand = shown.pop("override")
        override = (hand["reason"], hand["layer"], hand["expires_after"]) if hand else None
        since = shown.pop("since") - (1e9 + self.jump) + self.clock()
        assert since == pytest.approx(expected.pop("since"), abs=1e-6)
        assert shown | {"override": override} == expected | {"name": "tool", "key": key}


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=max(150, settings.default.max_examples))  # states are many
TestBreakerMachine.__doc__ = BreakerMachine.__doc__
