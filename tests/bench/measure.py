"""Side-by-side timing: the variants take turns in short rounds, so that a noisy machine disturbs all alike."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 25


thread_time = time.thread_time_ns
"""CPU time of the measuring thread: undisturbed by exporters."""

process_time = time.process_time_ns
"""CPU time of all threads, for work that is handed over."""


def compare(
    variants: dict[str, Callable[[], Any]], calls: int, clock: Callable[[], int] = thread_time
) -> dict[str, float]:
    """CPU microseconds per call of each variant: the median over the rounds."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for variant in variants.values():
        _round(variant, calls, clock)
    gc.collect()
    gc.disable()
    try:
        for _ in range(ROUNDS):
            for name, variant in variants.items():
                times[name].append(_round(variant, calls, clock))
            gc.collect()
    finally:
        gc.enable()
    return {name: statistics.median(values) for name, values in times.items()}


def _round(variant: Callable[[], Any], calls: int, clock: Callable[[], int]) -> float:
    started = clock()
    for _ in range(calls):
        variant()
    return (clock() - started) / calls / 1000


def repeated(coroutine: Callable[[], Any], calls: int) -> Callable[[], Any]:
    """A sync variant that awaits *coroutine* that many times on one event loop."""
    loop = asyncio.new_event_loop()

    async def run() -> None:
        for _ in range(calls):
            await coroutine()

    return lambda: loop.run_until_complete(run())


def report(title: str, figures: dict[str, float], target: float = 1.3, per: int = 1) -> bool:
    """Print one line: bare, what hand-written telemetry adds, what otel-tools adds, and their ratio."""
    bare, by_hand, ours = (figures[name] / per for name in ("bare", "by hand", "otel-tools"))
    ratio = figures["ratio"]  # the median of the rounds' own: what disturbs a round disturbs all its variants
    verdict = "ok" if ratio <= target else f"over by {ratio - target:.2f}"
    added = f"{by_hand - bare:>12.1f} {ours - bare:>12.1f}"
    print(f"{title:<28} {bare:>9.1f} {added} {ratio:>8.2f}   <= {target:g}  {verdict}")
    return ratio <= target
