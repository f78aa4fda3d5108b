"""What must be true whenever everything has healed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from otel_tools import semconv as names
from otel_tools.policy import REFUSED
from otel_tools.policy.keyed import MAX_KEYS
from tests.simulation.counting import Step, total
from tests.simulation.tools import LIMIT, LONGEST_WAIT, Tool

if TYPE_CHECKING:
    from tests.simulation.run import Checkpoint, Simulation

MOST_LABELS = 256 + 1
"""Names on metrics, and the one that stands for the others."""

AUTOMATIC = ("closed", "open", "half_open")

TRIES = 8
"""Calls that a tool with a real deadline may need before one is fast enough."""

UNFILLED = 80
"""Objects of a class that may be added after the first half: the last sessions, errors and keys are kept."""

GROWTH = 256 * 1024
"""Bytes of our lines that may be added, likewise. One object more per call would be thousands, and megabytes."""


def answers(simulation: Simulation, tool: Tool, loop: asyncio.AbstractEventLoop) -> None:
    """No wedge: a tool whose dependency is healthy, and that no operator holds, is called, and its circuit closes."""
    for _ in range(TRIES if tool.deadline else 1):
        refused = simulation.doorstep.refused[tool.name]
        _call(simulation, tool, loop)
        view = simulation.engine.tools.get(tool.name).view()
        assert simulation.doorstep.refused[tool.name] == refused, f"{tool.name} is wedged: {view}"
        assert view.disabled is None, view
        if view.circuit is None or view.circuit.state == "closed":
            return
        simulation.wait_for_late_results()  # a real deadline, on a machine that was busy
        simulation.world.tick(LONGEST_WAIT)
    raise AssertionError(f"{tool.name} answers, and its circuit does not close: {view}")


def _call(simulation: Simulation, tool: Tool, loop: asyncio.AbstractEventLoop) -> None:
    callers = simulation.callers
    if tool.shape == "sync":
        callers.sync(tool)
    elif tool.shape == "generator":
        callers.generator(tool)
    else:
        loop.run_until_complete(callers.batch([tool]))


def everything(simulation: Simulation) -> None:
    """All that can be checked at any time when nothing runs."""
    points = simulation.signals.points()
    nothing_runs(simulation, points)
    sums_agree(simulation, points)
    labels_are_bounded(simulation, points)
    transitions_are_paths(simulation, points)


def nothing_runs(simulation: Simulation, points: dict[str, list[Any]]) -> None:
    """No call is in flight or abandoned, by views, metrics and policy's doorstep; each came out once."""
    for view in simulation.engine.tools.views():
        assert (view.in_flight, view.abandoned) == (0, 0), view
    assert total(points[names.TOOL_IN_FLIGHT.name], names.TOOL_NAME) == Counter()
    assert total(points.get(names.TOOL_ABANDONED.name, []), names.TOOL_NAME) == Counter()
    doorstep = simulation.doorstep
    assert (doorstep.inside, doorstep.settled_twice) == (0, 0)
    for name, admitted in doorstep.admitted.items():
        assert admitted == doorstep.verdicts(name), name


def sums_agree(simulation: Simulation, points: dict[str, list[Any]]) -> None:
    """Callers, ledger, spans and metrics tell the same of every tool; those refused are those not let in."""
    seen, ledger, doorstep = simulation.callers.seen, simulation.engine.ledger, simulation.doorstep
    exported = total(points[names.TOOL_CALLS.name], names.TOOL_NAME, names.OUTCOME)
    for name in simulation.tools:
        callers = +Counter({outcome: count for (tool, outcome), count in seen.items() if tool == name})
        told = +Counter(ledger.account("tool", name).outcomes)
        if "replaced" in callers:  # the fallback's value does not say what it stands for
            assert (callers["ok"], callers.total()) == (told["ok"], told.total()), name
        else:
            assert callers == told, name
        assert told == Counter({outcome: count for (tool, outcome), count in exported.items() if tool == name}), name
        assert doorstep.refused[name] == sum(told[outcome.value] for outcome in REFUSED), name
        assert doorstep.admitted[name] == told.total() - doorstep.refused[name], name
    assert exported.total() == seen.total() == simulation.signals.spans.outcomes.total()
    assert simulation.signals.logs.events[names.EVENT_TOOL_CALL] == seen.total()
    simulation.figures.calls = seen.total()
    simulation.figures.outcomes = Counter()
    for (_, outcome), count in seen.items():
        simulation.figures.outcomes[outcome] += count


def labels_are_bounded(simulation: Simulation, points: dict[str, list[Any]]) -> None:
    """However many names the model has invented, metrics have at most 257 of each label's values."""
    values: dict[str, set[Any]] = defaultdict(set)
    for found in points.values():
        for point in found:
            for label, value in point.attributes.items():
                values[label].add(value)
    simulation.figures.labels = {label: len(found) for label, found in sorted(values.items())}
    assert {label: count for label, count in simulation.figures.labels.items() if count > MOST_LABELS} == {}


class _Path:
    """Where the circuits of one tool are: what an operator set (on all of them), and each one by itself beneath it."""

    def __init__(self) -> None:
        self.set: str | None = None
        self.automatic: dict[str, str] = defaultdict(lambda: "closed")

    def follows(self, step: Step) -> bool:
        """Whether *step* begins where its circuit is, and may lead where it does; takes it."""
        if step.from_ in AUTOMATIC and step.to in AUTOMATIC:
            before, self.automatic[step.key] = self.automatic[step.key], step.to
            return before == step.from_
        beneath = self.automatic[step.key]
        before, self.set = self.set or beneath, None if step.to in AUTOMATIC else step.to
        if step.to in ("forced_open", "disabled"):  # these set aside what the breaker itself has found
            self.automatic[step.key] = "closed"
        return before == step.from_ and (self.set is not None or step.to == beneath)


def transitions_are_paths(simulation: Simulation, points: dict[str, list[Any]]) -> None:
    """Each circuit's transitions follow one another, and as many are exported as there were."""
    steps: list[Step] = []
    for told in simulation.signals.telemetry.paths.values():
        told.sort()
        assert [step.sequence for step in told] == list(range(1, len(told) + 1))
        path = _Path()
        for step in told:
            assert path.follows(step), (step, told)
        steps += told
    simulation.figures.transitions = Counter(f"{step.from_} -> {step.to} ({step.reason})" for step in steps)
    exported = total(points.get(names.CIRCUIT_TRANSITIONS.name, []), names.CIRCUIT_REASON)
    assert exported == Counter(step.reason for step in steps)


def no_growth(checkpoints: list[Checkpoint]) -> None:
    """Between the second and the last quarter there are no more objects, threads or bytes."""
    before, after = checkpoints[1], checkpoints[-1]
    more = after.objects - before.objects
    # an operator clears the circuits of all keys, and they come back: what a tool has of them is no leak, more is
    circuits = after.circuits - before.circuits
    assert circuits <= MAX_KEYS
    assert more.pop("Machine", 0) <= max(circuits, 0)
    for part in ("Generation", "Tally"):
        assert more.pop(part, 0) <= max(circuits, 0) + UNFILLED, (part, circuits)
    assert max(more.values(), default=0) <= UNFILLED, more
    assert after.memory - before.memory < GROWTH, (before.memory, after.memory)
    assert [checkpoint.threads for checkpoint in checkpoints] == [0] * len(checkpoints)


# --- threads --------------------------------------------------------------------------------------------------------
def worker_threads() -> int:
    """Worker threads that are alive."""
    return sum(thread.name == "otel-tools-worker" for thread in threading.enumerate())


def threads_retire() -> None:
    """Wait for the worker threads, which have nothing to do any more, to end."""
    deadline = time.monotonic() + LIMIT
    for thread in threading.enumerate():
        if thread.name == "otel-tools-worker":
            thread.join(deadline - time.monotonic())
            assert not thread.is_alive(), "a worker that is idle does not retire"
