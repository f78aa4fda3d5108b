"""Tables of what the processes of a service tell of themselves: tools, circuits, what operators have set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from rich.text import Text

from otel_tools import steering
from otel_tools.cli import text
from otel_tools.cli.views import Column, Section

Row: TypeAlias = Mapping[str, Any]
"""JSON of `control.admin.rows`."""

_DAY: Final = 86_400
ACTIONS: Final = {
    "disable": "disabled",
    "force_open": "circuit forced open",
    "bypass": "circuit bypassed",
    "metrics_only": "circuit counts only",
}


def tools(found: Row) -> Section:
    """Tools and LLM clients, the worst first."""
    columns = [
        Column("Tool", _name, flexible=True),
        Column("Calls", lambda row: f"{sum(row['calls'].values()):,}", right=True),
        Column("Errors", _errors, right=True),
        Column("Running", _running, right=True),
        Column("Disabled", _disabled(found)),
        Column("Last error", _last_error(found["at"])),
        Column("Depends on", lambda row: row["dependency"] or text.UNKNOWN, extra=True),
    ]
    note = "errors of the last 100 calls of each process"
    return Section("Tools", columns, found["tools"], note=note, empty="none called yet", foot=_processes(found))


def circuits(found: Row) -> Section:
    """Circuits, those that refuse calls first."""
    columns = [
        Column(
            "Circuit", lambda row: _name(row) if row["key"] is None else f"{row['name']} [{row['key']}]", flexible=True
        ),
        Column("State", _state(found)),
        Column("Since", lambda row: Text(when(row["since"], found["at"]), "dim")),
        Column("Failures", lambda row: f"{row['failures']}", right=True),
        Column("Next try", lambda row: _next_try(row, found["at"])),
        Column("Set by", lambda row: text.UNKNOWN if row["override"] is None else row["override"]["actor"]),
        Column("Last error", _last_error(found["at"]), extra=True),
    ]
    note = "an open circuit refuses calls at once, until a probe succeeds"
    return Section("Circuits", columns, found["circuits"], note=note, empty="none yet", foot=_processes(found))


def overrides(found: Row, *, circuits: bool) -> Section | None:
    """What operators have set on tools, or on *circuits*; `None` if that is nothing."""
    rows = [row for row in found["overrides"]["directives"] if (row["action"] != "disable") is circuits]
    columns = [
        Column("Set", lambda row: ACTIONS[row["action"]]),
        Column("On", _name, flexible=True),
        Column("By", lambda row: row["actor"]),
        Column("At", lambda row: Text(when(row["set_at"], found["at"]), "dim")),
        Column("Until", lambda row: until(row["expires_at"], found["at"])),
        Column("Why", lambda row: row["reason"], extra=True),
    ]
    whole = found["overrides"]["reaches"] == "service"
    note = "in all processes of the service" if whole else "in this process only"
    return Section("Set by operators", columns, rows, note=note) if rows else None


def when(at: float, now: float) -> str:
    """The time of day, with the date if that is another day's."""
    return text.clock(at) if abs(now - at) < _DAY else text.date(at)


def until(expires_at: float | None, now: float) -> str:
    """`14:32:10`, or what lifts it."""
    return "it is lifted" if expires_at is None else when(expires_at, now)


def _name(row: Row) -> Text:
    return Text(steering.address(row["kind"], row["name"]), "bold")


def _errors(row: Row) -> Text | str:
    rate = row["error_rate"]
    return text.UNKNOWN if rate is None else Text(text.percent(rate), "red" if rate else "")


def _running(row: Row) -> Text:
    if row["abandoned"]:
        return Text(f"{row['abandoned']} abandoned", "yellow")
    return Text(f"{row['in_flight']}", "" if row["in_flight"] else "dim")


def _disabled(found: Row) -> Any:
    def cell(row: Row) -> Text | str:
        hand = row["disabled"]
        if hand is None:
            return text.UNKNOWN
        share = share_of(row["disabled_in"], len(found["processes"]))
        return Text(f"by {hand['actor']}{share}, until {until(hand['expires_at'], found['at'])}", "magenta")

    return cell


def _state(found: Row) -> Any:
    def cell(row: Row) -> Text:
        state = row["state"]
        count = sum(one["state"] == state for one in row["processes"].values())
        return text.word(state, state.replace("_", " ") + share_of(count, len(found["processes"])))

    return cell


def share_of(count: int, processes: int) -> str:
    """` in 1/2` where it is not all of them."""
    return "" if count == processes else f" in {count}/{processes}"


def _next_try(row: Row, now: float) -> str:
    if row["probe_in_flight"]:
        return "probing"
    return text.UNKNOWN if row["state"] != "open" or row["retry_at"] is None else when(row["retry_at"], now)


def _last_error(now: float) -> Any:
    def cell(row: Row) -> str:
        error = row["last_error"]
        return text.UNKNOWN if error is None else f"{text.short(error['type'])} {when(error['at'], now)}"

    return cell


def _processes(found: Row) -> str:
    rows: Sequence[Row] = found["processes"]
    told = ", ".join(f"{row['program']} {row['host']}:{row['pid']}" for row in rows[:8])
    more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""  # noqa: PLR2004  as many as shown
    count = f"{len(rows)} process{'' if len(rows) == 1 else 'es'}"
    return f"{count}: {told}{more}" if rows else "No process has reported; one does so from its first call on."
