"""The story: that it is complete, and that it is noticed when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

import otel_tools.demo
from otel_tools import semconv as names
from otel_tools.cli.state import State
from otel_tools.config import load
from otel_tools.demo import agent, story
from otel_tools.demo.program import installed_models
from otel_tools.demo.service import Service
from tests.cli import messages as make

SETTINGS = Path(otel_tools.demo.__file__).parent / "otel-tools.yaml"


def test_the_settings_of_the_demo_are_right():
    """The file is valid, enforces, and names what is in the agent."""
    settings = load({"OTEL_TOOLS_CONFIG": str(SETTINGS)})
    assert settings.mode == "enforce"
    assert settings.patch_tools == ("agent:TOOL_REGISTRY",)
    assert settings.patch_sessions == ("agent:run_session",)
    assert hasattr(agent, "TOOL_REGISTRY")
    assert hasattr(agent, "run_session")


class Program:
    """Takes the agent's place: remembers what it is asked."""

    def __init__(self):
        self.asked = []

    def ask(self, question, model):
        self.asked.append((question, model))
        return {"answer": "42"}


def test_all_acts_are_played_in_order(monkeypatch):
    """Each is announced, the service behaves as it says, and models take turns as far as there are several."""
    monkeypatch.setattr(story.time, "sleep", lambda seconds: None)
    program, begun = Program(), []
    with Service() as service:
        played = list(story.play(program, service, ["gpt-5-mini"], begun.append))
        assert set(service._behaviour.values()) == {"ok"}
    assert [one.act for one in played] == begun == list(story.ACTS)
    assert [one.number for one in played] == list(range(1, 9))
    assert {model for _, model in program.asked} == {"gpt-5-mini"}


def test_the_models_are_those_of_installed_clients():
    """Their prices are known, so that there are costs to show."""
    assert set(installed_models()) <= {"gpt-5-mini", "claude-haiku-4-5"}


def _state():
    """What the whole story looks like in telemetry, in few words."""
    state = State(clock=make.Clock())
    ends = ["completed"] * 7 + ["max_iterations"]
    troubles = ["error", "timeout", "circuit_open", "degraded", "ok", "ok", "ok", "ok"]
    for number, (end, trouble) in enumerate(zip(ends, troubles, strict=True)):
        note = {names.DEGRADED: trouble == "degraded"}
        outcome = "error" if trouble == "degraded" else trouble
        call = make.tool("search", f"t{number}", "b", "a", outcome=outcome, attributes=note)
        state.add(
            make.traces(
                call, make.agent(f"t{number}", "a", start=number, end=9, attributes={names.SESSION_OUTCOME: end})
            )
        )
    for before, after in (("closed", "open"), ("open", "half_open"), ("half_open", "closed")):
        state.add(make.logs(make.transition("search_knowledge_base", before, after, "x")))
    state.add(make.metrics(make.number(names.TOOL_CALLS, 8, {names.TOOL_NAME: "search", names.OUTCOME: "ok"})))
    return state


def test_the_whole_story_lacks_nothing():
    """Then the demo succeeds."""
    assert story.missing(_state()) == []


def test_no_telemetry_at_all_is_said_in_three_words():
    """The most likely fault, and nothing else matters then."""
    assert story.missing(State()) == ["no telemetry arrived"]


def test_what_is_missing_is_named():
    """Traces alone do not tell of circuits and metrics."""
    state = State(clock=make.Clock())
    state.add(make.traces(make.agent("t", "a", attributes={names.SESSION_COST: 0.0})))
    assert story.missing(state) == [
        "8 sessions (there are 1)",
        "a tool that failed",
        "a tool that hung until its timeout",
        "an optional tool that was replaced by a note",
        "a call that was refused",
        "a session stopped at its limit",
        "an open circuit",
        "a circuit closed by a probe",
        "costs",
        "metrics",
    ]


@pytest.mark.parametrize("count", [1, 8])
def test_a_session_is_awaited_until_its_span_is_there(count):
    """A session that never comes is `None` in the end."""
    state = _state()
    assert story.await_sessions(state, count).outcome == ("completed" if count == 1 else "max_iterations")
    assert story.await_sessions(state, 9, patience=0) is None
