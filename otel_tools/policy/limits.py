"""The budget of a session: reserved before a call, settled after it, so that parallel calls cannot overrun it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from math import inf
from typing import Final, Literal, NamedTuple

from otel_tools.policy.forks import renew_in_child
from otel_tools.policy.options import Limits, Unpriced
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


class _Request(NamedTuple):
    """What a call asks for."""

    amounts: Mapping[str, float]
    now: float
    priced: bool
    model: str


class _Account:
    """What one session may use and has used or reserved."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits: dict[str, float] = {name: limit for name in _NAMES if (limit := getattr(limits, name)) is not None}
        self.used: dict[str, float] = dict.fromkeys(_NAMES, 0)
        self.unpriced = limits.unpriced if limits.max_cost_usd is not None else None
        self.max_duration = inf if limits.max_duration is None else limits.max_duration
        self.started = now
        # of the outermost account of a family, for all of it:
        self.largest: dict[str, float] = dict.fromkeys(_PER_CALL, 0)
        self.lock = threading.RLock()  # re-entrant: a finaliser may settle a call while this thread holds it
        renew_in_child(self)

    def after_fork(self) -> None:
        """Renew the lock in a forked child."""
        self.lock = threading.RLock()

    def refuses(self, request: _Request) -> tuple[str, str] | None:
        """The limit that refuses a call, and a few words on it."""
        if not request.priced and self.unpriced is Unpriced.DENY:
            model = repr(request.model) if request.model else "a model without a name"
            advice = "give it under `prices:` or set `unpriced: warn`"
            return "unpriced", f"max_cost_usd needs the price of {model}: {advice}"
        if request.now - self.started >= self.max_duration:
            return "max_duration", f"max_duration of {self.max_duration:g} s"
        for name in request.amounts:
            limit = self.limits.get(name, inf)
            if self.used[name] >= limit:
                return name, f"{name} of {limit:g}"
        return None

    def add(self, amounts: Mapping[str, float]) -> None:
        """Count *amounts*, which may be negative."""
        for name, amount in amounts.items():
            self.used[name] += amount


class Budget:
    """What a session, and the sessions around it, may still use.

    A call is refused when a limit is reached, what other calls have reserved included. One that is granted may reach
    beyond it, but only by its own reservation, however many calls run at once; counts of calls are never exceeded.

    Args:
        limits: What this session may use.
        parent: The budget of the session around it, which bounds this one, too.
        clock: Monotonic seconds, for *max_duration*, which begins now.

    Attributes:
        limits_tokens: Whether tokens are limited: calls should then say how many they expect.
        limits_cost: Whether cost is limited, likewise.
        warns_unpriced: Whether somebody wants to be told of calls without a known price.
    """

    def __init__(
        self, limits: Limits, parent: Budget | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        around = parent.accounts if parent is not None else ()
        limited = any(getattr(limits, name) is not None for name in (*_NAMES, "max_duration"))
        self.accounts: tuple[_Account, ...] = (_Account(limits, clock()), *around) if limited else around
        self.limits_tokens = any("max_tokens" in account.limits for account in self.accounts)
        self.limits_cost = any("max_cost_usd" in account.limits for account in self.accounts)
        self.warns_unpriced = any(account.unpriced is Unpriced.WARN for account in self.accounts)

    def reserve(
        self,
        kind: Literal["llm", "tool"],
        name: str = "",
        *,
        tokens: int = 0,
        cost: float | None = 0.0,
        model: str = "",
    ) -> Reservation | Refusal:
        """Ask for one call.

        Args:
            kind: An LLM call counts as an iteration and is refused when tokens or cost are used up; a tool call counts
                as a tool call, and is refused for tokens or cost only if it asks for some.
            name: The tool or client, for the refusal.
            tokens: How many it is expected to use. For an LLM call as many as the largest one so far are reserved if
                that is more, so that parallel calls are bounded although nobody estimates them, or badly.
            cost: US dollars it is expected to cost, likewise; `None`: its price is not known, so no money is reserved
                and a cost limit decides by its *unpriced*.
            model: The model asked for, for the refusal.
        """
        if not self.accounts:
            return _UNLIMITED
        now = self.clock()
        with self.accounts[-1].lock:
            amounts = self._amounts(kind, tokens, cost)
            request = _Request(amounts, now, cost is not None, model)
            for account in self.accounts:
                if (found := account.refuses(request)) is not None:
                    limit, detail = found
                    return Refusal(
                        name or kind, Outcome.BUDGET_EXCEEDED, detail=detail, limit=limit, refused_by=account
                    )
            self._add(amounts)
        return Reservation(amounts)

    def settle(self, reservation: Reservation, tokens: int = 0, cost: float = 0.0, *, at_least: bool = False) -> None:
        """Put what a call really used in the place of what was reserved for it. Only the first report counts.

        Args:
            reservation: What `reserve` gave.
            tokens: How many it used.
            cost: US dollars it cost.
            at_least: It may have used more than is known: what was reserved counts where that is more.
        """
        self._close(reservation, {"max_tokens": tokens, "max_cost_usd": cost}, _PER_CALL, at_least=at_least)

    def release(self, reservation: Reservation) -> None:
        """Give a reservation back whole: the call was never made."""
        self._close(reservation, {}, _NAMES)

    def _amounts(self, kind: Literal["llm", "tool"], tokens: int, cost: float | None) -> dict[str, float]:
        if kind == "tool":
            expected = {"max_tokens": tokens, "max_cost_usd": cost or 0.0}
            return {"max_tool_calls": 1} | {name: amount for name, amount in expected.items() if amount}
        largest = self.accounts[-1].largest
        return {
            "max_iterations": 1,
            "max_tokens": max(tokens, largest["max_tokens"]),
            "max_cost_usd": 0.0 if cost is None else max(cost, largest["max_cost_usd"]),
        }

    def _close(
        self,
        reservation: Reservation,
        used: Mapping[str, float],
        given_back: tuple[str, ...],
        *,
        at_least: bool = False,
    ) -> None:
        if not self.accounts:
            return
        outermost = self.accounts[-1]
        with outermost.lock:
            if reservation.open:
                reservation.open = False
                change = {name: used.get(name, 0) - reservation.amounts.get(name, 0) for name in given_back}
                self._add({name: max(amount, 0) if at_least else amount for name, amount in change.items()})
                outermost.largest = {name: max(most, used.get(name, 0)) for name, most in outermost.largest.items()}

    def _add(self, amounts: Mapping[str, float]) -> None:
        for account in self.accounts:
            account.add(amounts)
