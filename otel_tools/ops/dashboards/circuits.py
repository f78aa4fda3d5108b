"""The state of circuits as one number, from one series a state."""

from __future__ import annotations

from typing import Final

from otel_tools import semconv as names
from otel_tools.ops import translation
from otel_tools.ops.dashboards import promql
from otel_tools.ops.dashboards.panels import BLUE, GREEN, ORANGE, RED, YELLOW, Words
from otel_tools.ops.expressions import one_of

NAME: Final = translation.label(names.CIRCUIT_NAME)
STATE: Final = translation.label(names.CIRCUIT_STATE)
SHADOW: Final = translation.label(names.CIRCUIT_SHADOW)
REASON: Final = translation.label(names.CIRCUIT_REASON)
FROM: Final = translation.label(names.CIRCUIT_FROM)
TO: Final = translation.label(names.CIRCUIT_TO)

ACTING: Final = f'{SHADOW}=""'
"""A matcher: circuits that refuse calls, not those that only observe."""

WORDS: Final[Words] = {
    0.0: ("closed", GREEN),
    1.0: ("metrics only", BLUE),
    2.0: ("would be open", YELLOW),
    3.0: ("breaker off", BLUE),
    4.0: ("half open", ORANGE),
    5.0: ("open", RED),
    6.0: ("forced open", RED),
}
"""Number -> what it says; of several processes the greatest is shown."""
_NUMBERS: Final = (
    (("closed",), "", 0),
    (("metrics_only",), "", 1),
    (("open", "half_open"), f'{SHADOW}="true"', 2),
    (("disabled",), "", 3),
    (("half_open",), ACTING, 4),
    (("open",), ACTING, 5),
    (("forced_open",), "", 6),
)


def state(*by: str, matchers: tuple[str, ...] = ()) -> str:
    """The state of circuits, as a number of `WORDS`, by *by* besides their name."""
    parts = (f"0 * ({_in(states, shadow, matchers)} > 0) + {number}" for states, shadow, number in _NUMBERS)
    return promql.max_by(" or ".join(parts), *by, NAME)


def _in(states: tuple[str, ...], shadow: str, matchers: tuple[str, ...]) -> str:
    chosen = (one_of(STATE, states), *((shadow,) if shadow else ()), *matchers)
    return promql.series(names.CIRCUIT, *chosen)


def of_tools(*by: str) -> str:
    """The same, with the tool's name where tools have theirs, so that it joins with what else is known of them."""
    return f'label_replace({state(*by)}, "{promql.TOOL}", "$1", "{NAME}", "(.+)")'


def matching_tools() -> str:
    """A matcher: circuits of the tools that the variable `tool` selects."""
    return f'{NAME}=~"$tool"'
