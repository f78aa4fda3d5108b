"""The budget of a session: reserved before a call, settled after it, so that parallel calls cannot overrun it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from math import inf
from typing import Final, Literal

from otel_tools.policy.forks import renew_in_child
from otel_tools.policy.options import Limits
from otel_tools.policy.outcome import Outcome
from otel_tools.policy.refusal import Refusal

_PER_CALL: Final = ("max_tokens", "max_cost_usd")
_NAMES: Final = ("max_iterations", "max_tool_calls", *_PER_CALL)


class Reservation:
    """What one call has been granted; hand it back with `Budget.settle` or `Budget.release`."""

    __slots__ = ("amounts", "open")

    def __init__(self, amounts: Mapping[str, float]) -> None:
        self.amounts = amounts
        self.open = True


_UNLIMITED: Final = Reservation({})


class _Account:
    """What one session may use and has used or reserved."""

    def __init__(self, limits: Limits) -> None:
        self.limits: dict[str, float] = {name: limit for name in _NAMES if (limit := getattr(limits, name)) is not None}
        self.used: dict[str, float] = dict.fromkeys(_NAMES, 0)
        # of the outermost account of a family, for all of it:
        self.largest: dict[str, float] = dict.fromkeys(_PER_CALL, 0)
        self.lock = threading.RLock()  # re-entrant: a finaliser may settle a call while this thread holds it
        renew_in_child(self)

    def after_fork(self) -> None:
        """Renew the lock in a forked child."""
        self.lock = threading.RLock()

    def reached(self, amounts: Mapping[str, float]) -> str | None:
        """The limit among those of *amounts* that is used up."""
        for name in amounts:
            if self.is_used_up(name):
                return name
        return None

    def is_used_up(self, name: str) -> bool:
        """Whether nothing is left of this limit."""
        return self.used[name] >= self.limits.get(name, inf)

    def add(self, amounts: Mapping[str, float]) -> None:
        """Count *amounts*, which may be negative."""
        for name, amount in amounts.items():
            self.used[name] += amount


class Budget:
    """What a session, and the sessions around it, may still use.

    A call is refused when a limit is reached. One that is granted may reach beyond it, but only by its own
    reservation, however many calls run at once; counts of calls are never exceeded.

    Args:
        limits: What this session may use.
        parent: The budget of the session around it, which bounds this one, too.
    """

    def __init__(self, limits: Limits, parent: Budget | None = None) -> None:
        around = parent.accounts if parent is not None else ()
        self.accounts: tuple[_Account, ...] = around if limits == Limits() else (_Account(limits), *around)

    def reserve(
        self, kind: Literal["llm", "tool"], name: str = "", *, tokens: int = 0, cost: float = 0.0
    ) -> Reservation | Refusal:
        """Ask for one call.

        Args:
            kind: An LLM call counts as an iteration and is refused when tokens or cost are used up; a tool call counts
                as a tool call, and is refused for tokens or cost only if it asks for some.
            name: The tool or client, for the refusal.
            tokens: How many an LLM call is expected to use; by default as many as the largest one so far, so that
                parallel calls are bounded although nobody estimates them.
            cost: US dollars it is expected to cost, likewise.
        """
        if not self.accounts:
            return _UNLIMITED
        with self.accounts[-1].lock:
            amounts = self._amounts(kind, {"max_tokens": tokens, "max_cost_usd": cost})
            for account in self.accounts:
                if (limit := account.reached(amounts)) is not None:
                    detail = f"{limit} of {account.limits[limit]:g}"
                    return Refusal(name or kind, Outcome.BUDGET_EXCEEDED, detail=detail, limit=limit)
            self._add(amounts)
        return Reservation(amounts)

    def settle(self, reservation: Reservation, tokens: int = 0, cost: float = 0.0) -> None:
        """Put what a call really used in the place of what was reserved for it. Only the first report counts."""
        self._close(reservation, {"max_tokens": tokens, "max_cost_usd": cost}, given_back=_PER_CALL)

    def release(self, reservation: Reservation) -> None:
        """Give a reservation back whole: the call was never made."""
        self._close(reservation, {}, given_back=_NAMES)

    def _amounts(self, kind: Literal["llm", "tool"], expected: dict[str, float]) -> dict[str, float]:
        if kind == "tool":
            return {"max_tool_calls": 1} | {name: amount for name, amount in expected.items() if amount}
        largest = self.accounts[-1].largest
        return {"max_iterations": 1} | {name: amount or largest[name] for name, amount in expected.items()}

    def _close(self, reservation: Reservation, used: Mapping[str, float], given_back: tuple[str, ...]) -> None:
        if not self.accounts:
            return
        outermost = self.accounts[-1]
        with outermost.lock:
            if reservation.open:
                reservation.open = False
                reserved = reservation.amounts
                self._add({name: used.get(name, 0) - reserved.get(name, 0) for name in given_back})
                outermost.largest = {name: max(most, used.get(name, 0)) for name, most in outermost.largest.items()}

    def _add(self, amounts: Mapping[str, float]) -> None:
        for account in self.accounts:
            account.add(amounts)
