"""The deadline of a call that gives its answer in pieces: a generator tool, a streamed response."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType


class Deadline:
    """How long a caller may wait: in all, and for the next item. It measures the waits that it is entered for.

    Only waiting counts, from the opening of the call to its last item. What the caller does between two items is no
    fault of the dependency's, and nothing hangs meanwhile.

    Args:
        total: Seconds of all waits together; `None` for no limit.
        item: Seconds until the next item, the first one included; `None` for no limit.
        enforced: Whether the waits are to be cut short, or only measured.
        waited: Seconds that the caller has waited already, before it could be measured here.
        clock: Monotonic seconds.

    Attributes:
        enforced: As given.
        waited: Seconds of all waits together.
        exceeded: Whether a wait was longer than it should have been.
    """

    __slots__ = ("_began", "_clock", "_for_item", "_item", "_total", "enforced", "exceeded", "waited")

    def __init__(
        self,
        total: float | None,
        item: float | None,
        *,
        enforced: bool = True,
        waited: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._item = item
        self.enforced = enforced
        self._clock = clock
        self._began = 0.0
        self._for_item = self.waited = waited
        self.exceeded = False

    def left(self) -> float | None:
        """Seconds that the next wait may last at most, 0 if time is up; `None` for no limit."""
        if not self.enforced:
            return None
        rests = [rest for rest in (self._rest_in_all(), self._rest_for_item()) if rest is not None]
        return max(0.0, min(rests)) if rests else None

    def expired(self) -> tuple[float, bool]:
        """The limit that is over first, in seconds, and whether it is the one for an item."""
        total, item = self._rest_in_all(), self._rest_for_item()
        if item is None or (total is not None and total <= item):
            return self._total or 0.0, False
        return self._item or 0.0, True

    def arrived(self) -> None:
        """An item is there: the wait for the next one begins."""
        self._for_item = 0.0

    def _rest_in_all(self) -> float | None:
        return None if self._total is None else self._total - self.waited

    def _rest_for_item(self) -> float | None:
        return None if self._item is None else self._item - self._for_item

    def __enter__(self) -> None:
        self._began = self._clock()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        seconds = self._clock() - self._began
        self.waited += seconds
        self._for_item += seconds
        if any(rest is not None and rest < 0 for rest in (self._rest_in_all(), self._rest_for_item())):
            self.exceeded = True
