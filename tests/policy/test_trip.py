"""What opens a closed circuit besides a plain row of failures: their span, their share, slow calls."""

from __future__ import annotations

from typing import Any

import pytest

from otel_tools.policy import Circuit, CircuitBreaker, Permit, Transition, Verdict
from tests.policy.tools import Clock

SUCCESS, FAILURE, NEUTRAL = Verdict.SUCCESS, Verdict.FAILURE, Verdict.NEUTRAL
ENDS = {"+": SUCCESS, "-": FAILURE, "o": NEUTRAL}


class Watched:
    """A breaker without jitter, and the reasons why it changed."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.log: list[Transition] = []
        circuit = Circuit(jitter=0.0, **settings)
        self.breaker = CircuitBreaker("search", circuit, clock=self.clock, listener=self.log.append)

    def calls(self, ends: str, seconds: float = 0.0) -> list[str]:
        """Make calls that end like this (`+`, `-`, `o` for neutral); gives the reasons of all transitions so far."""
        for end in ends:
            permit = self.breaker.acquire()
            assert isinstance(permit, Permit)
            self.breaker.record(permit, ENDS[end], seconds=seconds)
        return [one.reason for one in self.log]


def test_one_blip_under_parallel_calls_opens_nothing() -> None:
    """Any number of failures that began together count as one moment; one that began later opens it (property 3)."""
    watched = Watched(min_span=5.0)
    parallel = [watched.breaker.acquire() for _ in range(8)]
    watched.clock.tick(30)
    for permit in parallel:
        watched.breaker.record(permit, FAILURE, seconds=30.0)
    assert watched.breaker.view().failures == 8
    watched.clock.tick(1)
    assert watched.calls("-", seconds=26.5) == []  # began 4.5 s after the first
    assert watched.calls("-", seconds=26.0) == ["threshold"]


def test_failures_may_come_back_in_any_order() -> None:
    """The span lies between the earliest and the latest start, whichever is reported first (property 3)."""
    watched = Watched(failures=2, min_span=5.0)
    watched.clock.tick(10)
    watched.calls("-", seconds=1.0)
    assert watched.calls("-", seconds=6.0) == ["threshold"]


@pytest.mark.parametrize("slow_after", [None, 100.0])
def test_a_success_begins_a_new_row(slow_after: float | None) -> None:
    """Failures before a success do not count towards the span of those after it (property 3)."""
    watched = Watched(failures=2, min_span=5.0, slow_after=slow_after)
    watched.calls("-+")
    watched.clock.tick(10)
    assert watched.calls("--") == []
    assert watched.calls("+") == []
    assert watched.calls("--", seconds=10.0) == []  # which began before that success


def test_the_dependency_may_ask_before_the_span_is_over() -> None:
    """`Retry-After` opens at once, also where failures must lie apart (property 3)."""
    watched = Watched(min_span=5.0)
    permit = watched.breaker.acquire()
    assert isinstance(permit, Permit)
    watched.breaker.record(permit, FAILURE, 7.0)
    assert [(one.reason, one.retry_after) for one in watched.log] == [("retry_after", 7.0)]


@pytest.mark.parametrize(
    ("before", "last"),
    [
        ("--+-++", "-"),  # 4 of 7
        ("++-+-", "-"),  # 3 of 6
        ("-+-+-+++++++", ""),  # the first ones have left the window
        ("o-ooo+oo-+o", "o"),  # too few that count
        ("-++++-+", ""),
    ],
)
def test_the_share_of_failures_opens_it(before: str, last: str) -> None:
    """At `failure_rate` among the last `window` counted calls, once there are enough, a failure opens it (3)."""
    watched = Watched(failures=3, failure_rate=0.5, window=8, minimum_calls=6)
    assert watched.calls(before) == []
    assert watched.calls(last) == (["failure_rate"] if last == "-" else [])


def test_a_success_never_opens_it() -> None:
    """The call that makes the calls enough opens it only if it failed itself; the next failure does (property 3)."""
    watched = Watched(failures=9, failure_rate=0.5, window=10, minimum_calls=4)
    assert watched.calls("---+") == []
    assert watched.calls("-") == ["failure_rate"]


def test_the_window_moves() -> None:
    """Only the last `window` calls are looked at (property 3)."""
    watched = Watched(failures=9, failure_rate=0.75, window=4, minimum_calls=4)
    assert watched.calls("----") == ["failure_rate"]
    watched = Watched(failures=9, failure_rate=0.75, window=4, minimum_calls=4)
    assert watched.calls("+++--") == []
    assert watched.calls("-") == ["failure_rate"]


def test_the_share_has_a_span_too() -> None:
    """Failures that began together do not open it by their share either (property 3)."""
    watched = Watched(failures=9, failure_rate=0.5, window=4, minimum_calls=2, min_span=5.0)
    assert watched.calls("+-+--") == []
    watched.clock.tick(5)
    assert watched.calls("-") == ["failure_rate"]


def test_the_window_is_forgotten_with_the_state() -> None:
    """After the circuit was open it counts from nothing, and old calls that come back late count nowhere (3, 7)."""
    watched = Watched(failures=9, failure_rate=0.5, window=4, minimum_calls=2)
    late = [watched.breaker.acquire() for _ in range(4)]
    watched.calls("--")
    watched.clock.tick(60)
    assert watched.calls("+") == ["failure_rate", "expired", "probe_success"]
    for permit in late:
        assert isinstance(permit, Permit)
        watched.breaker.record(permit, FAILURE)
    assert watched.calls("-") == ["failure_rate", "expired", "probe_success"]
    assert watched.breaker.view().failures == 1


def test_a_row_of_failures_goes_before_their_share() -> None:
    """Where both apply the reason is `threshold` (property 3)."""
    watched = Watched(failures=3, failure_rate=0.5, window=4, minimum_calls=3)
    assert watched.calls("---") == ["threshold"]


def test_settings_may_change_while_closed() -> None:
    """A window begins when it is first asked for, is cut or widened as told, and ends with the setting (property 1)."""
    watched = Watched(failures=9)

    def configure(**settings: Any) -> None:
        watched.breaker.configure(Circuit(jitter=0.0, failures=9, **settings))

    watched.calls("+--")
    configure(failure_rate=0.75, window=8, minimum_calls=4)
    assert watched.calls("-+") == []  # 1 of 2
    configure(failure_rate=0.75, window=4, minimum_calls=4)
    assert watched.calls("--") == ["failure_rate"]  # 3 of 4
    watched.breaker.reset()
    watched.calls("---")
    configure()
    assert watched.calls("+") == ["failure_rate", "manual"]
    configure(failure_rate=0.5, window=4, minimum_calls=3)
    assert watched.calls("--") == ["failure_rate", "manual"]
    assert watched.calls("-") == ["failure_rate", "manual", "failure_rate"]


def test_who_does_not_tell_a_time_is_not_slow() -> None:
    """A report without a duration is none of a slow call, however short the limit (property 3)."""
    watched = Watched(failures=1, slow_after=0.5)
    permit = watched.breaker.acquire()
    assert isinstance(permit, Permit)
    watched.breaker.record(permit, SUCCESS)
    assert watched.log == []


def test_slow_calls_count_from_the_moment_they_are_told_to() -> None:
    """A call admitted before the setting changed is measured by the new one when it ends (property 1)."""
    watched = Watched(failures=1)
    permit = watched.breaker.acquire()
    watched.breaker.configure(Circuit(failures=1, slow_after=2.0))
    assert isinstance(permit, Permit)
    watched.breaker.record(permit, SUCCESS, seconds=2.0)
    assert [one.reason for one in watched.log] == ["threshold"]
