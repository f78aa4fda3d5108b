"""One simulation: traffic, operators, forks; at the end of each quarter everything heals and is checked."""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from unittest import mock

import otel_tools
from otel_tools import workers
from otel_tools.config import load
from otel_tools.engine import Engine, activate
from otel_tools.policy.circuit import Action, Override
from tests.policy.tools import in_child
from tests.simulation import checks
from tests.simulation.callers import Callers
from tests.simulation.counting import Doorstep, Signals, live_objects
from tests.simulation.tools import LIMIT, LONGEST_WAIT, Tool, Toolbox
from tests.simulation.world import HOUR, World

LONGEST_OVERRIDE = 150.0
QUARTERS = 4


@dataclass
class Checkpoint:
    """What is alive when everything has healed.

    Args:
        objects: By class.
        memory: Bytes that our lines allocated.
        series: Combinations of label values on metrics.
        threads: Worker threads.
        circuits: Circuits that the tools have, those of single keys among them.
    """

    now: float
    objects: Counter[str]
    memory: int
    series: int
    threads: int
    circuits: int


@dataclass
class Figures:
    """What a simulation did and found."""

    hours: float
    seed: int
    calls: int = 0
    seconds: float = 0.0
    done: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    transitions: Counter[str] = field(default_factory=Counter)
    labels: dict[str, int] = field(default_factory=dict)
    checkpoints: list[Checkpoint] = field(default_factory=list)


class Simulation:
    """The program, its world, and what is known of both.

    Args:
        hours: Virtual time.
        seed: Of every die that is cast.
        steps: Things that happen; most are several calls.
        names: Tool names that the model invents; all of them in the first half, with enough steps.
    """

    def __init__(self, hours: float = 1.0, seed: int = 7, steps: int = 6200, names: int = 2000) -> None:
        self.world = World(seed, hours * HOUR)
        self.figures = Figures(hours, seed)
        self.signals, self.doorstep = Signals(), Doorstep()
        settings = load({"OTEL_TOOLS_STORE": "false"}, overrides=Toolbox.settings())
        self.engine = Engine(settings, self.signals.telemetry, clock=self.world.clock)
        self.tools: dict[str, Tool] = {}
        self.invented: list[str] = []
        self.callers = Callers(self.world)
        self._steps, self._names = steps, names
        self._overridden: set[str] = set()

    @contextlib.contextmanager
    def _running(self) -> Iterator[asyncio.AbstractEventLoop]:
        """The engine at work, an event loop, workers that soon retire."""
        activate(self.engine)
        self.tools = {tool.name: tool for tool in Toolbox(self.world).tools()}
        loop = asyncio.new_event_loop()
        tracemalloc.start()
        try:
            with self.doorstep.watching(), mock.patch.object(workers, "_IDLE_SECONDS", 0.2):
                yield loop
        finally:
            tracemalloc.stop()
            self.world.release()
            loop.close()
            activate(None)
            self.signals.close()

    def run(self) -> Figures:
        """Everything.

        Raises:
            AssertionError: Something wedged, leaked, or does not add up.
        """
        began = time.perf_counter()
        with self._running() as loop:
            for _ in range(QUARTERS):
                self._traffic(loop, self.world.now + self.world.length / QUARTERS)
                self._heal(loop)
                checks.everything(self)
                self.figures.checkpoints.append(self._checkpoint())
            checks.no_growth(self.figures.checkpoints)
        self.figures.seconds = time.perf_counter() - began
        return self.figures

    # --- what happens -------------------------------------------------------------------------------------------
    def _traffic(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        world, gap = self.world, self.world.length / self._steps
        happens: dict[Callable[[asyncio.AbstractEventLoop], None], float] = {
            self._sync: 30,
            self._asynchronous: 30,
            self._generator: 8,
            self._linger: 1,
            self._nested: 8,
            self._tenants: 2,
            self._invent: 16,
            self._worker: 7,
            self._threads: 2,
            self._on_the_loop: 1,
            self._operate: 1.5,
            self._release: 0.8,
            self._fork: 0.2,
        }
        while world.now < until:
            world.tick(world.dice.expovariate(1 / gap))
            (step,) = world.dice.choices(list(happens), list(happens.values()))
            self.figures.done[step.__name__.strip("_")] += 1
            step(loop)

    def _shaped(self, *shapes: str, worker: bool = False) -> list[Tool]:
        return [tool for tool in self.tools.values() if tool.shape in shapes and tool.worker == worker]

    def _sync(self, _loop: asyncio.AbstractEventLoop) -> None:
        self.callers.sync(self.world.dice.choice(self._shaped("sync")))

    def _worker(self, _loop: asyncio.AbstractEventLoop) -> None:
        self.callers.sync(self.world.dice.choice(self._shaped("sync", worker=True)))

    def _asynchronous(self, loop: asyncio.AbstractEventLoop) -> None:
        tools = self._shaped("async", "later", "async_generator")
        loop.run_until_complete(self.callers.batch(self.world.dice.choices(tools, k=self.world.dice.randrange(2, 9))))

    def _generator(self, _loop: asyncio.AbstractEventLoop) -> None:
        self.callers.generator(self.tools["feed"])

    def _linger(self, _loop: asyncio.AbstractEventLoop) -> None:
        self.callers.linger(self.tools["feed"])

    def _nested(self, _loop: asyncio.AbstractEventLoop) -> None:
        self.callers.nested(*self.world.dice.choices(self._shaped("sync"), k=2))

    def _tenants(self, _loop: asyncio.AbstractEventLoop) -> None:
        """A tool with a circuit per tenant, for many of them."""
        for _ in range(20):
            self.callers.sync(self.tools["tenants"])

    def _threads(self, _loop: asyncio.AbstractEventLoop) -> None:
        self.callers.threads([self.tools["narrow"], *self.world.dice.choices(self._shaped("sync"), k=4)])

    def _on_the_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """A sync tool with a deadline that is called on an event loop."""
        loop.call_soon(self._worker, loop)
        loop.run_until_complete(asyncio.sleep(0))

    def _invent(self, _loop: asyncio.AbstractEventLoop) -> None:
        """The model calls a tool by a name of its own, a new one more often than not."""
        new = [f"invented {len(self.invented) + number}" for number in range(4)]
        self.invented += new if len(self.invented) < self._names else []
        for name in (*self.invented[-4:], self.world.dice.choice(self.invented)):
            tool = Tool(name, "sync", otel_tools.tool(name)(lambda query, limit=0: {"value": 1}))
            self.callers.sync(tool)

    def _operate(self, _loop: asyncio.AbstractEventLoop) -> None:
        """An operator sets something, with or without expiry, or takes it back."""
        dice, pipelines = self.world.dice, self.engine.tools
        name = dice.choice(list(self.tools))
        expiry = dice.choice([None, dice.uniform(5, LONGEST_OVERRIDE)])
        action = dice.choice([*Action, None, None])
        if action is None:
            self._lift(name)
        elif action is Action.DISABLE:
            otel_tools.disable_tool(name, "leaks data", actor="ann", expires_after=expiry)
        else:
            pipelines.override(name, action, Override("incident 7", "ann", expiry))
        if action is not None and expiry is None:
            self._overridden.add(name)
        self.engine.write_transitions()

    def _lift(self, name: str) -> None:
        otel_tools.enable_tool(name)
        self.engine.tools.reset(name)
        self.engine.write_transitions()
        self._overridden.discard(name)

    def _release(self, _loop: asyncio.AbstractEventLoop) -> None:
        """What hangs comes back, late; callers who went away close what they read."""
        self.world.release()
        self.callers.leave()

    def _fork(self, _loop: asyncio.AbstractEventLoop) -> None:
        """A prefork server's child: calls what it likes and exits."""
        assert in_child(self._child), "a forked child failed or hung"

    def _child(self) -> bool:
        """What a forked child does; its faults are printed, as nobody else will."""
        try:
            return self._lives_alone()
        except BaseException:
            traceback.print_exc()
            raise

    def _lives_alone(self) -> bool:
        self.doorstep.clear()
        self.callers.after_fork()
        self.signals.logs.events.clear()
        loop = asyncio.new_event_loop()
        for _ in range(10):
            for step in (self._sync, self._worker, self._asynchronous, self._generator, self._threads):
                step(loop)
        self.world.release()
        self._heal(loop)
        views = self.engine.tools.views()
        return not any(view.in_flight or view.abandoned for view in views) and not self.doorstep.settled_twice

    # --- and how it heals -----------------------------------------------------------------------------------------
    def _heal(self, loop: asyncio.AbstractEventLoop) -> None:
        """Every dependency is up, what hung comes back, operators let go, time passes, each tool is called once."""
        world = self.world
        world.healthy = True
        world.release()
        self.callers.leave()
        self.wait_for_late_results()
        for name in sorted(self._overridden):
            self._lift(name)
        world.tick(LONGEST_OVERRIDE + LONGEST_WAIT)
        for tool in self.tools.values():
            checks.answers(self, tool, loop)
        world.healthy = False

    def wait_for_late_results(self) -> None:
        """Every call that was given up has come back."""
        logs, workers_used = self.signals.logs, self._shaped("sync", worker=True)
        left = sum(self.callers.seen[tool.name, "timeout"] for tool in workers_used)
        with logs.changed:
            assert logs.changed.wait_for(lambda: logs.events["otel_tools.late_result"] >= left, LIMIT)

    def _checkpoint(self) -> Checkpoint:
        checks.threads_retire()
        objects = live_objects()
        ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/otel_tools/*")])
        memory = sum(trace.size for trace in ours.traces)
        series = sum(map(len, self.signals.points().values()))
        circuits = sum(sum(view.states.values()) for view in self.engine.tools.views())
        return Checkpoint(self.world.now, objects, memory, series, checks.worker_threads(), circuits)
