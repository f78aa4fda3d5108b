"""The trace of a session as a tree with a timeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from otel_tools import semconv as names
from otel_tools.cli import text
from otel_tools.cli.otlp import Span
from otel_tools.cli.traces import Node, Trace
from otel_tools.policy.outcome import FAILED, REFUSED, Outcome

_GAP = "  "
_BAR = "━"
_NARROWEST, _WIDEST = 12, 48
_ROOMY = 116
"""Columns from which on there is room for details of less weight."""
_READ, _WRITTEN = names.USAGE_FIELDS["input_tokens"], names.USAGE_FIELDS["output_tokens"]
_WHY = {
    Outcome.CIRCUIT_OPEN: "refused, circuit open",
    Outcome.DISABLED: "refused, switched off",
    Outcome.BULKHEAD_FULL: "refused, too many in flight",
    Outcome.BUDGET_EXCEEDED: "refused, session limit",
}


class _Line(NamedTuple):
    guide: str
    span: Span


class TraceTree:
    """Renders a trace: one line a span, in the order of time, with a timeline where there is room for it.

    Args:
        trace: The trace.
        limit: Lines at most.
    """

    def __init__(self, trace: Trace, limit: int = 60) -> None:
        lines = [line for root in trace.roots() for line in _lines(root, "", "")]
        self._lines = lines[:limit]
        self._hidden = len(lines) - len(self._lines) + trace.dropped

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        cells = [
            (_name(line), Text(text.seconds(line.span.end - line.span.start)), _detail(line.span, options.max_width))
            for line in self._lines
        ]
        widths = [max((row[column].cell_len for row in cells), default=0) for column in range(3)]
        bars = min(options.max_width - sum(widths) - 3 * len(_GAP), _WIDEST)
        yield from self._rows(cells, widths, bars if bars >= _NARROWEST else 0, options.max_width)
        if self._hidden:
            yield Text(f"… and {self._hidden} more spans", "dim")

    def _rows(self, cells: list[tuple[Text, Text, Text]], widths: list[int], bars: int, room: int) -> Iterator[Text]:
        start = min((line.span.start for line in self._lines), default=0.0)
        end = max((line.span.end for line in self._lines), default=0.0)
        for line, (name, duration, detail) in zip(self._lines, cells, strict=True):
            name.pad_right(widths[0] - name.cell_len)
            duration.pad_left(widths[1] - duration.cell_len)
            timeline = [_bar(line.span, start, end, bars)] if bars else []
            row = Text(_GAP, no_wrap=True).join([name, duration, *timeline, detail])
            row.truncate(room, overflow="ellipsis")
            yield row


def _lines(node: Node, guide: str, below: str) -> Iterator[_Line]:
    yield _Line(guide, node.span)
    for child in node.children:
        last = child is node.children[-1]
        yield from _lines(child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "))


def _name(line: _Line) -> Text:
    operation, _, rest = line.span.name.partition(" ")
    if line.span.operation is None:
        return Text.assemble((line.guide, "dim"), (line.span.name, "dim"))
    return Text.assemble((line.guide, "dim"), (operation, "cyan"), " ", (rest, "bold"))


def _bar(span: Span, start: float, end: float, width: int) -> Text:
    scale = width / (end - start) if end > start else 0.0
    offset = min(int((span.start - start) * scale), width - 1)
    length = max(1, min(round((span.end - span.start) * scale), width - offset))
    return Text.assemble(" " * offset, (_BAR * length, _style(span)), " " * (width - offset - length))


def _outcome(span: Span) -> str:
    return str(span.attributes.get(names.OUTCOME) or ("error" if span.failed else "ok"))


def _refused(span: Span) -> bool:
    return _outcome(span) in REFUSED


def _style(span: Span) -> str:
    if _refused(span):
        return "magenta"
    if span.failed:
        return "red"
    return {names.EXECUTE_TOOL: "green", names.INVOKE_AGENT: "blue"}.get(str(span.operation), "cyan")


def _detail(span: Span, room: int) -> Text:
    parts = [part for part in (*_ending(span), *_usage(span), *_policy(span)) if part]
    if room >= _ROOMY:
        parts += _asides(span)
    return Text(_GAP).join(parts)


def _ending(span: Span) -> Iterator[Text]:
    if names.SESSION_OUTCOME in span.attributes:
        yield text.word(str(span.attributes[names.SESSION_OUTCOME]))
        return
    outcome = _outcome(span)
    note = " → note for the model" if span.attributes.get(names.DEGRADED) else ""
    if outcome in REFUSED:
        yield Text.assemble((f"⊘ {_WHY[Outcome(outcome)]}", "magenta"), (note, "yellow"))
    elif outcome == Outcome.TIMEOUT:
        limit = span.attributes.get(names.TIMEOUT_LIMIT)
        after = f" after {text.seconds(limit)}" if limit else ""
        yield Text.assemble((f"✗ timeout{after}", "red"), (note, "yellow"))
    elif outcome in FAILED or span.failed:
        error = text.short(str(span.attributes.get(names.ERROR_TYPE, outcome)))
        yield Text.assemble((f"✗ {error}", "red"), (note, "yellow"))
    elif outcome != Outcome.OK:
        yield text.word(outcome)


def _usage(span: Span) -> Iterator[Text]:
    found = span.attributes
    if _READ in found or _WRITTEN in found:
        yield Text(f"{found.get(_READ, 0):,} → {found.get(_WRITTEN, 0):,} tokens")
        yield Text(text.usd(found[names.COST])) if names.COST in found else Text("no price", "yellow")
    elif names.SESSION_COST in found:
        yield Text(text.usd(found[names.SESSION_COST]))


def _policy(span: Span) -> Iterator[Text]:
    if span.attributes.get(names.CIRCUIT_PROBE):
        yield Text("probe of the circuit", "yellow")
    if span.attributes.get(names.CIRCUIT_WOULD_REFUSE):
        yield Text("would be refused", "yellow")


def _asides(span: Span) -> Iterator[Text]:
    found = span.attributes
    if names.TIME_TO_FIRST_CHUNK in found:
        yield Text(f"first chunk {text.seconds(found[names.TIME_TO_FIRST_CHUNK])}", "dim")
    if names.RESULT_SIZE in found and not span.failed:
        yield Text(text.size(found[names.RESULT_SIZE]), "dim")
