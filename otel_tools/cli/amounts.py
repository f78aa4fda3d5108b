"""What a metric series amounts to, and how much of it fell into the last minutes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_SLOTS = 30


@dataclass(slots=True, frozen=True)
class Amount:
    """A counter's value, or a histogram's: both add up and can be subtracted.

    Args:
        total: The counter's value, or the sum of what the histogram recorded.
        count: How many values the histogram recorded.
        buckets: Upper bound -> values in that bucket alone (not cumulative); empty for a counter.
    """

    total: float = 0.0
    count: int = 0
    buckets: Mapping[float, int] = field(default_factory=dict)

    def __add__(self, other: Amount) -> Amount:
        return self._combined(other, 1)

    def __sub__(self, other: Amount) -> Amount:
        return self._combined(other, -1)

    def _combined(self, other: Amount, sign: int) -> Amount:
        bounds = self.buckets.keys() | other.buckets.keys()
        buckets = {bound: self.buckets.get(bound, 0) + sign * other.buckets.get(bound, 0) for bound in bounds}
        return Amount(self.total + sign * other.total, self.count + sign * other.count, buckets)

    @property
    def mean(self) -> float | None:
        """The mean of what the histogram recorded."""
        return self.total / self.count if self.count else None

    def quantile(self, q: float) -> float | None:
        """The *q*-quantile, interpolated linearly within its bucket as Prometheus's `histogram_quantile` does.

        Returns:
            `None` without values or bounds; the highest finite bound when the quantile lies above it.
        """
        bounds = sorted(self.buckets)
        observed = sum(self.buckets.values())
        if not observed or math.isinf(bounds[0]):
            return None
        rank, below, lower = q * observed, 0, 0.0
        for upper in bounds:
            here = self.buckets[upper]
            if here and below + here >= rank:
                return lower if math.isinf(upper) else lower + (upper - lower) * (rank - below) / here
            below, lower = below + here, upper
        return lower


ZERO = Amount()


def total(amounts: Iterable[Amount]) -> Amount:
    """All *amounts* together."""
    return sum(amounts, ZERO)


class Window:
    """The increments of the last *length* seconds, in 30 slots: memory does not depend on their number."""

    def __init__(self, length: float) -> None:
        self.length = length
        self._width = length / _SLOTS
        self._slots: deque[tuple[int, Amount]] = deque(maxlen=_SLOTS + 1)

    def add(self, increment: Amount, now: float) -> None:
        """Take in an *increment* that arrived at *now*."""
        slot = int(now // self._width)
        if self._slots and self._slots[-1][0] >= slot:
            last, so_far = self._slots.pop()
            self._slots.append((last, so_far + increment))
        else:
            self._slots.append((slot, increment))

    def amount(self, now: float) -> Amount:
        """What the window holds at *now*."""
        oldest = int((now - self.length) // self._width)
        return total(increment for slot, increment in self._slots if slot > oldest)
