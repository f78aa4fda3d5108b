"""The accounting of calls: places, worker threads that do not come back, exactly-once settling."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from otel_tools.errors import BulkheadFull
from otel_tools.policy import Attempt, Circuit, Mode, Outcome, Pipeline, Policy, Refusal, Verdict
from tests.policy.tools import Clock, at_once, held, in_child

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


@pytest.mark.usefixtures("_many_switches")
def test_the_cap_holds_under_threads() -> None:
    """Of 16 threads no more than the cap are admitted at once, and no place stays empty (property 17)."""
    tool = pipeline(max_in_flight=4)
    for _ in range(50):
        answers = at_once(16, lambda _: tool.admit())
        running = [answer for answer in answers if isinstance(answer, Attempt)]
        assert len(running) == tool.in_flight == 4
        assert {type(answer.error()) for answer in answers if isinstance(answer, Refusal)} == {BulkheadFull}
        for attempt in running:
            tool.settle(attempt, SUCCESS)
    assert tool.in_flight == 0


def test_workers_are_capped_without_a_setting() -> None:
    """At most 16 calls of a tool hold worker threads; other calls of it are not limited (property 17)."""
    tool = pipeline(timeout=1.0)
    hung = [admitted(tool, worker=True) for _ in range(16)]
    assert refused(tool, worker=True).outcome is Outcome.BULKHEAD_FULL
    assert refused(tool, worker=True).detail == "16 calls in flight"
    extra = tool.admit()
    assert isinstance(extra, Attempt)
    for attempt in (*hung, extra):
        tool.settle(attempt, NEUTRAL)
    assert isinstance(tool.admit(worker=True), Attempt)


def test_a_setting_caps_workers_too() -> None:
    """A policy's own cap, lower or higher, is also that of calls in worker threads (property 17)."""
    for cap in (2, 20):
        tool = pipeline(timeout=1.0, max_in_flight=cap)
        assert [type(tool.admit(worker=True)) for _ in range(cap + 1)] == [Attempt] * cap + [Refusal]


def test_an_abandoned_call_keeps_its_place() -> None:
    """A timed-out call counts as in flight until its thread comes back (property 17)."""
    tool = pipeline(max_in_flight=1)
    attempt = admitted(tool)
    tool.settle(attempt, FAILURE, still_running=True)
    assert (tool.in_flight, tool.abandoned, refused(tool).outcome) == (1, 1, Outcome.BULKHEAD_FULL)
    circuit = tool.view().circuit
    assert circuit is not None
    assert circuit.failures == 1
    assert (tool.view().in_flight, tool.view().abandoned, tool.view().max_in_flight) == (1, 1, 1)
    tool.returned(attempt)
    tool.returned(attempt)
    tool.settle(attempt, FAILURE, still_running=True)
    assert (tool.in_flight, tool.abandoned) == (0, 0)


def test_a_thread_may_come_back_before_its_call_is_settled() -> None:
    """When the thread returns just before the call is settled as still running, no place is lost (property 17)."""
    tool = pipeline(max_in_flight=1)
    attempt = admitted(tool)
    tool.returned(attempt)
    assert tool.in_flight == 1
    tool.settle(attempt, FAILURE, still_running=True)
    assert (tool.in_flight, tool.abandoned) == (0, 0)


@pytest.mark.parametrize("still_running", [False, True])
def test_an_attempt_counts_once(still_running: bool) -> None:
    """Of several reports, also from threads at once, one counts (property 9)."""
    tool = pipeline(circuit=Circuit(failures=1000, jitter=0))
    for _ in range(50):
        attempt = admitted(tool)
        at_once(4, lambda _, it=attempt: tool.settle(it, FAILURE, still_running=still_running))
        tool.returned(attempt)
    circuit = tool.view().circuit
    assert circuit is not None
    assert (circuit.failures, tool.in_flight) == (50, 0)


def test_a_bulkhead_refusal_is_no_failure() -> None:
    """Calls refused for want of a place neither count for the circuit nor take its probe (property 5)."""
    clock = Clock()
    tool = pipeline(clock=clock, max_in_flight=1)
    running = admitted(tool)
    assert {refused(tool).outcome for _ in range(5)} == {Outcome.BULKHEAD_FULL}
    tool.settle(running, FAILURE)
    fail(tool, 2)
    clock.tick(60)
    probe = admitted(tool)
    assert (refused(tool).outcome, refused(tool).state) == (Outcome.BULKHEAD_FULL, "half_open")
    tool.settle(probe, NEUTRAL)
    tool.settle(admitted(tool), SUCCESS)
    assert admitted(tool).state == "closed"


def test_sums_agree() -> None:
    """Admitted calls are those settled and those in flight, for every mix of endings (property 19)."""
    tool = pipeline(circuit=None)
    attempts = [admitted(tool) for _ in range(60)]
    for attempt, verdict in zip(attempts[:40], itertools.cycle(Verdict), strict=False):
        tool.settle(attempt, verdict, still_running=verdict is FAILURE)
    assert (tool.in_flight, tool.abandoned) == (20 + 13, 13)


def test_fork_forgets_the_calls_of_other_threads() -> None:
    """In a forked child the calls of threads that do not exist there hold no place (property 18)."""
    tool = pipeline(max_in_flight=2)
    admitted(tool)
    tool.settle(admitted(tool), FAILURE, still_running=True)
    with held(tool._lock):
        assert in_child(lambda: [type(tool.admit()) for _ in range(3)] == [Attempt, Attempt, Refusal])
    assert tool.in_flight == 2


def test_hung_calls_are_capped_where_calls_are_not() -> None:
    """Calls of a client have no cap; but none is made while 16 hang in worker threads (property 17)."""
    client = pipeline(timeout=1.0, circuit=None)
    running = [admitted(client) for _ in range(40)]
    for attempt in running[:16]:
        client.settle(attempt, FAILURE, still_running=True)
    assert (refused(client).outcome, refused(client).detail) == (Outcome.BULKHEAD_FULL, "16 calls in flight")
    client.returned(running[0])
    assert isinstance(client.admit(), Attempt)
