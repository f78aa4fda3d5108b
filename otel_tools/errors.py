"""Every exception of otel-tools, and the one place where our own faults end.

::

    OtelToolsError
    ├── ConfigError (ValueError)          a setting is wrong; the message names file, key and what is allowed
    ├── CallTimeout (TimeoutError)        our deadline expired; the call may still have happened
    ├── StoreError                        the store of operators' overrides cannot be used
    └── CallRefused                       the call was never attempted
        ├── CircuitOpen                   the dependency failed repeatedly; `retry_after` says when to try again
        ├── ToolDisabled                  an operator switched the tool off
        ├── BulkheadFull                  as many calls of this tool are running as are allowed
        ├── LoopDetected                  the same call gave the same result too often in this session
        └── BudgetExceeded                a limit of the session is used up
            ├── MaxIterationsExceeded     ... the number of LLM calls
            └── PriceUnknown              its cost cannot be counted against the session's limit
"""

from __future__ import annotations

import logging
import sys

_logger = logging.getLogger("otel_tools")


class OtelToolsError(Exception):
    """Base class of every exception that otel-tools raises."""


class ConfigError(OtelToolsError, ValueError):
    """A setting is wrong. The message names where it stands, what is wrong and what is allowed."""


class StoreError(OtelToolsError):
    """The store of operators' overrides cannot be used. The message names it, what is wrong and what to do."""


class CallTimeout(OtelToolsError, TimeoutError):  # noqa: N818  names the situation, as anyio's do
    """A call did not finish before the deadline that the policy gave it.

    Args:
        name: The tool or client that was called.
        timeout: The deadline, in seconds.
        item: It was the deadline of the next item of a generator or stream.
    """

    reason = "timeout"

    def __init__(self, name: str, timeout: float, item: bool = False) -> None:
        super().__init__(name, timeout, item)
        self.name = name
        self.timeout = timeout
        self.item = item
        self.retry_after: float | None = None

    def __str__(self) -> str:
        if self.item:
            return f"{self.name} did not give its next item within {self.timeout:g} s"
        return f"{self.name} did not finish within {self.timeout:g} s; it may still have taken effect"


class CallRefused(OtelToolsError):  # noqa: N818  likewise, and its subclasses
    """A call was refused before it was attempted.

    Args:
        name: The tool or client that was to be called.
        retry_after: Seconds until a call may be admitted again, `None` if unknown.
        detail: Why, in a few words of our own or of an operator (never text of a dependency).
    """

    reason = "refused"
    _sentence = "was refused"
    _tells_detail = True

    def __init__(self, name: str, retry_after: float | None = None, detail: str = "") -> None:
        super().__init__(name, retry_after, detail)
        self.name = name
        self.retry_after = retry_after
        self.detail = detail

    def __str__(self) -> str:
        detail = f": {self.detail}" if self.detail and self._tells_detail else ""
        retry = "" if self.retry_after is None else f"; retry after {max(self.retry_after, 1):.0f} s"
        return f"{self.name} {self._sentence}{detail}{retry}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class CircuitOpen(CallRefused):
    """The circuit of a tool or client is open, so the call was not attempted."""

    reason = "circuit_open"
    _sentence = "is unavailable, its circuit is open"


class ToolDisabled(CallRefused):
    """An operator disabled the tool."""

    reason = "disabled"
    _sentence = "is disabled"
    _tells_detail = False  # an operator's words are for people: frameworks show the model what an exception says


class BulkheadFull(CallRefused):
    """As many calls of this tool are in flight as its policy allows."""

    reason = "bulkhead_full"
    _sentence = "has too many calls in flight"


class LoopDetected(CallRefused):
    """The session made this call, with these arguments and the same result, as often as it may."""

    reason = "loop_detected"
    _sentence = "was not called again, it keeps giving the same result"


class BudgetExceeded(CallRefused):
    """A limit of the session (cost, tokens, tool calls, time) is used up."""

    reason = "budget_exceeded"
    _sentence = "was not called, the session's limit is used up"


class MaxIterationsExceeded(BudgetExceeded):
    """The session made as many LLM calls as it may."""


class PriceUnknown(BudgetExceeded):
    """The session's cost is limited, nobody knows what the model costs, and such calls are not allowed."""

    _sentence = "was not called, its price is not known"


_reported: set[str] = set()
_MOST_REPORTS = 256
raise_internal_errors = False
"""Set by our tests: a fault of otel-tools is raised instead of logged."""


def internal_error(where: str) -> None:
    """Report a fault of otel-tools itself; call it in an `except` block.

    The instrumented program must not notice: the first fault at each place is logged with its traceback, the rest
    are silent. In our own tests the fault is raised.

    Args:
        where: What otel-tools was doing, a constant (it is the key for logging once).
    """
    if raise_internal_errors:
        raise  # noqa: PLE0704  re-raises what the caller's except block handles
    if where not in _reported and len(_reported) < _MOST_REPORTS:
        _reported.add(where)
        error = sys.exc_info()
        _logger.warning("otel-tools failed while %s; the program goes on (reported once)", where, exc_info=error)
