"""Reports of two processes of one service, made by hand."""

from __future__ import annotations

from otel_tools.control.directives import Directive, Document
from otel_tools.control.operator import Operator
from otel_tools.control.report import (
    CircuitReport,
    ErrorReport,
    Hand,
    Process,
    Report,
    SessionReport,
    ToolReport,
)
from otel_tools.policy.circuit import Action

NOW = 1_000.0
HAND = Hand(action="disable", reason="INC-42", actor="ada", expires_at=1_600.0, layer="store")
DIRECTIVE = Directive(
    kind="tool",
    name="search",
    action=Action.DISABLE,
    reason="INC-42",
    actor="ada",
    set_at=950.0,
    expires_at=1_600.0,
    id="d1",
)


def process(number: int) -> Process:
    return Process(
        id=f"box-{number}", host="box", pid=number, service="agent", program="app.py", started_at=900.0 + number
    )


def circuit(**changed) -> CircuitReport:
    fields = {
        "kind": "tool",
        "name": "search",
        "key": None,
        "state": "closed",
        "automatic": None,
        "mode": "enforce",
        "since": 901.0,
        "failures": 0,
        "reopens": 0,
        "retry_after": 0.0,
        "probe_in_flight": False,
        "override": None,
    }
    return CircuitReport(**fields | changed)


def tool(**changed) -> ToolReport:
    fields = {
        "kind": "tool",
        "name": "search",
        "mode": "enforce",
        "criticality": "critical",
        "timeout": 5.0,
        "dependency": "search API",
        "owner": "team-search",
        "in_flight": 1,
        "abandoned": 0,
        "max_in_flight": None,
        "disabled": None,
        "calls": {"ok": 10},
        "recent_calls": 10,
        "error_rate": 0.0,
        "last_error": None,
    }
    return ToolReport(**fields | changed)


def session(**changed) -> SessionReport:
    fields = {
        "agent": "agent",
        "conversation_id": None,
        "trace_id": "ab" * 16,
        "started_at": 950.0,
        "ended_at": None,
        "outcome": None,
        "input_tokens": 10,
        "output_tokens": 5,
        "cost_usd": 0.25,
        "unpriced_tokens": 0,
        "inference_calls": 2,
        "tool_calls": 3,
        "tool_errors": 1,
    }
    return SessionReport(**fields | changed)


LAST = ErrorReport(type="SearchDown", at=990.0, trace_id="cd" * 16)
FIRST = Report(process=process(1), at=999.0, circuits=(circuit(),), tools=(tool(),), sessions=(session(),))
SECOND = Report(
    process=process(2),
    at=998.0,
    circuits=(circuit(state="open", since=990.0, failures=3, retry_after=50.0),),
    tools=(
        tool(
            in_flight=2,
            abandoned=1,
            disabled=HAND,
            calls={"ok": 5, "error": 25},
            recent_calls=30,
            error_rate=0.8,
            last_error=LAST,
        ),
        tool(name="lookup", calls={}, recent_calls=0, error_rate=None, in_flight=0),
    ),
    sessions=(session(started_at=960.0, ended_at=970.0, outcome="completed"),),
)


class Told(Operator):
    """An operator of processes that report what a test says."""

    def __init__(self, *reports: Report, document: Document | Exception | None = None) -> None:
        super().__init__(None, None)
        self._reports = list(reports)
        self._document = document or Document()

    def reports(self):
        return self._reports

    def document(self):
        if isinstance(self._document, Exception):
            raise self._document
        return self._document
