"""Tables for the terminal: sessions, tools, circuits, alerts. They fit from 80 columns on and grow with the width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from otel_tools import semconv as names
from otel_tools.cli import text
from otel_tools.cli.alerts import ALERTS, Alert, AlertLog
from otel_tools.cli.rows import NO_SESSION, Session, Tool, Transition
from otel_tools.cli.state import State
from otel_tools.ops.model import Measure

_GAP = 2
_LEAST_FLEXIBLE, _LEAST_EXTRA = 14, 24
"""The widths below which a flexible column is not shortened, and an extra one goes."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        header: What stands above it.
        cell: Gives a row's cell.
        right: Aligned to the right.
        extra: Gives way first where there is no room for all.
        flexible: Is shortened next.
    """

    header: str
    cell: Callable[[Any], Text | str]
    right: bool = False
    extra: bool = False
    flexible: bool = False


class Section:
    """A titled table, as wide as its content, but never wider than the terminal.

    Args:
        title: In bold above it.
        note: After the title, dimmed.
        empty: What stands there instead of a table without rows.
        foot: Below it, dimmed.
    """

    def __init__(
        self,
        title: str,
        columns: Sequence[Column],
        rows: Sequence[Any],
        *,
        note: str = "",
        empty: str = "",
        foot: str = "",
    ) -> None:
        self._title = Text.assemble((title, "bold"), ("  " + note if note else "", "dim"))
        self._empty = empty
        self._foot = foot
        self._columns = list(columns)
        self._rows = [[_text(column.cell(row)) for column in columns] for row in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._title
        if self._rows:
            yield self._table(self._widths(options.max_width))
        else:
            yield Text("  " + self._empty, "dim")
        if self._foot:
            yield Text(self._foot, "dim")

    def _widths(self, room: int) -> list[int]:
        """The width of each column, 0 for those that there is no room for."""
        cells = zip(*self._rows, strict=True)
        natural = [
            max(len(column.header), *(cell.cell_len for cell in found))
            for column, found in zip(self._columns, cells, strict=True)
        ]
        surplus = sum(natural) + _GAP * (len(natural) - 1) - room
        extra = [index for index, column in enumerate(self._columns) if column.extra]
        flexible = [index for index, column in enumerate(self._columns) if column.flexible]
        for index in extra + flexible:
            least = _LEAST_EXTRA if index in extra else _LEAST_FLEXIBLE
            width = max(natural[index] - max(surplus, 0), min(natural[index], least))
            if index in extra and width > natural[index] - surplus:
                width = -_GAP
            surplus -= natural[index] - width
            natural[index] = width
        return [max(width, 0) for width in natural]

    def _table(self, widths: list[int]) -> Table:
        padding = (0, _GAP - 1, 0, 0)
        table = Table(
            box=box.SIMPLE_HEAD,
            header_style="dim",
            border_style="dim",
            show_edge=False,
            pad_edge=False,
            padding=padding,
        )
        shown = [index for index, width in enumerate(widths) if width]
        for index in shown:
            column = self._columns[index]
            justify: Literal["left", "right"] = "right" if column.right else "left"
            table.add_column(column.header, justify=justify, width=widths[index], no_wrap=True, overflow="ellipsis")
        for row in self._rows:
            table.add_row(*(row[index] for index in shown))
        return table


def _text(cell: Text | str) -> Text:
    return Text(cell) if isinstance(cell, str) else cell


# --- sessions -------------------------------------------------------------------------------------------------------
def sessions(rows: Sequence[Session], *, numbered: bool = False) -> Section:
    """Sessions, the latest at the bottom; *numbered* from 1 instead of by the time they began."""
    agents = {row.agent for row in rows if row.outcome != NO_SESSION}
    number = {id(row): str(index) for index, row in enumerate(rows, 1)}
    columns = [
        Column("#", lambda row: Text(number[id(row)], "dim"), right=True)
        if numbered
        else Column("Began", lambda row: Text(text.clock(row.started), "dim")),
        *([] if len(agents) == 1 else [Column("Agent", lambda row: row.agent or text.UNKNOWN, flexible=True)]),
        Column("Outcome", lambda row: text.word(row.outcome)),
        Column("LLM", lambda row: f"{row.llm_calls}", right=True),
        Column("Tools", lambda row: f"{row.tool_calls}", right=True),
        Column("Tokens in", lambda row: f"{row.input_tokens:,}", right=True),
        Column("out", lambda row: f"{row.output_tokens:,}", right=True),
        Column("Cost", _cost, right=True),
        Column("Duration", lambda row: text.seconds(row.duration), right=True),
        Column("Failed tool calls", lambda row: text.words(row.troubles), extra=True),
    ]
    note = f"of agent {next(iter(agents))}" if len(agents) == 1 and "" not in agents else ""
    return Section("Sessions", columns, rows, note=note, empty="none yet")


def _cost(row: Session) -> Text:
    if row.unpriced:
        return Text(f"≥ {text.usd(row.cost)}", "yellow")
    return Text(text.usd(row.cost))


# --- tools ----------------------------------------------------------------------------------------------------------
def tools(rows: Sequence[Tool]) -> Section:
    """Tools with what became of their calls."""
    columns = [
        Column("Tool", lambda row: Text(row.name, "bold"), flexible=True),
        Column("Calls", lambda row: f"{row.calls:,}", right=True),
        Column("Errors", _errors, right=True),
        Column("p95", lambda row: text.seconds(row.p95), right=True),
        Column("Result", lambda row: text.size(row.result_bytes), right=True),
        Column("Running", _running, right=True),
        Column("Circuit", _circuit),
        Column("Failed calls", lambda row: text.words(row.troubles), extra=True),
    ]
    return Section("Tools", columns, rows, note="calls that a circuit refuses are errors, too", empty="none called yet")


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
        for state, count in sorted(row.circuit.items(), key=lambda item: item[0] == "closed")
    ]
    return Text(" ").join(states) if states else Text(text.UNKNOWN, "dim")


# --- circuits -------------------------------------------------------------------------------------------------------
def circuits(changes: Sequence[Transition]) -> Section:
    """The changes of circuits, the latest at the bottom."""
    columns = [
        Column("Time", lambda change: Text(text.clock(change.time), "dim")),
        Column("Circuit", lambda change: Text(change.name, "bold"), flexible=True),
        Column("Was", lambda change: text.word(change.before)),
        Column("Became", lambda change: text.word(change.after)),
        Column("Why", lambda change: _REASONS.get(change.reason, change.reason.replace("_", " "))),
    ]
    note = "an open circuit refuses calls at once, until a probe succeeds"
    return Section("Circuit history", columns, changes, note=note, empty="no circuit has changed")


_REASONS: Final = {
    "threshold": "failures in a row",
    "expired": "time for a probe",
    "probe_success": "the probe succeeded",
    "probe_failure": "the probe failed",
}


# --- alerts ---------------------------------------------------------------------------------------------------------
def alerts(log: AlertLog, state: State) -> Section:
    """What fires, and what fired before."""
    rows = sorted(log.last.items(), key=lambda item: (item[0] not in log.firing, item[1].alert.severity, item[0]))
    columns = [
        Column("Severity", lambda item: text.word(item[1].alert.severity)),
        Column("Alert", lambda item: Text(_alert(item[1].alert.name), "bold")),
        Column("For", lambda item: item[1].subject or "all", flexible=True),
        Column("Value", lambda item: _value(item[1].alert, item[1].value), right=True),
        Column("Limit", lambda item: _limit(item[1].alert)),
        Column("State", lambda item: Text("firing", "red") if item[0] in log.firing else Text("over", "green")),
    ]
    received = state.clock() - state.started
    short = received < max((firing.alert.window for _, firing in rows), default=0)
    quiet = sorted({_alert(alert.name) for alert in ALERTS} - {_alert(name) for name, _ in log.last})
    return Section(
        "Alerts",
        columns,
        rows,
        note=f"evaluated on {text.window(received)} of telemetry, shorter than the windows" if short else "",
        empty="none fires",
        foot=f"Quiet: {', '.join(quiet)}",
    )


def _alert(name: str) -> str:
    return name.removeprefix("OtelTools")


def _limit(alert: Alert) -> str:
    if alert.measure is Measure.LEVEL:
        return text.UNKNOWN
    return f"> {_value(alert, alert.threshold)} in {text.window(alert.window)}"


def _value(alert: Alert, value: float) -> str:
    if alert.measure is Measure.ERROR_RATIO:
        return text.percent(value)
    if alert.measure is Measure.LEVEL:
        return "open"
    return {"s": text.seconds, "USD": text.usd}.get(alert.metric.unit, "{:.3g}".format)(value)
