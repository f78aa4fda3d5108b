"""The tools of the simulated program: every shape of callable, every kind of policy, every kind of dependency."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import otel_tools
from otel_tools import Circuit, Policy
from otel_tools.policy import Mode
from tests.simulation.world import Dependency, World

CIRCUIT = Circuit(reset_after=20.0, max_reset_after=80.0, lease=10.0)
LONGEST_WAIT = CIRCUIT.max_reset_after * (1 + CIRCUIT.jitter) + CIRCUIT.lease + 1
"""Virtual seconds after which any circuit without an operator's hand on it admits."""

DEADLINE = 0.004
"""Real seconds: threads cannot live on a virtual clock."""

LIMIT = 120.0
"""Real seconds that nothing takes unless it is stuck."""

FALLBACK = "what the fallback gives"
ITEMS = 3


@dataclass(frozen=True)
class Tool:
    """A tool and how it is called.

    Args:
        shape: `sync`, `async`, `generator`, `async_generator`, or `later` (a sync function that returns a coroutine).
        worker: Its deadline is kept by a worker thread, which stays behind when the caller goes on.
    """

    name: str
    shape: str
    call: Callable[..., Any]
    worker: bool = False
    deadline: bool = False


class Toolbox:
    """Makes the tools of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._dependency = lambda **faults: Dependency(world, **faults)

    def tools(self) -> list[Tool]:
        """All of them, each with the dependency and policy that its name stands for."""
        flaky = {"noise": 0.1, "outages": 6.0}
        return [
            self.sync("clock", interrupts=0.02),
            self.sync("search", **flaky),
            self.sync("maps", rate=6),
            self.sync("crm", noise=0.3, outages=4.0, data=True, policy={"is_failure": _is_failure}),
            self.sync("files", wrong=0.3, outages=3.0),
            self.sync("uncut", **flaky, policy={"circuit": None}),
            self.sync("narrow", **flaky, policy={"max_in_flight": 2}),
            self.sync("notes", **flaky, policy={"criticality": "optional"}),
            self.sync("memory", **flaky, policy={"criticality": "optional", "fallback": lambda *_, **__: FALLBACK}),
            self.sync("windowed", noise=0.3, outages=3.0, circuit={"failure_rate": 0.5, "min_span": 0.5}),
            self.sync("shadow", **flaky, policy=None),  # observed only, see `settings`
            self.sync("tenants", **flaky, policy=None),
            self.sync("report", hangs=0.3, policy={"timeout": DEADLINE, "max_in_flight": 4}, worker=True),
            self.sync("render", hangs=0.2, outages=4.0, policy={"timeout": DEADLINE}, worker=True),
            self.asynchronous("weather", **flaky),
            self.asynchronous("translate", rate=6),
            self.asynchronous("spell", **flaky, policy={"criticality": "optional"}),
            self.asynchronous("browse", hangs=0.1, outages=4.0, policy={"timeout": DEADLINE}),
            self.later("lookup", **flaky),
            self.generator("feed", **flaky),
            self.async_generator("events", **flaky),
        ]

    @staticmethod
    def settings() -> dict[str, Any]:
        """The configuration's part of the policies."""
        tenants = Policy(circuit=CIRCUIT, key="query")
        return {"tools": {"shadow": Policy(circuit=CIRCUIT, mode=Mode.OBSERVE), "tenants": tenants}, "mode": "enforce"}

    def _tool(self, name: str, function: Any, policy: dict[str, Any] | None, circuit: dict[str, Any]) -> Any:
        if policy is None:
            return otel_tools.tool(name)(function)
        settings = Circuit(reset_after=20.0, max_reset_after=80.0, lease=10.0, **circuit)
        return otel_tools.tool(name, **{"circuit": settings, **policy})(function)

    def sync(
        self,
        name: str,
        *,
        policy: dict[str, Any] | None = {},  # noqa: B006  read only
        circuit: dict[str, Any] = {},  # noqa: B006  same
        hangs: float = 0.0,
        interrupts: float = 0.0,
        worker: bool = False,
        **faults: Any,
    ) -> Tool:
        """A function; some calls of it hang until the world releases them, or are interrupted."""
        world, dependency = self.world, self._dependency(**faults)

        def run(query: str, limit: int = 3) -> object:
            if hangs and not world.healthy and world.chance(hangs):
                _hang(world.gate)
            if interrupts and not world.healthy and world.chance(interrupts):
                raise KeyboardInterrupt
            return dependency.answer()

        return Tool(name, "sync", self._tool(name, run, policy, circuit), worker, deadline=worker)

    def asynchronous(self, name: str, *, policy: dict[str, Any] = {}, hangs: float = 0.0, **faults: Any) -> Tool:  # noqa: B006  same
        """A coroutine function; some calls of it wait for something that never comes."""
        world, dependency = self.world, self._dependency(**faults)

        async def run(query: str, limit: int = 3) -> object:
            for _ in range(world.dice.randrange(4)):
                await asyncio.sleep(0)
            if hangs and not world.healthy and world.chance(hangs):
                await asyncio.get_running_loop().create_future()
            return dependency.answer()

        return Tool(name, "async", self._tool(name, run, policy, {}), deadline="timeout" in policy)

    def later(self, name: str, **faults: Any) -> Tool:
        """A function that returns a coroutine."""
        dependency = self._dependency(**faults)

        async def answer() -> object:
            await asyncio.sleep(0)
            return dependency.answer()

        def run(query: str, limit: int = 3) -> Coroutine[Any, Any, object]:
            return answer()

        return Tool(name, "later", self._tool(name, run, {}, {}))

    def generator(self, name: str, **faults: Any) -> Tool:
        """A generator that asks its dependency after the first item."""
        dependency = self._dependency(**faults)

        def run(query: str, limit: int = 3) -> Iterator[object]:
            for number in range(ITEMS):
                yield number
                dependency.answer()

        return Tool(name, "generator", self._tool(name, run, {}, {}))

    def async_generator(self, name: str, **faults: Any) -> Tool:
        """The same, async."""
        dependency = self._dependency(**faults)

        async def run(query: str, limit: int = 3) -> AsyncIterator[object]:
            for number in range(ITEMS):
                yield number
                await asyncio.sleep(0)
                dependency.answer()

        return Tool(name, "async_generator", self._tool(name, run, {}, {}))


def _hang(gate: threading.Event) -> None:
    assert gate.wait(LIMIT)


def _is_failure(value: object) -> bool:
    return isinstance(value, dict) and "error" in value
