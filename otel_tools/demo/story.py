"""The demo's story: what goes wrong when, and how to tell that it was seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from otel_tools.cli.rows import Session
from otel_tools.cli.state import State
from otel_tools.demo.program import Program
from otel_tools.demo.script import SEARCH
from otel_tools.demo.service import Behaviour, Service

_ORDER: Final = "Where is my order 1042, and is the trail shoe in stock?"
_RETURNS: Final = "How do I return shoes that I have worn once?"
RESET_AFTER: Final = 3.0
"""Seconds; `reset_after` of the demo's `otel-tools.yaml`."""


@dataclass(frozen=True, slots=True)
class Act:
    """One session of the story.

    Args:
        title: What happens around it.
        question: What the agent is asked.
        model: Which of the installed models answers, by number.
        behaviour: What the service's endpoints do from here on.
        pause: Seconds to wait before.
    """

    title: str
    question: str
    model: int = 0
    behaviour: dict[str, Behaviour] = field(default_factory=dict)
    pause: float = 0.0


ACTS: Final = (
    Act("All is well", _ORDER),
    Act("All is well, with another model", _RETURNS, model=1),
    Act("The search API begins to fail", _RETURNS, behaviour={"search": Behaviour.FAIL}),
    Act("Its third failure opens the circuit", _RETURNS, model=1),
    Act(
        "The warehouse hangs, preferences fail",
        "How do I return my order 1042, and is the trail shoe in stock?",
        behaviour={"inventory": Behaviour.HANG, "preferences": Behaviour.FAIL},
    ),
    Act("A model that never gives up", "How do I return shoes? Find out, whatever it takes."),
    Act(
        "Back again: a probe closes the circuit",
        _RETURNS,
        behaviour=dict.fromkeys(("search", "inventory", "preferences"), Behaviour.OK),
        pause=RESET_AFTER,
    ),
    Act("All is well again", _ORDER, model=1),
)


@dataclass(frozen=True, slots=True)
class Played:
    """An act that was played, with the agent's reply."""

    act: Act
    number: int
    reply: dict[str, str]


def play(
    program: Program, service: Service, models: Sequence[str], begins: Callable[[Act], object]
) -> Iterator[Played]:
    """Play all acts.

    Args:
        program: The agent.
        service: What its tools depend on.
        models: The models that can be asked.
        begins: Told before each act.
    """
    for number, act in enumerate(ACTS, 1):
        begins(act)
        time.sleep(act.pause)
        service.behave(**act.behaviour)
        yield Played(act, number, program.ask(act.question, models[act.model % len(models)]))


def finished(state: State) -> list[Session]:
    """The sessions whose traces have arrived as a whole, in the order they began."""
    return [row for row in state.sessions() if (trace := state.trace(row.trace_id)) and trace.runs()]


def await_sessions(state: State, count: int, patience: float = 10.0) -> Session | None:
    """Wait until that many sessions have arrived; gives the last of them."""
    with state.changed:
        arrived = state.changed.wait_for(lambda: len(finished(state)) >= count, patience)
        return finished(state)[count - 1] if arrived else None


def missing(state: State) -> list[str]:
    """What of the story did not show in the telemetry that arrived: nothing, if all is well."""
    if not state.received:
        return ["no telemetry arrived"]
    sessions = finished(state)
    seen = {outcome for row in sessions for outcome in row.troubles} | {row.outcome for row in sessions}
    changes = {(change.before, change.after) for change in state.transitions() if change.name == SEARCH}
    told = {
        f"{len(ACTS)} sessions (there are {len(sessions)})": len(sessions) == len(ACTS),
        "a tool that failed": "error" in seen,
        "a tool that hung until its timeout": "timeout" in seen,
        "an optional tool that was replaced by a note": "degraded" in seen,
        "a call that was refused": "circuit_open" in seen,
        "a session stopped at its limit": "max_iterations" in seen,
        "an open circuit": ("closed", "open") in changes,
        "a circuit closed by a probe": ("half_open", "closed") in changes,
        "costs": all(row.cost > 0 for row in sessions),
        "metrics": any(tool.calls for tool in state.tools()),
    }
    return [what for what, shown in told.items() if not shown]
