"""PromQL of the pages, put together from `semconv` so that no name can be wrong."""

from __future__ import annotations

from otel_tools.ops import translation
from otel_tools.semconv import Metric


def string(text: str) -> str:
    """*text* as a string of PromQL."""
    text = text.encode(errors="replace").decode()  # what no encoding has is no label either
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(one if one.isprintable() else _escape(ord(one)) for one in escaped) + '"'


def _escape(point: int) -> str:
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"  # noqa: PLR2004  the basic plane


def equals(label: str, value: str) -> str:
    """A matcher; *label* is an attribute of ours or a label of Prometheus."""
    return f"{translation.label(label)}={string(value)}"


def some(label: str) -> str:
    """A matcher for series that have *label*."""
    return f'{translation.label(label)}!=""'


def series(metric: Metric, *matchers: str, part: str = "") -> str:
    """The series of *metric*; *part* is `count`, `sum` or `bucket` of a histogram."""
    name = translation.name(metric) + (f"_{part}" if part else "")
    return f"{name}{{{', '.join(matchers)}}}" if matchers else name


def increase(metric: Metric, *matchers: str, part: str = "", window: str = "5m") -> str:
    """How much a counter, or the count of a histogram, grew within *window*."""
    return f"increase({series(metric, *matchers, part=part)}[{window}])"


def total(expression: str, *by: str) -> str:
    """The sum of *expression*, for each value of these labels."""
    labels = ", ".join(translation.label(one) for one in by)
    return f"sum by ({labels}) ({expression})" if by else f"sum({expression})"


def quantile(metric: Metric, *matchers: str, by: tuple[str, ...] = (), share: float = 0.95, window: str = "5m") -> str:
    """A quantile of a histogram within *window*."""
    rates = f"rate({series(metric, *matchers, part='bucket')}[{window}])"
    return f"histogram_quantile({share:g}, {total(rates, *by, 'le')})"


def most(expression: str, count: int = 10) -> str:
    """The *count* largest values of *expression*."""
    return f"topk({count}, {expression})"
