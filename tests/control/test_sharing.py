"""What a fleet agrees on: who is counted, when a circuit opens for all, who probes, how it ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_tools.control.sharing import LEASE, RECOVERED, Lease, Vote
from otel_tools.errors import StoreError
from otel_tools.policy import Attempt, CircuitState, Verdict
from otel_tools.policy.circuit import Action, Override
from tests.control.fleet import TOOL, Clock, MemoryVotes, Replica

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
TARGET = ("tool", TOOL)


class Fleet:
    def __init__(self, size: int, quorum: int = 2) -> None:
        self.clock = Clock()
        self.votes = MemoryVotes(self.clock)
        self.replicas = [Replica(f"p{number}", self.votes, quorum, self.clock) for number in range(size)]

    def tick(self, seconds: float = 0.0) -> None:
        """All look at the votes once, *seconds* later."""
        self.clock.now += seconds
        for replica in self.replicas:
            replica.tick()

    def pass_time(self, seconds: float) -> None:
        """All look at the votes twice a second."""
        for _ in range(round(seconds * 2)):
            self.tick(0.5)

    @property
    def states(self) -> list[CircuitState]:
        return [replica.state for replica in self.replicas]


def opened_everywhere(size: int = 3) -> Fleet:
    """Two of them have found out, the rest follows."""
    fleet = Fleet(size)
    for replica in fleet.replicas[:2]:
        replica.fail()
    fleet.tick()
    fleet.tick()
    assert fleet.states == [OPEN] * size
    return fleet


def about_over(size: int = 3) -> Fleet:
    """The open time is over and the first one has been lent the probe."""
    fleet = opened_everywhere(size)
    fleet.pass_time(60)
    assert fleet.states == [HALF_OPEN, *[OPEN] * (size - 1)]
    return fleet


# --- opening --------------------------------------------------------------------------------------------------------
def test_quorum_opens_it_for_all():
    """Two of three have opened it: it is open in the third as long as in them, and its calls are refused."""
    fleet = Fleet(3)
    a, b, c = fleet.replicas
    a.fail()
    fleet.tick()
    assert fleet.states == [OPEN, CLOSED, CLOSED]
    fleet.clock.now += 10
    b.fail()
    b.tick()
    c.tick()
    assert fleet.states == [OPEN, OPEN, OPEN]
    assert (a.left, b.left, c.left) == (50.0, 60.0, 50.0)
    assert not c.call()


def test_openings_of_one_process_are_one_vote():
    """A process that opens its circuit again and again does not become a quorum."""
    fleet = Fleet(3)
    sick = fleet.replicas[0]
    for _ in range(5):
        sick.fail()
        fleet.tick()
        sick.engine.tools.reset(TOOL)
        sick.fail()
        fleet.tick()
        fleet.clock.now += 600
    fleet.votes.exchange({Vote(TARGET, "p0", 98): 60.0, Vote(TARGET, "p0", 99): 60.0}, ())  # it could not withdraw one
    fleet.tick()
    assert fleet.states[1:] == [CLOSED, CLOSED]


def test_fewer_processes_than_the_quorum_share_nothing():
    """Two are alive and three must agree: each is on its own."""
    fleet = Fleet(2, quorum=3)
    fleet.replicas[0].fail()
    fleet.replicas[1].fail()
    fleet.replicas[1].engine.tools.reset(TOOL)
    fleet.tick()
    assert fleet.states == [OPEN, CLOSED]


def test_following_is_no_vote():
    """Circuits that were opened by votes do not make a quorum for others: with the voters gone it ends."""
    fleet = opened_everywhere(4)
    for replica in fleet.replicas[:2]:
        replica.sharing.withdraw()
    late = Replica("late", fleet.votes, 2, fleet.clock)
    late.tick()
    assert late.state is CLOSED


def test_own_opening_keeps_its_time():
    """What a process has found out itself is not changed by what others say."""
    fleet = Fleet(3)
    for replica in fleet.replicas:
        replica.fail()
        fleet.clock.now += 5
    fleet.tick()
    fleet.tick()
    assert [replica.left for replica in fleet.replicas] == [45.0, 50.0, 55.0]


def test_a_vote_counts_once():
    """A circuit that an operator has reset does not open again by the same votes."""
    fleet = opened_everywhere()
    follower = fleet.replicas[2]
    follower.engine.tools.reset(TOOL)
    fleet.tick()
    assert fleet.states == [OPEN, OPEN, CLOSED]
    assert follower.call()


def test_operators_state_stays():
    """Votes change nothing where an operator has put the circuit aside, and such a circuit gives no vote."""
    fleet = Fleet(4)
    a, b, bypassed, forced = fleet.replicas
    bypassed.engine.tools.override(TOOL, Action.BYPASS, Override("trial", "ann"))
    forced.engine.tools.override(TOOL, Action.FORCE_OPEN, Override("trial", "ann"))
    fleet.tick()
    assert fleet.states == [CLOSED, CLOSED, CircuitState.DISABLED, CircuitState.FORCED_OPEN]
    a.fail()
    b.fail()
    fleet.tick()
    fleet.tick()
    assert fleet.states == [OPEN, OPEN, CircuitState.DISABLED, CircuitState.FORCED_OPEN]


def test_writes_on_transitions_only():
    """A circuit that opens is told of once, and once when it closes; every other look only reads."""
    clock = Clock()
    votes = MemoryVotes(clock)
    replica = Replica("a", votes, 2, clock)
    replica.tick()
    replica.fail()
    replica.tick()
    replica.tick()
    replica.engine.tools.reset(TOOL)
    replica.tick()
    replica.tick()
    assert votes.commands == ["exchange +0 -0", "exchange +1 -0", "exchange +0 -0", "exchange +0 -1", "exchange +0 -0"]


def test_a_client_that_is_not_configured_is_left_alone():
    """Votes for an LLM client, or for a tool without a circuit, make none where there is none."""
    fleet = Fleet(1)
    target = ("client", "openai")
    fleet.votes.exchange({Vote(target, "x", 1): 60.0, Vote(target, "y", 1): 60.0}, ())
    fleet.tick()
    assert fleet.replicas[0].engine.clients.views() == []


# --- ending ---------------------------------------------------------------------------------------------------------
def test_withdrawn_votes_let_the_others_probe():
    """An operator resets it where it was found out: the others probe at once, and close."""
    fleet = opened_everywhere()
    a, b, c = fleet.replicas
    a.engine.tools.reset(TOOL)
    b.engine.tools.reset(TOOL)
    fleet.tick()
    fleet.tick()
    assert fleet.states == [CLOSED, CLOSED, HALF_OPEN]
    assert "lease" not in fleet.votes.commands
    assert c.call()
    assert c.state is CLOSED


def test_one_process_probes_for_the_fleet():
    """When the time is over one process may probe; the others are refused until they know, then each probes."""
    fleet = about_over()
    a, b, c = fleet.replicas
    assert [b.call(), c.call()] == [False, False]
    assert a.call()
    a.tick()
    b.tick()
    c.tick()
    assert fleet.states == [CLOSED, HALF_OPEN, HALF_OPEN]
    assert [b.call(), c.call()] == [True, True]
    fleet.tick()
    assert fleet.states == [CLOSED, CLOSED, CLOSED]


def test_failed_probes_open_it_everywhere_again():
    """The fleet's probe fails, the next process is lent one; with two failures nobody else needs to try."""
    fleet = about_over(5)
    a, b, *others = fleet.replicas
    a.fail()
    fleet.tick()
    assert fleet.states == [OPEN] * 5
    fleet.pass_time(LEASE)
    assert fleet.states == [OPEN, HALF_OPEN, OPEN, OPEN, OPEN]
    b.fail()
    fleet.tick()
    fleet.tick()
    assert fleet.states == [OPEN] * 5
    assert [round(replica.left) for replica in others] == [round(a.left)] * 3
    assert a.left > 100  # a failed probe doubles the time


def test_an_idle_process_does_not_hold_the_fleet():
    """Who was lent the probe makes no call: after a bounded time everybody else probes as if alone."""
    fleet = about_over()
    a, b, c = fleet.replicas
    fleet.pass_time(2 * LEASE)
    fleet.tick(1.0)
    assert fleet.states == [HALF_OPEN] * 3
    fleet.votes.commands.clear()
    fleet.tick(0.5)
    assert fleet.votes.commands == ["exchange +0 -0"] * 3  # nobody asks for the probe any more
    assert [a.call(), b.call(), c.call()] == [True, True, True]


def test_own_probe_ends_the_waiting():
    """A process that waited in vain, with the store away, probes by itself; its new opening keeps its own time."""
    fleet = about_over()
    _, b, _ = fleet.replicas
    fleet.clock.now += 30
    b.fail()
    b.tick()
    assert (b.state, b.left) == (OPEN, 120.0)


def test_stale_probe_closes_nothing():
    """A probe that comes back after its lease and after a new opening changes nothing for the others."""
    fleet = about_over()
    a, b, c = fleet.replicas
    probe = a.begin()
    assert isinstance(probe, Attempt)
    fleet.pass_time(LEASE + 0.5)
    b.fail()  # it was lent the next probe
    fleet.pass_time(LEASE + 0.5)
    c.fail()
    fleet.tick()
    fleet.tick()
    a.end(probe, Verdict.SUCCESS)
    fleet.tick()
    assert fleet.states == [CLOSED, OPEN, OPEN]
    assert (b.left > 100, c.left > 100) == (True, True)


def test_recovery_is_for_the_holder_of_the_lease():
    """Only the owner and the opening that the lease names can end it."""
    clock = Clock()
    votes = MemoryVotes(clock)
    mine, other = Vote(TARGET, "a", 1), Vote(TARGET, "b", 1)
    votes.exchange({mine: 60.0, other: 60.0}, ())
    assert votes.lease(mine, 5.0) == Lease(mine=True, left=5.0)
    assert votes.lease(other, 5.0) == Lease(mine=False, left=5.0)
    assert not votes.recover(other, {mine, other}, 5.0)
    assert not votes.recover(mine._replace(opening=2), {mine, other}, 5.0)
    assert set(votes.exchange({}, ())) == {mine, other}
    assert votes.recover(mine, {other}, 5.0)
    assert set(votes.exchange({}, ())) == {mine}
    assert votes.lease(other, 5.0) is RECOVERED


def test_without_the_store_everything_is_local():
    """The votes cannot be reached: what is open stays open for its time, then each process probes by itself."""
    fleet = opened_everywhere()

    class Gone(MemoryVotes):
        def exchange(self, cast, withdrawn):
            raise StoreError("gone")

    for replica in fleet.replicas:
        replica.sharing._votes = Gone(fleet.clock)
        with pytest.raises(StoreError):
            replica.tick()
    assert fleet.states == [OPEN, OPEN, OPEN]
    fleet.clock.now += 60
    assert [replica.call() for replica in fleet.replicas] == [True, True, True]


def test_following_shows_in_the_telemetry(recorder):
    """The transition that other processes brought about is counted with its own reason."""
    from otel_tools.telemetry import Telemetry

    fleet = Fleet(3)
    follower = fleet.replicas[2]
    follower.engine.telemetry = Telemetry(recorder.tracer_provider, recorder.meter_provider, recorder.logger_provider)
    for replica in fleet.replicas[:2]:
        replica.fail()
    fleet.tick()
    fleet.tick()
    reasons = {
        (
            point["attributes"]["otel_tools.circuit_breaker.from"],
            point["attributes"]["otel_tools.circuit_breaker.to"],
            point["attributes"]["otel_tools.circuit_breaker.reason"],
            point["value"],
        )
        for point in recorder.points("otel_tools.circuit_breaker.transitions")
    }
    assert reasons == {("closed", "open", "remote", 1)}


# --- properties -----------------------------------------------------------------------------------------------------
STEPS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["fail", "succeed", "neutral", "tick", "reset", "wait"]),
        st.sampled_from([0.1, 0.7, 5.0, 61.0]),
    ),
    max_size=60,
)
_VERDICTS = {"fail": Verdict.FAILURE, "succeed": Verdict.SUCCESS, "neutral": Verdict.NEUTRAL}


def play(fleet: Fleet, steps, sick: set[int]) -> None:
    """Do *steps*; only the *sick* ones ever see a failure."""
    for who, what, seconds in steps:
        replica = fleet.replicas[who]
        if what == "wait":
            fleet.clock.now += seconds
        elif what == "tick":
            replica.tick()
        elif what == "reset":
            replica.engine.tools.reset(TOOL)
        elif what != "fail" or who in sick:
            replica.call(_VERDICTS[what])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(STEPS)
def test_one_process_alone_opens_nothing_elsewhere(steps):
    """Whatever one process goes through, the circuits of the others stay closed."""
    fleet = Fleet(4)
    play(fleet, steps, sick={0})
    fleet.tick()
    fleet.tick()
    assert fleet.states[1:] == [CLOSED, CLOSED, CLOSED]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(STEPS)
def test_every_circuit_admits_a_call_again(steps):
    """Whatever happened: once nothing fails any more, all are closed after the longest open time and the leases."""
    fleet = Fleet(4)
    play(fleet, steps, sick={0, 1, 2})
    fleet.clock.now += 480.0 + 1.0  # the longest a circuit stays open
    for _ in range(2 * round(2 * LEASE) + 2):
        fleet.tick(0.5)
    assert [replica.call() for replica in fleet.replicas] == [True] * 4
    assert fleet.states == [CLOSED] * 4
