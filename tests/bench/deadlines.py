"""What a deadline costs: a sync call handed to a worker thread, an async one in its own task."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

from otel_tools import deadlines, workers
from tests.bench.breakers import BATCH, async_work, work
from tests.bench.measure import compare, process_time, repeated

LIMIT = 30.0
"""Seconds; nothing here takes that long."""


def sync() -> bool:
    """The hand-over to a worker thread beside an executor's and beside a thread per call; CPU time of all threads."""
    pool = ThreadPoolExecutor(4)
    function = partial(work, 7, factor=3)
    variants: dict[str, Callable[[], Any]] = {
        "bare": function,
        "otel-tools worker": lambda: workers.call(function, LIMIT, print),
        "executor, context copied": lambda: pool.submit(copy_context().run, function).result(LIMIT),
        "executor": lambda: pool.submit(function).result(LIMIT),
        "a thread per call": lambda: _thread(function),
    }
    with pool:
        figures = compare(variants, 200, process_time)
    return _table("sync deadline", figures, "otel-tools worker", 1.2)


def _thread(function: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()), daemon=True)
    thread.start()
    thread.join(LIMIT)
    return found[0]


def asynchronous() -> bool:
    """A deadline in the task's own scope beside asyncio's two."""
    function = partial(async_work, 7, factor=3)

    async def scope() -> Any:
        async with asyncio.timeout(LIMIT):
            return await function()

    variants: dict[str, Callable[[], Any]] = {
        "bare": function,
        "otel-tools": lambda: deadlines.within(LIMIT, function),
        "asyncio.timeout": scope,
        "asyncio.wait_for": lambda: asyncio.wait_for(function(), LIMIT),
    }
    runs = {name: repeated(variant, BATCH) for name, variant in variants.items()}
    figures = {name: figure / BATCH for name, figure in compare(runs, 20).items()}
    return _table("async deadline", figures, "otel-tools", 1.5)


def _table(title: str, figures: dict[str, float], ours: str, target: float) -> bool:
    """Ours against the first of the others, which is the usual way to do it."""
    bare = figures.pop("bare")
    added = {name: figure - bare for name, figure in figures.items()}
    usual = next(name for name in added if name != ours)
    ratio = added[ours] / added[usual]
    print(f"\n{title:<34} bare {bare:.2f} µs")
    for name, figure in added.items():
        verdict = ""
        if name == ours:
            met = "ok" if ratio <= target else f"over by {ratio - target:.2f}"
            verdict = f"{ratio:.2f} of {usual}   <= {target:g}  {met}"
        print(f"  {name:<32} +{figure:>6.2f} µs   {verdict}".rstrip())
    return ratio <= target
