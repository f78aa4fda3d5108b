"""Policy lives on one monotonic clock; the wall clock is for display."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from otel_tools.policy import Circuit, Mode, Pipeline, Policy, Refusal, Transition, Verdict
from otel_tools.policy.circuit import Action, Override
from tests.policy.tools import Clock

STEP = st.tuples(
    st.sampled_from([0.0, 0.5, 7.0, 30.0, 59.9, 60.1, 500.0]),
    st.sampled_from([*Verdict, *Action, "lift"]),
    st.sampled_from([-1e9, -3600.0, 0.0, 3600.0, 1e9]),
)


def run(history: list[tuple[float, Any, float]], *, jumps: bool) -> list[Any]:
    """Everything that policy said, with or without jumps of the wall clock."""
    clock, wall, said = Clock(), 1.7e9, []
    log: list[Transition] = []
    with mock.patch.object(time, "time", side_effect=lambda: wall):
        policy = Policy(circuit=Circuit(failures=2))
        tool = Pipeline("search", policy, Mode.ENFORCE, clock=clock, random=lambda: 0.5, listener=log.append)
        for seconds, what, jump in history:
            clock.tick(seconds)
            wall += seconds + (jump if jumps else 0.0)
            if isinstance(what, Action):
                tool.override(what, Override("incident 7", "ann", 20.0))
            elif what == "lift":
                tool.reset()
            else:
                answer = tool.admit()
                if isinstance(answer, Refusal):
                    said.append((answer.outcome, answer.retry_after, answer.state))
                else:
                    said.append((answer.state, answer.probe))
                    tool.settle(answer, what, seconds=0.0)
            view = tool.view()
            circuit = view.circuit
            said.append((view.disabled, view.in_flight, circuit and replace(circuit, since=0.0)))
    return [*said, log]


@given(st.lists(STEP, max_size=30))
def test_jumps_of_the_wall_clock_change_nothing(history: list[tuple[float, Any, float]]) -> None:
    """NTP, suspend, a summer time: answers, views, overrides and transitions stay what they are (property 13)."""
    assert run(history, jumps=True) == run(history, jumps=False)


@given(st.floats(0, 1), st.floats(0, 0.999), st.integers(0, 6), st.none() | st.floats(0.5, 1000))
def test_every_opening_lasts_as_long_as_it_says(
    jitter: float, draw: float, reopens: int, retry_after: float | None
) -> None:
    """Whatever opens it, a circuit refuses for [d, d (1 + jitter)], and a probe comes right after that (13)."""
    clock, log, draws = Clock(), [], []

    def random() -> float:
        draws.append(draw)
        return draw

    policy = Policy(circuit=Circuit(failures=1, jitter=jitter))
    tool = Pipeline("search", policy, Mode.ENFORCE, clock=clock, random=random, listener=log.append)
    for opening in range(reopens + 1):
        attempt = tool.admit()
        assert not isinstance(attempt, Refusal)
        tool.settle(attempt, Verdict.FAILURE, retry_after)
        asked = min(480.0, 60.0 * 2**opening if retry_after is None else retry_after)
        lasts = log[-1].retry_after
        assert asked * (1 - 1e-12) <= lasts <= asked * (1 + jitter) * (1 + 1e-12)
        refusals = [tool.admit() for _ in range(3)]
        assert {refusal.retry_after for refusal in refusals if isinstance(refusal, Refusal)} == {lasts}
        clock.tick(lasts + 1e-6)
    assert len(draws) == reopens + 1  # once per opening, not per question
