"""What an exception says: how the call ended, and whether its dependency is to blame.

Everything is read structurally or by qualified name, so that no library is imported, and every read is guarded: an
exception may have properties that raise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from math import isfinite
from types import TracebackType
from typing import Any, Final, NamedTuple

from otel_tools.errors import CallRefused
from otel_tools.policy.outcome import Outcome, Verdict


class Classification(NamedTuple):
    """What an exception says; *retry_after* in seconds, from the dependency itself."""

    outcome: Outcome
    verdict: Verdict
    retry_after: float | None = None


_CANCELLED: Final = Classification(Outcome.CANCELLED, Verdict.NEUTRAL)
_INTERRUPTED: Final = Classification(Outcome.INTERRUPTED, Verdict.NEUTRAL)
_NEUTRAL: Final = Classification(Outcome.ERROR, Verdict.NEUTRAL)
_FAILURE: Final = Classification(Outcome.ERROR, Verdict.FAILURE)

_CANCELLATIONS: Final = frozenset(
    {
        "asyncio.exceptions.CancelledError",
        "builtins.GeneratorExit",
        "builtins.KeyboardInterrupt",
        "builtins.SystemExit",
        "greenlet.GreenletExit",
        "trio.Cancelled",
    }
)
_VALIDATION_ERRORS: Final = frozenset(
    {
        "jsonschema.exceptions.ValidationError",
        "pydantic.error_wrappers.ValidationError",
        "pydantic.v1.error_wrappers.ValidationError",
        "pydantic_core._pydantic_core.ValidationError",
    }
)
_STATUS_PATHS: Final = (
    ("status_code",),
    ("code",),
    ("status",),
    ("response", "status_code"),
    ("response", "status"),
)
_HEADER_PATHS: Final = (("response", "headers"), ("headers",))
_HTTP_STATUS: Final = range(100, 600)
_CLIENT_ERROR: Final = range(400, 500)
_DEPENDENCY_AT_FAULT: Final = frozenset({408, 425, 429})
_SAYS_WHEN: Final = frozenset({429, 503})


def classify(
    error: BaseException, control_flow: tuple[str, ...] = (), *, now: Callable[[], float] = time.time
) -> Classification:
    """What *error* says. Never raises.

    Args:
        error: What a call raised.
        control_flow: Qualified names (`module.Class`) of exceptions that are no failure; subclasses match, too.
        now: Seconds of the wall clock, for a `Retry-After` that is a date.
    """
    try:
        return _worst([_classify(leaf, control_flow, now) for leaf in _leaves(error)])
    except Exception:  # a class with a hostile metaclass
        return _FAILURE


def matches(error: BaseException, names: tuple[str, ...]) -> bool:
    """Whether the class of *error*, or one it derives from, has one of the qualified *names*. Never raises."""
    try:
        return not _names(type(error)).isdisjoint(names)
    except Exception:
        return False


def _names(cls: type) -> set[str]:
    return {f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__}


def _worst(found: list[Classification]) -> Classification:
    for one in found:
        if one.verdict is Verdict.FAILURE:
            return one
    return found[0]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exception itself, or those that an exception group (nested to any depth) holds."""
    pending = [error]
    while pending:
        one = pending.pop()
        if issubclass(type(one), BaseExceptionGroup):
            pending.extend(reversed(one.exceptions))  # type: ignore[attr-defined]  # checked by its class
        else:
            yield one


def _classify(error: BaseException, control_flow: tuple[str, ...], now: Callable[[], float]) -> Classification:
    cls = type(error)  # not isinstance: `__class__` may be a property that raises
    names = _names(cls)
    if not names.isdisjoint(control_flow):
        return _INTERRUPTED
    if not names.isdisjoint(_CANCELLATIONS):
        return _CANCELLED
    if not issubclass(cls, Exception) or issubclass(cls, CallRefused) or not names.isdisjoint(_VALIDATION_ERRORS):
        return _NEUTRAL
    if issubclass(cls, TypeError) and _raised_by_calling(error.__traceback__):
        return _NEUTRAL
    return _by_status(error, now)


def _raised_by_calling(traceback: TracebackType | None) -> bool:
    """Whether the innermost frame is ours: then arguments did not fit and the function's body was never entered."""
    if traceback is None:
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = traceback.tb_frame.f_globals.get("__name__")
    return isinstance(module, str) and module.startswith("otel_tools.") and not module.startswith("otel_tools.demo.")


# --- HTTP -----------------------------------------------------------------------------------------------------------
def _by_status(error: BaseException, now: Callable[[], float]) -> Classification:
    status = _status(error)
    if status in _CLIENT_ERROR and status not in _DEPENDENCY_AT_FAULT:
        return _NEUTRAL
    if status in _SAYS_WHEN:
        return _FAILURE._replace(retry_after=_retry_after(error, now))
    return _FAILURE


def _read(value: Any, path: tuple[str, ...]) -> Any:
    try:
        for name in path:
            value = getattr(value, name, None)
    except Exception:
        return None
    return value


def _status(error: BaseException) -> int | None:
    for path in _STATUS_PATHS:
        status = _read(error, path)
        if isinstance(status, int) and status in _HTTP_STATUS:  # a bool is too small for one
            return int(status)
    return None


def _retry_after(error: BaseException, now: Callable[[], float]) -> float | None:
    for path in _HEADER_PATHS:
        headers = _read(error, path)
        for name in ("retry-after", "Retry-After"):
            seconds = _seconds(_item(headers, name), now)
            if isfinite(seconds) and seconds > 0:
                return seconds
    return None


def _item(headers: Any, name: str) -> Any:
    try:
        return headers[name]
    except Exception:
        return None


def _seconds(header: Any, now: Callable[[], float]) -> float:
    """What the header asks for, as a number or as a date; 0 when it cannot be read."""
    try:
        return float(header)
    except (TypeError, ValueError):
        pass
    try:
        return parsedate_to_datetime(header).timestamp() - now()
    except Exception:
        return 0.0
