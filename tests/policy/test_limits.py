"""The budget of a session under parallel calls and in nested sessions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tools.errors import BudgetExceeded, ConfigError, MaxIterationsExceeded, PriceUnknown
from otel_tools.policy import Budget, Limits, Outcome, Refusal, Reservation, Unpriced
from tests.policy.tools import Clock, at_once, held, in_child


def granted(budget: Budget, kind: Any = "llm", **amounts: Any) -> Reservation:
    reservation = budget.reserve(kind, **amounts)
    assert isinstance(reservation, Reservation)
    return reservation


def refused(budget: Budget, kind: Any = "llm", **amounts: Any) -> Refusal:
    refusal = budget.reserve(kind, "search", **amounts)
    assert isinstance(refusal, Refusal)
    return refusal


@pytest.mark.parametrize(
    ("kind", "limit", "error"),
    [("llm", "max_iterations", MaxIterationsExceeded), ("tool", "max_tool_calls", BudgetExceeded)],
)
def test_calls_are_counted(kind: Any, limit: str, error: type[BudgetExceeded]) -> None:
    """Exactly as many calls are granted as are allowed, settled or not; the refusal names the limit (property 19)."""
    budget = Budget(Limits(**{limit: 3}))
    budget.settle(granted(budget, kind))
    granted(budget, kind)
    granted(budget, kind)
    refusal = refused(budget, kind)
    assert (refusal.outcome, refusal.limit, refusal.detail) == (Outcome.BUDGET_EXCEEDED, limit, f"{limit} of 3")
    assert (type(refusal.error()), refusal.name) == (error, "search")
    other: Any = {"llm": "tool", "tool": "llm"}[kind]
    granted(budget, other)


@pytest.mark.usefixtures("_many_switches")
@pytest.mark.parametrize("limits", [{"max_tokens": 1000}, {"max_cost_usd": 1.0}])
def test_parallel_calls_do_not_overrun(limits: dict[str, Any]) -> None:
    """Of 50 calls at once, those granted exceed the limit by less than one reservation (property 15)."""
    budget = Budget(Limits(), Budget(Limits(**limits)))
    answers = at_once(50, lambda _: budget.reserve("llm", tokens=150, cost=0.15))
    assert sum(isinstance(answer, Reservation) for answer in answers) == 7


def test_without_estimates_the_largest_call_so_far_is_reserved() -> None:
    """Parallel calls that nobody estimates are bounded by what calls of the session used so far (property 15)."""
    budget = Budget(Limits(max_cost_usd=1.0))
    budget.settle(granted(budget), cost=0.2)
    budget.settle(granted(budget), cost=0.1)
    reservations = [granted(budget) for _ in range(4)]
    assert refused(budget).limit == "max_cost_usd"
    for reservation in reservations:
        budget.settle(reservation, cost=0.1)
    granted(budget)


def test_estimates_below_the_largest_call_so_far_are_not_believed() -> None:
    """What is reserved is the estimate or the largest call so far, whichever is more (property 15)."""
    budget = Budget(Limits(max_tokens=1000))
    budget.settle(granted(budget, tokens=10), tokens=300)
    assert granted(budget, tokens=10).amounts["max_tokens"] == 300
    assert granted(budget, tokens=400).amounts["max_tokens"] == 400
    assert refused(budget, tokens=10).detail == "max_tokens of 1000"


def test_what_may_be_more_than_is_known_counts_as_reserved() -> None:
    """A call that used an unknown amount counts as what was reserved for it, or as what is known if that is more."""
    budget = Budget(Limits(max_tokens=1000, max_cost_usd=1.0))
    budget.settle(granted(budget, tokens=100, cost=0.1), tokens=5, at_least=True)
    assert budget.accounts[0].used == {"max_iterations": 1, "max_tool_calls": 0, "max_tokens": 100, "max_cost_usd": 0.1}
    budget.settle(granted(budget, tokens=100, cost=0.1), tokens=400, cost=0.4, at_least=True)
    assert budget.accounts[0].used == {"max_iterations": 2, "max_tool_calls": 0, "max_tokens": 500, "max_cost_usd": 0.5}


_STEPS = st.lists(
    st.tuples(st.just("reserve"), st.integers(0, 150), st.floats(0, 1))
    | st.tuples(st.sampled_from(["settle", "at least", "release"]), st.integers(0, 9), st.floats(0, 1)),
    max_size=60,
)


@given(_STEPS, st.integers(1, 600), st.integers(1, 30))
def test_any_interleaving_stays_within_one_reservation(
    steps: list[tuple[str, int, float]], cap: int, calls: int
) -> None:
    """However calls overlap: never more calls than allowed, spend within the cap and one reservation, no residue."""
    budget = Budget(Limits(), Budget(Limits(max_tokens=cap, max_iterations=calls)))
    account = budget.accounts[0]
    running: list[Reservation] = []
    spent = made = 0
    largest = 0.0
    for action, number, share in steps:
        if action == "reserve":
            reserved = budget.reserve("llm", tokens=number)
            if isinstance(reserved, Reservation):
                running.append(reserved)
                made, largest = made + 1, max(largest, reserved.amounts["max_tokens"])
        elif running:
            call = running.pop(number % len(running))
            used = int(call.amounts["max_tokens"] * share)
            if action == "release":
                budget.release(call)
                made -= 1
            else:
                budget.settle(call, used, at_least=action == "at least")
                spent += used if action == "settle" else int(call.amounts["max_tokens"])
        assert made <= calls
        assert spent <= cap + largest
        held_back = sum(call.amounts["max_tokens"] for call in running)
        assert (account.used["max_tokens"], account.used["max_iterations"]) == (spent + held_back, made)
    for call in running:
        budget.release(call)
    assert account.used["max_tokens"] == spent


def test_a_session_runs_out_of_time() -> None:
    """After its duration no call is granted, be it of a model, a tool or a session inside; before it, all are."""
    clock = Clock()
    outer = Budget(Limits(max_duration=60), clock=clock)
    clock.tick(30)
    inner = Budget(Limits(max_duration=60), outer, clock=clock)
    clock.tick(29.9)
    granted(inner)
    granted(inner, "tool")
    clock.tick(0.1)
    refusal = refused(inner, "tool")
    assert (refusal.limit, refusal.detail) == ("max_duration", "max_duration of 60 s")
    assert refusal.refused_by is outer.accounts[0]
    assert type(refused(outer).error()) is BudgetExceeded


@pytest.mark.parametrize("unpriced", list(Unpriced))
def test_a_model_without_a_price(unpriced: Unpriced) -> None:
    """With a cost limit it is refused only by `deny`, in words that say what to do; it reserves no money."""
    limits = Limits(max_cost_usd=1.0, max_tokens=1000, unpriced=unpriced)
    budget = Budget(Limits(), Budget(limits))
    assert budget.warns_unpriced == (unpriced is Unpriced.WARN)
    granted(budget, tokens=10, cost=0.1)
    if unpriced is not Unpriced.DENY:
        amounts = granted(budget, tokens=10, cost=None).amounts
        assert amounts == {"max_iterations": 1, "max_tokens": 10, "max_cost_usd": 0}
        return
    refusal = budget.reserve("llm", "the LLM", tokens=10, cost=None, model="my-model")
    assert isinstance(refusal, Refusal)
    error = refusal.error()
    assert (type(error), refusal.outcome, refusal.limit) == (PriceUnknown, Outcome.BUDGET_EXCEEDED, "unpriced")
    assert str(error) == (
        "the LLM was not called, its price is not known: max_cost_usd needs the price of 'my-model': "
        "give it under `prices:` or set `unpriced: warn`"
    )


def test_without_a_cost_limit_no_price_is_needed() -> None:
    """`deny` is about the cost limit: without one, a model without a price is called."""
    granted(Budget(Limits(max_tokens=1000, unpriced=Unpriced.DENY)), cost=None)


def test_what_calls_should_say_of_themselves() -> None:
    """A budget tells whether tokens or cost are limited, by itself or around it: only then are estimates made."""
    outer = Budget(Limits(max_cost_usd=1.0))
    assert (outer.limits_tokens, outer.limits_cost) == (False, True)
    inner = Budget(Limits(max_tokens=10), outer)
    assert (inner.limits_tokens, inner.limits_cost) == (True, True)
    counting = Budget(Limits(max_iterations=1, max_duration=5))
    assert (counting.limits_tokens, counting.limits_cost) == (False, False)
    assert Budget(Limits(max_repeats=2, unpriced=Unpriced.DENY)).accounts == ()


@pytest.mark.parametrize(
    ("given_limits", "message"),
    [
        ({"max_duration": 0}, "max_duration must be greater than 0, not 0"),
        ({"max_repeats": 1}, "max_repeats must be 2 or more: every call is the first of its kind once"),
        (
            {"max_cost_usd": 1.0, "unpriced": Unpriced.COUNT_TOKENS},
            "unpriced: count_tokens needs max_tokens, the limit to count against",
        ),
    ],
)
def test_limits_that_cannot_be(given_limits: dict[str, Any], message: str) -> None:
    """A limit that makes no sense is refused in words that say why."""
    with pytest.raises(ConfigError) as raised:
        Limits(**given_limits)
    assert str(raised.value) == message


def test_a_single_call_is_never_refused_by_its_own_estimate() -> None:
    """A call is granted while anything is left, and settled with what it used, be it more than reserved."""
    budget = Budget(Limits(max_tokens=100))
    budget.settle(granted(budget, tokens=5000), tokens=99)
    budget.settle(granted(budget, tokens=10), tokens=5000)
    assert refused(budget).limit == "max_tokens"


def test_a_reservation_is_closed_once() -> None:
    """Settling or releasing again changes nothing (property 9)."""
    budget = Budget(Limits(max_tokens=100, max_iterations=2))
    reservation = granted(budget, tokens=100)
    budget.settle(reservation, tokens=60)
    budget.settle(reservation, tokens=60)
    budget.release(reservation)
    last = granted(budget, tokens=40)
    budget.release(last)
    budget.release(last)
    budget.settle(last, tokens=1000)
    granted(budget)
    assert refused(budget).limit == "max_iterations"


def test_nested_sessions_share_the_outer_limits() -> None:
    """A session inside another one is bounded by both, and its siblings by the outer one (property 14)."""
    outer = Budget(Limits(max_iterations=3))
    middle = Budget(Limits(), outer)
    one, other = Budget(Limits(max_iterations=2), middle), Budget(Limits(max_tool_calls=1), middle)
    granted(one)
    granted(one)
    assert refused(one).detail == "max_iterations of 2"
    granted(other)
    assert refused(other).detail == "max_iterations of 3"
    assert refused(outer).detail == "max_iterations of 3"
    granted(one, "tool")
    granted(other, "tool")
    assert refused(other, "tool").limit == "max_tool_calls"


def test_a_refused_call_takes_nothing() -> None:
    """A call that the outer session refuses leaves the inner one's budget as it was (property 19)."""
    outer = Budget(Limits(max_iterations=1))
    inner = Budget(Limits(max_iterations=2), outer)
    reservation = granted(outer)
    refused(inner)
    outer.release(reservation)
    assert not any(outer.accounts[0].largest.values())
    granted(inner)
    assert refused(inner).detail == "max_iterations of 1"


def test_tools_pay_only_for_what_they_ask() -> None:
    """A tool call is not refused for tokens that are used up, unless it asks for some itself (property 2)."""
    budget = Budget(Limits(max_tokens=10, max_cost_usd=1.0))
    for _ in range(3):
        budget.settle(granted(budget, "tool"))
    budget.settle(granted(budget), tokens=10)
    granted(budget, "tool")
    assert refused(budget, "tool", tokens=1).limit == "max_tokens"


def test_without_limits_nothing_is_kept() -> None:
    """A session without limits takes no lock and makes no object per call."""
    budget = Budget(Limits(), Budget(Limits()))
    reservation = granted(budget)
    assert granted(budget, "tool") is reservation
    budget.settle(reservation, tokens=5, cost=1.0)
    budget.release(reservation)
    assert granted(Budget(Limits())) is reservation
    assert reservation.open


def test_fork_while_the_budget_is_locked() -> None:
    """A child forked while another thread reserves can reserve (property 18)."""
    budget = Budget(Limits(max_iterations=1))
    with held(budget.accounts[-1].lock):
        assert in_child(lambda: isinstance(budget.reserve("llm"), Reservation))


def test_a_tool_call_that_costs_reserves_its_cost() -> None:
    """A tool call that asks for money gets it reserved, is refused when none is left, and else reserves none (15)."""
    budget = Budget(Limits(max_cost_usd=1.0, max_tool_calls=9))
    assert granted(budget, "tool", tokens=5, cost=0.4).amounts == {
        "max_tool_calls": 1,
        "max_tokens": 5,
        "max_cost_usd": 0.4,
    }
    assert granted(budget, "tool").amounts == granted(budget, "tool", cost=None).amounts == {"max_tool_calls": 1}
    granted(budget, "tool", cost=0.6)
    assert refused(budget, "tool", cost=0.1).limit == "max_cost_usd"


def test_what_is_not_said_of_a_call() -> None:
    """A call without a name is called by its kind, a model without one is said to have none, nothing is 0 (19)."""
    budget = Budget(Limits(max_tokens=10, max_cost_usd=1.0, unpriced=Unpriced.DENY))
    refusal = budget.reserve("llm", cost=None)
    assert isinstance(refusal, Refusal)
    assert refusal.name == "llm"
    assert refusal.detail.startswith("max_cost_usd needs the price of a model without a name: give it")
    budget.settle(granted(budget, tokens=9, cost=0.5))
    assert budget.accounts[0].used == {"max_iterations": 1, "max_tool_calls": 0, "max_tokens": 0, "max_cost_usd": 0.0}
    assert (Refusal("search", Outcome.DISABLED).detail, Refusal("search", Outcome.DISABLED).state) == ("", "")
