"""Kill switch, bulkhead and circuit of one tool, in both modes, and the accounting of its calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tools.errors import CallRefused, CircuitOpen, ToolDisabled
from otel_tools.policy import (
    Action,
    Attempt,
    Circuit,
    Mode,
    Outcome,
    Override,
    Pipeline,
    Policy,
    Refusal,
    Transition,
    Verdict,
)
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
    assert (refusal.name, refusal.outcome, refusal.retry_after) == ("search", Outcome.CIRCUIT_OPEN, 45)
    assert (refusal.state, refusal.detail) == ("open", "")
    error = refusal.error()
    assert type(error) is CircuitOpen
    assert str(error) == "search is unavailable, its circuit is open; retry after 45 s"
    assert str(CircuitOpen("search", 0.2)).endswith("; retry after 1 s")
    assert tool.in_flight == 0
    clock.tick(45)
    probe = admitted(tool)
    assert (probe.probe, probe.state, refused(tool).state) == (True, "half_open", "half_open")
    assert refused(tool).detail == "its probe is still running"


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
    assert (refusal.name, refusal.outcome, refusal.retry_after) == ("search", Outcome.DISABLED, 15)
    assert (refusal.detail, refusal.state) == ("leaks data", "closed")
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
    assert tool.view().states == {}
    tool.force_open("incident 7", "ann")
    assert (refused(tool).outcome, refused(tool).detail) == (Outcome.CIRCUIT_OPEN, "an operator opened it")
    view = tool.view()
    assert view.circuit is not None
    assert (view.circuit.state, view.mode, view.states) == ("forced_open", mode, {"forced_open": 1})
    tool.reset()
    tool.settle(admitted(tool), SUCCESS)


def test_what_an_operator_sets_says_who_and_why() -> None:
    """Each of the named ways sets reason, actor and end in the layer of this process (property 12)."""
    tool = pipeline()
    given = ("incident 7", "ann", 30.0)
    tool.disable(*given)
    tool.bypass(*given)
    bypassed = tool.view().circuit
    tool.force_open(*given)
    forced = tool.view().circuit
    assert bypassed is not None
    assert forced is not None
    assert (bypassed.state, forced.state) == ("disabled", "forced_open")
    assert {tool.view().disabled, bypassed.override, forced.override} == {Override(*given, "process")}


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


def _told(pipeline: Pipeline, clock: Clock, history: list[Any]) -> list[Outcome | None]:
    """What was refused, or would have been."""
    answers: list[Outcome | None] = []
    for seconds, verdict, says_when in history:
        clock.tick(seconds)
        answer = pipeline.admit()
        if isinstance(answer, Refusal):
            answers.append(answer.outcome)
        else:
            answers.append(answer.would_refuse)
            pipeline.settle(answer, verdict, 20.0 if says_when else None)
    return answers


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, 30.0, 60.0, 130.0]), st.sampled_from(list(Verdict)), st.booleans()),
        max_size=40,
    ),
    st.sampled_from([{}, {"failure_rate": 0.5, "window": 4, "minimum_calls": 2}]),
)
def test_a_shadow_tells_what_its_enforcing_twin_does(history: list[Any], settings: dict[str, Any]) -> None:
    """In observe mode and in `metrics_only`: the same transitions, marked, and the same refusals named (12)."""
    logs: dict[str, list[Transition]] = {"enforce": [], "observe": [], "metrics_only": []}
    answers = {}
    for kind, log in logs.items():
        clock = Clock()
        circuit = Circuit(jitter=0.0, **settings)
        tool = pipeline(OBSERVE if kind == "observe" else ENFORCE, clock, log.append, circuit=circuit)
        if kind == "metrics_only":
            tool.override(Action.METRICS_ONLY, Override("rolling it out", "ann"))
            log.clear()
        answers[kind] = _told(tool, clock, history)
        logs[kind] = [replace(one, sequence=number, shadow=False) for number, one in enumerate(log)]
        assert {one.shadow for one in log} <= {kind != "enforce"}
    assert logs["observe"] == logs["metrics_only"] == logs["enforce"]
    assert answers["observe"] == answers["metrics_only"] == answers["enforce"]


def test_metrics_only_refuses_nothing() -> None:
    """A call that the breaker would refuse runs, says so, and is not counted; limits of other kinds act (12)."""
    clock = Clock()
    tool = pipeline(clock=clock, max_in_flight=2, timeout=5.0)
    tool.override(Action.METRICS_ONLY, Override("rolling it out", "ann"))
    fail(tool)
    shadow = admitted(tool)
    assert (shadow.would_refuse, shadow.state, shadow.timeout) == (Outcome.CIRCUIT_OPEN, "open", 5.0)
    tool.settle(shadow, SUCCESS)
    circuit = tool.view().circuit
    assert circuit is not None
    assert (circuit.state, circuit.automatic) == ("metrics_only", "open")
    running = [admitted(tool), admitted(tool)]
    assert refused(tool).outcome is Outcome.BULKHEAD_FULL
    for attempt in running:
        tool.settle(attempt, FAILURE)
    clock.tick(60)
    probe = admitted(tool)
    assert (probe.would_refuse, probe.probe, tool.in_flight) == (None, True, 1)
    tool.lift(Action.METRICS_ONLY, "process")
    assert refused(tool).state == "half_open"


def test_the_kill_switch_of_either_layer_holds() -> None:
    """A tool is off while one layer says so; shown is what holds longest, of equals the store's (property 12)."""
    clock = Clock()
    tool = pipeline(clock=clock)
    tool.disable("leaks data", "ann", 20)
    tool.override(Action.DISABLE, Override("incident 7", "bob", 10, "store"))
    assert tool.view().disabled == Override("leaks data", "ann", 20)
    tool.enable()
    assert (refused(tool).detail, refused(tool).retry_after) == ("incident 7", 10)
    tool.disable("leaks data", "ann", 10)
    assert tool.view().disabled == Override("incident 7", "bob", 10, "store")
    tool.lift(Action.DISABLE, "store")
    assert tool.view().disabled == Override("leaks data", "ann", 10)
    tool.reset()
    assert not tool.idle
    clock.tick(10)
    assert tool.idle
    tool.settle(admitted(tool), SUCCESS)
    tool.disable("again", "ann")
    assert refused(tool).detail == "again"


def test_a_slow_call_counts_as_a_failure() -> None:
    """A success that took too long counts against the circuit, a neutral call does not; a slow probe failed (3, 5)."""
    clock = Clock()
    tool = pipeline(clock=clock, circuit=Circuit(jitter=0.0, failures=2, slow_after=4.0))
    assert tool.timed
    for verdict, seconds in ((SUCCESS, 4.0), (NEUTRAL, 9.0), (SUCCESS, 3.9), (SUCCESS, 9.0), (SUCCESS, 4.0)):
        tool.settle(admitted(tool), verdict, seconds=seconds)
    clock.tick(60)
    tool.settle(admitted(tool), SUCCESS, seconds=5.0)
    circuit = tool.view().circuit
    assert circuit is not None
    assert (circuit.state, circuit.reopens) == ("open", 1)


def test_a_call_without_a_duration_is_not_slow() -> None:
    """Who settles a call without saying how long it took says nothing against it (property 3)."""
    tool = pipeline(circuit=Circuit(failures=1, slow_after=0.5))
    tool.settle(admitted(tool), SUCCESS)
    assert admitted(tool).state == "closed"


def test_the_jitter_is_the_pipelines() -> None:
    """The numbers of the given source decide how long its circuit stays open (property 13)."""
    tool = Pipeline(
        "search", Policy(circuit=Circuit(failures=1, jitter=1.0)), ENFORCE, clock=Clock(), random=lambda: 0.5
    )
    fail(tool, 1)
    assert refused(tool).retry_after == 90


def test_opened_by_others_and_seen_by_them() -> None:
    """What they saw must still be so; then they decide when the next probe may be made (property 8)."""
    clock = Clock()
    tool = pipeline(clock=clock)
    tool.open_for(30.0, None)
    seen = tool.opening
    tool.open_for(100.0, None)
    assert refused(tool).retry_after == 30
    tool.open_for(0.0, seen)
    tool.settle(admitted(tool), FAILURE)
    tool.open_for(1.0, seen)
    assert refused(tool).retry_after == 120


def test_time_is_measured_only_where_it_counts() -> None:
    """A pipeline says whether it needs to know how long calls took (property 3)."""
    assert not pipeline().timed
    assert not pipeline(circuit=None).timed
    assert pipeline(circuit=Circuit(min_span=1.0)).timed


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
