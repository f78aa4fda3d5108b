"""An agent run: who it is for, what it used, what it may still use, how it ended.

A session travels in the OpenTelemetry context, so whatever carries the current span into a thread or task (asyncio,
`contextvars.copy_context`, the threading instrumentation) carries the session with it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from otel_tools.model import Usage
from otel_tools.policy.limits import Budget, Reservation
from otel_tools.policy.options import Limits
from otel_tools.policy.refusal import Refusal

_KEY = otel_context.create_key("otel_tools.session")


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


class Session:
    """One agent run; a run inside another one is a part of it and shares its limits.

    Args:
        name: The agent's name (`gen_ai.agent.name`).
        conversation_id: Ties several runs together (`gen_ai.conversation.id`); inherited from the outer run.
        user_id: For whom it runs; on spans and log records only, never on metrics. Inherited, too.
        limits: What it may use.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        conversation_id: str | None = None,
        user_id: str | None = None,
        limits: Limits | None = None,
        parent: Session | None = None,
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
        self.budget: Budget = Budget(limits or Limits(), parent.budget if parent else None)
        # one for the family; re-entrant: a finaliser may end a call while this thread holds it
        self._lock: threading.RLock = parent._lock if parent else threading.RLock()  # noqa: SLF001

    def __repr__(self) -> str:
        return f"<Session {self.name or 'unnamed'} {self.totals}>"

    def reserve(self, kind: Literal["llm", "tool"], name: str) -> Reservation | Refusal | None:
        """Ask for a call before it is made; a refusal if a limit of this session or one around it is used up."""
        reserved = self.budget.reserve(kind, name)
        if isinstance(reserved, Refusal) and reserved.limit is not None:
            self.hit(reserved.limit)
        return reserved

    def count_llm(self, reservation: Reservation | None, usage: Usage | None, cost: float | None) -> None:
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
        if reservation is not None:
            self.budget.settle(reservation, tokens, cost or 0.0)

    def count_tool(self, reservation: Reservation | None, *, failed: bool) -> None:
        """Count one tool call."""
        self.own_tool_calls += 1
        self._roll_up(Totals(tool_calls=1, tool_errors=int(failed)))
        if reservation is not None:
            self.budget.settle(reservation)

    def hit(self, limit: str) -> None:
        """*limit* refused a call: this session ends so, and those around it up to the one whose limit it is."""
        outcome = "max_iterations" if limit == "max_iterations" else "budget_exceeded"
        account = next((found for found in self.budget.accounts if found.is_used_up(limit)), None)
        session: Session | None = self
        while session is not None and account in session.budget.accounts:
            session.limit_hit = session.limit_hit or outcome
            session = session.parent

    def _roll_up(self, used: Totals) -> None:
        with self._lock:
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
