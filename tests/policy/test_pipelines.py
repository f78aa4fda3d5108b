"""The registry of pipelines: one per name, bounded, reachable for operators before the first call."""

from __future__ import annotations

from typing import Any

import pytest

from otel_tools.policy import Attempt, Circuit, Mode, Outcome, Pipelines, Policy, Refusal, Verdict, pipelines
from tests.policy.tools import Clock, at_once, held, in_child


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines, "MAX_KEPT", 2)
    monkeypatch.setattr(pipelines, "MAX_RECENT", 2)


def registry(looked_up: list[str] | None = None, **policy: Any) -> Pipelines:
    """A registry that enforces one policy for every name, and notes the names it was asked for."""

    def lookup(name: str) -> tuple[Policy, Mode]:
        if looked_up is not None:
            looked_up.append(name)
        return Policy(circuit=Circuit(failures=1, jitter=0), **policy), Mode.ENFORCE

    return Pipelines(lookup, clock=Clock())


def names(registry: Pipelines) -> list[str]:
    return [view.name for view in registry.views()]


def fail(registry: Pipelines, name: str) -> None:
    attempt = registry.get(name).admit()
    assert isinstance(attempt, Attempt)
    registry.get(name).settle(attempt, Verdict.FAILURE)


def test_one_pipeline_per_name() -> None:
    """A name's pipeline is made once, from its own policy, and shares no state with another's (property 14)."""
    looked_up: list[str] = []
    tools = registry(looked_up)
    assert tools.get("search") is tools.get("search") is not tools.get("mail")
    fail(tools, "search")
    assert isinstance(tools.get("search").admit(), Refusal)
    assert isinstance(tools.get("mail").admit(), Attempt)
    assert looked_up == ["search", "mail"]


@pytest.mark.usefixtures("_many_switches")
def test_threads_that_ask_first_get_the_same() -> None:
    """Threads that ask for a new name at the same time share one pipeline (property 15)."""
    tools = registry()
    for number in range(50):
        assert len(set(at_once(8, lambda _, it=number: tools.get(f"tool {it}")))) == 1


@pytest.mark.usefixtures("_small")
def test_names_are_bounded() -> None:
    """However many names a model invents, the first ones and the last ones used are kept (property 14)."""
    tools = registry()
    first = tools.get("a")
    for number in range(1000):
        tools.get(f"invented {number}")
    tools.get("invented 998")
    tools.get("another")
    assert names(tools) == ["a", "invented 0", "invented 998", "another"]
    assert tools.get("a") is first


@pytest.mark.usefixtures("_small")
def test_what_is_not_idle_is_never_dropped() -> None:
    """An open circuit and a running call outlive any number of newer names, which then go unkept (property 14)."""
    tools = registry()
    for name in ("a", "b"):
        tools.get(name)
    fail(tools, "open")
    running = tools.get("running").admit()
    assert isinstance(running, Attempt)
    for number in range(10):
        assert isinstance(tools.get(f"invented {number}").admit(), Attempt)
    assert names(tools) == ["a", "b", "open", "running"]
    assert isinstance(tools.get("open").admit(), Refusal)
    tools.get("running").settle(running, Verdict.SUCCESS)
    tools.get("late")
    assert names(tools) == ["a", "b", "open", "late"]


@pytest.mark.usefixtures("_small")
def test_operators_reach_names_that_were_not_seen_yet() -> None:
    """A name disabled before its first call, beyond all bounds, is refused at that call (property 12)."""
    tools = registry()
    for number in range(10):
        tools.get(f"invented {number}")
        tools.get(f"invented {number}").admit()  # the last two go on, so that their places are taken
    tools.disable("mail", "leaks data", "ann")
    tools.force_open("search", "incident 7", "ann", 30)
    tools.bypass("chat", "too touchy", "ann")
    for number in range(10):
        tools.get(f"later {number}")
    refusals = [tools.get(name).admit() for name in ("mail", "search")]
    assert [refusal.outcome for refusal in refusals if isinstance(refusal, Refusal)] == [
        Outcome.DISABLED,
        Outcome.CIRCUIT_OPEN,
    ]
    fail(tools, "chat")
    assert isinstance(tools.get("chat").admit(), Attempt)
    tools.enable("mail")
    tools.reset("search")
    assert all(isinstance(tools.get(name).admit(), Attempt) for name in ("mail", "search"))


def test_a_forgotten_policy_is_looked_up_again() -> None:
    """A changed policy applies from the next call on; what operators set stays (property 12)."""
    policies = {"search": Policy(timeout=1.0)}
    tools = Pipelines(lambda name: (policies[name], Mode.ENFORCE))
    tools.forget("search")
    assert tools.views() == []
    tools.disable("search", "leaks data", "ann")
    policies["search"] = Policy(timeout=2.0)
    assert tools.get("search").timeout == 1.0
    tools.forget("search")
    assert tools.get("search").timeout == 2.0
    assert isinstance(tools.get("search").admit(), Refusal)


def test_a_failing_lookup_leaves_nothing() -> None:
    """When the policy of a name cannot be had, the caller is told and the next one asks again (property 18)."""
    tools = Pipelines(lambda name: {}[name])
    for _ in range(2):
        with pytest.raises(KeyError):
            tools.get("search")
    assert tools.views() == []


def test_fork_in_the_middle_of_a_look_up() -> None:
    """A child forked while another thread holds the registry's lock can make pipelines (property 18)."""
    tools = registry()
    with held(tools._lock):
        assert in_child(lambda: tools.get("search").name == "search")
