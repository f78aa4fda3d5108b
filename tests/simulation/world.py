"""The simulated world: a clock that is moved, dependencies that fail by a schedule, work that hangs until released."""

from __future__ import annotations

import random
import threading
from bisect import bisect_right

HOUR = 3600.0


class Down(ConnectionError):
    """A dependency does not answer."""


class Answered(Exception):
    """A dependency answered with an HTTP status, and maybe said when to come back."""

    def __init__(self, status_code: int, retry_after: float | None = None) -> None:
        super().__init__(status_code)
        self.status_code = status_code
        self.headers = {} if retry_after is None else {"retry-after": f"{retry_after:.0f}"}


class World:
    """The clock, the dice, and whether everything is healthy for once."""

    def __init__(self, seed: int, length: float) -> None:
        self.dice = random.Random(seed)
        self.length = length
        self.now = 0.0
        self.healthy = False
        self.gate = threading.Event()

    def clock(self) -> float:
        """Monotonic seconds, not beginning at 0."""
        return 50_000.0 + self.now

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def chance(self, probability: float) -> bool:
        """True so often."""
        return self.dice.random() < probability

    def release(self) -> None:
        """Let everything that hangs go on; what hangs from now on waits for the next release."""
        gate, self.gate = self.gate, threading.Event()
        gate.set()


class Dependency:
    """Something that a tool calls.

    Args:
        noise: Share of calls that fail although it is up.
        outages: How often per hour it is down, for 20 to 240 seconds.
        rate: Calls in 10 seconds beyond which it answers 429 and says when to come back.
        wrong: Share of calls that it rejects as the model's mistake.
        data: It returns its failures instead of raising them.
    """

    def __init__(
        self,
        world: World,
        *,
        noise: float = 0.0,
        outages: float = 0.0,
        rate: int | None = None,
        wrong: float = 0.0,
        data: bool = False,
    ) -> None:
        self.world = world
        self.noise, self.rate, self.wrong, self.data = noise, rate, wrong, data
        self._edges = self._outages(outages)
        self._window, self._used = -1, 0

    def _outages(self, per_hour: float) -> list[float]:
        """When it goes down and up again, in turn."""
        dice, edges = self.world.dice, [0.0]
        while per_hour and edges[-1] < self.world.length:
            edges.append(edges[-1] + dice.expovariate(per_hour / HOUR))
            edges.append(edges[-1] + dice.uniform(20, 240))
        return edges[1:]

    @property
    def down(self) -> bool:
        """Whether it is in an outage."""
        return not self.world.healthy and bisect_right(self._edges, self.world.now) % 2 == 1

    def answer(self) -> object:
        """What a call gives, or its exception."""
        world = self.world
        if not world.healthy:
            if self.wrong and world.chance(self.wrong):
                raise Answered(404)
            if self.rate is not None:
                self._count(self.rate)
            if self.down or world.chance(self.noise):
                if self.data:
                    return {"error": "upstream"}
                raise Down
        return {"value": 1}

    def _count(self, rate: int) -> None:
        window = int(self.world.now // 10)
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        if self._used > rate:
            raise Answered(429, self.world.dice.uniform(5, 40))
