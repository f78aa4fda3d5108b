"""How long a caller waits for a call that answers in pieces, on a virtual clock."""

from __future__ import annotations

import pytest

from otel_tools.policy.deadline import Deadline
from tests.policy.tools import Clock


def make(total: float | None, item: float | None, **options: object) -> tuple[Deadline, Clock]:
    clock = Clock()
    return Deadline(total, item, clock=clock, **options), clock  # type: ignore[arg-type]  # options of one test


def wait(deadline: Deadline, clock: Clock, seconds: float) -> None:
    with deadline:
        clock.tick(seconds)


def test_the_nearer_limit_counts() -> None:
    """What is left is what is left of both limits; an item starts its own anew, never the one in all."""
    deadline, clock = make(10.0, 4.0)
    assert (deadline.left(), deadline.expired()) == (4.0, (4.0, True))
    wait(deadline, clock, 3.0)
    assert deadline.left() == 1.0
    deadline.arrived()
    assert deadline.left() == 4.0
    wait(deadline, clock, 4.0)
    deadline.arrived()
    assert (deadline.left(), deadline.expired()) == (3.0, (10.0, False))
    assert (deadline.waited, deadline.exceeded) == (7.0, False)


def test_only_waiting_counts() -> None:
    """What the reader does between two items is not held against the call."""
    deadline, clock = make(10.0, 4.0)
    wait(deadline, clock, 1.0)
    deadline.arrived()
    clock.tick(1000.0)
    assert (deadline.left(), deadline.waited) == (4.0, 1.0)


def test_time_before_counts() -> None:
    """The time until a stream was opened is part of the wait for its first item."""
    deadline, _ = make(10.0, 4.0, waited=3.0)
    assert (deadline.left(), deadline.waited) == (1.0, 3.0)


@pytest.mark.parametrize(("total", "item"), [(5.0, None), (None, 5.0), (5.0, 5.0)])
def test_a_wait_that_was_too_long(total: float | None, item: float | None) -> None:
    """A wait that nothing cut short is seen afterwards, also by the error that it ends in; nothing is left."""
    deadline, clock = make(total, item)
    wait(deadline, clock, 5.0)
    assert (deadline.left(), deadline.exceeded) == (0.0, False)
    with pytest.raises(KeyError), deadline:
        clock.tick(0.5)
        raise KeyError
    assert (deadline.left(), deadline.exceeded) == (0.0, True)


def test_no_limit() -> None:
    """Without limits, and where they are only observed, no wait is cut short."""
    assert make(None, None)[0].left() is None
    deadline, clock = make(1.0, 1.0, enforced=False)
    wait(deadline, clock, 2.0)
    assert (deadline.left(), deadline.exceeded) == (None, True)


def test_of_two_limits_that_are_over_at_once_the_one_in_all_is_named() -> None:
    """When both are over in the same moment, it is the whole that took too long; without limits none is over."""
    deadline, clock = make(5.0, 5.0)
    assert deadline.expired() == (5.0, False)
    wait(deadline, clock, 5.0)
    assert deadline.expired() == (5.0, False)
    assert make(None, None)[0].expired() == (0.0, False)
