"""The figures of a simulation, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.run import Figures


def table(figures: Figures) -> str:
    """All of it, one block per question."""
    return "\n".join(_lines(figures))


def _lines(figures: Figures) -> Iterator[str]:
    yield f"{figures.hours:g} virtual h in {figures.seconds:.1f} s, seed {figures.seed}: {figures.calls} tool calls"
    yield "\nwhat happened"
    yield from _counts(figures.done)
    yield "\noutcomes, as callers, ledger, spans, log records and metrics tell them alike"
    yield from _counts(figures.outcomes)
    yield "\ntransitions of circuits, each circuit's a path of the state graph"
    yield from _counts(figures.transitions)
    yield "\nlabel values on metrics"
    yield from _counts(Counter(figures.labels))
    yield "\nat the end of each quarter, after everything has healed and every tool has answered"
    yield f"  {'virtual s':>10} {'live objects':>16} {'our bytes':>12} {'series':>8} {'worker threads':>15}"
    for found in figures.checkpoints:
        objects = found.objects.total()
        yield f"  {found.now:>10.0f} {objects:>16} {found.memory:>12} {found.series:>8} {found.threads:>15}"
    first, last = figures.checkpoints[1], figures.checkpoints[-1]
    yield f"  from the second to the last: {last.memory - first.memory:+} bytes, {_more(first.objects, last.objects)}"
    yield "\nno wedge, no leak, nothing lost"


def _counts(counts: Counter[str]) -> Iterator[str]:
    for name, count in counts.most_common():
        yield f"  {count:>10}  {name}"


def _more(before: Counter[str], after: Counter[str]) -> str:
    more = [f"{count:+} {name}" for name, count in (after - before).items()]
    return ", ".join(more) or "no class with more objects"
