"""An agent run: who it is for, what it used, what it may still use, how it ended.

A session travels in the OpenTelemetry context, so whatever carries the current span into a thread or task (asyncio,
`contextvars.copy_context`, the threading instrumentation) carries the session with it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, Literal

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from otel_tools.model import Usage
from otel_tools.policy.forks import renew_in_child
from otel_tools.policy.limits import Budget, Reservation
from otel_tools.policy.loops import LoopGuard
from otel_tools.policy.options import Limits
from otel_tools.policy.refusal import Refusal

_KEY = otel_context.create_key("otel_tools.session")
_MAX_TOLD: Final = 256
"""Different things that a session remembers to have said; more are said each time."""


@dataclass(slots=True)
class Totals:
    """What a session has used so far, its sub-agents included.

    Args:
        cost_usd: US dollars, of the calls whose model has a known price.
        unpriced_tokens: Tokens of the other calls.
        inference_calls: LLM calls.
        tool_errors: Tool calls that were attempted or refused and gave no good result.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    unpriced_tokens: int = 0
    inference_calls: int = 0
    tool_calls: int = 0
    tool_errors: int = 0

    def add(self, other: Totals) -> None:
        """Add *other*, field by field."""
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cost_usd += other.cost_usd
        self.unpriced_tokens += other.unpriced_tokens
        self.inference_calls += other.inference_calls
        self.tool_calls += other.tool_calls
        self.tool_errors += other.tool_errors


class _Family:
    """What a session and those inside it have in common."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # re-entrant: a finaliser may end a call while this thread holds it
        renew_in_child(self)

    def after_fork(self) -> None:
        """Renew the lock in a forked child."""
        self.lock = threading.RLock()


class Session:
    """One agent run; a run inside another one is a part of it and shares its limits.

    Args:
        name: The agent's name (`gen_ai.agent.name`).
        conversation_id: Ties several runs together (`gen_ai.conversation.id`); inherited from the outer run.
        user_id: For whom it runs; on spans and log records only, never on metrics. Inherited, too.
        limits: What it may use.
        observed: Limits that refuse nothing; only the loop guard reports what it sees.
        clock: Monotonic seconds, for limits of time.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        conversation_id: str | None = None,
        user_id: str | None = None,
        limits: Limits | None = None,
        observed: Limits | None = None,
        parent: Session | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.parent = parent
        self.conversation_id: str | None = conversation_id or (parent.conversation_id if parent else None)
        self.user_id: str | None = user_id or (parent.user_id if parent else None)
        self.totals = Totals()
        self.own_inference_calls = 0
        self.own_tool_calls = 0
        self.limit_hit: str | None = None
        self.outcome: str | None = None
        self.budget: Budget = Budget(limits or Limits(), parent.budget if parent else None, clock=clock)
        self.guards: tuple[LoopGuard, ...] = parent.guards if parent else ()
        repeats = (limits or observed or Limits()).max_repeats
        if repeats is not None:
            self.guards = (LoopGuard(repeats, acts=limits is not None), *self.guards)
        self._family: _Family = parent._family if parent else _Family()  # noqa: SLF001
        self._told: set[Hashable] = set()

    def __repr__(self) -> str:
        return f"<Session {self.name or 'unnamed'} {self.totals}>"

    def reserve(self, kind: Literal["llm", "tool"], name: str, **expected: Any) -> Reservation | Refusal:
        """Ask for a call before it is made; a refusal if a limit of this session or one around it is used up.

        Args:
            kind: What is called.
            name: The tool or client, for the refusal.
            expected: What it is expected to use, for `Budget.reserve`.
        """
        reserved = self.budget.reserve(kind, name, **expected)
        if isinstance(reserved, Refusal):
            self._hit(reserved)
        return reserved

    def count_llm(self, usage: Usage | None, cost: float | None) -> None:
        """Count one LLM call, with its *cost* in USD (`None`: no known price)."""
        used = Totals(inference_calls=1)
        if usage is not None:
            used.input_tokens = usage.input_tokens or 0
            used.output_tokens = usage.output_tokens or 0
        tokens = used.input_tokens + used.output_tokens
        if cost is None:
            used.unpriced_tokens = tokens
        else:
            used.cost_usd = cost
        self.own_inference_calls += 1
        self._roll_up(used)

    def count_tool(self, reservation: Reservation | None, *, failed: bool) -> None:
        """Count one tool call."""
        self.own_tool_calls += 1
        self._roll_up(Totals(tool_calls=1, tool_errors=int(failed)))
        if reservation is not None and self.budget.accounts:
            self.budget.settle(reservation)

    def first_time(self, what: Hashable) -> bool:
        """Whether *what* was not said in this session (its sub-agents excluded) before; now it is."""
        with self._family.lock:
            if what in self._told:
                return False
            if len(self._told) < _MAX_TOLD:
                self._told.add(what)
            return True

    @property
    def outermost(self) -> Session:
        """The session that no other one is around."""
        return self if self.parent is None else self.parent.outermost

    def _hit(self, refusal: Refusal) -> None:
        """A limit refused a call: this session ends so, and those around it up to the one whose limit it is."""
        outcome = "max_iterations" if refusal.limit == "max_iterations" else "budget_exceeded"
        session: Session | None = self
        while session is not None and refusal.refused_by in session.budget.accounts:
            session.limit_hit = session.limit_hit or outcome
            session = session.parent

    def _roll_up(self, used: Totals) -> None:
        with self._family.lock:
            session: Session | None = self
            while session is not None:
                session.totals.add(used)
                session = session.parent


def current_session() -> Session | None:
    """The session that the calling code runs in, if any."""
    session = otel_context.get_value(_KEY)
    return session if isinstance(session, Session) else None


def with_session(session: Session, context: Context) -> Context:
    """*context* with *session* as the current one."""
    return otel_context.set_value(_KEY, session, context)
