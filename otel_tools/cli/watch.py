"""`otel-tools watch`: an OTLP receiver with a live view of what arrives."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import Final

import click
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.text import Text

from otel_tools.cli import views
from otel_tools.cli.alerts import WINDOWS, AlertLog
from otel_tools.cli.receiver import Receiver
from otel_tools.cli.rows import RUNNING
from otel_tools.cli.state import State
from otel_tools.cli.tree import TraceTree

_PIPE_WIDTH = 110
_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104  not bound to here, only recognised
_NO_METRICS = "Tools and alerts need metrics; programs send them once a minute (OTEL_METRIC_EXPORT_INTERVAL, in ms)."
_ROOM: Final = {"alerts": (6, 6), "tools": (4, 10), "sessions": (4, 10), "trace": (3, 14), "circuits": (4, 6)}
"""Section -> lines beside its rows (title, headers, …) and rows at most, in the order in which they get room."""


def console() -> Console:
    """The console of the command: plain text and a sensible width where the output is no terminal."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a test may put something else there
    piped = not sys.stdout.isatty() and not os.environ.get("COLUMNS")
    return Console(highlight=False, width=_PIPE_WIDTH if piped else None)


class Dashboard:
    """Everything at a glance.

    Args:
        state: What was received.
        receiver: Where it came in.
        log: The alerts, evaluated whenever it is drawn.
        whole: Show all rows instead of what fits the terminal's height.
    """

    def __init__(self, state: State, receiver: Receiver, log: AlertLog, *, whole: bool = False) -> None:
        self._state = state
        self._receiver = receiver
        self._log = log
        self._whole = whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self._log.update(self._state)
        yield self._header()
        yield ""
        if not self._state.received:
            yield self._hint()
            return
        height = 10_000 if self._whole else (options.height or console.height)
        for section in self._sections(height - 2):
            yield section
            yield ""

    def _header(self) -> Text:
        receiver, received = self._receiver, self._state.received
        processes = len(self._state.sources())
        counts = [f"{processes} process{'es' if processes != 1 else ''}"]
        counts += [f"{count:,} {what}" for what, count in received.items()]
        return Text.assemble(
            ("otel-tools watch", "bold"),
            f"  gRPC {receiver.host}:{receiver.grpc_port}, HTTP {receiver.http_port}",
            (f"  {', '.join(counts)}" if received else "", "dim"),
        )

    def _hint(self) -> Text:
        receiver = self._receiver
        host = "127.0.0.1" if receiver.host in _ANY_ADDRESS else receiver.host
        endpoint = f"http://{host}:{receiver.grpc_port}"
        return Text.assemble(
            "Nothing has arrived yet. Start your agent in another terminal:\n\n",
            (f"  export OTEL_EXPORTER_OTLP_ENDPOINT={endpoint} OTEL_METRIC_EXPORT_INTERVAL=2000\n", "bold"),
            ("  opentelemetry-instrument python your_agent.py", "bold"),
            ("" if self._whole else "\n\nCtrl-C ends this.", "dim"),
        )

    def _sections(self, height: int) -> list[RenderableType]:
        state = self._state
        sessions, tools, changes = state.sessions(), state.tools(), state.transitions()
        latest = next((row for row in reversed(sessions) if row.outcome != RUNNING), None)
        trace = state.trace(latest.trace_id) if latest else None
        wanted = {
            "alerts": len(self._log.last),
            "tools": len(tools),
            "sessions": len(sessions),
            "trace": len(trace.spans) if trace else 0,
            "circuits": len(changes),
        }
        rows = wanted if self._whole else shares(height, wanted)
        sections: list[RenderableType | None] = [
            views.sessions(sessions[-rows["sessions"] :]) if rows["sessions"] else None,
            Group(Text("Latest trace", "bold"), TraceTree(trace, rows["trace"])) if trace and rows["trace"] else None,
            views.tools(tools[: rows["tools"]]) if rows["tools"] else None if tools else Text(_NO_METRICS, "dim"),
            views.circuits(changes[-rows["circuits"] :]) if rows["circuits"] else None,
            views.alerts(self._log, state) if rows["alerts"] else None,
        ]
        return [section for section in sections if section is not None]


def shares(height: int, wanted: dict[str, int]) -> dict[str, int]:
    """How many rows of each section fit into *height* lines, the more important sections first."""
    rows = dict.fromkeys(wanted, 0)
    for section, (overhead, most) in _ROOM.items():
        room = height - overhead
        if wanted[section] and room > 0:
            rows[section] = min(wanted[section], most, room)
            height -= rows[section] + overhead
    return rows


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--grpc-port", default=4317, show_default=True, help="Port for OTLP over gRPC; 0 takes a free one.")
@click.option("--http-port", default=4318, show_default=True, help="Port for OTLP over HTTP; 0 takes a free one.")
@click.option("--once", type=float, metavar="SECONDS", help="Receive that long, print what arrived, and end.")
def command(host: str, grpc_port: int, http_port: int, once: float | None) -> None:
    """Receive OTLP on this machine and show sessions, tools, circuits and alerts live.

    Your agent's telemetry arrives here when it exports to OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317, which is
    the default. Nothing is stored or sent on. Ctrl-C ends it and leaves the last view on the terminal.
    """
    state, log, screen = State(WINDOWS), AlertLog(), console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Receiver(state.add, host, grpc_port, http_port) as receiver, contextlib.suppress(KeyboardInterrupt):
        if once is not None or not screen.is_terminal:
            _wait(once)
        else:
            with Live(Dashboard(state, receiver, log), console=screen, screen=True, refresh_per_second=2):
                _wait(None)
    screen.print(Dashboard(state, receiver, log, whole=True))


def _wait(seconds: float | None) -> None:
    threading.Event().wait(seconds)
