"""The sums over processes and temporalities."""

from __future__ import annotations

import pytest

from otel_tools import semconv as names
from otel_tools.cli import otlp
from otel_tools.cli.metrics import MetricStore
from tests.cli import messages as make

SEARCH = {names.TOOL_NAME: "search", names.OUTCOME: "ok", names.DEGRADED: False}


class Store(MetricStore):
    """A store that takes whole messages, at a time in seconds after `T0`."""

    def __init__(self, windows=None, **options):
        self.increments = []
        super().__init__(
            windows or {}, lambda point, amount: self.increments.append((point.metric.name, amount.total)), **options
        )

    def take(self, *found, now=10.0, instance="one"):
        for point in otlp.points(make.metrics(*found, instance=instance)):
            self.add(point, make.T0 + now)


def _calls(value, **options):
    return make.number(names.TOOL_CALLS, value, SEARCH, **options)


def test_cumulative_points_replace_each_other():
    """The total is the latest value, and every export tells its difference."""
    store = Store()
    for value in (2, 5, 5, 6):
        store.take(_calls(value))
    assert store.totals(names.TOOL_CALLS, names.TOOL_NAME)[("search",)].total == 6
    assert store.increments == [("otel_tools.tool.calls", amount) for amount in (2, 3, 1)]


def test_delta_points_add_up():
    """The total is the sum of the exports."""
    store = Store()
    for value in (2, 5, 6):
        store.take(_calls(value, temporality=make.DELTA))
    assert store.totals(names.TOOL_CALLS, names.TOOL_NAME)[("search",)].total == 13


def test_processes_are_summed():
    """Two instances that count the same series count twice."""
    store = Store()
    for instance, value in (("one", 2), ("two", 7), ("one", 3), ("two", 7)):
        store.take(_calls(value), instance=instance)
    assert store.totals(names.TOOL_CALLS, names.TOOL_NAME)[("search",)].total == 10


def test_a_restarted_process_goes_on_from_its_own_zero():
    """A cumulative series with a new start adds to what the old one had reached."""
    store = Store()
    store.take(_calls(5, start=0))
    store.take(_calls(2, start=100))
    store.take(_calls(3, start=100))
    assert store.totals(names.TOOL_CALLS)[()].total == 8


def test_histograms_merge_over_labels():
    """Durations of all error types make one distribution of the tool."""
    store = Store()
    for error, values in (("timeout", [0.6] * 3), ("", [0.01] * 17)):
        store.take(make.histogram(names.TOOL_DURATION, values, {names.TOOL_NAME: "search", names.ERROR_TYPE: error}))
    merged = store.totals(names.TOOL_DURATION, names.TOOL_NAME)[("search",)]
    assert merged.count == 20
    assert 0.32 < merged.quantile(0.95) < 0.64
    assert set(store.totals(names.TOOL_DURATION, names.ERROR_TYPE)) == {("timeout",), ("",)}


@pytest.mark.parametrize(("temporality", "expected"), [(make.CUMULATIVE, 3), (make.DELTA, 5)])
def test_levels_are_the_latest_value_or_the_sum_of_changes(temporality, expected):
    """An up-down counter is read by its temporality."""
    store = Store()
    for value in (2, 3):
        store.take(make.number(names.TOOL_IN_FLIGHT, value, {names.TOOL_NAME: "search"}, temporality=temporality))
    assert store.levels(names.TOOL_IN_FLIGHT, make.T0 + 10, names.TOOL_NAME) == {("search",): expected}


def test_levels_of_a_process_that_is_gone_do_not_count():
    """Five minutes after its last word a process has no calls in flight."""
    store = Store()
    for instance, now in (("one", 0.0), ("two", 200.0)):
        store.take(make.number(names.TOOL_IN_FLIGHT, 1, {names.TOOL_NAME: "search"}), instance=instance, now=now)
    assert store.levels(names.TOOL_IN_FLIGHT, make.T0 + 250) == {(): 2}
    assert store.levels(names.TOOL_IN_FLIGHT, make.T0 + 350) == {(): 1}
    assert store.levels(names.TOOL_IN_FLIGHT, make.T0 + 600) == {}


def test_a_window_holds_what_happened_in_it():
    """Of a process that ran before, only what comes after the first look is known to be recent."""
    store = Store({names.TOOL_CALLS.name: 300})
    store.take(_calls(1000, start=-5000))
    assert store.recent(names.TOOL_CALLS, make.T0 + 10) == {}
    store.take(_calls(1004, start=-5000), now=20)
    store.take(_calls(6, start=15), now=20, instance="two")
    assert store.recent(names.TOOL_CALLS, make.T0 + 20, names.OUTCOME)[("ok",)].total == 10
    assert store.recent(names.TOOL_CALLS, make.T0 + 400, names.OUTCOME)[("ok",)].total == 0
    assert store.totals(names.TOOL_CALLS)[()].total == 1010


def test_memory_is_bounded():
    """Series beyond the limit push out those heard of longest ago."""
    store = Store({names.TOOL_CALLS.name: 300}, limit=50)
    for number in range(500):
        store.take(make.number(names.TOOL_CALLS, 1, {names.TOOL_NAME: f"tool-{number}"}), instance=f"{number}")
        store.take(make.number(names.TOOL_IN_FLIGHT, 1, {names.TOOL_NAME: f"tool-{number}"}), instance=f"{number}")
    kept = (store._latest, store._levels, store._totals, store._windows)
    assert [len(series) for series in kept] == [50, 50, 50, 50]
    assert ("tool-499",) in store.totals(names.TOOL_CALLS, names.TOOL_NAME)
