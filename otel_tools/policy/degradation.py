"""What a model is told when a tool gave nothing: fixed texts, so that prompt caches hold and nothing leaks.

The bytes depend on the tool, its policy, the reason and a coarse step of the time to wait. No text of a dependency and
no argument goes in: both can carry instructions for the model, or secrets. No sentence tells the model to find another
way round a control.

The reason is the call's outcome, as on its span and metrics, with one addition: `forced_open`, a circuit that an
operator opened, which is a control and not an outage. An open and a half-open circuit are one reason: the model can
do nothing else about the one than about the other, and what differs, the time to wait, is told anyway.
"""

from __future__ import annotations

import json
from math import ceil
from typing import Any, Final, Literal, NamedTuple


class _Words(NamedTuple):
    """What is said for one reason: the fact, then what to do about an optional and a critical tool."""

    type: str
    outcome: Literal["not_attempted", "unknown", "failed"]
    retryable: bool
    fact: str
    optional: str
    critical: str


_LATER: Final = (
    "Do not call it again in this turn. Continue without it and tell the user that its results are missing.",
    "Do not call it again in this turn. Tell the user that the request cannot be completed now without {tool}.",
)
_NEVER: Final = ("Do not call it again. Tell the user that {tool} is switched off.",) * 2
_CLOSED: Final = ("Do not call it again in this turn. Tell the user that {tool} is out of service.",) * 2
_LIMIT: Final = ("Make no further calls. Tell the user that the limit was reached and what was left undone.",) * 2
_CHANGE: Final = ("Do not repeat it. Use the result you have, or tell the user what is missing.",) * 2
_UNKNOWN: Final = ("Do not repeat it. Tell the user that its result is unknown and that it may have taken effect.",) * 2

_WORDS: Final = {
    "circuit_open": _Words("tool_unavailable", "not_attempted", True, "{tool} is temporarily unavailable.", *_LATER),
    "bulkhead_full": _Words(
        "tool_unavailable", "not_attempted", True, "Too many calls of {tool} are running.", *_LATER
    ),
    "forced_open": _Words(
        "tool_unavailable", "not_attempted", False, "An operator took {tool} out of service.", *_CLOSED
    ),
    "disabled": _Words("tool_disabled", "not_attempted", False, "An operator switched {tool} off.", *_NEVER),
    "budget_exceeded": _Words(
        "budget_exceeded",
        "not_attempted",
        False,
        "{tool} was not called: the limit of this session is used up.",
        *_LIMIT,
    ),
    "loop_detected": _Words(
        "loop_detected",
        "not_attempted",
        False,
        "{tool} was not called: it has given the same result for these arguments again and again.",
        *_CHANGE,
    ),
    "timeout": _Words("tool_timeout", "unknown", False, "{tool} did not finish{within}.", *_UNKNOWN),
}
_FAILED: Final = _Words("tool_failed", "failed", True, "{tool} failed.", *_LATER)

_STEPS: Final = (5, 15, 60)
_LONGEST: Final = 7 * 86_400


def structured_error(
    tool: str, reason: str, *, retry_after: float | None = None, critical: bool = False, timeout: float | None = None
) -> dict[str, Any]:
    """What to give a model instead of the result of a tool.

    Args:
        tool: The tool's name.
        reason: The value of the call's `Outcome`, or `forced_open`.
        retry_after: Seconds until a call may be admitted again; rounded up to 5, 15, 60, 120, ... s. More than a week
            (a dependency may ask for anything) is as good as unknown.
        critical: The run cannot do without the tool.
        timeout: The deadline that expired, in seconds.
    """
    words = _WORDS.get(reason, _FAILED)
    advice = words.critical if critical else words.optional
    within = "" if timeout is None else f" within {timeout:g} s"
    error = {
        "type": words.type,
        "reason": reason,
        "tool": tool,
        "retryable": words.retryable,
        "retry_after_s": None if retry_after is None or not retry_after <= _LONGEST else _round_up(retry_after),
        "attempted": words.outcome != "not_attempted",
        "outcome": words.outcome,
        "critical": critical,
        "message": f"{words.fact} {advice}".format(tool=tool, within=within),
    }
    return {"is_error": True, "error": error}


def note(
    tool: str,
    reason: str,
    *,
    retry_after: float | None = None,
    critical: bool = False,
    timeout: float | None = None,
    again: bool = False,
) -> str:
    """`structured_error` as compact JSON; the bytes are the same for the same arguments.

    Args:
        tool: The tool's name.
        reason: As for `structured_error`.
        retry_after: Likewise.
        critical: Likewise.
        timeout: Likewise.
        again: The model was given this note before: the message is left out, it would only cost tokens.
    """
    error = structured_error(tool, reason, retry_after=retry_after, critical=critical, timeout=timeout)
    if again:
        del error["error"]["message"]
    return json.dumps(error, ensure_ascii=False, separators=(",", ":"))


def loop_warning(tool: str, repeats: int) -> str:
    """What a model is told below a result that it was given *repeats* times for the same arguments."""
    return (
        f"Note: {tool} has given this result {repeats} times in a row for the same arguments. It will not be called "
        "with them again. Do not repeat the call. Use this result, or tell the user what is missing."
    )


def _round_up(seconds: float) -> int:
    for step in _STEPS:
        if seconds <= step:
            return step
    return ceil(seconds / _STEPS[-1]) * _STEPS[-1]
