"""A fleet in one process: an engine for each replica, on one virtual clock, and a place for votes that obeys it too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from otel_tools.control.sharing import RECOVERED, Lease, Sharing, Vote, Votes
from otel_tools.engine import Engine
from otel_tools.policy import Attempt, Circuit, CircuitState, Mode, Policy, Refusal, Verdict
from otel_tools.settings import Control, Settings
from otel_tools.telemetry import Telemetry

CIRCUIT = Circuit(failures=1, reset_after=60.0, jitter=0.0)
TOOL = "search"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class MemoryVotes:
    """What `RedisVotes` does, in a dictionary; `commands` tells which of its methods were used."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._votes: dict[Vote, float] = {}
        self._leases: dict[object, tuple[Vote | None, float]] = {}
        self.commands: list[str] = []

    def exchange(self, cast: Mapping[Vote, float], withdrawn: Iterable[Vote]) -> dict[Vote, float]:
        now, withdrawn = self._clock(), list(withdrawn)
        self.commands.append(f"exchange +{len(cast)} -{len(withdrawn)}")
        self._votes |= {vote: now + left for vote, left in cast.items()}
        for vote in withdrawn:
            self._votes.pop(vote, None)
        self._votes = {vote: until for vote, until in self._votes.items() if until > now}
        return {vote: until - now for vote, until in self._votes.items()}

    def _holder(self, target: object) -> tuple[Vote | None, float] | None:
        held = self._leases.get(target)
        return held if held is not None and held[1] > self._clock() else None

    def lease(self, vote: Vote, seconds: float) -> Lease:
        self.commands.append("lease")
        held = self._holder(vote.target)
        if held is None:
            held = self._leases[vote.target] = (vote, self._clock() + seconds)
        holder, until = held
        return RECOVERED if holder is None else Lease(mine=holder == vote, left=until - self._clock())

    def recover(self, vote: Vote, others: Iterable[Vote], seconds: float) -> bool:
        self.commands.append("recover")
        held = self._holder(vote.target)
        if held is None or held[0] != vote:
            return False
        self._leases[vote.target] = (None, self._clock() + seconds)
        for other in others:
            self._votes.pop(other, None)
        return True


def engine(clock: Clock | None = None, control: Control | None = None, circuit: Circuit = CIRCUIT) -> Engine:
    """An engine that enforces, without an SDK."""
    settings = Settings(
        mode=Mode.ENFORCE, tool_defaults=Policy(circuit=circuit), control=control or Control(store=None)
    )
    return Engine(settings, Telemetry(), **({} if clock is None else {"clock": clock}))


class Replica:
    """One process of the fleet."""

    def __init__(self, name: str, votes: Votes, quorum: int, clock: Clock | None = None) -> None:
        self.engine = engine(clock)
        self.sharing = Sharing(self.engine, votes, name, quorum)

    @property
    def state(self) -> CircuitState:
        """What its circuit shows."""
        view = self.engine.tool_pipeline(TOOL).view().circuit
        assert view is not None
        return view.state

    @property
    def left(self) -> float:
        """Seconds that it stays open."""
        opening = self.engine.tools.openings().get(TOOL)
        return 0.0 if opening is None else opening.left

    def begin(self) -> Attempt | Refusal:
        """Ask to call the tool."""
        return self.engine.tool_pipeline(TOOL).admit()

    def end(self, attempt: Attempt, verdict: Verdict) -> None:
        """Tell what came of it."""
        self.engine.tool_pipeline(TOOL).settle(attempt, verdict)

    def call(self, verdict: Verdict = Verdict.SUCCESS) -> bool:
        """Call the tool once; whether it was admitted."""
        attempt = self.begin()
        if isinstance(attempt, Attempt):
            self.end(attempt, verdict)
            return True
        return False

    def fail(self) -> None:
        """Find out that the tool is down."""
        assert self.call(Verdict.FAILURE)

    def tick(self) -> None:
        """Look at the votes."""
        self.sharing.tick()
