"""The ways in which the program calls its tools; each notes what the caller got."""

from __future__ import annotations

import asyncio
import json
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import otel_tools
from otel_tools.errors import CallRefused, CallTimeout
from tests.simulation.tools import FALLBACK, Tool
from tests.simulation.world import World

Call = Callable[[], Any]


class Callers:
    """Calls tools and keeps the account of what came back."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._lingering: list[tuple[Tool, Any]] = []

    def note(self, tool: Tool, value: Any = None, error: BaseException | None = None) -> None:
        """Count how a call ended, as its caller sees it."""
        outcome = _of_value(value) if error is None else _of_error(tool, error)
        with self._lock:
            self.seen[tool.name, outcome] += 1

    # --- sync ---------------------------------------------------------------------------------------------------
    def sync(self, tool: Tool) -> None:
        """A plain call; now and then the model gets the arguments wrong."""
        arguments = {"wrong": 1} if self.world.chance(0.02) and not self.world.healthy else {"limit": 5}
        query = f"tenant {self.world.dice.randrange(400)}"
        try:
            value = tool.call(query, **arguments)
        except BaseException as error:
            self.note(tool, error=error)
        else:
            self.note(tool, value)

    def nested(self, outer: Tool, inner: Tool) -> None:
        """A tool that calls a tool, in a session."""
        with otel_tools.session(f"agent {self.world.dice.randrange(8)}"):
            self.sync(outer)
            with otel_tools.session("sub-agent"):
                self.sync(inner)

    def threads(self, tools: list[Tool]) -> None:
        """Several threads, each calling all of the tools."""
        threads = [threading.Thread(target=lambda: [self.sync(tool) for tool in tools]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def generator(self, tool: Tool) -> None:
        """Read to the end, closed or dropped early, or thrown into."""
        items = tool.call("query")
        error: BaseException | None = None
        way = "end" if self.world.healthy else self.world.dice.choice(["end", "end", "close", "drop", "throw"])
        try:
            if way == "end":
                list(items)
            else:
                next(items)
                error = {"close": GeneratorExit(), "drop": GeneratorExit()}.get(way) or LookupError()
                items.throw(error) if way == "throw" else items.close() if way == "close" else None
        except BaseException as raised:
            error = raised
        del items
        self.note(tool, error=error)

    def linger(self, tool: Tool) -> None:
        """Begin to read a generator, and come back to it some other time."""
        items = tool.call("query")
        try:
            next(items)
        except Exception as error:
            self.note(tool, error=error)
        else:
            self._lingering.append((tool, items))

    def leave(self) -> None:
        """Close the generators that were not come back to."""
        while self._lingering:
            tool, items = self._lingering.pop()
            items.close()
            self.note(tool, error=GeneratorExit())

    def after_fork(self) -> None:
        """In a child: the calls so far are the parent's, and the generators that it still reads."""
        self.seen.clear()
        self._parents, self._lingering = self._lingering, []

    # --- async --------------------------------------------------------------------------------------------------
    async def batch(self, tools: list[Tool]) -> None:
        """Tasks at once, of which some are cancelled on the way; time goes on meanwhile."""
        ways = {"async": self._awaited, "later": self._later, "async_generator": self._items}
        tasks = [asyncio.ensure_future(ways[tool.shape](tool)) for tool in tools]
        for _ in range(self.world.dice.randrange(1, 4)):
            await asyncio.sleep(0)  # every task has begun
        for task in tasks:
            if not self.world.healthy and self.world.chance(0.15):
                task.cancel()
            self.world.tick(0.001)
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(4):
            await asyncio.sleep(0)  # what was dropped is closed by the loop

    async def _awaited(self, tool: Tool) -> None:
        try:
            value = await tool.call("query", limit=2)
        except BaseException as error:
            self.note(tool, error=error)
            raise
        self.note(tool, value)

    async def _later(self, tool: Tool) -> None:
        try:
            later = [tool.call("query")]
        except BaseException as error:
            self.note(tool, error=error)
            raise
        if not self.world.healthy and self.world.chance(0.1):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # never awaited: that is what is simulated
                later.clear()
            self.note(tool, error=GeneratorExit())
            return
        try:
            value = await later.pop()
        except BaseException as error:
            self.note(tool, error=error)
            raise
        self.note(tool, value)

    async def _items(self, tool: Tool) -> None:
        error: BaseException | None = None
        leaves = not self.world.healthy and self.world.chance(0.3)
        try:
            async for _ in tool.call("query"):
                if leaves:
                    error = GeneratorExit()
                    break
        except BaseException as raised:
            error = raised
        self.note(tool, error=error)


def _of_error(tool: Tool, error: BaseException) -> str:
    if isinstance(error, (CallRefused, CallTimeout)) and error.name == tool.name:
        return error.reason
    return "error" if isinstance(error, Exception) else "cancelled"


def _of_value(value: Any) -> str:
    if isinstance(value, str) and value.startswith('{"is_error"'):
        reason = str(json.loads(value)["error"]["reason"])
        return "circuit_open" if reason == "forced_open" else reason
    if value == FALLBACK:
        return "replaced"
    return "tool_error" if isinstance(value, dict) and "error" in value else "ok"
