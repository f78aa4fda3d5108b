"""`otel-tools disable`, `enable`, `force-open`, `bypass`, `metrics-only`, `reset`: one table, one way to do them."""

from __future__ import annotations

import difflib
import getpass
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import click

from otel_tools import schema, steering
from otel_tools.cli import overviews
from otel_tools.cli.reach import Reach, check, reach
from otel_tools.cli.reach import options as reach_options
from otel_tools.control.admin import routes
from otel_tools.control.admin.orders import Order
from otel_tools.control.directives import Kind

WAIT: Final = 2.0
"""Seconds that the processes have to say that they have it."""

_POLL: Final = 0.1
_NO_REASON: Final = "by hand, no reason given"
"""An incident need not wait for words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steer:
    """One of the commands.

    Args:
        word: What the admin server calls it.
        help: What `--help` says.
        done: What a process does then, with `{}` for the name: `refuse {}`.
        path: Where the processes tell of it: `/tools` or `/circuits`.
        shown: Whether a process that says this has it; `None` is what one says that does not know the name.
        lasting: What ends it if no time does; empty for what does not last.
    """

    word: str
    help: str
    done: str
    path: str
    shown: Callable[[Mapping[str, Any] | None], bool]
    lasting: str = ""


def _in_state(state: str) -> Callable[[Mapping[str, Any] | None], bool]:
    return lambda circuit: circuit is not None and circuit["state"] == state


STEERS: Final = {
    "disable": Steer(
        word="disable",
        help="""Refuse all calls of the tool NAME in all processes of the service, in observe mode too.

        Running programs see it within a second, those that start later at their first call. It ends after --for, or
        with `otel-tools enable NAME`. The reason appears on the spans of refused calls; a model never sees it.
        """,
        done="refuse {}",
        path="/tools",
        shown=lambda tool: tool is not None and tool["disabled"] is not None,
        lasting="it is enabled",
    ),
    "enable": Steer(
        word="enable",
        help="Take `otel-tools disable NAME` back.",
        done="admit calls of {}",
        path="/tools",
        shown=lambda tool: tool is None or tool["disabled"] is None,
    ),
    "force-open": Steer(
        word="force_open",
        help="Open the circuit of the tool NAME by hand, until --for is over or `otel-tools reset NAME`.",
        done="have the circuit of {} open",
        path="/circuits",
        shown=_in_state("forced_open"),
        lasting="it is reset",
    ),
    "bypass": Steer(
        word="bypass",
        help="""Switch the circuit breaker of the tool NAME off: calls are made and not counted.

        It ends after --for, or with `otel-tools reset NAME`. A circuit that is forced open stays open all the same.
        """,
        done="bypass the circuit of {}",
        path="/circuits",
        shown=_in_state("disabled"),
        lasting="it is reset",
    ),
    "metrics-only": Steer(
        word="metrics_only",
        help="""Let the circuit breaker of the tool NAME count and tell what it would do, but refuse nothing.

        It ends after --for, or with `otel-tools reset NAME`.
        """,
        done="only count with the circuit of {}",
        path="/circuits",
        shown=_in_state("metrics_only"),
        lasting="it is reset",
    ),
    "reset": Steer(
        word="reset",
        help="""Close the circuit of the tool NAME, and take back what is set on it by hand.

        A tool that is disabled stays disabled: see `otel-tools enable`.
        """,
        done="have the circuit of {} closed",
        path="/circuits",
        shown=lambda circuit: circuit is None or circuit["override"] is None,
    ),
}


class Doing:
    """One command on one tool or client.

    Args:
        steer: Which command.
        service: Where.
        kind: What *name* is.
        name: The tool or client.
    """

    def __init__(self, steer: Steer, service: Reach, kind: Kind, name: str) -> None:
        self._steer = steer
        self._service = service
        self._kind = kind
        self._name = name
        self._what = steer.done.format(steering.address(kind, name))

    def run(self, order: Mapping[str, Any]) -> list[str]:
        """Do it, wait for the processes, and say what came of it, a line each."""
        write = next(write for write in routes.WRITES if write.word == self._steer.word)
        check(order, self._name, write)
        before, written = self._read(), time.time()
        done = self._service.write(write, self._kind, self._name, order)
        return [*self._told(self._wait(written), done), *self._doubts(before)]

    def _read(self) -> Mapping[str, Any]:
        return self._service.read(self._steer.path)

    def _wait(self, written: float) -> Mapping[str, Any]:
        until = time.monotonic() + WAIT
        while True:
            found = self._read()
            if not self._lagging(found, written) or time.monotonic() >= until:
                return found
            time.sleep(_POLL)

    def _lagging(self, found: Mapping[str, Any], written: float = 0.0) -> list[Mapping[str, Any]]:
        """The processes that do not say that they have it.

        What is to be gone may be gone from a report of before, so one that came after *written* is waited for.
        """
        return [
            process
            for process in found["processes"]
            if not self._steer.shown(self._said(found).get(process["id"]))
            or (self._steer.word == "reset" and process["at"] < written)
        ]

    def _said(self, found: Mapping[str, Any]) -> Mapping[str, Any]:
        """What each process says of the tool or its circuit."""
        rows = found[self._steer.path[1:]]
        its = (row for row in rows if (row["kind"], row["name"], row.get("key")) == (self._kind, self._name, None))
        return next((row["processes"] for row in its), {})

    # --- telling ------------------------------------------------------------------------------------------------
    def _told(self, found: Mapping[str, Any], done: Mapping[str, Any]) -> list[str]:
        lagging, count = self._lagging(found), len(found["processes"])
        ending = self._ending(done["expires_at"], found["at"])
        if not count:
            whose = self._service.name
            return [
                f"No process of {whose} has reported. Those that start or make their first call {self._what}{ending}."
            ]
        told = f"{count - len(lagging)} of {count} processes {self._what} now{ending}."
        return [told, *(f"  not yet: {_process(process)}{self._why(found, process)}" for process in lagging)]

    def _ending(self, expires_at: float | None, now: float) -> str:
        if not self._steer.lasting:
            return ""
        return f", until {self._steer.lasting if expires_at is None else overviews.when(expires_at, now)}"

    def _why(self, found: Mapping[str, Any], process: Mapping[str, Any]) -> str:
        """Another hand that holds there."""
        said = self._said(found).get(process["id"]) or {}
        hand = said.get("disabled") or said.get("override")
        if hand is None:
            return ""
        where = "by its own code" if hand["layer"] == "process" else "in the store"
        return f" ({overviews.ACTIONS[hand['action']]} {where}: {hand['reason']}, {hand['actor']})"

    def _doubts(self, before: Mapping[str, Any]) -> list[str]:
        """Whether the name may be a slip of the pen."""
        rows = [*before[self._steer.path[1:]], *before["overrides"]["directives"]]
        known = {row["name"] for row in rows if row["kind"] == self._kind}
        if self._name in known or not before["processes"]:
            return []
        close = difflib.get_close_matches(self._name, known, 1, 0.6)
        hint = f" Did you mean {close[0]}?" if close else ""
        return [f"Note: no process has called {steering.address(self._kind, self._name)} yet.{hint}"]


def _process(process: Mapping[str, Any]) -> str:
    return f"{process['program']}, process {process['pid']} on {process['host']}"


# --- commands -------------------------------------------------------------------------------------------------------
def _duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return float(schema.duration.convert(float(value) if value.replace(".", "", 1).isdecimal() else value))
    except (ValueError, TypeError):
        raise click.BadParameter(f"must be {schema.duration.allowed}, not {value!r}") from None


def _actor() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a number without a name, as in containers
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _command(name: str, steer: Steer) -> click.Command:
    def run(
        name: str,
        *,
        client: bool,
        actor: str | None,
        service: str | None,
        store: str | None,
        url: str | None,
        **order: Any,
    ) -> None:
        kind, found = steering.parse(name)
        kind = "client" if client else kind
        order = {"actor": actor or _actor(), **order}
        for line in Doing(steer, reach(service, store, url), kind, found).run(order):
            click.echo(line)

    command = click.command(name, help=steer.help)(reach_options(run))
    command.params[:0] = _parameters(steer)
    return command


def _parameters(steer: Steer) -> list[click.Parameter]:
    sets = next(write for write in routes.WRITES if write.word == steer.word).body is Order
    reason = click.Option(["--reason"], default=_NO_REASON, metavar="TEXT", help="Why, for people.")
    time_ = click.Option(
        ["--for", "expires_after"], metavar="TIME", callback=_duration, help="How long, such as 30m; else for good."
    )
    return [
        click.Argument(["name"]),
        *([reason, time_] if sets else []),
        click.Option(["--actor"], metavar="WHO", help="Who does it, by default user@host."),
        click.Option(["--client"], is_flag=True, help="NAME is an LLM client (also: client:NAME)."),
    ]


commands: Final = {name: _command(name, steer) for name, steer in STEERS.items()}
