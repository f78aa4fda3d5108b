"""How long a call may take, and how long it took."""

from __future__ import annotations

from typing import Any

from otel_tools import semconv as names
from otel_tools.errors import CallTimeout, internal_error
from otel_tools.model import Invocation, OnLoop, Target
from otel_tools.policy.attempt import Attempt
from otel_tools.policy.deadline import Deadline
from otel_tools.policy.options import Mode
from otel_tools.policy.pipeline import Pipeline
from otel_tools.recordings import Recording
from otel_tools.telemetry import Attributes


class Timed:
    """The part of a call that knows its deadlines."""

    target: Target
    pipeline: Pipeline | None
    attempt: Attempt | None
    recording: Recording[Any]
    deadline: Deadline | None = None
    """That of a call which gives its answer in pieces, once it has begun to."""

    @property
    def timeout(self) -> float | None:
        """The deadline to enforce, in seconds."""
        return self.attempt.timeout if self.attempt is not None else None

    def _limits(self) -> Attributes:
        found: Attributes = {}
        if self.attempt is not None and self.attempt.limit is not None:
            found[names.TIMEOUT_LIMIT] = self.attempt.limit
        if self._item_limit is not None:
            found[names.TIMEOUT_ITEM_LIMIT] = self._item_limit
        return found

    def _runs_in_worker(self) -> bool:
        """Whether the call may leave a worker thread of ours behind."""
        return False

    @property
    def _item_limit(self) -> float | None:
        return None if self.pipeline is None else self.pipeline.policy.item_timeout

    def begin_waiting(self, *, opened: bool = False, items: bool = True) -> Deadline | None:
        """The call gives its answer in pieces from here on: its deadline, enforced or not, if its waits matter.

        Args:
            opened: Its caller has waited for it since it began.
            items: The pieces are items, so that the limit for an item applies.
        """
        if self.deadline is None and self.attempt is not None and self.pipeline is not None:
            total, item = self.attempt.limit, self._item_limit if items else None
            limited = total is not None or item is not None
            if limited or self.pipeline.timed:  # or its reader's time would be its own
                enforced = limited and self.pipeline.mode is Mode.ENFORCE
                waited = self.recording.elapsed() if opened else 0.0
                self.deadline = Deadline(total, item, enforced=enforced, waited=waited)
        return self.deadline

    def expired_limit(self) -> tuple[float, bool]:
        """The limit that is over, in seconds, and whether it is the one for an item."""
        return (self.timeout or 0.0, False) if self.deadline is None else self.deadline.expired()

    def timeout_error(self) -> CallTimeout:
        """The error that says so."""
        limit, item = self.expired_limit()
        return CallTimeout("" if self.pipeline is None else self.pipeline.name, limit, item=item)

    def on_loop(self, invocation: Invocation) -> OnLoop | None:
        """The sync function that the framework is about to call on its event loop, if it does that."""
        if self.target.on_loop is None:
            return None
        try:
            return self.target.on_loop(invocation)
        except Exception:
            internal_error("looking for a function on the event loop")
            return None

    @property
    def _seconds(self) -> float:
        """How long the caller has waited for the call."""
        return self.recording.elapsed() if self.deadline is None else self.deadline.waited

    def _is_late(self) -> bool:
        if self.deadline is not None:
            return self.deadline.exceeded
        limit = None if self.attempt is None else self.attempt.limit
        return limit is not None and self.recording.elapsed() > limit
