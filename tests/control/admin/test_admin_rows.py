"""One table of what all processes report: the worst first, sums, and each process's own words."""

from __future__ import annotations

from dataclasses import asdict, replace

from otel_tools.control.admin import rows
from otel_tools.control.admin.rows import CircuitRow, Overrides, ProcessRow, SessionRow, ToolRow
from otel_tools.control.report import ErrorReport, Report
from tests.control.admin.reports import FIRST, HAND, LAST, NOW, SECOND, circuit, process, session, tool

OVERRIDES = Overrides(reaches="service")


def test_a_circuit_is_in_the_worst_state_that_a_process_reports():
    """The row shows those in that state, its next try by the wall clock, and the tool's last error."""
    found = rows.circuits([SECOND, FIRST], OVERRIDES, NOW)
    assert found.processes == (
        ProcessRow(at=999.0, **asdict(process(1))),
        ProcessRow(at=998.0, **asdict(process(2))),
    )
    assert found.circuits == (
        CircuitRow(
            kind="tool",
            name="search",
            key=None,
            state="open",
            automatic=None,
            mode="enforce",
            since=990.0,
            failures=3,
            reopens=0,
            retry_at=1_048.0,
            probe_in_flight=False,
            override=None,
            last_error=LAST,
            processes={"box-1": FIRST.circuits[0], "box-2": SECOND.circuits[0]},
        ),
    )


def test_the_calls_of_a_tool_add_up():
    """Counts are sums, the error rate weighs each process's calls, and whoever disabled it anywhere is shown."""
    found = rows.tools([FIRST, SECOND], OVERRIDES, NOW)
    assert found.tools[0] == ToolRow(
        kind="tool",
        name="search",
        mode="enforce",
        criticality="critical",
        timeout=5.0,
        dependency="search API",
        owner="team-search",
        in_flight=3,
        abandoned=1,
        max_in_flight=None,
        disabled=HAND,
        disabled_in=1,
        calls={"ok": 15, "error": 25},
        recent_calls=40,
        error_rate=0.6,
        last_error=LAST,
        processes={"box-1": FIRST.tools[0], "box-2": SECOND.tools[0]},
    )
    assert [(row.name, row.error_rate) for row in found.tools] == [("search", 0.6), ("lookup", None)]


def test_running_sessions_come_first():
    """Then those that ended, the newest first, each with its process."""
    late = session(started_at=965.0, ended_at=966.0, outcome="error")
    report = replace(SECOND, sessions=(*SECOND.sessions, late))
    found = rows.sessions([report, FIRST], NOW)
    assert found.sessions == (
        SessionRow(process="box-1", **asdict(FIRST.sessions[0])),
        SessionRow(process="box-2", **asdict(late)),
        SessionRow(process="box-2", **asdict(SECOND.sessions[0])),
    )


def test_the_worst_comes_first():
    """Circuits by state, tools by error rate and then by hung calls, whatever their names."""
    states = ["closed", "metrics_only", "disabled", "half_open", "open", "forced_open", "unheard of"]
    report = Report(
        process=process(1),
        at=NOW,
        circuits=tuple(circuit(name=f"{index}", state=state) for index, state in enumerate(states)),
        tools=(tool(name="a"), tool(name="b", abandoned=1), tool(name="c", error_rate=0.5)),
    )
    assert [row.state for row in rows.circuits([report], OVERRIDES, NOW).circuits] == [
        "forced_open",
        "open",
        "half_open",
        "disabled",
        "metrics_only",
        "closed",
        "unheard of",
    ]
    assert [row.name for row in rows.tools([report], OVERRIDES, NOW).tools] == ["c", "b", "a"]


def test_a_client_and_a_tool_of_one_name_are_two():
    """So are the circuits of two keys of one tool; the last error is that of the one it happened to."""
    theirs = ErrorReport(type="Theirs", at=1.0, trace_id=None)
    report = Report(
        process=process(1),
        at=NOW,
        circuits=(circuit(), circuit(key="eu"), circuit(kind="client")),
        tools=(tool(last_error=LAST), tool(kind="client", last_error=theirs)),
    )
    found = rows.circuits([report], OVERRIDES, NOW).circuits
    assert [(row.kind, row.key, row.last_error) for row in found] == [
        ("client", None, theirs),
        ("tool", None, LAST),
        ("tool", "eu", LAST),
    ]
    assert [row.kind for row in rows.tools([report], OVERRIDES, NOW).tools] == ["client", "tool"]


def test_no_process_is_no_row():
    """Nothing is made up where nobody reports."""
    assert rows.tools([], OVERRIDES, NOW) == rows.Tools(at=NOW, processes=(), overrides=OVERRIDES, tools=())
    assert rows.circuits([], OVERRIDES, NOW) == rows.Circuits(at=NOW, processes=(), overrides=OVERRIDES, circuits=())
    assert rows.sessions([], NOW) == rows.Sessions(at=NOW, processes=(), sessions=())


def test_one_process_that_enforces_is_enough():
    """A row is of mode `observe` only if nothing is refused anywhere."""
    watching = replace(SECOND, circuits=(circuit(state="open", mode="observe"),))
    acting = replace(FIRST, circuits=(circuit(state="open"),))
    assert [row.mode for row in rows.circuits([watching, acting], OVERRIDES, NOW).circuits] == ["enforce"]
    assert [row.mode for row in rows.circuits([watching, FIRST], OVERRIDES, NOW).circuits] == ["observe"]
