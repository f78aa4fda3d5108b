"""Amounts of metric series and their windows."""

import math

import pytest

from otel_tools.cli.amounts import ZERO, Amount, Window, total


def _histogram(**counts: int) -> Amount:
    bounds = {"le1": 1.0, "le2": 2.0, "le5": 5.0, "inf": math.inf}
    buckets = {bound: counts.get(name, 0) for name, bound in bounds.items()}
    return Amount(total=float(sum(counts.values())), count=sum(counts.values()), buckets=buckets)


def test_amounts_add_and_subtract_bucket_by_bucket():
    """A histogram's increment is its new state minus its old one."""
    before, after = _histogram(le1=2), _histogram(le1=3, le5=4)
    assert after - before == _histogram(le1=1, le5=4)
    assert before + (after - before) == after


def test_counters_are_amounts_without_buckets():
    """A counter adds up like a histogram and has no quantile."""
    assert total([Amount(2.0), Amount(3.0)]) == Amount(5.0)
    assert Amount(5.0).quantile(0.95) is None
    assert Amount(5.0).mean is None


@pytest.mark.parametrize(
    ("amount", "q", "expected"),
    [
        (_histogram(le1=10), 0.5, 0.5),
        (_histogram(le1=10), 0.95, 0.95),
        (_histogram(le2=10), 0.95, 1.95),
        (_histogram(le1=5, le2=5), 0.5, 1.0),
        (_histogram(le1=90, le5=10), 0.95, 3.5),
        (_histogram(le1=1, inf=99), 0.95, 5.0),
        (_histogram(), 0.95, None),
        (Amount(3.0, 3, {math.inf: 3}), 0.95, None),
    ],
)
def test_quantiles_are_those_of_prometheus(amount, q, expected):
    """Linear within a bucket, from 0 in the first one, and the highest finite bound beyond the last one."""
    assert amount.quantile(q) == (None if expected is None else pytest.approx(expected))


def test_the_mean_is_sum_by_count():
    """The mean is exact, whatever the buckets."""
    assert Amount(9.0, 3, {10.0: 3}).mean == 3.0


def test_a_window_forgets_what_is_older_than_its_length():
    """Increments leave the window one slot after another."""
    window = Window(300)
    for second in range(0, 600, 10):
        window.add(Amount(1.0), float(second))
    assert window.amount(599.0).total == 30
    assert window.amount(749.0).total == 15
    assert window.amount(2000.0) == ZERO


def test_a_window_takes_a_late_increment_into_its_latest_slot():
    """A clock that goes back loses nothing."""
    window = Window(300)
    window.add(Amount(1.0), 1000.0)
    window.add(Amount(2.0), 900.0)
    assert window.amount(1000.0) == Amount(3.0)


def test_a_window_does_not_grow():
    """Its memory is its slots."""
    window = Window(30)
    for second in range(10_000):
        window.add(Amount(1.0), float(second))
    assert len(window._slots) <= 31
