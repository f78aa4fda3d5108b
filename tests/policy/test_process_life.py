"""Governed tools across threads, forks and the end of the process."""

from __future__ import annotations

import contextvars
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace

import otel_tools
from otel_tools.errors import BulkheadFull, CallTimeout
from otel_tools.policy import Circuit, Mode, Pipeline, Policy, Refusal, Verdict
from otel_tools.policy.circuit import Action, Override
from tests.policy.governed import CIRCUIT, LONG, Governed, governed
from tests.policy.tools import Clock, at_once, in_child
from tests.recorder import Recorder


@pytest.fixture
def engine(recorder: Recorder) -> Iterator[Governed]:
    """An engine on a virtual clock."""
    with governed(recorder) as found:
        yield found


# --- worker threads -------------------------------------------------------------------------------------------------
def test_a_worker_has_the_callers_context(engine: Governed) -> None:
    """A tool with a deadline sees the caller's variables, its session and its own span, in another thread (17)."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("outer")
    seen: list[Any] = []

    def search() -> None:
        session = otel_tools.current_session()
        span: Any = trace.get_current_span()
        seen.extend([variable.get(), session and session.name, span.name, threading.current_thread()])

    with otel_tools.session("support"):
        otel_tools.tool("search", timeout=LONG)(search)()
    assert seen[:3] == ["outer", "support", "execute_tool search"]
    assert seen[3] is not threading.current_thread()


class Gate:
    """Calls that hang until they are released, and how many were inside at once."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.open = threading.Event()
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self.open.wait(LONG)
        with self._lock:
            self.inside -= 1


def test_hung_calls_are_capped_and_come_back(engine: Governed) -> None:
    """Of 12 calls of a hung tool 4 run, another tool answers meanwhile, and in the end none is in flight (17)."""
    gate, came_back = Gate(), threading.Semaphore(0)
    hung = otel_tools.tool("hung", timeout=0.01, max_in_flight=4, circuit=None)(gate)
    other = otel_tools.tool("other", timeout=LONG)(lambda: "ok")
    pipeline = engine.pipeline("hung")
    returned = pipeline.returned

    def watched(attempt: Any) -> None:
        returned(attempt)
        came_back.release()

    pipeline.returned = watched  # type: ignore[method-assign]  # the end of abandoned work is told to nobody else
    answers = at_once(12, lambda _: hung())
    assert sorted(type(answer).__name__ for answer in answers) == ["BulkheadFull"] * 8 + ["CallTimeout"] * 4
    assert {type(answer) for answer in answers} == {BulkheadFull, CallTimeout}
    assert (gate.most, pipeline.in_flight, pipeline.abandoned, other()) == (4, 4, 4, "ok")
    gate.open.set()
    for _ in range(4):
        assert came_back.acquire(timeout=LONG)
    assert (pipeline.in_flight, pipeline.abandoned, hung()) == (0, 0, None)
    assert engine.recorder.points("otel_tools.tool.abandoned", gen_ai__tool__name="hung")[0]["value"] == 0


def test_tools_with_deadlines_nest(engine: Governed) -> None:
    """Tools that call tools, each with a deadline, 12 deep and in 4 threads: no deadlock (property 17)."""

    def body(depth: int) -> int:
        return 1 + tool(depth - 1) if depth else 0

    tool = otel_tools.tool("nested", timeout=LONG, max_in_flight=100)(body)
    assert at_once(4, lambda _: tool(12)) == [12] * 4
    assert engine.pipeline("nested").in_flight == 0


# --- forks ----------------------------------------------------------------------------------------------------------
def _open(tool: Pipeline) -> None:
    for _ in range(3):
        attempt = tool.admit()
        assert not isinstance(attempt, Refusal)
        tool.settle(attempt, Verdict.FAILURE)


def _probing(tool: Pipeline, clock: Clock) -> None:
    _open(tool)
    clock.tick(60)
    assert not isinstance(tool.admit(), Refusal)


STATES: dict[str, Callable[[Pipeline, Clock], None]] = {
    "closed": lambda tool, clock: None,
    "open": lambda tool, clock: _open(tool),
    "half_open": _probing,
    "forced_open": lambda tool, clock: tool.override(Action.FORCE_OPEN, Override("incident 7", "ann", 30.0)),
    "disabled": lambda tool, clock: tool.override(Action.BYPASS, Override("too touchy", "ann", 30.0)),
    "metrics_only": lambda tool, clock: tool.override(Action.METRICS_ONLY, Override("trying it", "ann", 30.0)),
}


@pytest.mark.parametrize("state", STATES)
def test_fork_in_any_state(state: str) -> None:
    """With another thread inside a call, a forked child has the circuit's state, none of the calls, and calls (18)."""
    clock = Clock()
    policy = Policy(circuit=Circuit(jitter=0, lease=30.0), max_in_flight=3)
    tool = Pipeline("search", policy, Mode.ENFORCE, clock=clock, random=lambda: 0.0)
    inside, leave = threading.Event(), threading.Event()

    def call() -> None:
        attempt = tool.admit()
        inside.set()
        assert leave.wait(LONG)
        assert not isinstance(attempt, Refusal)
        tool.settle(attempt, Verdict.SUCCESS)

    caller = threading.Thread(target=call)
    caller.start()
    assert inside.wait(LONG)
    STATES[state](tool, clock)

    def child() -> bool:
        view = tool.view()
        assert view.circuit is not None
        same = (view.circuit.state, view.in_flight, view.abandoned) == (state, 0, 0)
        clock.tick(61)  # by then every state lets somebody in
        attempt = tool.admit()
        assert not isinstance(attempt, Refusal)
        tool.settle(attempt, Verdict.SUCCESS)
        circuit = tool.view().circuit
        return same and circuit is not None and circuit.state == "closed"

    try:
        assert in_child(child)
    finally:
        leave.set()
        caller.join(LONG)
    view = tool.view()
    assert view.circuit is not None
    assert (view.circuit.state, view.in_flight) == (state, int(state == "half_open"))


def test_a_forked_child_makes_governed_calls(engine: Governed) -> None:
    """While a worker of the parent hangs, a forked child calls tools of every kind and ends (property 18)."""
    gate = Gate()
    hung = otel_tools.tool("hung", timeout=0.01, circuit=CIRCUIT)(gate)
    plain = otel_tools.tool("plain")(lambda: "ok")
    in_time = otel_tools.tool("in time", timeout=LONG)(lambda: "ok")
    with pytest.raises(CallTimeout):
        hung()
    try:
        assert in_child(lambda: (plain(), in_time(), engine.pipeline("hung").in_flight) == ("ok", "ok", 0))
        assert engine.pipeline("hung").in_flight == 1
    finally:
        gate.open.set()


# --- the end --------------------------------------------------------------------------------------------------------
def test_a_process_with_hung_tools_ends() -> None:
    """With 20 calls that hang for an hour the interpreter ends when the program does (property 18)."""
    program = """
import threading, time
assert threading.active_count() == 1
import otel_tools
assert threading.active_count() == 1, "importing has started a thread"
hang = otel_tools.tool("hang", timeout=0.01, max_in_flight=20, circuit=None)(lambda: time.sleep(3600))
for _ in range(20):
    try:
        hang()
    except otel_tools.CallTimeout:
        pass
print(otel_tools.circuits()["hang"].abandoned)
"""
    environment = {"OTEL_TOOLS_STORE": "false"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=environment,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "20\n", "")
