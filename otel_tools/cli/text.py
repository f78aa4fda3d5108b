"""Numbers, times and outcomes as people read them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from rich.text import Text

from otel_tools.cli.rows import RUNNING
from otel_tools.ops.model import TOOL_ERRORS
from otel_tools.policy.outcome import REFUSED, Outcome

UNKNOWN: Final = "-"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_BYTES: Final = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_USD_DIGITS: Final = ((100, 0), (0.1, 2), (0, 4))
_SMALL_PERCENT = 0.0995
_LAST_SECOND: Final = 32_503_593_600.0
"""The end of the year 2999: no system's calendar ends before."""


def seconds(value: float | None) -> str:
    """`23 ms`, `1.24 s`, `2 m 05 s`, `3 h 10 m`."""
    if value is None:
        return UNKNOWN
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < _MINUTE:
        return f"{value:.2f} s"
    minutes, rest = divmod(int(value), _MINUTE)
    return f"{minutes // 60} h {minutes % 60:02} m" if value >= _HOUR else f"{minutes} m {rest:02} s"


def window(value: float) -> str:
    """`5 m`, `1 h`, `1 d`, `14 s`."""
    for unit, sign in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m")):
        if value >= unit:
            return f"{value / unit:.0f} {sign}"
    return f"{value:.0f} s"


def usd(value: float) -> str:
    """`$0.0013`, `$0.12`, `$512`."""
    digits = next(digits for least, digits in _USD_DIGITS if value >= least)
    return f"${value:,.{digits}f}"


def size(value: float | None) -> str:
    """`812 B`, `1.4 kB`."""
    if value is None:
        return UNKNOWN
    for unit, sign in _BYTES:
        if value >= unit:
            return f"{value / unit:.1f} {sign}"
    return f"{value:.0f} B"


def percent(value: float) -> str:
    """`0%`, `0.4%`, `57%`."""
    return f"{value:.1%}" if 0 < value < _SMALL_PERCENT else f"{value:.0%}"


def clock(value: float) -> str:
    """The local time of day."""
    return time.strftime("%H:%M:%S", _local(value))


def date(value: float) -> str:
    """The local date and time."""
    return time.strftime("%Y-%m-%d %H:%M", _local(value))


def _local(value: float) -> time.struct_time:
    return time.localtime(min(max(value, 0.0), _LAST_SECOND))


def short(error_type: str) -> str:
    """An exception's name without its module."""
    return error_type.rpartition(".")[2]


_OUTCOME_STYLES: Final = {
    **dict.fromkeys(map(str, REFUSED), "magenta"),
    **dict.fromkeys(map(str, TOOL_ERRORS), "red"),
    "completed": "green",
    "ok": "green",
    "error": "red",
    "max_iterations": "magenta",
    "budget_exceeded": "magenta",
    "cancelled": "yellow",
    Outcome.CIRCUIT_OPEN: "magenta",
    "degraded": "yellow",
    RUNNING: "cyan",
    "closed": "green",
    "open": "red",
    "half_open": "yellow",
    "would_be_open": "yellow",
    "would_be_half_open": "yellow",
    "forced_open": "red",
    "disabled": "magenta",
    "metrics_only": "yellow",
    "critical": "bold red",
    "warning": "yellow",
}


def word(value: str, text: str | None = None) -> Text:
    """An outcome, a circuit's state or a severity, in its colour (and in other words, if *text* is given)."""
    return Text(value.replace("_", " ") if text is None else text, _OUTCOME_STYLES.get(value, ""))


def words(counts: Mapping[str, int]) -> Text:
    """`3 errors, 2 circuit open`, each in its colour."""
    line = Text()
    for value, count in counts.items():
        plural = "s" if count > 1 and value in _NOUNS else ""
        line.append(", " if line else "").append_text(word(value, f"{count} {value.replace('_', ' ')}{plural}"))
    return line


_NOUNS: Final = frozenset({Outcome.ERROR, Outcome.TOOL_ERROR, Outcome.TIMEOUT})
