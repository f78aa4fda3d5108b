"""What the state makes of telemetry: sessions, tools, circuits, traces."""

from __future__ import annotations

from collections import Counter

import pytest

from otel_tools import semconv as names
from otel_tools.cli import otlp
from otel_tools.cli.alerts import evaluate
from otel_tools.cli.rows import Session, Tool, Transition
from otel_tools.cli.state import State
from tests.cli import messages as make
from tests.cli.messages import agent, chat, logs, metrics, tool, traces, transition


@pytest.fixture
def clock():
    """A clock at `T0 + 10`."""
    return make.Clock()


@pytest.fixture
def state(clock):
    """A state without windows."""
    return State(clock=clock)


def _hex(trace, size=16):
    return make.identifier(trace, size).hex()


# --- sessions -------------------------------------------------------------------------------------------------------
def test_a_finished_session_is_told_by_its_span(state):
    """Totals are the session's own; what happened to its tools comes from the calls inside."""
    state.add(
        traces(
            chat("t", "b", "a", start=1, end=2),
            tool("search", "t", "c", "a", outcome="timeout", attributes={names.DEGRADED: True}),
            tool("fetch", "t", "d", "a"),
            agent("t", "a", start=0, end=4),
        )
    )
    assert state.sessions() == [
        Session(
            trace_id=_hex("t"),
            span_id=_hex("a", 8),
            agent="helper",
            outcome="completed",
            started=make.T0,
            duration=4.0,
            llm_calls=3,
            tool_calls=2,
            tool_errors=1,
            input_tokens=300,
            output_tokens=30,
            cost=0.25,
            troubles=Counter({"degraded": 1}),
        )
    ]


def test_a_running_session_is_the_sum_of_its_calls(state):
    """Its own span comes last, so its calls point to a parent that is not there yet."""
    state.add(traces(chat("t", "b", "a", start=1, end=2), chat("t", "d", "a", start=3, end=5, cost=None)))
    state.add(traces(tool("search", "t", "c", "a", outcome="error", start=2, end=3)))
    assert state.sessions() == [
        Session(
            trace_id=_hex("t"),
            span_id="",
            agent="",
            outcome="running",
            started=make.T0 + 1,
            duration=4.0,
            llm_calls=2,
            tool_calls=1,
            tool_errors=1,
            input_tokens=200,
            output_tokens=20,
            cost=0.001,
            unpriced=110,
            troubles=Counter({"error": 1}),
        )
    ]


def test_calls_outside_of_any_session_say_so(state, clock):
    """A call without a parent has no session; one whose parent does not come within a minute neither."""
    state.add(traces(chat("alone", "a")))
    state.add(traces(chat("waiting", "b", "gone", start=1)))
    assert [row.outcome for row in state.sessions()] == ["no session", "running"]
    clock.now += 61
    assert [row.outcome for row in state.sessions()] == ["no session", "no session"]


def test_a_sub_agent_is_part_of_its_session(state):
    """Only the outermost run is a session."""
    state.add(traces(agent("t", "b", "a", start=1, end=2), chat("t", "c", "b"), agent("t", "a", start=0, end=3)))
    (row,) = state.sessions()
    assert (row.span_id, row.outcome) == (_hex("a", 8), "completed")


def test_two_sessions_of_one_request_are_two(state):
    """A web request around two agent runs is one trace with two sessions."""
    request = make.span("POST /ask", "t", "r", start=0, end=9)
    state.add(traces(request, agent("t", "a", "r", start=1, end=2), agent("t", "b", "r", start=3, end=4)))
    assert [row.started - make.T0 for row in state.sessions()] == [1, 3]


def test_a_session_that_was_not_sampled_is_told_by_its_log_record(state):
    """Log records are not sampled."""
    attributes = {**make.SESSION, names.DURATION_MS: 2500.0, names.CONVERSATION_ID: "c-1"}
    record = make.event(names.EVENT_SESSION, attributes, "t", "a", time=9)
    state.add(logs(record))
    (row,) = state.sessions()
    assert (row.agent, row.outcome, row.conversation_id, row.started) == ("helper", "completed", "c-1", make.T0 + 6.5)
    assert (row.duration, row.cost, row.llm_calls) == (2.5, 0.25, 3)


def test_a_session_is_not_told_twice(state):
    """Whichever of span and log record comes first, there is one row, and it never runs again."""
    record = make.event(names.EVENT_SESSION, {**make.SESSION, names.DURATION_MS: 4000.0}, "t", "a", time=4)
    state.add(traces(chat("t", "b", "a", start=1, end=2)))
    state.add(logs(record))
    assert [row.outcome for row in state.sessions()] == ["completed"]
    state.add(traces(agent("t", "a", start=0, end=4)))
    assert [row.outcome for row in state.sessions()] == ["completed"]


def test_only_the_latest_sessions_are_given(state):
    """In the order they began."""
    for number in range(9):
        state.add(traces(agent(f"t{number}", "a", start=number, end=number + 1)))
    assert [row.started - make.T0 for row in state.sessions(limit=3)] == [6, 7, 8]


# --- tools and circuits ---------------------------------------------------------------------------------------------
def _calls(name, outcome, count, *, degraded=False):
    labels = {names.TOOL_NAME: name, names.OUTCOME: outcome, names.DEGRADED: degraded}
    return make.number(names.TOOL_CALLS, count, labels)


def _circuit(name, current):
    return [
        make.number(names.CIRCUIT, float(state == current), {names.CIRCUIT_NAME: name, names.CIRCUIT_STATE: state})
        for state in names.CIRCUIT_STATES
    ]


def test_a_tool_is_told_by_its_metrics(state):
    """Calls by outcome, p95, mean result, what runs now, and its circuit in every process."""
    search = {names.TOOL_NAME: "search"}
    state.add(
        metrics(
            _calls("search", "ok", 6),
            _calls("search", "error", 3, degraded=True),
            _calls("search", "circuit_open", 1),
            _calls("search", "timeout", 0),
            make.histogram(names.TOOL_DURATION, [0.05] * 9, {**search, names.TOOL_TYPE: "function"}),
            make.histogram(names.TOOL_RESULT_SIZE, [100, 300], search),
            make.number(names.TOOL_IN_FLIGHT, 2, search),
            make.number(names.TOOL_ABANDONED, 1, search),
            *_circuit("search", "closed"),
        )
    )
    state.add(metrics(*_circuit("search", "open"), instance="two"))
    (found,) = state.tools()
    assert found == Tool(
        name="search",
        outcomes=Counter({"ok": 6, "error": 3, "circuit_open": 1, "timeout": 0}),
        troubles=Counter({"degraded": 3, "circuit_open": 1}),
        p95=pytest.approx(0.078),
        result_bytes=200.0,
        in_flight=2,
        abandoned=1,
        circuit={"closed": 1, "open": 1},
    )
    assert (found.calls, found.error_rate) == (10, 0.4)


def test_what_an_operator_switched_off_is_no_error(state):
    """A refusal by the kill switch does not count against the tool."""
    state.add(metrics(_calls("search", "ok", 5), _calls("search", "disabled", 5)))
    assert state.tools()[0].error_rate == 0


def test_the_history_of_a_circuit_is_its_log_records(state):
    """In the order of time, whichever process or export was first."""
    state.add(logs(transition("search", "open", "half_open", "expired", time=5)))
    state.add(logs(transition("search", "closed", "open", "threshold", time=2), instance="two"))
    assert state.transitions() == [
        Transition(make.T0 + 2, "search", "closed", "open", "threshold"),
        Transition(make.T0 + 5, "search", "open", "half_open", "expired"),
    ]


def test_a_circuit_in_shadow_only_would_be_open(state):
    """In observe mode a circuit refuses nothing; neither the tool's row, nor the history, nor an alert says it does."""
    labels = {names.CIRCUIT_NAME: "search", names.CIRCUIT_SHADOW: True}
    change = {names.CIRCUIT_FROM: "half_open", names.CIRCUIT_TO: "closed", names.CIRCUIT_REASON: "probe_success"}
    state.add(
        metrics(
            _calls("search", "ok", 0),
            make.number(names.CIRCUIT, 0, {**labels, names.CIRCUIT_STATE: "closed"}),
            make.number(names.CIRCUIT, 1, {**labels, names.CIRCUIT_STATE: "open"}),
            make.number(names.CIRCUIT_TRANSITIONS, 1, {**labels, **change}),
        )
    )
    assert state.tools()[0].circuit == {"would_be_open": 1}
    assert [(one.before, one.after) for one in state.transitions()] == [("would_be_half_open", "closed")]
    assert evaluate(state) == []


def test_without_log_records_the_counter_tells_the_history(state):
    """Each increment is a change at the time of its export; a series that starts at zero is none."""
    labels = {names.CIRCUIT_NAME: "search", names.CIRCUIT_FROM: "closed", names.CIRCUIT_TO: "open"}
    change = {**labels, names.CIRCUIT_REASON: "threshold"}
    for value, time in ((0, 10), (1, 20), (1, 30)):
        state.add(metrics(make.number(names.CIRCUIT_TRANSITIONS, value, change, time=time)))
    assert state.transitions() == [Transition(make.T0 + 20, "search", "closed", "open", "threshold")]
    state.add(logs(transition("search", "closed", "open", "threshold", time=17)))
    assert [change.time - make.T0 for change in state.transitions()] == [17]


# --- traces ---------------------------------------------------------------------------------------------------------
def _outline(nodes):
    return [(node.span.name, _outline(node.children)) for node in nodes]


def test_a_trace_is_a_tree_in_the_order_of_time(state):
    """Spans arrive inner ones first, in any number of exports."""
    state.add(traces(tool("late", "t", "d", "a", start=3, end=4), tool("early", "t", "c", "a", start=1, end=2)))
    state.add(traces(make.span("GET /search", "t", "e", "c", start=1, end=2), agent("t", "a", start=0, end=5)))
    assert _outline(state.trace(_hex("t")).roots()) == [
        (
            "invoke_agent helper",
            [("execute_tool early", [("GET /search", [])]), ("execute_tool late", [])],
        )
    ]


def test_spans_that_are_each_others_parents_do_no_harm(state):
    """Nonsense is not drawn, and nothing hangs."""
    state.add(traces(chat("t", "a", "b"), chat("t", "b", "a"), chat("t", "c", "c")))
    assert state.sessions() == []
    assert state.trace(_hex("t")).roots() == ()


def test_memory_is_bounded(clock):
    """The oldest traces go; a long trace keeps its beginning and its session."""
    state = State(clock=clock, traces=3)
    for number in range(300):
        state.add(traces(agent(f"t{number}", "a"), instance=f"{number}"))
        state.add(logs(make.event(names.EVENT_SESSION, make.SESSION, f"u{number}", f"s{number}")))
        state.add(logs(transition("search", "closed", "open", "threshold")))
    assert state.trace(_hex("t296")) is None
    assert state.trace(_hex("t299")) is not None
    state.add(traces(*(chat("long", f"c{number}", "a") for number in range(600)), agent("long", "a")))
    long = state.trace(_hex("long"))
    assert (len(long.spans), long.dropped) == (501, 100)
    assert state.sessions(limit=500)[-1].outcome == "completed"
    assert [len(kept) for kept in (state._session_events, state._logged, state._sources)] == [200, 200, 200]


def test_what_was_received_is_counted(state):
    """By signal, and by process."""
    state.add(traces(chat("t", "a"), chat("t", "b")))
    state.add(metrics(_calls("search", "ok", 1), instance="two"))
    state.add(logs(transition("search", "closed", "open", "threshold")))
    assert state.received == {"spans": 2, "data points": 1, "log records": 1}
    assert state.sources() == [otlp.Source("shop", "two"), otlp.Source("shop", "one")]
