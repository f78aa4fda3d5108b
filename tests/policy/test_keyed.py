"""One circuit per key of a tool: independent, bounded, under one operator's hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tools.policy import (
    Action,
    Attempt,
    Circuit,
    CircuitBreaker,
    Mode,
    Outcome,
    Override,
    Permit,
    Pipeline,
    Policy,
    Refusal,
    Rejection,
    Transition,
    Verdict,
    keyed,
)
from otel_tools.policy.keyed import key_of, text_of
from tests.policy.tools import Clock, assert_paths, at_once

SUCCESS, FAILURE, NEUTRAL = Verdict.SUCCESS, Verdict.FAILURE, Verdict.NEUTRAL


def pipeline(clock: Clock | None = None, listener: Any = None, **policy: Any) -> Pipeline:
    """A pipeline that opens a circuit at the second failure, without jitter."""
    settings = Policy(**{"circuit": Circuit(failures=2, jitter=0.0), "key": "tenant", **policy})
    return Pipeline("search", settings, Mode.ENFORCE, clock=clock or Clock(), listener=listener)


def call(tool: Pipeline, key: Any, verdict: Verdict = FAILURE, retry_after: float | None = None) -> Outcome | None:
    """Make a call; what it was refused with."""
    answer = tool.admit(key=key)
    if isinstance(answer, Refusal):
        return answer.outcome
    tool.settle(answer, verdict, retry_after)
    return None


def shown(tool: Pipeline) -> dict[str | None, str]:
    """The circuits that are shown, by key."""
    view = tool.view()
    assert view.circuit is not None
    return {None: view.circuit.state.value, **{one.key: one.state.value for one in view.keyed}}


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyed, "MAX_KEYS", 3)


HISTORY = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]), st.sampled_from([0.0, 5.0, 60.0, 130.0]), st.sampled_from(list(Verdict))
    ),
    max_size=40,
)


@given(HISTORY)
def test_keys_are_independent(history: list[tuple[str | None, float, Verdict]]) -> None:
    """What happens to one key is what would happen if there were no other, to the last digit (property 14)."""

    def run(only: str | None) -> tuple[Any, Any]:
        clock, log = Clock(), []
        breaker = CircuitBreaker("search", Circuit(failures=2), clock=clock, random=lambda: 0.5, listener=log.append)
        answers = []
        for key, seconds, verdict in history:
            clock.tick(seconds)
            if only in (key, "all"):
                answer = breaker.acquire(key)
                answers.append((key, answer.state, answer.probe, getattr(answer, "retry_after", None)))
                if isinstance(answer, Permit):
                    breaker.record(answer, verdict)
        told = [(one.key, one.from_, one.to, one.reason, one.retry_after) for one in log]
        return answers, told

    together = run("all")
    for only in ("a", "b", None):
        alone = run(only)
        assert tuple([one for one in found if one[0] == only] for found in together) == alone


def test_a_key_has_a_circuit_of_its_own() -> None:
    """One tenant's outage leaves the others, and calls without a key, alone; views and transitions say whose (14)."""
    clock, log = Clock(), []
    tool = pipeline(clock, log.append)
    for _ in range(2):
        call(tool, "one")
    assert [call(tool, key, SUCCESS) for key in ("one", "two", None)] == [Outcome.CIRCUIT_OPEN, None, None]
    assert shown(tool) == {None: "closed", "one": "open"}
    assert tool.view().states == {"closed": 2, "open": 1}
    assert [(one.name, one.key, one.to, one.reason) for one in log] == [("search", "one", "open", "threshold")]
    assert not tool.idle
    clock.tick(60)
    assert call(tool, "one", SUCCESS) is None
    assert shown(tool) == {None: "closed"}


def test_the_dependency_says_when_for_its_key() -> None:
    """`Retry-After` of one tenant's limit opens that tenant's circuit, at once (property 3)."""
    clock = Clock()
    tool = pipeline(clock)
    call(tool, "one", FAILURE, 20.0)
    clock.tick(5)
    refusal = tool.admit(key="one")
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.retry_after) == (Outcome.CIRCUIT_OPEN, 15)
    assert call(tool, "two") is None


def test_bulkhead_and_kill_switch_are_the_tools() -> None:
    """Places are counted, and the tool is switched off, for all keys together (property 14)."""
    tool = pipeline(max_in_flight=2)
    running = [tool.admit(key=key) for key in ("one", "two", "three")]
    assert [type(one) for one in running] == [Attempt, Attempt, Refusal]
    tool.disable("leaks data", "ann")
    assert call(tool, "four") is Outcome.DISABLED


def test_an_operators_hand_is_on_all_keys() -> None:
    """Forced open, switched off: for every key; then all begin anew, and each change of a circuit is told (12)."""
    clock, log = Clock(), []
    tool = pipeline(clock, log.append)
    for key in ("one", "one", "two"):
        call(tool, key)
    late = tool.admit(key="two")
    tool.force_open("incident 7", "ann", 30)
    assert [call(tool, key) for key in ("one", "two", "three", None)] == [Outcome.CIRCUIT_OPEN] * 4
    assert shown(tool) == {None: "forced_open"}
    assert isinstance(late, Attempt)
    tool.settle(late, FAILURE)
    tool.bypass("too touchy", "ann", 60)
    clock.tick(30)
    assert [call(tool, "one") for _ in range(5)] == [None] * 5
    tool.reset()
    assert call(tool, "two") is None
    assert [(one.key, one.from_, one.to, one.reason, one.retry_after) for one in log] == [
        ("one", "closed", "open", "threshold", 60),
        ("one", "open", "closed", "manual", None),
        (None, "closed", "forced_open", "manual", 30),
        (None, "forced_open", "disabled", "expired", None),
        (None, "disabled", "closed", "manual", None),
    ]


def test_keys_in_shadow() -> None:
    """In `metrics_only` each key's circuit goes on and says what it would do (property 12)."""
    log: list[Transition] = []
    tool = pipeline(listener=log.append)
    tool.override(Action.METRICS_ONLY, Override("rolling it out", "ann"))
    for _ in range(2):
        call(tool, "one")
    answer = tool.admit(key="one")
    assert isinstance(answer, Attempt)
    assert answer.would_refuse is Outcome.CIRCUIT_OPEN
    [view] = tool.view().keyed
    assert (view.key, view.state, view.automatic) == ("one", "metrics_only", "open")
    assert view.override == Override("rolling it out", "ann")
    assert tool.view().states == {"metrics_only": 2}
    assert [(one.key, one.to, one.shadow) for one in log] == [(None, "metrics_only", False), ("one", "open", True)]
    tool.lift(Action.METRICS_ONLY, "process")
    assert (call(tool, "one"), shown(tool)) == (Outcome.CIRCUIT_OPEN, {None: "closed", "one": "open"})


def test_reset_closes_every_key() -> None:
    """A reset forgets what all keys have counted; a call that was running before counts nowhere (7, 12)."""
    log: list[Transition] = []
    tool = pipeline(listener=log.append)
    for key in ("one", "one", "two", None):
        call(tool, key)
    late = [tool.admit(key=key) for key in ("two", None)]
    tool.reset()
    for attempt in late:
        assert isinstance(attempt, Attempt)
        tool.settle(attempt, FAILURE)
    assert [call(tool, key) for key in ("one", "two", None)] == [None] * 3
    assert shown(tool) == {None: "closed"}
    assert [(one.key, one.to) for one in log] == [("one", "open"), ("one", "closed")]


# --- bounds -----------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("_few")
def test_the_least_recently_used_key_goes() -> None:
    """Of circuits that are closed and have counted nothing the one goes that was used longest ago (property 14)."""
    tool = pipeline()
    for key in ("a", "b", "c", "a", "d"):
        call(tool, key, SUCCESS)
    keys = [machine.key for machine in tool._breaker._keyed]
    assert keys == ["c", "a", "d"]


@pytest.mark.usefixtures("_few")
def test_failures_are_kept_longer() -> None:
    """A circuit that has counted failures goes only when all have, and one in a window counts as well (14)."""
    tool = pipeline(circuit=Circuit(failures=2, failure_rate=0.9, jitter=0.0))
    for key, verdict in (("a", FAILURE), ("b", FAILURE), ("b", SUCCESS), ("c", SUCCESS), ("d", FAILURE)):
        call(tool, key, verdict)
    assert [machine.key for machine in tool._breaker._keyed] == ["a", "b", "d"]
    call(tool, "e", SUCCESS)
    assert [machine.key for machine in tool._breaker._keyed] == ["b", "d", "e"]
    assert (call(tool, "a"), shown(tool)) == (None, {None: "closed"})  # which begins anew


@pytest.mark.usefixtures("_few")
def test_what_is_not_closed_is_never_dropped() -> None:
    """Open and half-open circuits outlive any number of keys, which then share the tool's own circuit (14)."""
    clock = Clock()
    tool = pipeline(clock)
    for key in ("a", "b", "a", "b"):
        call(tool, key)
    clock.tick(60)
    probe = tool.admit(key="a")
    for number in range(50):
        assert call(tool, f"invented {number}", SUCCESS) is None
    assert shown(tool) == {None: "closed", "a": "half_open", "b": "half_open"}
    for _ in range(2):
        call(tool, "c")
    assert (call(tool, "d"), call(tool, "e")) == (None, None)  # failures of one circuit, which they share
    assert shown(tool) == {None: "open", "a": "half_open", "b": "half_open", "c": "open"}
    assert call(tool, "f") is Outcome.CIRCUIT_OPEN
    assert isinstance(probe, Attempt)
    tool.settle(probe, SUCCESS)
    assert call(tool, "f") is None


@pytest.mark.usefixtures("_few")
def test_calls_of_a_dropped_key_count_nowhere() -> None:
    """A circuit that was dropped while a call of it ran neither opens nor tells of anything (properties 7, 15)."""
    log: list[Transition] = []
    tool = pipeline(listener=log.append)
    late = [tool.admit(key="a") for _ in range(4)]
    for key in ("b", "c", "d"):
        call(tool, key, SUCCESS)
    assert call(tool, "a") is None
    for attempt in late:
        assert isinstance(attempt, Attempt)
        tool.settle(attempt, FAILURE)
    assert (shown(tool), log) == ({None: "closed"}, [])


def test_a_process_has_a_bounded_number_of_keys() -> None:
    """However many tenants a model invents, and however they fail, 256 keys have a circuit (property 14)."""
    tool = pipeline()
    for number in range(2000):
        call(tool, number, FAILURE if number % 3 else SUCCESS)
    assert tool.view().states == {"closed": 1 + 256}


@pytest.mark.usefixtures("_many_switches", "_few")
def test_threads_with_many_keys() -> None:
    """Whatever threads do with keys at once: no failure is lost, bounds hold, events are paths (properties 4, 15)."""
    clock, log = Clock(), []
    tool = pipeline(clock, log.append)

    def use(number: int) -> None:
        for step in range(150):
            call(tool, "abcde"[(number * step) % 5], list(Verdict)[(number + step) % 3])
            clock.tick(0.5)
            if step % 50 == number:
                tool.force_open("incident 7", "ann", 5)

    assert at_once(8, use) == [None] * 8
    assert_paths(log)
    assert sum(tool.view().states.values()) <= 1 + 3
    assert tool.in_flight == 0


# --- what a key is ----------------------------------------------------------------------------------------------------
class Tenant:
    """Neither hashable nor comparable."""

    __hash__ = None  # type: ignore[assignment]  # that is the point

    def __str__(self) -> str:
        return "tenant 7"


@pytest.mark.parametrize(
    ("key", "arguments", "text"),
    [
        (None, {"tenant": "a"}, None),
        ("tenant", None, None),
        ("tenant", {}, None),
        ("tenant", {"tenant": None}, None),
        ("tenant", {"tenant": "a"}, "a"),
        ("tenant", {"tenant": 0}, "0"),
        ("tenant", {"tenant": ["a", 1]}, "['a', 1]"),
        ("tenant", {"tenant": Tenant()}, "tenant 7"),
        (lambda arguments: (arguments["host"], 1), {"host": "a"}, "('a', 1)"),
        (lambda _: None, {"host": "a"}, None),
        (lambda _: "", {}, ""),
    ],
)
def test_keys_are_told_apart_by_their_text(key: Any, arguments: Mapping[str, Any] | None, text: str | None) -> None:
    """An argument or what the function gives, as text: nothing of the caller's is kept or compared (property 14)."""
    assert key_of(key, arguments) == text


def test_what_a_key_function_raises_is_the_callers() -> None:
    """The function's own fault comes out, for whoever calls it to deal with (property 19)."""
    with pytest.raises(KeyError):
        key_of(lambda arguments: arguments["tenant"], {})


def test_a_key_without_a_text_takes_no_place() -> None:
    """What the text of a key raises comes out, and nothing is left in flight (properties 9 and 19)."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    tool = pipeline()
    with pytest.raises(RuntimeError):
        tool.admit(key=Broken())
    assert tool.in_flight == 0


def test_long_keys_are_cut() -> None:
    """A key of any length takes little room and stays apart from others that begin alike (property 14)."""
    one, other = text_of("x" * 1_000_000), text_of("x" * 999_999 + "y")
    assert (one[:41], len(one), text_of(one)) == ("x" * 40 + "…", 57, one)
    assert one != other
    assert text_of("x" * 64) == "x" * 64
    assert text_of("x" * 65) != "x" * 65
    assert text_of("\ud800" * 65) != text_of("\ud801" * 65)  # which is no valid text


def test_an_empty_key_is_a_key() -> None:
    """The empty text has a circuit of its own, other than calls without a key (property 14)."""
    tool = pipeline()
    for _ in range(2):
        call(tool, "")
    assert shown(tool) == {None: "closed", "": "open"}


def test_a_breaker_admits_by_key() -> None:
    """Asking with a key that differs only in kind is asking for the same circuit (property 14)."""
    breaker = CircuitBreaker("search", Circuit(failures=1), clock=Clock())
    permit = breaker.acquire(7)
    assert isinstance(permit, Permit)
    breaker.record(permit, FAILURE)
    assert isinstance(breaker.acquire("7"), Rejection)
    assert isinstance(breaker.acquire("8"), Permit)
