"""The registry of pipelines: one per name, bounded, reachable for operators before the first call."""

from __future__ import annotations

from typing import Any, cast

import pytest

from otel_tools.policy import (
    Action,
    Attempt,
    Circuit,
    Mode,
    Opening,
    Outcome,
    Override,
    Pipelines,
    Policy,
    Refusal,
    Transition,
    Verdict,
    pipelines,
)
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


def test_pipelines_share_clock_dice_and_listener() -> None:
    """Every circuit lives on the registry's clock, draws from its source and tells its listener (properties 13, 15)."""
    log: list[Transition] = []
    policy = Policy(circuit=Circuit(failures=1, jitter=1.0))
    tools = Pipelines(lambda _: (policy, Mode.ENFORCE), clock=Clock(), random=lambda: 0.5, listener=log.append)
    for name in ("search", "mail"):
        fail(tools, name)
    assert [(one.name, one.to, one.retry_after) for one in log] == [("search", "open", 90.0), ("mail", "open", 90.0)]


@pytest.mark.usefixtures("_small")
def test_a_policy_is_looked_up_once() -> None:
    """Also for a name beyond the first ones, while its pipeline is kept (property 14)."""
    looked_up: list[str] = []
    tools = registry(looked_up)
    for name in ("a", "b", "c", "c", "a"):
        tools.get(name)
    assert looked_up == ["a", "b", "c"]


@pytest.mark.usefixtures("_small")
def test_what_was_set_on_a_late_name_can_be_lifted() -> None:
    """A name beyond the first ones, called before an operator came to it, is found again (property 12)."""
    tools = registry()
    for name in ("a", "b", "c"):
        tools.get(name)
    tools.disable("c", "leaks data", "ann")
    assert isinstance(tools.get("c").admit(), Refusal)
    tools.enable("c")
    assert isinstance(tools.get("c").admit(), Attempt)


def test_what_an_operator_sets_says_who_and_why() -> None:
    """Each of the named ways sets reason, actor and end in the layer of this process (property 12)."""
    given = ("incident 7", "ann", 30.0)
    tools = registry()
    for act in (tools.disable, tools.force_open, tools.bypass):
        act(act.__name__, *given)
    found = {view.name: view.disabled or (view.circuit and view.circuit.override) for view in tools.views()}
    assert found == dict.fromkeys(["disable", "force_open", "bypass"], Override(*given, "process"))


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


def test_layers_by_name() -> None:
    """Both layers reach names not seen yet, a reset leaves the store's, lifting makes no pipelines (property 12)."""
    tools = registry()
    for action in Action:
        tools.lift("unknown", action, "store")
    tools.reset("unknown")
    tools.enable("unknown")
    tools.forget("unknown")
    assert (names(tools), "unknown" in tools) == ([], False)
    for action in (Action.FORCE_OPEN, Action.METRICS_ONLY):
        tools.override("search", action, Override("incident 7", "ann", 60, "store"))
    tools.bypass("search", "too touchy", "bob")
    states = [tools.get("search").view().circuit]
    tools.lift("search", Action.FORCE_OPEN, "process")
    tools.lift("search", Action.FORCE_OPEN, "store")
    states.append(tools.get("search").view().circuit)
    tools.reset("search")
    states.append(tools.get("search").view().circuit)
    assert [(view.state, view.override) for view in states if view] == [
        ("forced_open", Override("incident 7", "ann", 60, "store")),
        ("disabled", Override("too touchy", "bob")),
        ("metrics_only", Override("incident 7", "ann", 60, "store")),
    ]
    assert "search" in tools


@pytest.mark.usefixtures("_small")
def test_what_an_operator_set_keeps_a_name_until_it_expires() -> None:
    """A name beyond the first ones is kept while any override of it holds, and may go afterwards (property 14)."""
    tools = registry()
    for name in ("a", "b", "c"):
        tools.get(name)
    tools.override("c", Action.DISABLE, Override("leaks data", "ann", 30, "store"))
    for number in range(5):
        tools.get(f"invented {number}")
    assert "c" in names(tools)
    cast("Clock", tools._clock).tick(30)
    for number in range(5):
        tools.get(f"later {number}")
    assert "c" not in names(tools)


def test_openings_of_all() -> None:
    """What other processes are told: which circuits are open by themselves, and until when (property 15)."""
    tools = registry()
    clock = cast("Clock", tools._clock)
    tools.get("healthy")
    tools.force_open("forced", "incident 7", "ann")
    fail(tools, "down")
    clock.tick(20)
    assert tools.openings() == {"down": Opening(1, 40.0)}
    clock.tick(45)
    probe = tools.get("down").admit()
    assert isinstance(probe, Attempt)
    assert tools.openings() == {"down": Opening(1, 60.0, probing=True)}
    clock.tick(59.5)
    assert tools.openings() == {"down": Opening(1, 0.5, probing=True)}
    tools.get("down").settle(probe, Verdict.NEUTRAL)
    assert tools.openings() == {"down": Opening(1, 0.0)}


def test_opened_by_other_processes() -> None:
    """They open it for so long, once; a tool without a circuit breaker is not theirs to open (property 8)."""
    tools = registry()
    tools.get("mail").open_for(0.0, None)
    tools.get("search").open_for(30, None)
    tools.get("search").open_for(99, None)  # it is not closed any more
    refusal = tools.get("search").admit()
    assert isinstance(refusal, Refusal)
    assert (refusal.retry_after, tools.openings()) == (30, {"search": Opening(1, 30.0, remote=True)})
    tools.get("mail").open_for(0.25, None)
    assert tools.openings()["mail"] == Opening(1, 0.25, remote=True)
    bare = Pipelines(lambda _: (Policy(circuit=None), Mode.ENFORCE))
    bare.get("search").open_for(30, None)
    assert isinstance(bare.get("search").admit(), Attempt)


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


@pytest.mark.usefixtures("_small")
def test_names_that_are_not_kept_for_good_are_looked_up_once() -> None:
    """A name in use beyond the first ones has one pipeline and one policy; it can be reconfigured and lifted (14)."""
    looked_up: list[str] = []
    tools = registry(looked_up)
    for name in ("a", "b", "recent", "recent"):
        tools.get(name)
    assert looked_up == ["a", "b", "recent"]
    tools.forget("recent")
    tools.forget("never seen")
    assert looked_up == ["a", "b", "recent", "recent"]
    tools.disable("recent", "leaks data", "ann")
    tools.enable("recent")
    fail(tools, "recent")
    tools.reset("recent")
    assert isinstance(tools.get("recent").admit(), Attempt)


def test_what_an_operator_said_is_passed_on() -> None:
    """Reason, actor and expiry of each of the three short forms show in the view (property 12)."""
    tools = registry()
    tools.disable("mail", "leaks data", "ann", 30.0)
    tools.force_open("search", "incident 7", "bob", 20.0)
    tools.bypass("chat", "too touchy", "eve", 10.0)
    mail, search, chat = (tools.get(name).view() for name in ("mail", "search", "chat"))
    assert mail.disabled == Override("leaks data", "ann", 30.0)
    assert search.circuit is not None
    assert chat.circuit is not None
    assert search.circuit.override == Override("incident 7", "bob", 20.0)
    assert chat.circuit.override == Override("too touchy", "eve", 10.0)


def test_circuits_share_the_registrys_dice_and_listener() -> None:
    """Every circuit draws its jitter from the registry's dice and tells the registry's listener (properties 13, 15)."""
    told: list[Any] = []
    tools = Pipelines(
        lambda name: (Policy(circuit=Circuit(failures=1, jitter=0.5)), Mode.ENFORCE),
        clock=Clock(),
        random=lambda: 0.5,
        listener=told.append,
    )
    for name in ("search", "mail"):
        fail(tools, name)
    assert [(one.name, one.to, one.retry_after) for one in told] == [("search", "open", 75.0), ("mail", "open", 75.0)]


@pytest.mark.parametrize("key", [None, "acme"])
def test_a_circuit_that_is_taken_away_closes(key: str | None) -> None:
    """A tool whose policy has no circuit any more is not refused by those it had, also for keys (property 6)."""
    policy = [Policy(circuit=Circuit(failures=1, jitter=0))]
    tools = Pipelines(lambda name: (policy[0], Mode.ENFORCE), clock=Clock())
    attempt = tools.get("search").admit(key=key)
    assert isinstance(attempt, Attempt)
    tools.get("search").settle(attempt, Verdict.FAILURE)
    assert isinstance(tools.get("search").admit(key=key), Refusal)
    policy[0] = Policy(circuit=None)
    tools.forget("search")
    assert isinstance(tools.get("search").admit(key=key), Attempt)
    tools.force_open("search", "incident 7", "ann")
    tools.forget("search")
    assert isinstance(tools.get("search").admit(key=key), Refusal)
