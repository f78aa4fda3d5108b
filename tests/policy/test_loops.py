"""The loop guard: what counts as the same call and the same result, and what it keeps."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from otel_tools.policy import LoopGuard, fingerprint, loops
from otel_tools.policy.loops import MAX_CALLS
from tests.policy.tools import at_once, held, in_child

CALL = b"search otel"


class City(BaseModel):
    """A result as frameworks give it."""

    name: str


def counts(guard: LoopGuard, results: str) -> list[int]:
    return [guard.count(CALL, result.encode()) for result in results]


def test_the_same_result_again_and_again() -> None:
    """The call is refused once it has given the same result as often as it may, and not before."""
    guard = LoopGuard(3)
    assert counts(guard, "aa") == [1, 2]
    assert not guard.refuses(CALL)
    assert counts(guard, "a") == [3]
    assert guard.refuses(CALL)
    assert not guard.refuses(b"search another")


def test_polling_never_trips() -> None:
    """A result that differs from the last one begins a new count, even where the older one comes back."""
    guard = LoopGuard(3)
    assert counts(guard, "aabaabbab") == [1, 2, 1, 1, 2, 1, 2, 1, 1]
    assert not guard.refuses(CALL)


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(2, 5))
def test_trips_exactly_on_a_run(results: list[str], most: int) -> None:
    """For any history, the count is the length of the run of equal results at its end."""
    guard = LoopGuard(most)
    for end, result in enumerate(results, 1):
        run = next((n for n in range(end) if results[end - n - 1] != result), end)
        assert guard.count(CALL, result.encode()) == run
        assert guard.refuses(CALL) == (run >= most)


def test_a_result_that_cannot_be_compared_begins_anew() -> None:
    """What has no canonical form is never the same as anything."""
    guard = LoopGuard(2)
    assert [guard.count(CALL, result) for result in (b"a", None, b"a", None, None)] == [1, 0, 1, 0, 0]
    assert not guard.refuses(CALL)


def test_observing_refuses_nothing() -> None:
    """A guard that only observes counts all the same."""
    guard = LoopGuard(2, acts=False)
    assert counts(guard, "aaa") == [1, 2, 3]
    assert not guard.refuses(CALL)


def test_memory_is_bounded() -> None:
    """Only the most recent calls are remembered, those asked for included."""
    guard = LoopGuard(2)
    guard.count(CALL, b"a")
    guard.count(CALL, b"a")
    for number in range(MAX_CALLS - 1):
        guard.count(b"%d" % number, b"a")
    assert guard.refuses(CALL)
    for number in range(MAX_CALLS - 1):
        guard.count(b"more %d" % number, b"a")
    assert guard.refuses(CALL)
    for number in range(MAX_CALLS):
        guard.count(b"yet more %d" % number, b"a")
    assert not guard.refuses(CALL)
    assert len(guard._calls) == MAX_CALLS


@pytest.mark.usefixtures("_many_switches")
def test_parallel_results_are_all_counted() -> None:
    """Of results that come at the same time none is lost (property 15)."""
    guard = LoopGuard(100)
    assert sorted(at_once(20, lambda _: guard.count(CALL, b"a"))) == list(range(1, 21))


def test_fork_while_the_guard_is_locked() -> None:
    """A child forked while another thread counts can count (property 18)."""
    guard = LoopGuard(2)
    with held(guard._lock):
        assert in_child(lambda: guard.count(CALL, b"a") == 1)


# --- fingerprints ---------------------------------------------------------------------------------------------------
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(JSON, JSON)
def test_equal_values_have_equal_fingerprints(one: Any, other: Any) -> None:
    """Whatever JSON can say is told apart from everything else, `True` and 1 included."""
    assert fingerprint(one) is not None
    assert (fingerprint(one) == fingerprint(other)) == (repr_of(one) == repr_of(other))


def repr_of(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{repr_of(item)}" for key, item in sorted(value.items())) + "}"
    return "[" + ",".join(map(repr_of, value)) + "]" if isinstance(value, list) else repr(value)


def test_order_of_keys_does_not_matter() -> None:
    """Two spellings of the same arguments are the same call; tool and arguments cannot be mistaken for each other."""
    assert fingerprint("t", {"a": 1, "b": [2]}) == fingerprint("t", {"b": [2], "a": 1})
    assert fingerprint("t", "a") != fingerprint("ta", "")
    assert fingerprint(City(name="Oslo")) == fingerprint(City(name="Oslo")) != fingerprint(City(name="Bergen"))


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"x", {(1, 2): 3}, {"a": 1, 2: 3}, date(2026, 1, 1), City, circular()],
    ids=lambda v: type(v).__name__,
)
def test_what_has_no_canonical_form(value: Any) -> None:
    """What JSON cannot say has no fingerprint: how an object shows itself may hold its address."""
    assert fingerprint("t", value) is None


def test_no_value_can_be_had_from_a_guard() -> None:
    """A guard holds keyed hashes of 16 bytes, whose key another process does not have."""
    guard = LoopGuard(2)
    call, result = fingerprint("search", {"query": "secret"}), fingerprint("a secret result")
    assert call is not None
    guard.count(call, result)
    assert list(guard._calls.items()) == [(call, (result, 1))]
    assert (len(call), len(result or b"")) == (16, 16)
    assert "secret" not in repr(vars(guard))


class Event(BaseModel):
    """A result with a field that JSON has no type for."""

    at: date


def test_what_a_model_says_as_json_is_its_form() -> None:
    """A pydantic model counts by what it is in JSON, so that a time or a UUID in it does not hide a loop."""
    first, same, other = (Event(at=date(2026, 11, day)) for day in (1, 1, 2))
    assert fingerprint(first) == fingerprint(same) != fingerprint(other)
    assert fingerprint(first) is not None


def test_fingerprints_are_keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the key of another process the same values have another hash: nothing can be looked up in a table."""
    before = fingerprint("search", "otel")
    monkeypatch.setattr(loops, "_KEY", b"another process")
    assert fingerprint("search", "otel") not in (before, None)


def test_what_raises_when_it_is_read_has_no_fingerprint() -> None:
    """A model of the user's that cannot be written down is no fault of ours, whatever it raises."""

    class Detached(City):
        def model_dump(self, **_: Any) -> Any:
            raise RuntimeError("the database session is closed")

    assert fingerprint(Detached(name="Bern")) is None
