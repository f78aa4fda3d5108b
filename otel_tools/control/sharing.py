"""Open circuits shared by the processes of a service: what one has found out, the others need not find out again.

Each process votes for the circuits that its own calls have opened, for as long as they stay open there. A circuit
with the votes of at least *quorum* processes counts as open in all of them. One process alone, with a broken network
of its own, opens nothing elsewhere, also where it is the only other one: then nothing is shared. A circuit that was
opened by votes gives no vote.

When the time is over, one process is lent the fleet's probe; the others wait for it, a short and bounded time. If it
succeeds each makes a probe of its own at once. If it fails that is a new vote, and the next process is lent a probe,
until a quorum of new votes opens the circuit everywhere again.

Circuits by key (`Policy.key`) are not shared: keys may say who a user is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from otel_tools.control.directives import Target
from otel_tools.engine import Engine
from otel_tools.policy.circuit import Opening

LEASE: Final = 5.0
"""Seconds for which the fleet's probe keeps the other processes waiting."""

_SOON: Final = 1.0
"""Seconds before the open time is over in which the probe is lent. A process that looks less often probes by itself."""


class Vote(NamedTuple):
    """That *owner* (a `Process.id`) has opened a circuit itself; *opening* tells it from its other openings."""

    target: Target
    owner: str
    opening: int


class Lease(NamedTuple):
    """Who makes the fleet's probe: whether this process does, and for how many seconds still."""

    mine: bool
    left: float


RECOVERED: Final = Lease(mine=False, left=0.0)
"""The fleet's probe has succeeded."""


class Votes(Protocol):
    """Where the votes of all processes are; each method raises `StoreError` if it cannot be reached."""

    def exchange(self, cast: Mapping[Vote, float], withdrawn: Iterable[Vote]) -> Mapping[Vote, float]:
        """Cast votes for so many seconds, withdraw others; gives all that count, with the seconds that are left."""
        ...

    def lease(self, vote: Vote, seconds: float) -> Lease:
        """Take the lease of the probe in the name of *vote*'s opening, unless somebody has it."""
        ...

    def recover(self, vote: Vote, others: Iterable[Vote], seconds: float) -> bool:
        """Say for *seconds* that the probe succeeded and remove *others*; nothing if the lease is not *vote*'s."""
        ...


class _Round:
    """One opening that the fleet agrees on.

    Attributes:
        votes: What it was agreed on by.
        number: Which opening of this process's circuit it is; `None`: not looked at since it was opened.
        ends: When its time is over, and `gives_up`: when this process waits no longer for the probes of others
            (monotonic); `None`: its time is not yet about over.
        leads: The name in which this process has the probe.
        free: It probes as it likes.
    """

    def __init__(self, votes: frozenset[Vote], number: int | None) -> None:
        self.votes = votes
        self.number = number
        self.ends: float | None = None
        self.gives_up = 0.0
        self.leads: Vote | None = None
        self.free = False


class Ballot:
    """Decides from the circuits of this process and the votes of all which circuits to open, and for how long.

    Args:
        owner: This process.
        quorum: Processes that must agree.
        clock: Monotonic seconds.
    """

    def __init__(self, owner: str, quorum: int, clock: Callable[[], float]) -> None:
        self._owner = owner
        self._quorum = quorum
        self._clock = clock
        self._cast: dict[Target, Vote] = {}
        self._counted: set[Vote] = set()
        self._rounds: dict[Target, _Round] = {}

    # --- votes --------------------------------------------------------------------------------------------------
    def vote(self, target: Target, opening: Opening) -> Vote:
        """The name of an opening of this process."""
        return Vote(target, self._owner, opening.number)

    def to_cast(self, openings: Mapping[Target, Opening]) -> dict[Vote, float]:
        """The openings of this process's own that nobody was told of, and how long they last."""
        return {
            vote: opening.left
            for target, opening in openings.items()
            if not (opening.remote or opening.probing)
            and opening.left > 0
            and (vote := self.vote(target, opening)) != self._cast.get(target)
        }

    def to_withdraw(self, openings: Mapping[Target, Opening]) -> list[Vote]:
        """What was told and is not so any more."""
        current = {self.vote(target, opening) for target, opening in openings.items()}
        return [vote for vote in self._cast.values() if vote not in current]

    def told(self, cast: Iterable[Vote], withdrawn: Iterable[Vote]) -> None:
        """That worked."""
        for vote in withdrawn:
            self._cast.pop(vote.target, None)
        self._cast |= {vote.target: vote for vote in cast}

    def count(self, openings: Mapping[Target, Opening], votes: Mapping[Vote, float]) -> dict[Target, float]:
        """Which circuits to open, or to leave to probe (0), and for how many seconds."""
        self._counted &= votes.keys()
        released = [target for target in self._rounds if self._is_withdrawn(target, openings.get(target), votes)]
        for target in released:
            self._rounds[target].free = True
        return dict.fromkeys(released, 0.0) | self._elect(openings, votes)

    def _is_withdrawn(self, target: Target, opening: Opening | None, votes: Mapping[Vote, float]) -> bool:
        """Whether those who had it opened say now that it is not, before its time is over."""
        its = self._rounds[target]
        if opening is None or not opening.remote or its.free or its.ends is not None or opening.left <= _SOON:
            return False
        return len({vote.owner for vote in its.votes & votes.keys()}) < self._quorum

    def _elect(self, openings: Mapping[Target, Opening], votes: Mapping[Vote, float]) -> dict[Target, float]:
        left: dict[Target, dict[str, float]] = {}
        for vote in votes.keys() - self._counted:  # a vote counts once, or a circuit that has recovered would reopen
            owners = left.setdefault(vote.target, {})
            owners[vote.owner] = max(votes[vote], owners.get(vote.owner, 0.0))
        opened = {}
        for target, owners in left.items():
            if len(owners) < self._quorum:
                continue
            opening = openings.get(target)
            its = frozenset(vote for vote in votes if vote.target == target)
            self._counted |= its
            self._rounds[target] = _Round(its, None if opening is None else opening.number)
            if _follows(opening):
                opened[target] = sorted(owners.values(), reverse=True)[self._quorum - 1]
        return opened

    # --- the fleet's probe --------------------------------------------------------------------------------------
    def contenders(self, openings: Mapping[Target, Opening]) -> list[Target]:
        """The circuits whose open time is about over: the fleet's probe is to be asked for."""
        return [
            target
            for target, its in self._rounds.items()
            if (opening := openings.get(target)) is not None
            and not (opening.probing or its.free or its.leads)
            and (its.ends is not None or opening.left <= _SOON)
        ]

    def lent(self, target: Target, opening: Opening, lease: Lease) -> float:
        """For how many seconds the circuit is to stay open, after what the store said to a contender."""
        its, now = self._rounds[target], self._clock()
        if its.ends is None:
            its.ends = now + opening.left
            its.gives_up = its.ends + self._quorum * LEASE
        left = max(0.0, its.ends - now)
        if lease.mine:
            its.leads = self.vote(target, opening)
        elif lease is RECOVERED or now >= its.gives_up:
            its.free = True
        else:
            return max(left, min(lease.left, its.gives_up - now))
        return left

    def finished(self, openings: Mapping[Target, Opening]) -> list[tuple[Vote, frozenset[Vote]]]:
        """The probes lent to this process after which the circuit closed, and the votes that each refutes.

        Rounds that are over are forgotten.
        """
        recovered = []
        for target, its in list(self._rounds.items()):
            opening = openings.get(target)
            if opening is None and its.leads is not None:
                recovered.append((its.leads, its.votes))
            if opening is None or its.number not in {None, opening.number}:  # closed, or opened anew by a failed probe
                del self._rounds[target]
            else:
                its.number = opening.number
        return recovered


def _follows(opening: Opening | None) -> bool:
    """Whether votes of others apply: not to an opening of the process's own that still lasts, nor during a probe."""
    return opening is None or (not opening.probing and (opening.remote or opening.left <= 0))


class Sharing:
    """Shares the open circuits of *engine* through *votes*; for the background thread.

    Args:
        engine: Whose circuits.
        votes: Where those of all processes are.
        owner: This process.
        quorum: Processes that must have opened a circuit before it counts as open for all.
    """

    def __init__(self, engine: Engine, votes: Votes, owner: str, quorum: int) -> None:
        self._engine = engine
        self._votes = votes
        self._ballot = Ballot(owner, quorum, engine.clock)

    def tick(self) -> None:
        """Tell what is new and do as the fleet says.

        Raises:
            StoreError: The votes cannot be reached; what is open stays open for its time.
        """
        ballot, openings = self._ballot, self._openings()
        for probe, refuted in ballot.finished(openings):
            self._votes.recover(probe, refuted, LEASE)
        cast, withdrawn = ballot.to_cast(openings), ballot.to_withdraw(openings)
        votes = self._votes.exchange(cast, withdrawn)
        ballot.told(cast, withdrawn)
        try:
            for target, left in ballot.count(openings, votes).items():
                self._open(target, openings.get(target), left)
            for target in ballot.contenders(openings):
                opening = openings[target]
                lease = self._votes.lease(ballot.vote(target, opening), LEASE)
                self._open(target, opening, ballot.lent(target, opening, lease))
        finally:
            self._engine.write_transitions()

    def withdraw(self) -> None:
        """Take all votes back: the process ends.

        Raises:
            StoreError: The votes cannot be reached; they expire with their openings.
        """
        withdrawn = self._ballot.to_withdraw({})
        if withdrawn:
            self._votes.exchange({}, withdrawn)

    def _openings(self) -> dict[Target, Opening]:
        found: dict[Target, Opening] = {}
        found.update((("tool", name), opening) for name, opening in self._engine.tools.openings().items())
        found.update((("client", name), opening) for name, opening in self._engine.clients.openings().items())
        return found

    def _open(self, target: Target, seen: Opening | None, seconds: float) -> None:
        kind, name = target
        engine = self._engine
        pipeline = engine.tool_pipeline(name) if kind == "tool" else engine.client_pipeline(name)
        if pipeline is not None:
            pipeline.open_for(seconds, seen)
