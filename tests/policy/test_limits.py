"""The budget of a session under parallel calls and in nested sessions."""

from __future__ import annotations

from typing import Any

import pytest

from otel_tools.errors import BudgetExceeded, MaxIterationsExceeded
from otel_tools.policy import Budget, Limits, Outcome, Refusal, Reservation
from tests.policy.tools import at_once, held, in_child


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
