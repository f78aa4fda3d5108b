"""The trace of a session as a tree with a timeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from otel_tools import semconv as names
from otel_tools.cli import text
from otel_tools.cli.otlp import Span
from otel_tools.cli.traces import LLM_OPERATIONS, Node, Trace
from otel_tools.policy.outcome import FAILED, REFUSED, Outcome

_TIMELINE_FROM = 96
_BAR = "━"
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
    """Renders a trace: one line a span, in the order of time, with the timeline where there is room for it.

    Args:
        trace: The trace.
        limit: Lines at most.
    """

    def __init__(self, trace: Trace, limit: int = 60) -> None:
        self._lines = [line for root in trace.roots() for line in _lines(root, "", "")]
        self._limit = limit
        self._hidden = max(0, len(self._lines) - limit) + trace.dropped

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self._lines[: self._limit]
        bars = options.max_width // 4 if options.max_width >= _TIMELINE_FROM else 0
        table = Table.grid(padding=(0, 2, 0, 0), expand=False)
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(justify="right", no_wrap=True)
        if bars:
            table.add_column(no_wrap=True, width=bars)
        table.add_column(no_wrap=True, overflow="ellipsis")
        start = min((line.span.start for line in self._lines), default=0.0)
        end = max((line.span.end for line in self._lines), default=0.0)
        for line in shown:
            timeline = [_bar(line.span, start, end, bars)] if bars else []
            duration = Text(text.seconds(line.span.end - line.span.start), "dim" if _refused(line.span) else "")
            table.add_row(_name(line), duration, *timeline, _detail(line.span))
        yield table
        if self._hidden:
            yield Text(f"… and {self._hidden} more spans", "dim")


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
    return Text.assemble((" " * offset, ""), (_BAR * length, _style(span)))


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


def _detail(span: Span) -> Text:
    if span.operation == names.INVOKE_AGENT:
        return text.word(str(span.attributes.get(names.SESSION_OUTCOME, "")))
    parts = [part for part in (_ending(span), *_numbers(span), *_policy(span)) if part]
    return Text("  ").join(parts)


def _ending(span: Span) -> Text | None:
    outcome = _outcome(span)
    if outcome in REFUSED:
        return Text(f"⊘ {_WHY[Outcome(outcome)]}", "magenta")
    if outcome == Outcome.TIMEOUT:
        limit = span.attributes.get(names.TIMEOUT_LIMIT)
        return Text(f"✗ timeout after {text.seconds(limit)}" if limit else "✗ timeout", "red")
    if outcome in FAILED or span.failed:
        return Text(f"✗ {text.short(str(span.attributes.get(names.ERROR_TYPE, outcome)))}", "red")
    return None if outcome == Outcome.OK else text.word(outcome)


def _numbers(span: Span) -> Iterator[Text]:
    found = span.attributes
    if span.operation in LLM_OPERATIONS and names.USAGE_FIELDS["input_tokens"] in found:
        used = [found.get(names.USAGE_FIELDS[kind], 0) for kind in ("input_tokens", "output_tokens")]
        yield Text(f"{used[0]:,} → {used[1]:,} tokens")
        yield Text(text.usd(found[names.COST])) if names.COST in found else Text("no price", "yellow")
    if names.TIME_TO_FIRST_CHUNK in found:
        yield Text(f"first chunk {text.seconds(found[names.TIME_TO_FIRST_CHUNK])}", "dim")
    if names.RESULT_SIZE in found and not span.failed:
        yield Text(text.size(found[names.RESULT_SIZE]), "dim")


def _policy(span: Span) -> Iterator[Text]:
    found = span.attributes
    if found.get(names.DEGRADED):
        yield Text("↳ the model got a note instead", "yellow")
    if found.get(names.CIRCUIT_PROBE):
        yield Text("probe", "yellow")
    if found.get(names.CIRCUIT_WOULD_REFUSE):
        yield Text("would be refused", "yellow")
