"""The metrics received so far, summed over processes: totals, the last minutes, and current levels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from otel_tools import semconv as names
from otel_tools.cli.amounts import ZERO, Amount, Window, total
from otel_tools.cli.otlp import Labels, Point, Source

Key: TypeAlias = tuple[str, Labels]
Increment: TypeAlias = Callable[[Point, Amount], None]

_LEVELS = frozenset({"updown", "observable_updown", "observable_gauge"})
_STALE_AFTER = 300.0
"""Seconds without news after which a process's levels no longer count, as in Prometheus: it is gone."""


class MetricStore:
    """Sums what processes report, whichever temporality they use.

    Counters and histograms become increments first: of a cumulative series the difference to its previous point, of a
    delta series the point itself. Memory is bounded: the series heard of longest ago is forgotten first.

    Args:
        windows: Metric name -> length in seconds of the window that is kept of it.
        on_increment: Told of every increment of a counter or histogram.
        limit: Series of single processes that are remembered.
    """

    def __init__(self, windows: Mapping[str, float], on_increment: Increment, limit: int = 20_000) -> None:
        self._lengths = windows
        self._on_increment = on_increment
        self._limit = limit
        self._latest: OrderedDict[tuple[Source, Key, float], Amount] = OrderedDict()
        self._levels: OrderedDict[tuple[Source, Key], tuple[float, float]] = OrderedDict()
        self._totals: OrderedDict[Key, Amount] = OrderedDict()
        self._windows: OrderedDict[Key, Window] = OrderedDict()

    def add(self, point: Point, now: float) -> None:
        """Take in a data point that arrived at *now*."""
        key = (point.metric.name, point.labels)
        if point.metric.kind in _LEVELS:
            self._add_level(point, key, now)
        elif point.delta:
            self._add_increment(point, key, point.amount, now, since=point.start)
        else:
            self._add_cumulative(point, key, now)

    def _add_level(self, point: Point, key: Key, now: float) -> None:
        level = point.amount.total
        if point.delta:
            level += self._levels.get((point.source, key), (0.0, 0.0))[0]
        self._put(self._levels, (point.source, key), (level, now))

    def _add_cumulative(self, point: Point, key: Key, now: float) -> None:
        series = (point.source, key, point.start)
        before = self._latest.get(series)
        self._put(self._latest, series, point.amount)
        if before is None:
            self._add_increment(point, key, point.amount, now, since=point.start)
        elif point.amount != before:
            self._add_increment(point, key, point.amount - before, now, since=now)

    def _add_increment(self, point: Point, key: Key, increment: Amount, now: float, since: float) -> None:
        self._put(self._totals, key, self._totals.get(key, ZERO) + increment)
        length = self._lengths.get(point.metric.name)
        # of what a series counted before we first saw it, nobody knows how much falls into the window
        if length is not None and since > now - length:
            window = self._windows.get(key) or Window(length)
            window.add(increment, now)
            self._put(self._windows, key, window)
        self._on_increment(point, increment)

    def _put(self, series: OrderedDict[Any, Any], key: Any, value: Any) -> None:
        series[key] = value
        series.move_to_end(key)
        if len(series) > self._limit:
            series.popitem(last=False)

    # --- reading ----------------------------------------------------------------------------------------------------
    def totals(self, metric: names.Metric, *by: str) -> dict[tuple[str, ...], Amount]:
        """Everything that was counted, by the values of these labels."""
        return _grouped(((key, amount) for key, amount in self._totals.items() if key[0] == metric.name), by)

    def recent(self, metric: names.Metric, now: float, *by: str) -> dict[tuple[str, ...], Amount]:
        """What was counted within the window of *metric*, by the values of these labels."""
        windows = ((key, window.amount(now)) for key, window in self._windows.items() if key[0] == metric.name)
        return _grouped(windows, by)

    def levels(self, metric: names.Metric, now: float, *by: str) -> dict[tuple[str, ...], float]:
        """Current values, summed over the processes heard of in the last five minutes, by these labels."""
        current = (
            (key, Amount(level))
            for (_, key), (level, seen) in self._levels.items()
            if key[0] == metric.name and now - seen <= _STALE_AFTER
        )
        return {group: amount.total for group, amount in _grouped(current, by).items()}


def _grouped(series: Iterable[tuple[Key, Amount]], by: tuple[str, ...]) -> dict[tuple[str, ...], Amount]:
    groups: dict[tuple[str, ...], list[Amount]] = {}
    for (_, labels), amount in series:
        values = dict(labels)
        groups.setdefault(tuple(values.get(name, "") for name in by), []).append(amount)
    return {group: total(amounts) for group, amounts in groups.items()}
