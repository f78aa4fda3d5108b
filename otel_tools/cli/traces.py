"""The traces received so far, as trees; the oldest ones are forgotten."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from otel_tools import semconv as names
from otel_tools.cli.otlp import Span

_OURS = frozenset(
    {
        names.CHAT,
        names.EMBEDDINGS,
        names.GENERATE_CONTENT,
        names.TEXT_COMPLETION,
        names.EXECUTE_TOOL,
        names.INVOKE_AGENT,
    }
)
LLM_OPERATIONS = _OURS - {names.EXECUTE_TOOL, names.INVOKE_AGENT}


@dataclass(slots=True, frozen=True)
class Node:
    """A span and what happened within it, in the order it began."""

    span: Span
    children: tuple[Node, ...]

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(slots=True)
class Trace:
    """The spans of one trace. *updated* is when the last one arrived; *dropped* counts spans beyond the limit."""

    trace_id: str
    updated: float = 0.0
    dropped: int = 0
    spans: dict[str, Span] = field(default_factory=dict)
    _roots: tuple[Node, ...] | None = None

    def add(self, span: Span, now: float, limit: int) -> None:
        """Take in a span, unless there are *limit* already (an agent run, which holds the totals, always)."""
        self.updated, self._roots = now, None
        if len(self.spans) < limit or span.operation == names.INVOKE_AGENT:
            self.spans[span.span_id] = span
        else:
            self.dropped += 1

    def roots(self) -> tuple[Node, ...]:
        """The trees of the trace: more than one while spans are missing (still running, sampled, elsewhere)."""
        if self._roots is None:
            children: dict[str, list[Span]] = {}
            for span in self.spans.values():
                children.setdefault(span.parent_id if span.parent_id in self.spans else "", []).append(span)
            self._roots = _nodes(children, "")
        return self._roots

    def runs(self) -> list[Node]:
        """The outermost agent runs."""
        return [run for root in self.roots() for run in _runs(root)]

    def calls_outside(self) -> list[Span]:
        """Our calls that are in no agent run: theirs is still going on and comes last, or there is none."""
        return [node.span for root in self.roots() for node in _outside(root) if node.span.operation in _OURS]


def _nodes(children: dict[str, list[Span]], parent: str) -> tuple[Node, ...]:
    below = sorted(children.get(parent, ()), key=lambda span: (span.start, span.end))
    return tuple(Node(span, _nodes(children, span.span_id)) for span in below)


def _runs(node: Node) -> Iterator[Node]:
    if node.span.operation == names.INVOKE_AGENT:
        yield node
    else:
        for child in node.children:
            yield from _runs(child)


def _outside(node: Node) -> Iterator[Node]:
    if node.span.operation != names.INVOKE_AGENT:
        yield node
        for child in node.children:
            yield from _outside(child)


class TraceStore:
    """The latest traces.

    Args:
        traces: How many are kept.
        spans: How many spans of each are kept.
    """

    def __init__(self, traces: int = 200, spans: int = 500) -> None:
        self._limit = traces
        self._span_limit = spans
        self._traces: OrderedDict[str, Trace] = OrderedDict()

    def add(self, span: Span, now: float) -> None:
        """Take in a span that arrived at *now*."""
        self._traces.setdefault(span.trace_id, Trace(span.trace_id)).add(span, now, self._span_limit)
        self._traces.move_to_end(span.trace_id)
        if len(self._traces) > self._limit:
            self._traces.popitem(last=False)

    def get(self, trace_id: str) -> Trace | None:
        """A trace, if it is still known."""
        return self._traces.get(trace_id)

    def newest(self) -> Iterator[Trace]:
        """All of them, the one that changed last first."""
        return reversed(self._traces.values())
