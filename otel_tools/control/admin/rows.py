"""The reports of all processes of a service as one table each, the worst first. Values with a stable JSON, and pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal, TypeVar

from otel_tools.control.directives import Directive
from otel_tools.control.report import (
    CircuitReport,
    ErrorReport,
    Hand,
    Process,
    Report,
    SessionReport,
    ToolReport,
)

T = TypeVar("T")
_Found = list[tuple[Report, T]]

_WORST_FIRST: Final = ("forced_open", "open", "half_open", "disabled", "metrics_only", "closed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow(Process):
    """A process that reports.

    Args:
        at: When it reported, in seconds of the wall clock.
    """

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitRow:
    """A circuit over all processes: the worst state that it is in, and what those in that state say.

    Args:
        since: When the first of them got into it, in seconds of the wall clock.
        failures, reopens: The most of any.
        retry_at: When the first of them admits a call again, in seconds of the wall clock; `None`: at once, or unknown.
        last_error: The last failure in any process.
        processes: What each process says, by `Process.id`.
    """

    kind: Literal["tool", "client"]
    name: str
    key: str | None
    state: str
    automatic: str | None
    mode: str
    since: float
    failures: int
    reopens: int
    retry_at: float | None
    probe_in_flight: bool
    override: Hand | None
    last_error: ErrorReport | None
    processes: Mapping[str, CircuitReport]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRow:
    """A tool or LLM client over all processes: sums, and the last error of any.

    Args:
        disabled: The operator's hand on the kill switch in any process.
        disabled_in: Processes in which it is disabled.
        max_in_flight: The cap of one process.
        error_rate: Over *recent_calls*, the last 100 of each process.
        processes: What each process says, by `Process.id`.
    """

    kind: Literal["tool", "client"]
    name: str
    mode: str
    criticality: str
    timeout: float | None
    dependency: str | None
    owner: str | None
    in_flight: int
    abandoned: int
    max_in_flight: int | None
    disabled: Hand | None
    disabled_in: int
    calls: Mapping[str, int]
    recent_calls: int
    error_rate: float | None
    last_error: ErrorReport | None
    processes: Mapping[str, ToolReport]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow(SessionReport):
    """A session, and the process that it runs in (`Process.id`)."""

    process: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What operators have set.

    Args:
        reaches: What a write reaches: all processes of the `service`, through its store, or only this `process`.
        store: What people call the store.
        problem: What is wrong with it: then *directives* are missing, and only this process tells of itself.
    """

    reaches: Literal["service", "process"]
    store: str | None = None
    problem: str | None = None
    directives: tuple[Directive, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuits:
    """Every circuit of the service at one time (*at*, seconds of the wall clock), the worst first."""

    at: float
    processes: tuple[ProcessRow, ...]
    overrides: Overrides
    circuits: tuple[CircuitRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Every tool and LLM client of the service at one time (*at*, seconds of the wall clock), the worst first."""

    at: float
    processes: tuple[ProcessRow, ...]
    overrides: Overrides
    tools: tuple[ToolRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """The latest sessions of each process at one time: the running ones, then the newest."""

    at: float
    processes: tuple[ProcessRow, ...]
    sessions: tuple[SessionRow, ...]


def circuits(reports: Iterable[Report], overrides: Overrides, now: float) -> Circuits:
    """The circuits of all *reports* at *now*, in seconds of the wall clock."""
    reports = _in_order(reports)
    errors = _last_errors(reports)
    found = _grouped(reports, lambda report: report.circuits, lambda one: (one.kind, one.name, one.key))
    rows = [_circuit(group, errors.get((group[0][1].kind, group[0][1].name))) for group in found]
    rows.sort(key=lambda row: (_badness(row.state), row.name, row.kind, row.key or ""))
    return Circuits(at=now, processes=_processes(reports), overrides=overrides, circuits=tuple(rows))


def tools(reports: Iterable[Report], overrides: Overrides, now: float) -> Tools:
    """The tools and clients of all *reports* at *now*."""
    reports = _in_order(reports)
    rows = [_tool(group) for group in _grouped(reports, lambda report: report.tools, lambda one: (one.kind, one.name))]
    rows.sort(key=lambda row: (-(row.error_rate or 0.0), -row.abandoned, row.name, row.kind))
    return Tools(at=now, processes=_processes(reports), overrides=overrides, tools=tuple(rows))


def sessions(reports: Iterable[Report], now: float) -> Sessions:
    """The sessions of all *reports*."""
    reports = _in_order(reports)
    rows = [SessionRow(process=report.process.id, **asdict(one)) for report in reports for one in report.sessions]
    rows.sort(key=lambda row: (row.ended_at is not None, -row.started_at))
    return Sessions(at=now, processes=_processes(reports), sessions=tuple(rows))


def _in_order(reports: Iterable[Report]) -> list[Report]:
    return sorted(reports, key=lambda report: (report.process.started_at, report.process.id))


def _processes(reports: Iterable[Report]) -> tuple[ProcessRow, ...]:
    return tuple(ProcessRow(at=report.at, **asdict(report.process)) for report in reports)


def _grouped(
    reports: Iterable[Report], rows: Callable[[Report], Iterable[T]], key: Callable[[T], Hashable]
) -> Iterable[_Found[T]]:
    groups: defaultdict[Hashable, _Found[T]] = defaultdict(list)
    for report in reports:
        for one in rows(report):
            groups[key(one)].append((report, one))
    return groups.values()


def _badness(state: str) -> int:
    return _WORST_FIRST.index(state) if state in _WORST_FIRST else len(_WORST_FIRST)


def _circuit(found: _Found[CircuitReport], last_error: ErrorReport | None) -> CircuitRow:
    _, worst = min(found, key=lambda one: _badness(one[1].state))
    like = [(report, one) for report, one in found if one.state == worst.state]
    retries = [report.at + one.retry_after for report, one in like if one.retry_after]
    return CircuitRow(
        kind=worst.kind,
        name=worst.name,
        key=worst.key,
        state=worst.state,
        automatic=worst.automatic,
        mode=_mode(one.mode for _, one in like),
        since=min(one.since for _, one in like),
        failures=max(one.failures for _, one in found),
        reopens=max(one.reopens for _, one in found),
        retry_at=min(retries, default=None),
        probe_in_flight=any(one.probe_in_flight for _, one in found),
        override=next((one.override for _, one in like if one.override is not None), None),
        last_error=last_error,
        processes={report.process.id: one for report, one in found},
    )


def _tool(found: _Found[ToolReport]) -> ToolRow:
    first = found[0][1]
    rows = [one for _, one in found]
    calls: Counter[str] = Counter()
    for one in rows:
        calls.update(one.calls)
    recent = sum(one.recent_calls for one in rows)
    disabled = [one.disabled for one in rows if one.disabled is not None]
    return ToolRow(
        kind=first.kind,
        name=first.name,
        mode=_mode(one.mode for one in rows),
        criticality=first.criticality,
        timeout=first.timeout,
        dependency=first.dependency,
        owner=first.owner,
        in_flight=sum(one.in_flight for one in rows),
        abandoned=sum(one.abandoned for one in rows),
        max_in_flight=first.max_in_flight,
        disabled=disabled[0] if disabled else None,
        disabled_in=len(disabled),
        calls=dict(calls),
        recent_calls=recent,
        error_rate=sum((one.error_rate or 0.0) * one.recent_calls for one in rows) / recent if recent else None,
        last_error=_latest(one.last_error for one in rows),
        processes={report.process.id: one for report, one in found},
    )


def _mode(modes: Iterable[str]) -> str:
    return "enforce" if "enforce" in set(modes) else "observe"


def _latest(errors: Iterable[ErrorReport | None]) -> ErrorReport | None:
    return max((error for error in errors if error is not None), key=lambda error: error.at, default=None)


def _last_errors(reports: Iterable[Report]) -> dict[tuple[str, str], ErrorReport | None]:
    found = _grouped(reports, lambda report: report.tools, lambda one: (one.kind, one.name))
    return {(group[0][1].kind, group[0][1].name): _latest(one.last_error for _, one in group) for group in found}
