"""The circuit breaker under threads, forks and faulty listeners."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import pytest

from otel_tools import errors
from otel_tools.policy import (
    Action,
    Circuit,
    CircuitBreaker,
    CircuitState,
    Override,
    Permit,
    Rejection,
    Transition,
    Verdict,
)
from otel_tools.policy.generation import Generation
from tests.policy.tools import Clock, at_once, held, in_child

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


@pytest.mark.usefixtures("_many_switches")
def test_one_probe_among_many_threads() -> None:
    """Of 16 threads at a half-open circuit one probes, 150 times over (properties 4 and 11)."""
    clock = Clock()
    circuit = half_open(clock, max_reset_after=60.0)
    for _ in range(150):
        answers = at_once(16, lambda _: circuit.acquire())
        probes = [answer for answer in answers if isinstance(answer, Permit)]
        assert [probe.probe for probe in probes] == [True]
        assert {answer.state for answer in answers if isinstance(answer, Rejection)} == {"half_open"}
        circuit.record(probes[0], FAILURE)
        assert circuit.view().state == "open"
        clock.tick(60)


@pytest.mark.usefixtures("_many_switches")
def test_no_failure_is_lost() -> None:
    """Failures of 8 threads are all counted; the circuit opens once, exactly at the threshold (properties 3, 15)."""
    log: list[Transition] = []
    circuit = breaker(listener=log.append, failures=8 * 200)
    permits = [[circuit.acquire() for _ in range(200)] for _ in range(8)]
    last = permits[0].pop()
    at_once(8, lambda number: [circuit.record(permit, FAILURE) for permit in permits[number]])
    assert (circuit.view().state, circuit.view().failures) == ("closed", 1599)
    circuit.record(last, FAILURE)
    assert log == [Transition("search", CircuitState.CLOSED, CircuitState.OPEN, "threshold", 60.0, 1)]


@pytest.mark.usefixtures("_many_switches")
def test_events_of_many_threads_are_a_path() -> None:
    """Whatever threads do at once, the transitions in order of their sequence follow one another (property 15)."""
    clock, log = Clock(), []
    circuit = breaker(clock, log.append, failures=1, lease=5.0)

    def use(number: int) -> None:
        for step in range(200):
            answer = circuit.acquire()
            clock.tick(1.0)
            if isinstance(answer, Permit):
                circuit.record(answer, list(Verdict)[(number + step) % 3])

    assert at_once(8, use) == [None] * 8
    log.sort(key=lambda transition: transition.sequence)
    assert [transition.sequence for transition in log] == list(range(1, len(log) + 1))
    assert ["closed", *(transition.to for transition in log[:-1])] == [transition.from_ for transition in log]
    assert {transition.to for transition in log} == {"open", "half_open", "closed"}


def test_a_faulty_listener_changes_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A listener that raises, or calls the breaker, gets neither in the way nor into a deadlock (property 19)."""
    monkeypatch.setattr(errors, "raise_internal_errors", False)
    monkeypatch.setattr(errors, "_reported", set())
    states = []

    def listener(transition: Transition) -> None:
        states.append((transition.to, circuit.view().state))
        circuit.acquire()
        if transition.to == "open":
            circuit.override(Action.BYPASS, Override("by the listener", "listener"))
        raise RuntimeError("exporter is down")

    circuit = breaker(listener=listener)
    fail(circuit, 3)
    assert states == [("open", "open"), ("disabled", "disabled")]
    assert [(record.getMessage(), record.exc_info[0]) for record in caplog.records if record.exc_info] == [
        (
            "otel-tools failed while telling of a circuit breaker's transition; the program goes on (reported once)",
            RuntimeError,
        )
    ]


def test_a_blocking_listener_blocks_nobody_else() -> None:
    """While a listener hangs, other threads use the breaker: it is called outside the lock (property 19)."""
    entered, release = threading.Event(), threading.Event()

    def listener(_: Transition) -> None:
        entered.set()
        assert release.wait(20)

    circuit = breaker(listener=listener)
    permits = [circuit.acquire() for _ in range(3)]
    opener = threading.Thread(target=lambda: [circuit.record(permit, FAILURE) for permit in permits])
    opener.start()
    assert entered.wait(20)
    rejection = circuit.acquire()
    release.set()
    opener.join()
    assert isinstance(rejection, Rejection)


def test_a_finaliser_may_report_in_the_middle_of_a_report() -> None:
    """The garbage collector may end a call while this thread holds the lock: no deadlock, one opening (property 19)."""
    clock, log = Clock(), []
    circuit = CircuitBreaker(
        "search", Circuit(failures=1, jitter=0), clock=clock, listener=log.append, random=lambda: 0
    )
    permits = [circuit.acquire(), circuit.acquire()]

    def reentrant() -> float:  # called under the lock, as a finaliser may be
        if len(permits) > 1:
            circuit.record(permits.pop(), FAILURE)
        return clock.now

    circuit._clock = reentrant
    circuit.record(permits[0], FAILURE)
    assert [(transition.from_, transition.to) for transition in log] == [("closed", "open")]


def test_a_finaliser_may_report_while_an_operator_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is collected in the middle of an override counts nowhere, and one change is told (property 19)."""
    clock, log = Clock(), []
    circuit = breaker(clock, log.append, failures=1)
    permits = [circuit.acquire()]

    def reentrant(*args: Any) -> Generation:
        if permits:
            circuit.record(permits.pop(), FAILURE)
        return Generation(*args)

    monkeypatch.setattr("otel_tools.policy.breaker.Generation", reentrant)
    circuit.override(Action.FORCE_OPEN, Override("incident 7", "ann", 30))
    assert [(transition.from_, transition.to) for transition in log] == [("closed", "forced_open")]
    assert (circuit.view().state, circuit.view().retry_after) == ("forced_open", 30)
    assert abs(circuit.view().since - time.time()) < 60
    clock.tick(30)
    assert isinstance(circuit.acquire(), Permit)


@pytest.mark.parametrize("action", [Action.FORCE_OPEN, Action.METRICS_ONLY])
@pytest.mark.parametrize("done", range(1, 4))
def test_fork_in_the_middle_of_an_override(monkeypatch: pytest.MonkeyPatch, action: Action, done: int) -> None:
    """Wherever another thread was in lifting an override when the process forked, the child gets past it (18)."""
    clock = Clock()
    circuit = breaker(clock, failures=1)
    circuit.override(action, Override("incident 7", "ann"))
    steps = iter(range(done))

    def step(circuit: CircuitBreaker, name: str, value: Any) -> None:
        if next(steps, None) is None:
            raise _Stopped
        object.__setattr__(circuit, name, value)

    with monkeypatch.context() as patch:
        patch.setattr(CircuitBreaker, "__setattr__", step, raising=False)
        with contextlib.suppress(_Stopped):
            circuit.lift(action, "process")
    circuit.after_fork()
    fail(circuit)
    rejection = circuit.acquire()
    assert isinstance(rejection, Rejection)
    assert not rejection.shadow
    clock.tick(60)
    assert isinstance(circuit.acquire(), Permit)


class _Stopped(Exception):
    """What another thread was doing when the process forked."""


def test_fork_while_another_thread_holds_the_lock() -> None:
    """A child forked at the worst moment can go on calling, in every state (property 18)."""
    clock = Clock()
    circuit = half_open(clock)

    def use() -> bool:
        probe = circuit.acquire()
        assert isinstance(probe, Permit)
        circuit.record(probe, SUCCESS)
        return circuit.view().state == "closed"

    with held(circuit._lock):
        assert in_child(use)
    assert circuit.view().state == "half_open"
