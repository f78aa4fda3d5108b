"""Burn rates: how fast an error budget is spent, and in which windows that is worth an alert.

The table is that of Google's SRE workbook for 30 days. A long window says that it matters, a short one of a twelfth of
it that it still goes on.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from otel_tools.ops.model import DAY, HOUR, MINUTE, Severity, Slo


class Window(NamedTuple):
    """A pair of windows, in seconds, and the part of the period's budget that is spent when the long one fires."""

    severity: Severity
    long: int
    short: int
    spent: float

    def factor(self, period: int) -> float:
        """How many times faster than it lasts the budget of a *period* in days is being spent then: 14.4, 6, 3, 1."""
        return round(self.spent * period * DAY / self.long, 6)


WINDOWS: Final = (
    Window("critical", HOUR, 5 * MINUTE, 0.02),
    Window("critical", 6 * HOUR, 30 * MINUTE, 0.05),
    Window("warning", DAY, 2 * HOUR, 0.10),
    Window("warning", 3 * DAY, 6 * HOUR, 0.10),
)
RATIOS: Final = tuple(sorted({length for window in WINDOWS for length in (window.long, window.short)}))
"""Every window in seconds: 5m, 30m, 1h, 2h, 6h, 1d, 3d."""


def highest(period: int) -> float:
    """The highest factor: 14.4 for 30 days."""
    return max(window.factor(period) for window in WINDOWS)


def reachable(slo: Slo) -> bool:
    """Whether every one of its alerts can fire: not all events can be more than bad."""
    return slo.budget * highest(slo.period) < 1
