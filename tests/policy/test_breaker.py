"""The circuit breaker, situation by situation, on a virtual clock."""

from __future__ import annotations

import time
from typing import Any

import pytest

from otel_tools.policy import Circuit, CircuitBreaker, Permit, Rejection, Transition, Verdict
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


def test_an_operator_goes_first() -> None:
    """A forced-open circuit admits nothing, a disabled breaker everything, whatever the calls say (property 12)."""
    clock, log = Clock(), []
    circuit = breaker(clock, log.append)
    running = circuit.acquire()
    circuit.disable("too touchy", "ann", 100)
    fail(circuit, 10)
    assert circuit.view().state == "disabled"
    circuit.force_open("incident 7", "bob", 30)
    circuit.disable("too touchy", "ann", 50)
    circuit.record(running, SUCCESS)
    rejection = circuit.acquire()
    assert isinstance(rejection, Rejection)
    assert (rejection.state, rejection.retry_after) == ("forced_open", 30)
    override = circuit.view().override
    assert override is not None
    assert (override.reason, override.actor, override.expires_after) == ("incident 7", "bob", 30)
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
    circuit.force_open("incident 7", "bob")
    clock.tick(1e9)
    rejection = circuit.acquire()
    assert isinstance(rejection, Rejection)
    assert rejection.retry_after is None
    circuit.reset()
    assert isinstance(circuit.acquire(), Permit)
    assert circuit.view().override is None


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


def test_keys_are_independent() -> None:
    """What happens to one circuit leaves another one's view as it was (property 14)."""
    clock = Clock()
    one, other = breaker(clock), breaker(clock)
    before = other.view()
    fail(one, 3)
    assert (other.view().state, other.view().failures) == (before.state, before.failures)
    assert isinstance(other.acquire(), Permit)
