"""Tables for the terminal: sessions, tools, circuits, alerts. They fit from 80 columns on and grow with the width."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from otel_tools import semconv as names
from otel_tools.cli import text
from otel_tools.cli.alerts import ALERTS, AlertLog, Firing, Measure
from otel_tools.cli.rows import NO_SESSION, Session, Tool, Transition
from otel_tools.cli.state import State
from otel_tools.policy.outcome import Outcome

WIDE = 100
"""Columns from which on there is room for more."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        header: What stands above it.
        cell: Gives a row's cell.
        right: Aligned to the right.
        wide: Only shown where there is room for it.
    """

    header: str
    cell: Callable[[Any], RenderableType]
    right: bool = False
    wide: bool = False


class Section:
    """A titled table.

    Args:
        title: In bold above it.
        note: After the title, dimmed.
        empty: What stands there instead of a table without rows.
    """

    def __init__(
        self, title: str, columns: Sequence[Column], rows: Iterable[Any], note: str = "", empty: str = ""
    ) -> None:
        self._title = title
        self._note = note
        self._empty = empty
        self._columns = columns
        self._rows = list(rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text.assemble((self._title, "bold"), ("  " + self._note, "dim"))
        if not self._rows:
            yield Text("  " + self._empty, "dim")
            return
        columns = [column for column in self._columns if options.max_width >= WIDE or not column.wide]
        table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False, show_edge=False, padding=(0, 1))
        for column in columns:
            justify: Literal["left", "right"] = "right" if column.right else "left"
            table.add_column(column.header, justify=justify, no_wrap=True, overflow="ellipsis")
        for row in self._rows:
            table.add_row(*(column.cell(row) for column in columns))
        yield table


# --- sessions -------------------------------------------------------------------------------------------------------
def sessions(rows: Sequence[Session]) -> Section:
    """Sessions, the latest at the bottom."""
    agents = {row.agent for row in rows if row.outcome != NO_SESSION}
    agent = [] if len(agents) == 1 else [Column("Agent", lambda row: row.agent or Text(text.UNKNOWN, "dim"))]
    columns = [
        Column("Began", lambda row: Text(text.clock(row.started), "dim")),
        *agent,
        Column("Outcome", lambda row: text.word(row.outcome)),
        Column("LLM calls", lambda row: f"{row.llm_calls}", right=True),
        Column("Tools", lambda row: f"{row.tool_calls}", right=True),
        Column("Tokens in", lambda row: f"{row.input_tokens:,}", right=True),
        Column("out", lambda row: f"{row.output_tokens:,}", right=True),
        Column("Cost", _cost, right=True),
        Column("Duration", lambda row: text.seconds(row.duration), right=True),
        Column("Tool trouble", trouble, wide=True),
    ]
    note = f"of {next(iter(agents))}" if len(agents) == 1 else ""
    return Section("Sessions", columns, rows, note, "none yet")


def _cost(row: Session) -> Text:
    if row.unpriced:
        return Text(f"≥ {text.usd(row.cost)}", "yellow")
    return Text(text.usd(row.cost))


def trouble(row: Session) -> Text:
    """What its tools ended with, other than ok."""
    return text.words({outcome: count for outcome, count in row.outcomes.items() if outcome != Outcome.OK})


# --- tools ----------------------------------------------------------------------------------------------------------
def tools(rows: Sequence[Tool]) -> Section:
    """Tools with what became of their calls."""
    columns = [
        Column("Tool", lambda row: Text(row.name, "bold")),
        Column("Calls", lambda row: f"{row.calls:,}", right=True),
        Column("Errors", _errors, right=True),
        Column("p95", lambda row: text.seconds(row.p95), right=True),
        Column("Result", lambda row: text.size(row.result_bytes), right=True),
        Column("Running", _running, right=True),
        Column("Circuit", _circuit),
        Column("Not ok", _not_ok, wide=True),
    ]
    return Section("Tools", columns, rows, empty="none called yet")


def _errors(row: Tool) -> Text:
    limits = [(alert.threshold, alert.severity) for alert in ALERTS if alert.metric is names.TOOL_CALLS]
    severity = next((severity for threshold, severity in limits if row.error_rate > threshold), "")
    return text.word(severity, text.percent(row.error_rate))


def _running(row: Tool) -> Text:
    if row.abandoned:
        return Text(f"{row.abandoned} abandoned", "yellow")
    return Text(f"{row.in_flight}", "" if row.in_flight else "dim")


def _circuit(row: Tool) -> Text:
    processes = sum(row.circuit.values())
    states = [
        text.word(state, state.replace("_", " ") + (f" {count}/{processes}" if count < processes else ""))
        for state, count in row.circuit.items()
    ]
    return Text(" ").join(states) if states else Text(text.UNKNOWN, "dim")


def _not_ok(row: Tool) -> Text:
    counts = {outcome: count for outcome, count in row.outcomes.items() if outcome != Outcome.OK and count}
    return text.words({**counts, **({"degraded": row.degraded} if row.degraded else {})})


# --- circuits -------------------------------------------------------------------------------------------------------
def circuits(changes: Sequence[Transition]) -> Section:
    """The changes of circuits, the latest at the bottom."""
    columns = [
        Column("Time", lambda change: Text(text.clock(change.time), "dim")),
        Column("Circuit", lambda change: Text(change.name, "bold")),
        Column("Was", lambda change: text.word(change.before)),
        Column("Became", lambda change: text.word(change.after)),
        Column("Why", lambda change: change.reason.replace("_", " ")),
    ]
    return Section("Circuit history", columns, changes, empty="no circuit has changed")


# --- alerts ---------------------------------------------------------------------------------------------------------
def alerts(log: AlertLog, state: State) -> Section:
    """What fires, and what fired before."""
    rows = sorted(log.last.items(), key=lambda item: (item[0] not in log.firing, item[1].alert.severity, item[0]))
    columns = [
        Column("Severity", lambda item: text.word(item[1].alert.severity)),
        Column("Alert", lambda item: Text(item[1].alert.name.removeprefix("OtelTools"), "bold")),
        Column("For", lambda item: item[1].subject or "all"),
        Column("Value", lambda item: _value(item[1], item[1].value), right=True),
        Column("Limit", lambda item: _limit(item[1]), right=True),
        Column("State", lambda item: Text("firing", "red") if item[0] in log.firing else Text("resolved", "green")),
    ]
    received = text.window(state.clock() - state.started)
    return Section("Alerts", columns, rows, f"on the {received} received so far", "none of them fires")


def _limit(firing: Firing) -> str:
    alert = firing.alert
    if alert.measure is Measure.LEVEL:
        return "any"
    return f"> {_value(firing, alert.threshold)} over {text.window(alert.window)}"


def _value(firing: Firing, value: float) -> str:
    alert = firing.alert
    if alert.measure is Measure.ERROR_RATIO:
        return text.percent(value)
    match alert.metric.unit:
        case "s":
            return text.seconds(value)
        case "USD":
            return text.usd(value)
    return f"{value:.3g}"
