"""What is printed, to the letter."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from otel_tools import semconv as names
from otel_tools.cli import text, views
from otel_tools.cli.alerts import WINDOWS, AlertLog
from otel_tools.cli.state import State
from otel_tools.cli.tree import TraceTree
from tests.cli import messages as make
from tests.cli.messages import agent, chat, logs, metrics, tool, traces, transition


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setattr(text, "clock", lambda value: f"+{value - make.T0:.0f} s")


@pytest.fixture
def state():
    """A state with a session that had every kind of trouble."""
    clock = make.Clock()
    state = State(WINDOWS, clock=clock)
    clock.now += 14
    search = {names.TOOL_NAME: "search"}
    timeout = {names.TIMEOUT_LIMIT: 0.6}
    state.add(
        traces(
            chat("t", "b", "a", start=0, end=1, tokens=(1234, 56), attributes={names.TIME_TO_FIRST_CHUNK: 0.25}),
            tool("search", "t", "c", "a", start=1, end=1.6, outcome="timeout", attributes=timeout),
            tool("search", "t", "d", "a", start=1.6, end=1.6, outcome="circuit_open"),
            tool("mood", "t", "e", "a", outcome="error", start=1, end=3, attributes=_failed(degraded=True)),
            tool("mail", "t", "f", "a", start=1, end=2, attributes={names.RESULT_SIZE: 2048}),
            make.span("POST /mail", "t", "g", "f", start=1, end=2),
            chat("t", "h", "a", start=3, end=4, cost=None),
            agent("t", "a", start=0, end=4, attributes={names.SESSION_UNPRICED: 110}),
        )
    )
    state.add(traces(agent("u", "a", start=5, end=70), chat("u", "b", "a")))
    state.add(
        metrics(
            _calls("search", "ok", 4),
            _calls("search", "timeout", 3),
            _calls("search", "circuit_open", 3),
            _calls("mail", "ok", 12),
            make.histogram(names.TOOL_DURATION, [0.05] * 20, search),
            make.histogram(names.TOOL_RESULT_SIZE, [1500, 2500], search),
            make.number(names.TOOL_ABANDONED, 1, search),
            make.number(names.TOOL_IN_FLIGHT, 2, {names.TOOL_NAME: "mail"}),
            *_circuit("search", "open"),
        )
    )
    state.add(metrics(*_circuit("search", "closed"), instance="two"))
    state.add(logs(transition("search", "closed", "open", "threshold", time=2)))
    return state


def _failed(**more):
    return {names.ERROR_TYPE: "httpx.ConnectError", names.DEGRADED: more["degraded"]}


def _calls(name, outcome, count):
    return make.number(names.TOOL_CALLS, count, {names.TOOL_NAME: name, names.OUTCOME: outcome, names.DEGRADED: False})


def _circuit(name, current):
    return [
        make.number(names.CIRCUIT, float(state == current), {names.CIRCUIT_NAME: name, names.CIRCUIT_STATE: state})
        for state in names.CIRCUIT_STATES
    ]


def _printed(renderable, width=120, **options):
    out = io.StringIO()
    Console(file=out, width=width, **options).print(renderable)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _expect(renderable, expected, width=120):
    assert _printed(renderable, width) == expected.strip("\n")


def test_the_tree_of_a_trace(state):
    """Spans with their times, a timeline, and what came of them."""
    _expect(
        TraceTree(state.trace(make.identifier("t", 16).hex())),
        """
invoke_agent helper     4.00 s  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  completed  $0.25
├─ chat gpt-5-mini      1.00 s  ━━━━━━━━━━                                1,234 → 56 tokens  $0.0010  first chunk 250 ms
├─ execute_tool search  600 ms            ━━━━━━                          ✗ timeout after 600 ms
├─ execute_tool mail    1.00 s            ━━━━━━━━━━                      2.0 kB
│  └─ POST /mail        1.00 s            ━━━━━━━━━━
├─ execute_tool mood    2.00 s            ━━━━━━━━━━━━━━━━━━━━            ✗ ConnectError → note for the model
├─ execute_tool search    0 ms                 ━                          ⊘ refused, circuit open
└─ chat gpt-5-mini      1.00 s                                ━━━━━━━━━━  100 → 10 tokens  no price
""",
    )


def test_the_tree_of_a_trace_in_80_columns(state):
    """Without the timeline, and nothing is lost that matters."""
    _expect(
        TraceTree(state.trace(make.identifier("t", 16).hex())),
        """
invoke_agent helper     4.00 s  completed  $0.25
├─ chat gpt-5-mini      1.00 s  1,234 → 56 tokens  $0.0010
├─ execute_tool search  600 ms  ✗ timeout after 600 ms
├─ execute_tool mail    1.00 s
│  └─ POST /mail        1.00 s
├─ execute_tool mood    2.00 s  ✗ ConnectError → note for the model
├─ execute_tool search    0 ms  ⊘ refused, circuit open
└─ chat gpt-5-mini      1.00 s  100 → 10 tokens  no price
""",
        width=80,
    )


def test_a_long_trace_is_cut(state):
    """The rest is counted."""
    state.add(traces(*(chat("long", f"c{number}", "a") for number in range(9)), agent("long", "a")))
    tree = _printed(TraceTree(state.trace(make.identifier("long", 16).hex()), limit=3)).splitlines()
    assert (len(tree), tree[-1]) == (4, "… and 7 more spans")


def test_sessions(state):
    """With one agent its name stands in the title."""
    _expect(
        views.sessions(state.sessions()),
        """
Sessions  of agent helper
Began  Outcome    LLM  Tools  Tokens in  out     Cost  Duration  Failed tool calls
──────────────────────────────────────────────────────────────────────────────────────────────────────
+0 s   completed    3      2        300   30  ≥ $0.25    4.00 s  1 timeout, 1 degraded, 1 circuit open
+5 s   completed    3      2        300   30    $0.25  1 m 05 s
""",
    )


def test_sessions_in_80_columns(state):
    """What does not fit goes as a whole."""
    _expect(
        views.sessions(state.sessions(), numbered=True),
        """
Sessions  of agent helper
#  Outcome    LLM  Tools  Tokens in  out     Cost  Duration
───────────────────────────────────────────────────────────
1  completed    3      2        300   30  ≥ $0.25    4.00 s
2  completed    3      2        300   30    $0.25  1 m 05 s
""",
        width=80,
    )


def test_sessions_of_several_agents(state):
    """Then the agent is a column."""
    state.add(traces(agent("v", "a", start=7, end=8, attributes={names.AGENT_NAME: "other"})))
    _expect(
        views.sessions(state.sessions()),
        """
Sessions
Began  Agent   Outcome    LLM  Tools  Tokens in  out     Cost  Duration  Failed tool calls
──────────────────────────────────────────────────────────────────────────────────────────────────────────────
+0 s   helper  completed    3      2        300   30  ≥ $0.25    4.00 s  1 timeout, 1 degraded, 1 circuit open
+5 s   helper  completed    3      2        300   30    $0.25  1 m 05 s
+7 s   other   completed    3      2        300   30    $0.25    1.00 s
""",
    )


@pytest.mark.parametrize("width", [80, 120])
def test_tools(state, width):
    """The same in 80 columns, without the last one."""
    wide = """
Tools  calls that a circuit refuses are errors, too
Tool    Calls  Errors    p95  Result      Running  Circuit              Failed calls
──────────────────────────────────────────────────────────────────────────────────────────────────
mail       12      0%      -       -            2  -
search     10     60%  78 ms  2.0 kB  1 abandoned  open 1/2 closed 1/2  3 timeouts, 3 circuit open
"""
    narrow = """
Tools  calls that a circuit refuses are errors, too
Tool    Calls  Errors    p95  Result      Running  Circuit
──────────────────────────────────────────────────────────────────────
mail       12      0%      -       -            2  -
search     10     60%  78 ms  2.0 kB  1 abandoned  open 1/2 closed 1/2
"""
    _expect(views.tools(state.tools()), wide if width == 120 else narrow, width)


def test_circuits(state):
    """When, what, and why."""
    _expect(
        views.circuits(state.transitions()),
        """
Circuit history  an open circuit refuses calls at once, until a probe succeeds
Time  Circuit  Was     Became  Why
────────────────────────────────────────────────
+2 s  search   closed  open    failures in a row
""",
    )


def test_alerts(state):
    """What fires, against which limit, and on how little telemetry."""
    log = AlertLog()
    log.update(state)
    _expect(
        views.alerts(log, state),
        """
Alerts  evaluated on 14 s of telemetry, shorter than the windows
Severity  Alert              For     Value  Limit         State
────────────────────────────────────────────────────────────────
critical  CircuitOpen        search   open  -             firing
critical  ToolErrorRateHigh  search    60%  > 25% in 5 m  firing
Quiet: DailyCostHigh, LLMErrorRateHigh, SessionCostHigh, SessionIterationsHigh,
ToolSlow
""",
        width=80,
    )


def test_views_without_anything():
    """An empty state says so instead of showing empty tables."""
    state = State(WINDOWS, clock=make.Clock())
    shown = (views.sessions([]), views.tools([]), views.circuits([]), views.alerts(AlertLog(), state))
    assert [_printed(view).splitlines()[1] for view in shown] == [
        "  none yet",
        "  none called yet",
        "  no circuit has changed",
        "  none fires",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_nothing_is_wider_than_the_terminal(state, width):
    """Lines are cut, not wrapped."""
    log = AlertLog()
    log.update(state)
    for view in (
        views.sessions(state.sessions()),
        views.tools(state.tools()),
        views.circuits(state.transitions()),
        views.alerts(log, state),
        TraceTree(state.trace(make.identifier("t", 16).hex())),
    ):
        assert max(map(len, _printed(view, width).splitlines())) <= width


def test_colours_only_on_a_terminal(state):
    """Piped output has no escape sequences, that of a terminal has."""
    assert "\x1b" not in _printed(views.tools(state.tools()))
    assert "\x1b[31m" in _printed(views.tools(state.tools()), force_terminal=True, color_system="standard")


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (text.seconds, None, "-"),
        (text.seconds, 0.0004, "0 ms"),
        (text.seconds, 0.0234, "23 ms"),
        (text.seconds, 1.239, "1.24 s"),
        (text.seconds, 61, "1 m 01 s"),
        (text.seconds, 3720, "1 h 02 m"),
        (text.window, 14, "14 s"),
        (text.window, 300, "5 m"),
        (text.window, 3600, "1 h"),
        (text.window, 86400, "1 d"),
        (text.usd, 0.00042, "$0.0004"),
        (text.usd, 0.5, "$0.50"),
        (text.usd, 1234.5, "$1,234"),
        (text.size, None, "-"),
        (text.size, 812, "812 B"),
        (text.size, 1450, "1.4 kB"),
        (text.size, 2_600_000, "2.6 MB"),
        (text.percent, 0, "0%"),
        (text.percent, 0.004, "0.4%"),
        (text.percent, 0.5714, "57%"),
        (text.short, "openai.RateLimitError", "RateLimitError"),
        (text.short, "timeout", "timeout"),
    ],
)
def test_numbers_as_people_read_them(function, value, expected):
    """Units fit the size, and digits the precision."""
    assert function(value) == expected
