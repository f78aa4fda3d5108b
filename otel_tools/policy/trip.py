"""What opens a closed circuit: consecutive failures, or too large a share of failures among the last calls."""

from __future__ import annotations

from collections import deque

from otel_tools.policy.circuit import Reason
from otel_tools.policy.options import Circuit


class Tally:
    """What a closed circuit has counted. Its owner has the lock.

    Only a failure opens a circuit: a success may leave the share of failures above the limit, and the next failure
    acts on it.
    """

    __slots__ = ("_first", "_last", "_window", "failures")

    def __init__(self) -> None:
        self.failures = 0  # consecutive ones
        self._first = self._last = 0.0  # when those calls began
        self._window: deque[float | None] = deque()  # of the last calls: when a failed one began, `None` for a success

    @property
    def has_failures(self) -> bool:
        """Whether anything would be forgotten with it."""
        return self.failures > 0 or any(began is not None for began in self._window)

    def success(self, settings: Circuit) -> None:
        """Count a success."""
        self.failures = 0
        self._remember(settings, None)

    def failure(self, settings: Circuit, began: float) -> Reason | None:
        """Count a failure of a call that *began* at that time; the reason to open, if it is one."""
        self._first = min(self._first, began) if self.failures else began
        self._last = max(self._last, began) if self.failures else began
        self.failures += 1
        self._remember(settings, began)
        if self.failures >= settings.failures and self._last - self._first >= settings.min_span:
            return "threshold"
        return "failure_rate" if self._rate_is_reached(settings) else None

    def _remember(self, settings: Circuit, began: float | None) -> None:
        if settings.failure_rate is None:
            self._window.clear()
            return
        if self._window.maxlen != settings.window:
            self._window = deque(self._window, settings.window)
        self._window.append(began)

    def _rate_is_reached(self, settings: Circuit) -> bool:
        calls = len(self._window)
        if settings.failure_rate is None or calls < settings.minimum_calls:
            return False
        failed = [began for began in self._window if began is not None]
        return len(failed) / calls >= settings.failure_rate and max(failed) - min(failed) >= settings.min_span
