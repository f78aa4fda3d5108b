"""Kill switch, bulkhead and circuit of one tool, in both modes, and the accounting of its calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tools.errors import CallRefused, CircuitOpen, ToolDisabled
from otel_tools.policy import Attempt, Circuit, Mode, Outcome, Pipeline, Policy, Refusal, Transition, Verdict
from tests.policy.tools import Clock

SUCCESS, FAILURE, NEUTRAL = Verdict.SUCCESS, Verdict.FAILURE, Verdict.NEUTRAL
ENFORCE, OBSERVE = Mode.ENFORCE, Mode.OBSERVE


def pipeline(mode: Mode = ENFORCE, clock: Clock | None = None, listener: Any = None, **policy: Any) -> Pipeline:
    """A pipeline whose circuit has no jitter."""
    policy = {"circuit": Circuit(jitter=0.0), **policy}
    return Pipeline("search", Policy(**policy), mode, clock=clock or Clock(), random=lambda: 0.0, listener=listener)


def admitted(pipeline: Pipeline, *, worker: bool = False) -> Attempt:
    attempt = pipeline.admit(worker)
    assert isinstance(attempt, Attempt)
    return attempt


def refused(pipeline: Pipeline, *, worker: bool = False) -> Refusal:
    refusal = pipeline.admit(worker)
    assert isinstance(refusal, Refusal)
    return refusal


def fail(pipeline: Pipeline, times: int = 3) -> None:
    for _ in range(times):
        pipeline.settle(admitted(pipeline), FAILURE)


def test_an_admitted_call() -> None:
    """An attempt says what applies to it, and settling it leaves nothing behind (property 2)."""
    tool = pipeline(timeout=5.0)
    attempt = admitted(tool)
    assert (attempt.timeout, attempt.limit, attempt.state, attempt.probe) == (5.0, 5.0, "closed", False)
    assert (attempt.would_refuse, tool.in_flight) == (None, 1)
    tool.settle(attempt, SUCCESS)
    assert (tool.in_flight, tool.abandoned) == (0, 0)


def test_an_open_circuit_refuses() -> None:
    """A refusal carries outcome, time and state, and what it raises is the error of that situation (property 2)."""
    clock = Clock()
    tool = pipeline(clock=clock)
    fail(tool)
    clock.tick(15)
    refusal = refused(tool)
    assert (refusal.outcome, refusal.retry_after, refusal.state) == (Outcome.CIRCUIT_OPEN, 45, "open")
    error = refusal.error()
    assert type(error) is CircuitOpen
    assert str(error) == "search is unavailable, its circuit is open; retry after 45 s"
    assert tool.in_flight == 0
    clock.tick(45)
    probe = admitted(tool)
    assert (probe.probe, probe.state, refused(tool).state) == (True, "half_open", "half_open")


def test_refusals_share_nothing() -> None:
    """Each refusal raises an exception of its own, so that tracebacks do not grow with refusals (property 11)."""
    tool = pipeline()
    fail(tool)
    seen, lengths = set(), set()
    kept = []
    for _ in range(1000):
        refusal = refused(tool)
        for _ in range(2):
            try:
                raise refusal.error()
            except CallRefused as error:
                kept.append(error)
                seen.add(id(error))
                traceback, length = error.__traceback__, 0
                while traceback is not None:
                    traceback, length = traceback.tb_next, length + 1
                lengths.add(length)
    assert (len(seen), lengths) == (2000, {1})


@pytest.mark.parametrize("mode", list(Mode))
def test_the_kill_switch_works_in_both_modes(mode: Mode) -> None:
    """A disabled tool refuses every call until it is enabled or its time is over (property 12)."""
    clock = Clock()
    tool = pipeline(mode, clock)
    tool.disable("leaks data", "ann", 20)
    clock.tick(5)
    refusal = refused(tool)
    assert (refusal.outcome, refusal.retry_after, refusal.detail) == (Outcome.DISABLED, 15, "leaks data")
    assert type(refusal.error()) is ToolDisabled
    view = tool.view().disabled
    assert view is not None
    assert (view.reason, view.actor, view.expires_after) == ("leaks data", "ann", 15)
    clock.tick(14.5)
    assert refused(tool).retry_after == 0.5
    clock.tick(0.5)
    assert tool.view().disabled is None
    tool.settle(admitted(tool), SUCCESS)
    tool.disable("leaks data", "ann")
    assert refused(tool).retry_after is None
    tool.enable()
    admitted(tool)


def test_the_kill_switch_goes_first() -> None:
    """A tool that is off says so even when its circuit is open and its bulkhead full (property 12)."""
    tool = pipeline(max_in_flight=1)
    fail(tool)
    tool.disable("leaks data", "ann")
    assert refused(tool).outcome is Outcome.DISABLED


@pytest.mark.parametrize("mode", list(Mode))
def test_an_operator_opens_the_circuit_in_both_modes(mode: Mode) -> None:
    """What an operator forces open refuses also where policy only observes, and without a circuit (property 12)."""
    tool = pipeline(mode, circuit=None)
    assert tool.view().circuit is None
    tool.force_open("incident 7", "ann")
    assert refused(tool).outcome is Outcome.CIRCUIT_OPEN
    circuit = tool.view().circuit
    assert circuit is not None
    assert circuit.state == "forced_open"
    tool.reset()
    tool.settle(admitted(tool), SUCCESS)


def test_a_bypassed_circuit_counts_nothing() -> None:
    """With its breaker switched off a tool is called however often it fails, until the reset (property 12)."""
    tool = pipeline()
    tool.bypass("too touchy", "ann")
    fail(tool, 10)
    assert admitted(tool).state == "disabled"
    tool.reset()
    fail(tool)
    refused(tool)


def test_without_a_circuit_nothing_is_counted() -> None:
    """A policy without a circuit breaker admits after any number of failures (property 2)."""
    tool = pipeline(circuit=None)
    fail(tool, 20)
    admitted(tool)


def test_observing_refuses_nothing() -> None:
    """In observe mode there is no deadline, and a call says what enforcing would have done with it (property 12)."""
    clock = Clock()
    tool = pipeline(OBSERVE, clock, timeout=5.0, max_in_flight=1)
    first = admitted(tool)
    assert (first.timeout, first.limit, first.would_refuse) == (None, 5.0, None)
    second = admitted(tool)
    assert (second.would_refuse, second.state, second.probe) == (Outcome.BULKHEAD_FULL, "closed", False)
    tool.settle(second, FAILURE)
    assert tool.in_flight == 1
    other = pipeline(OBSERVE, clock)
    fail(other)
    shadow = admitted(other)
    assert (shadow.would_refuse, shadow.state, shadow.probe) == (Outcome.CIRCUIT_OPEN, "open", False)
    other.settle(shadow, SUCCESS)
    assert (admitted(other).state, other.in_flight) == ("open", 1)


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, 30.0, 60.0, 130.0]), st.sampled_from(list(Verdict)), st.booleans()),
        max_size=40,
    )
)
def test_observing_tells_what_enforcing_does(history: list[tuple[float, Verdict, bool]]) -> None:
    """On the same history, observe mode has the same transitions and names the same refusals (property 12)."""
    logs: dict[Mode, list[Transition]] = {OBSERVE: [], ENFORCE: []}
    answers: dict[Mode, list[Outcome | None]] = {OBSERVE: [], ENFORCE: []}
    for mode, log in logs.items():
        clock = Clock()
        tool = pipeline(mode, clock, log.append)
        for seconds, verdict, says_when in history:
            clock.tick(seconds)
            answer = tool.admit()
            if isinstance(answer, Refusal):
                answers[mode].append(answer.outcome)
            else:
                answers[mode].append(answer.would_refuse)
                tool.settle(answer, verdict, 20.0 if says_when else None)
    assert logs[OBSERVE] == logs[ENFORCE]
    assert answers[OBSERVE] == answers[ENFORCE]


def test_the_lease_of_a_probe_outlasts_its_deadline() -> None:
    """A probe with a deadline holds its slot a second longer than that, not for the circuit's lease (property 6)."""
    clock = Clock()
    tool = pipeline(clock=clock, timeout=5.0)
    fail(tool)
    clock.tick(60)
    admitted(tool)
    assert refused(tool).retry_after == 6.0
    clock.tick(6.0)
    assert admitted(tool).probe


def test_a_new_policy_keeps_the_state() -> None:
    """Configuring a tool anew applies to the next call and leaves circuit and running calls alone (property 1)."""
    tool = pipeline()
    running = admitted(tool)
    fail(tool, 2)
    tool.configure(Policy(timeout=3.0, circuit=Circuit(failures=5, jitter=0), mode=OBSERVE), ENFORCE)
    assert (tool.mode, tool.timeout, tool.in_flight) == (OBSERVE, None, 1)
    fail(tool, 2)
    tool.settle(running, FAILURE)
    assert admitted(tool).would_refuse is Outcome.CIRCUIT_OPEN
