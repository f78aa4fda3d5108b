"""PromQL that every rule is made of. It runs on Prometheus 2.42 and later, and on what speaks its language."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from otel_tools.ops.model import HOUR
from otel_tools.ops.records import duration


def select(name: str, *matchers: str) -> str:
    """The series *name* with all *matchers*."""
    return f"{name}{{{', '.join(matchers)}}}" if matchers else name


def number(value: float) -> str:
    """A threshold as PromQL writes it."""
    return f"{value:.10g}"


def one_of(label: str, values: Iterable[str]) -> str:
    """The matcher of a label that has one of *values*."""
    return f'{label}=~"{"|".join(sorted(values))}"'


def total(selector: str, window: int, by: Iterable[str]) -> str:
    """What counters counted in the last *window* seconds, by labels; nothing is lost to first samples.

    `increase()` alone does not see what a series had counted when its first sample was taken: the error that made the
    series, the cost of a program that ran for a minute. A series that began within the window therefore counts with
    its whole value. One is only taken for new if it was not there an hour before, either, so that a pause in
    exporting does not make it so, and not after a reset, where its value is not all it counted.
    """
    short, long = duration(window), duration(window + HOUR)
    return (
        f"sum by ({', '.join(by)}) (\n"
        f"    last_over_time({selector}[{short}])\n"
        f"      unless {selector} offset {short}\n"
        f"      unless {selector} offset {long}\n"
        f"      unless resets({selector}[{short}]) > 0\n"
        f"  or\n"
        f"    increase({selector}[{short}])\n"
        f")"
    )


def or_zero(part: str, whole: str, ignoring: str = "") -> str:
    """*part*, or 0 where there is only the *whole*: no error has happened yet, so that series does not exist.

    *ignoring* is a label that only the *whole* has.
    """
    return f"{part}\nor{f' ignoring ({ignoring})' if ignoring else ''}\n0 * {whole}"


def ratio(part: str, whole: str) -> str:
    """*part* of *whole*, of neither of which there is anything if the whole is 0."""
    return f"{part} / ({whole} > 0)"


def quantile(q: float, buckets: str) -> str:
    """The quantile of what *buckets* hold, by the labels they are summed by besides `le`."""
    return f"histogram_quantile(\n  {number(q)},\n{indent(buckets)}\n)"


def marked(expression: str, label: str, value: str) -> str:
    """*expression* with one label more."""
    return f'label_replace(\n{indent(expression)},\n  "{label}", "{value}", "", ""\n)'


def any_of(*conditions: str) -> str:
    """One of *conditions*; they have the same labels."""
    return "\nor\n".join(conditions)


def all_of(*conditions: str) -> str:
    """The value of the first of *conditions* where all hold; they have the same labels."""
    first, *others = conditions
    return "\n".join([first, *(f"  and {other}" for other in others)])


def indent(expression: str) -> str:
    """One step to the right."""
    return textwrap.indent(expression, "  ")
