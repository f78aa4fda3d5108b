"""What happened lately, for the people on call: each tool's calls and last failure, and the sessions of this process.

Bounded and in memory; telemetry is elsewhere. Nothing here holds arguments, results or texts of exceptions.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from otel_tools.policy.forks import renew_in_child
from otel_tools.policy.outcome import FAILED, REFUSED, Outcome
from otel_tools.sessions import Session

RECENT_CALLS: Final = 100
"""Calls of a tool that its error rate looks at."""

_MAX_TOOLS: Final = 1024
_MAX_SESSIONS: Final = 64

_ERRORS: Final = FAILED | {Outcome.CIRCUIT_OPEN, Outcome.BULKHEAD_FULL}
"""What the alerts count as an error of the tool, too."""


@dataclass(slots=True)
class LastError:
    """The last failure of a tool: `error.type`, when (seconds of the wall clock) and the trace it is in."""

    type: str
    at: float
    trace_id: str | None


@dataclass(slots=True)
class Account:
    """What became of the calls of one tool or client.

    Args:
        outcomes: Calls since the process began, by outcome.
        recent: Whether each of the last calls was an error, oldest first.
    """

    outcomes: dict[str, int] = field(default_factory=dict)
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT_CALLS))
    last_error: LastError | None = None

    @property
    def error_rate(self) -> float | None:
        """Share of errors among the last calls, `None` when there was none."""
        recent = list(self.recent)
        return sum(recent) / len(recent) if recent else None


@dataclass(slots=True)
class SessionRecord:
    """A session of this process, running or ended."""

    session: Session
    started: float
    ended: float | None = None
    trace_id: str | None = None


class Ledger:
    """The accounts of all tools and clients, and the latest sessions. Safe to use from several threads."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str], Account] = {}
        self._sessions: OrderedDict[int, SessionRecord] = OrderedDict()
        self._lock = threading.RLock()  # re-entrant: a finaliser may end a call while this thread holds it
        self.revision = 0
        self.orders = 0  # of operators
        renew_in_child(self)

    def after_fork(self) -> None:
        """A forked child begins anew: the sessions and calls are its parent's."""
        self._lock = threading.RLock()
        self._accounts.clear()
        self._sessions.clear()

    def call(self, kind: str, name: str, outcome: Outcome, error_type: str | None, trace_id: str | None) -> None:
        """Note that a call has ended.

        Args:
            kind: `tool` or `client`.
            name: Whose call it was.
            outcome: How it ended.
            error_type: `error.type` of one that failed.
            trace_id: The trace it is in.
        """
        with self._lock:
            account = self._accounts.get((kind, name)) or self._open(kind, name)
            account.outcomes[outcome.value] = account.outcomes.get(outcome.value, 0) + 1
            if outcome in _ERRORS:
                account.recent.append(True)
                if outcome not in REFUSED:
                    account.last_error = LastError(error_type or outcome.value, time.time(), trace_id)
            elif outcome is Outcome.OK:
                account.recent.append(False)
            self.revision += 1

    def _open(self, kind: str, name: str) -> Account:
        if len(self._accounts) >= _MAX_TOOLS:
            return Account()  # names that a model made up
        return self._accounts.setdefault((kind, name), Account())

    def account(self, kind: str, name: str) -> Account:
        """What became of the calls of a tool or client; an empty account if there were none."""
        return self._accounts.get((kind, name)) or Account()

    def names(self, kind: str) -> list[str]:
        """The tools or clients that were called."""
        with self._lock:
            return [name for found, name in self._accounts if found == kind]

    def session_began(self, session: Session, trace_id: str | None) -> None:
        """Note a session (the outermost run only); the oldest one that has ended makes room, else the oldest."""
        with self._lock:
            while len(self._sessions) >= _MAX_SESSIONS:
                ended = next((key for key, record in self._sessions.items() if record.ended is not None), None)
                self._sessions.pop(next(iter(self._sessions)) if ended is None else ended)
            self._sessions[id(session)] = SessionRecord(session, time.time(), trace_id=trace_id)
        self.revision += 1

    def session_ended(self, session: Session) -> None:
        """Note its end."""
        with self._lock:
            record = self._sessions.get(id(session))
            if record is not None:
                record.ended = time.time()
        self.revision += 1

    def sessions(self) -> list[SessionRecord]:
        """The latest sessions, newest first."""
        with self._lock:
            return list(reversed(self._sessions.values()))
