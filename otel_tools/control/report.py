"""What one process tells of itself: circuits, tools, sessions. Values with a stable JSON, read by command and admin."""

from __future__ import annotations

import functools
import os
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from otel_tools.engine import Engine
from otel_tools.ledger import Account, SessionRecord
from otel_tools.policy.circuit import Action, CircuitView, Override
from otel_tools.policy.options import Policy
from otel_tools.policy.pipeline import PipelineView

VERSION: Final = 1
_SESSIONS: Final = 20

ACTIONS: Final = {
    "forced_open": Action.FORCE_OPEN,
    "disabled": Action.BYPASS,
    "metrics_only": Action.METRICS_ONLY,
}
"""The state of a circuit -> what an operator set to bring it about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Which process a report is of.

    Args:
        id: Unique on all machines and over time.
        started_at: When otel-tools began to work in it, in seconds of the wall clock.
        program: What it runs, without arguments.
    """

    id: str
    host: str
    pid: int
    service: str
    program: str
    started_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """An operator's hand on a tool or circuit.

    Args:
        action: A value of `Action`.
        expires_at: Seconds of the wall clock, `None`: until it is lifted.
        layer: `process` (set by code of this process) or `store`.
    """

    action: str
    reason: str
    actor: str
    expires_at: float | None
    layer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitReport:
    """A circuit as it is: see `policy.circuit.CircuitView`; times are seconds of the wall clock."""

    kind: Literal["tool", "client"]
    name: str
    key: str | None
    state: str
    automatic: str | None
    mode: str
    since: float
    failures: int
    reopens: int
    retry_after: float | None
    probe_in_flight: bool
    override: Hand | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReport:
    """The last failure: `error.type`, when, and the trace it is in."""

    type: str
    at: float
    trace_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolReport:
    """A tool or LLM client (*kind*) as it is.

    Args:
        calls: Calls since the process began, by outcome.
        recent_calls: Calls that *error_rate* looks at: the last 100 at most.
        error_rate: Share of errors among them, `None` when there was none.
        disabled: The operator's hand on the kill switch.
        dependency, owner: What the configuration says for people.
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
    calls: Mapping[str, int]
    recent_calls: int
    error_rate: float | None
    last_error: ErrorReport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """A session, running (*outcome* `None`) or ended. Never whom it was for."""

    agent: str | None
    conversation_id: str | None
    trace_id: str | None
    started_at: float
    ended_at: float | None
    outcome: str | None
    input_tokens: int
    output_tokens: int
    cost_usd: float
    unpriced_tokens: int
    inference_calls: int
    tool_calls: int
    tool_errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one process tells of itself at one time (*at*, seconds of the wall clock)."""

    process: Process
    at: float
    circuits: tuple[CircuitReport, ...] = ()
    tools: tuple[ToolReport, ...] = ()
    sessions: tuple[SessionReport, ...] = field(default=())


# --- of this process ------------------------------------------------------------------------------------------------
def this_process(service: str) -> Process:
    """The running process, always the same value; a forked child is another process."""
    return _process(service, os.getpid())


@functools.lru_cache(maxsize=8)
def _process(service: str, pid: int) -> Process:
    now = time.time()
    host = socket.gethostname()
    program = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"  # noqa: PTH119  a name, not a path
    return Process(
        id=f"{host}-{pid}-{int(now * 1000):x}",
        host=host,
        pid=pid,
        service=service,
        program=program,
        started_at=now,
    )


def report_of(engine: Engine, process: Process) -> Report:
    """What *engine* knows now; a pure read."""
    now = time.time()
    kinds: tuple[tuple[Literal["tool", "client"], list[PipelineView]], ...] = (
        ("tool", engine.tools.views()),
        ("client", engine.clients.views()),
    )
    circuits = [_circuit(kind, view, one, now) for kind, views in kinds for view in views for one in _circuits(view)]
    tools = [
        _tool(kind, view, engine.policy(kind, view.name)[0], engine.ledger.account(kind, view.name), now)
        for kind, views in kinds
        for view in views
    ]
    sessions = [_session(record) for record in engine.ledger.sessions()[:_SESSIONS]]
    return Report(process=process, at=now, circuits=tuple(circuits), tools=tuple(tools), sessions=tuple(sessions))


def _circuits(view: PipelineView) -> Iterable[CircuitView]:
    return ([view.circuit] if view.circuit is not None else []) + list(view.keyed)


def _hand(action: Action, override: Override | None, now: float) -> Hand | None:
    if override is None:
        return None
    left = override.expires_after
    return Hand(
        action=action.value,
        reason=override.reason,
        actor=override.actor,
        expires_at=None if left is None else now + left,
        layer=override.layer,
    )


def _circuit(kind: Literal["tool", "client"], view: PipelineView, one: CircuitView, now: float) -> CircuitReport:
    action = ACTIONS.get(one.state.value)
    return CircuitReport(
        kind=kind,
        name=view.name,
        key=one.key,
        state=one.state.value,
        automatic=None if one.automatic is None else one.automatic.value,
        mode=view.mode.value,
        since=one.since,
        failures=one.failures,
        reopens=one.reopens,
        retry_after=one.retry_after,
        probe_in_flight=one.probe_in_flight,
        override=None if action is None else _hand(action, one.override, now),
    )


def _tool(
    kind: Literal["tool", "client"], view: PipelineView, policy: Policy, account: Account, now: float
) -> ToolReport:
    error = account.last_error
    return ToolReport(
        kind=kind,
        name=view.name,
        mode=view.mode.value,
        criticality=policy.criticality.value,
        timeout=policy.timeout,
        dependency=policy.dependency,
        owner=policy.owner,
        in_flight=view.in_flight,
        abandoned=view.abandoned,
        max_in_flight=view.max_in_flight,
        disabled=_hand(Action.DISABLE, view.disabled, now),
        calls=dict(account.outcomes),
        recent_calls=len(account.recent),
        error_rate=account.error_rate,
        last_error=None if error is None else ErrorReport(type=error.type, at=error.at, trace_id=error.trace_id),
    )


def _session(record: SessionRecord) -> SessionReport:
    session = record.session
    return SessionReport(
        agent=session.name,
        conversation_id=session.conversation_id,
        trace_id=record.trace_id,
        started_at=record.started,
        ended_at=record.ended,
        outcome=session.outcome if record.ended is not None else None,
        **asdict(session.totals),
    )


# --- JSON -----------------------------------------------------------------------------------------------------------
def to_json(report: Report) -> dict[str, Any]:
    """*report* as plain values."""
    return {"version": VERSION, **asdict(report)}


def from_json(value: Mapping[str, Any]) -> Report | None:
    """What `to_json` gave, read back; `None` if it is of another version or no report at all."""
    try:
        if value["version"] != VERSION:
            return None
        return Report(
            process=Process(**value["process"]),
            at=float(value["at"]),
            circuits=tuple(_read_circuit(one) for one in value["circuits"]),
            tools=tuple(_read_tool(one) for one in value["tools"]),
            sessions=tuple(SessionReport(**one) for one in value["sessions"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _read_hand(value: Mapping[str, Any] | None) -> Hand | None:
    return None if value is None else Hand(**value)


def _read_circuit(value: Mapping[str, Any]) -> CircuitReport:
    return CircuitReport(**{**value, "override": _read_hand(value["override"])})


def _read_tool(value: Mapping[str, Any]) -> ToolReport:
    error = value["last_error"]
    return ToolReport(
        **{
            **value,
            "disabled": _read_hand(value["disabled"]),
            "last_error": None if error is None else ErrorReport(**error),
        }
    )
