"""The circuit breaker, situation by situation, on a virtual clock."""

from __future__ import annotations

import time
from typing import Any

import pytest

from otel_tools.policy import (
    Action,
    Circuit,
    CircuitBreaker,
    Layer,
    Opening,
    Override,
    Permit,
    Rejection,
    Transition,
    Verdict,
)
from tests.policy.tools import Clock

SUCCESS, FAILURE, NEUTRAL = Verdict.SUCCESS, Verdict.FAILURE, Verdict.NEUTRAL


def breaker(clock: Clock | None = None, listener: Any = None, **settings: Any) -> CircuitBreaker:
    """A breaker without jitter that opens for 60 s."""
    circuit = Circuit(jitter=0.0, **settings)
    return CircuitBreaker("search", circuit, clock=clock or Clock(), random=lambda: 0.0, listener=listener)


def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        permit = breaker.acquire()
        assert isinstance(permit, Permit)
        breaker.record(permit, FAILURE)


def half_open(clock: Clock, **settings: Any) -> CircuitBreaker:
    """A breaker that would admit a probe now."""
    opened = breaker(clock, **settings)
    fail(opened, 3)
    clock.tick(60)
    return opened


def test_cancelled_probe_frees_its_slot() -> None:
    """After a neutral probe the very next call may probe, and no transition is told of (properties 5 and 6)."""
    clock, log = Clock(), []
    circuit = breaker(clock, log.append)
    fail(circuit, 3)
    clock.tick(60)
    for _ in range(3):
        probe = circuit.acquire()
        assert isinstance(probe, Permit)
        assert isinstance(circuit.acquire(), Rejection)
        circuit.record(probe, NEUTRAL)
        assert (circuit.view().state, circuit.view().probe_in_flight) == ("half_open", False)
    assert [(transition.to, transition.reason) for transition in log] == [
        ("open", "threshold"),
        ("half_open", "expired"),
    ]


def test_a_cancelled_probe_forgets_nothing() -> None:
    """A neutral probe leaves how often it reopened, and who had it opened, as they were (property 5)."""
    clock = Clock()
    circuit = half_open(clock)
    fail(circuit)
    clock.tick(120)
    circuit.record(circuit.acquire(), NEUTRAL)
    assert circuit.view().reopens == 1
    fail(circuit)
    assert (circuit.view().retry_after, circuit.view().reopens) == (240, 2)
    circuit.reset()
    circuit.open_for(30, None)
    clock.tick(30)
    circuit.record(circuit.acquire(), NEUTRAL)
    assert circuit.opening() == Opening(4, 0.0, remote=True)


@pytest.mark.parametrize("late", list(Verdict))
def test_lost_probe_expires(late: Verdict) -> None:
    """A probe that never returns holds its slot for the lease; what it says late changes nothing (properties 6, 7)."""
    clock, log = Clock(), []
    circuit = breaker(clock, log.append, lease=7.0)
    fail(circuit, 3)
    clock.tick(60)
    lost = circuit.acquire()
    clock.tick(6.0)
    rejection = circuit.acquire()
    assert isinstance(rejection, Rejection)
    assert (rejection.state, rejection.retry_after) == ("half_open", 1.0)
    clock.tick(1.0)
    probe = circuit.acquire()
    circuit.record(lost, late)
    assert circuit.view().probe_in_flight
    circuit.record(probe, FAILURE)
    assert (circuit.view().state, circuit.view().reopens) == ("open", 1)
    assert [transition.reason for transition in log] == ["threshold", "expired", "probe_lost", "probe_failure"]


def test_late_results_change_nothing() -> None:
    """Results of calls from before the circuit opened neither close it nor move its deadline (properties 7 and 8)."""
    clock = Clock()
    circuit = breaker(clock)
    late = [circuit.acquire() for _ in range(4)]
    fail(circuit, 3)
    clock.tick(10)
    circuit.record(late[0], SUCCESS)
    circuit.record(late[1], FAILURE, retry_after=400)
    assert (circuit.view().state, circuit.view().retry_after) == ("open", 50)
    clock.tick(50)
    probe = circuit.acquire()
    circuit.record(late[2], FAILURE)
    assert circuit.view().probe_in_flight
    circuit.record(probe, SUCCESS)
    circuit.record(late[3], FAILURE)
    assert (circuit.view().state, circuit.view().failures) == ("closed", 0)


def test_a_permit_counts_once() -> None:
    """Reporting a call twice, also with another verdict, changes nothing (property 9)."""
    circuit = breaker()
    permit = circuit.acquire()
    for verdict in (FAILURE, FAILURE, SUCCESS, FAILURE):
        circuit.record(permit, verdict)
    assert circuit.view().failures == 1
    good = circuit.acquire()
    circuit.record(good, NEUTRAL)
    circuit.record(good, SUCCESS)
    circuit.record(good, FAILURE)
    assert circuit.view().failures == 1


def test_a_success_that_was_told_is_no_failure_later() -> None:
    """The first report counts also where it changes nothing (property 9)."""
    circuit = breaker(failures=1)
    for verdict in (SUCCESS, NEUTRAL):
        permit = circuit.acquire()
        circuit.record(permit, verdict)
        circuit.record(permit, FAILURE)
    assert circuit.view().state == "closed"


def test_a_lease_of_its_own() -> None:
    """A lease that is given goes before the one of the settings, and other settings before both (property 6)."""
    clock = Clock()
    circuit = CircuitBreaker("search", Circuit(jitter=0.0, lease=50.0), lease=7.0, clock=clock)
    for lease in (7.0, 30.0):
        fail(circuit, 3)
        clock.tick(60)
        probe = circuit.acquire()
        assert circuit.view().retry_after == lease
        circuit.record(probe, SUCCESS)
        circuit.configure(Circuit(jitter=0.0, lease=30.0))


def test_a_healthy_circuit_takes_no_lock() -> None:
    """Admission and success of a closed circuit are lock-free, before and after failures, and once reopened (2)."""
    clock = Clock()
    circuit = breaker(clock)
    for history in ((), (FAILURE, SUCCESS), (FAILURE, FAILURE, FAILURE)):
        for verdict in history:
            circuit.record(circuit.acquire(), verdict)
        if history[1:] == (FAILURE, FAILURE):
            clock.tick(60)
            circuit.record(circuit.acquire(), SUCCESS)
        lock, circuit._lock = circuit._lock, None
        for verdict in (SUCCESS, NEUTRAL):
            circuit.record(circuit.acquire(), verdict)
        circuit._lock = lock


def test_neutral_hides_no_outage() -> None:
    """Arguments the model got wrong, between failures, neither count nor reset the count (property 3)."""
    circuit = breaker()
    for verdict in (FAILURE, NEUTRAL, FAILURE, NEUTRAL, NEUTRAL, FAILURE):
        permit = circuit.acquire()
        circuit.record(permit, verdict)
    assert circuit.view().state == "open"


def test_reopening_backs_off() -> None:
    """Each failed probe doubles the open time, up to the cap; a success starts over (property 5)."""
    clock = Clock()
    circuit = breaker(clock, max_reset_after=200.0)
    fail(circuit, 3)
    waits = []
    for _ in range(5):
        waits.append(circuit.view().retry_after)
        clock.tick(waits[-1] or 0)
        fail(circuit)
    assert waits == [60, 120, 200, 200, 200]
    clock.tick(200)
    circuit.record(circuit.acquire(), SUCCESS)
    fail(circuit, 3)
    assert (circuit.view().retry_after, circuit.view().reopens) == (60, 0)


@pytest.mark.parametrize(("asked", "waits"), [(5.0, 5.0), (0.5, 0.5), (1e9, 480.0), (0.0, 0.0), (float("nan"), 0.0)])
def test_the_dependency_says_when(asked: float, waits: float) -> None:
    """A failure with `Retry-After` opens at once for that long, up to the cap; nonsense is ignored (property 3)."""
    log: list[Transition] = []
    circuit = breaker(listener=log.append)
    circuit.record(circuit.acquire(), FAILURE, retry_after=asked)
    assert circuit.view().retry_after == waits
    assert [(one.reason, one.retry_after) for one in log] == ([("retry_after", waits)] if waits else [])


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_jitter_is_drawn_once_per_opening(draw: float) -> None:
    """The open time lies in [d, d (1 + jitter)] and is the same for everyone who asks (property 13)."""
    draws: list[float] = []
    circuit = CircuitBreaker("search", Circuit(jitter=0.2), clock=Clock(), random=lambda: draws.append(draw) or draw)
    fail(circuit, 3)
    answers = {circuit.acquire().retry_after for _ in range(5)}
    assert (answers, draws) == ({circuit.view().retry_after}, [draw])
    assert answers.pop() == pytest.approx(60 * (1 + 0.2 * draw))


def override(
    circuit: CircuitBreaker, action: Action, expires_after: float | None = None, *, layer: Layer = "process"
) -> None:
    circuit.override(action, Override("incident 7", "ann", expires_after, layer))


def test_an_operator_goes_first() -> None:
    """A forced-open circuit admits nothing, a disabled breaker everything, whatever the calls say (property 12)."""
    clock, log = Clock(), []
    circuit = breaker(clock, log.append)
    running = circuit.acquire()
    override(circuit, Action.BYPASS, 100)
    fail(circuit, 10)
    assert circuit.view().state == "disabled"
    circuit.override(Action.FORCE_OPEN, Override("incident 8", "bob", 30))
    override(circuit, Action.BYPASS, 50)
    circuit.record(running, SUCCESS)
    rejection = circuit.acquire()
    assert isinstance(rejection, Rejection)
    assert (rejection.state, rejection.retry_after, rejection.shadow) == ("forced_open", 30, False)
    assert circuit.view().override == Override("incident 8", "bob", 30)
    clock.tick(30)
    assert isinstance(circuit.acquire(), Permit)
    assert circuit.view().state == "disabled"
    clock.tick(20)
    assert circuit.view().state == "closed"
    fail(circuit, 3)
    assert [(one.from_, one.to, one.reason, one.retry_after) for one in log] == [
        ("closed", "disabled", "manual", None),
        ("disabled", "forced_open", "manual", 30),
        ("forced_open", "disabled", "expired", None),
        ("disabled", "closed", "expired", None),
        ("closed", "open", "threshold", 60),
    ]


def test_an_override_without_an_end_is_lifted_by_hand() -> None:
    """Nothing tells when a circuit forced open for good admits again, and `reset` does it (property 12)."""
    clock = Clock()
    circuit = breaker(clock)
    override(circuit, Action.FORCE_OPEN)
    clock.tick(1e9)
    rejection = circuit.acquire()
    assert isinstance(rejection, Rejection)
    assert rejection.retry_after is None
    circuit.reset()
    assert isinstance(circuit.acquire(), Permit)
    assert circuit.view().override is None


def test_layers_do_not_touch_each_other() -> None:
    """What the store says holds when this process lifts its own or resets, and the other way (property 12)."""
    clock = Clock()
    circuit = breaker(clock)
    override(circuit, Action.FORCE_OPEN, 30)
    override(circuit, Action.FORCE_OPEN, 20, layer="store")
    override(circuit, Action.FORCE_OPEN, 10, layer="store")  # in place of the last one
    assert circuit.view().override == Override("incident 7", "ann", 30, "process")
    circuit.lift(Action.FORCE_OPEN, "process")
    assert circuit.view().override == Override("incident 7", "ann", 10, "store")
    circuit.reset()
    assert circuit.view().state == "forced_open"
    override(circuit, Action.FORCE_OPEN, 10)
    shown = circuit.view().override
    assert shown is not None
    assert shown.layer == "store"  # of two that hold equally long
    circuit.lift(Action.FORCE_OPEN, "store")
    assert circuit.view().state == "forced_open"
    clock.tick(10)
    assert circuit.view().state == "closed"


def test_metrics_only_counts_and_refuses_nothing() -> None:
    """The breaker goes on in shadow; when it is lifted, what it says applies at once (property 12)."""
    clock, log = Clock(), []
    circuit = breaker(clock, log.append)
    fail(circuit, 2)
    override(circuit, Action.METRICS_ONLY, 100)
    fail(circuit)
    view = circuit.view()
    assert (view.state, view.automatic, view.retry_after, view.failures) == ("metrics_only", "open", 0.0, 0)
    clock.tick(40)
    rejection = circuit.acquire()
    assert isinstance(rejection, Rejection)
    assert (rejection.state, rejection.retry_after, rejection.shadow) == ("open", 20, True)
    circuit.lift(Action.METRICS_ONLY, "process")
    rejection = circuit.acquire()
    assert isinstance(rejection, Rejection)
    assert rejection.shadow is False
    names = ("closed", "metrics_only"), ("closed", "open"), ("metrics_only", "open")
    assert [(one.from_, one.to, one.reason, one.retry_after, one.shadow) for one in log] == [
        (*names[0], "manual", None, False),
        (*names[1], "threshold", 60, True),
        (*names[2], "manual", 20, False),
    ]


def test_an_expired_shadow_is_told_before_what_follows() -> None:
    """A failure after `metrics_only` has run out opens the circuit in earnest, whoever notices first (property 15)."""
    clock, log = Clock(), []
    circuit = breaker(clock, log.append)
    override(circuit, Action.METRICS_ONLY, 10)
    permits = [circuit.acquire() for _ in range(3)]
    clock.tick(10)
    assert circuit.view().state == "closed"
    for permit in permits:
        circuit.record(permit, FAILURE)
    assert [(one.to, one.reason, one.shadow) for one in log] == [
        ("metrics_only", "manual", False),
        ("closed", "expired", False),
        ("open", "threshold", False),
    ]


def test_what_ran_out_is_told_before_what_is_lifted() -> None:
    """Lifting an override that has run out tells that it did (property 15)."""
    clock, log = Clock(), []
    circuit = breaker(clock, log.append)
    override(circuit, Action.FORCE_OPEN, 10)
    override(circuit, Action.BYPASS, 20)
    clock.tick(10)
    circuit.lift(Action.BYPASS, "process")
    assert [(one.from_, one.to, one.reason) for one in log] == [
        ("closed", "forced_open", "manual"),
        ("forced_open", "disabled", "expired"),
        ("disabled", "closed", "manual"),
    ]


def test_out_of_the_shadow_when_a_probe_is_due() -> None:
    """A circuit whose open time is just over asks nobody to wait (property 1)."""
    clock, log = Clock(), []
    circuit = breaker(clock, log.append)
    override(circuit, Action.METRICS_ONLY)
    fail(circuit, 3)
    clock.tick(60)
    circuit.lift(Action.METRICS_ONLY, "process")
    assert (log[-1].to, log[-1].retry_after) == ("open", None)


def test_since_is_when_the_state_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """An override set anew does not begin its state anew; one that ran out ends when it did, not when noticed (1)."""
    clock = Clock()
    monkeypatch.setattr(time, "time", lambda: 5e8 + clock.now)
    circuit = breaker(clock)
    clock.tick(5)
    override(circuit, Action.FORCE_OPEN, 30)
    clock.tick(10)
    override(circuit, Action.FORCE_OPEN, 20)
    override(circuit, Action.BYPASS, 60)
    assert circuit.view().since == 5e8 + 1005
    clock.tick(25)
    assert (circuit.view().state, circuit.view().since) == ("disabled", 5e8 + 1035)
    circuit.acquire()
    assert (circuit.view().state, circuit.view().since) == ("disabled", 5e8 + 1035)
    clock.tick(100)
    assert (circuit.view().state, circuit.view().since) == ("closed", 5e8 + 1075)
    circuit.acquire()
    assert (circuit.view().state, circuit.view().since) == ("closed", 5e8 + 1075)


def test_reading_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view shows an open circuit whose time is over as half-open, takes no probe, and tells nobody (property 1)."""
    clock, log = Clock(), []
    monkeypatch.setattr(time, "time", lambda: 5e8 + clock.now)
    circuit = breaker(clock, log.append)
    fail(circuit, 3)
    clock.tick(10)
    opened = circuit.view()
    clock.tick(51)
    view = circuit.view()
    assert (opened.state, view.state, view.retry_after, view.probe_in_flight) == ("open", "half_open", 0.0, False)
    assert (opened.since, view.since) == (5e8 + 1000, 5e8 + 1060)  # on the wall clock
    assert len(log) == 1
    probe = circuit.acquire()
    assert isinstance(probe, Permit)
    assert probe.probe
