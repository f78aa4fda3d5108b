"""`session`: the function or block that is an agent run."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any, Final, cast

from opentelemetry import context as otel_context

from otel_tools.calls import AgentCall
from otel_tools.engine import active
from otel_tools.errors import internal_error
from otel_tools.functions import F, driven, parameters_of, shape_of, view_awaitable
from otel_tools.model import AgentRequest, Invocation, Shape, Target
from otel_tools.policy import Limits
from otel_tools.sessions import Session, current_session
from otel_tools.telemetry import attach

SESSION_MARK: Final = "__otel_tools_session__"
"""What a function has that is a session already; it may be a tool as well (a sub-agent)."""

_CONVERSATION: Final = ("conversation_id", "session_id", "thread_id")


class session:  # noqa: N801  used like a function: `with session(...)`, `@session`
    """An agent run: `with session("support") as run:`, `async with`, or a decorator, bare or with arguments.

    Everything inside, in threads and tasks started there, too, belongs to it: one trace, one account. The block gets
    the `Session`, whose `totals` (tokens, USD, LLM calls, tool calls and errors) are kept up to date. A session inside
    another one is a part of it.

    Args:
        name: The agent's name, by default the decorated function's.
        conversation_id: Ties several sessions together. A decorated function's argument `conversation_id`,
            `session_id` or `thread_id` is taken if none is given here.
        user_id: For whom the session runs (likewise the argument `user_id`). Never on metrics.
        limits: What the session may use; a call beyond is refused with `BudgetExceeded` before it is made.
    """

    def __new__(cls, name: Any = None, /, **options: Any) -> Any:
        """Decorate at once when used bare: `@session`."""
        if callable(name):
            return cls(**options)(name)
        return super().__new__(cls)

    def __init__(
        self,
        name: str | None = None,
        /,
        *,
        conversation_id: str | None = None,
        user_id: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._name = name
        self._conversation_id = conversation_id
        self._user_id = user_id
        self._limits = limits
        self._runs: list[tuple[AgentCall | None, Any, Any]] = []

    def __call__(self, function: F) -> F:
        """Decorate: each call of *function* is one session."""
        parameters = parameters_of(function)
        name = self._name or str(getattr(function, "__name__", "session"))

        def request(call: Invocation) -> AgentRequest:
            arguments = {**dict(zip(parameters, call.args, strict=False)), **call.kwargs}
            conversation = next((arguments[key] for key in _CONVERSATION if arguments.get(key)), None)
            return self._request(name, conversation, arguments.get("user_id"))

        if hasattr(function, SESSION_MARK):
            return function
        target = Target(
            module=function.__module__, path=name, shape=shape_of(function), request=request, view=view_awaitable
        )
        return cast("F", driven(function, target, active, SESSION_MARK))

    def _request(self, name: str | None, conversation: Any = None, user: Any = None) -> AgentRequest:
        return AgentRequest(
            name,
            "function",
            conversation_id=self._conversation_id or (str(conversation) if conversation else None),
            user_id=self._user_id or (str(user) if user else None),
            limits=self._limits,
        )

    def __enter__(self) -> Session:
        call = self._open()
        if call is None:
            self._runs.append((None, None, None))
            return Session(self._name, parent=current_session())
        token = attach(call.context)
        self._runs.append((call, token, otel_context.get_current()))
        return call.session

    def _open(self) -> AgentCall | None:
        engine = active()
        if engine is None:
            return None
        try:
            call = AgentCall(engine, _BLOCK, Invocation(_nothing, None, (), {}), self._request(self._name))
            call.open()
        except Exception:
            internal_error("opening a session")
            return None
        return call

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        call, token, context = self._left()
        if call is None:
            return
        # in the block's session the current context may be another one: the block attached something and left it so
        if otel_context.get_current() is context or current_session() is call.session:
            with contextlib.suppress(Exception):  # another task, where there is nothing to restore
                token.var.reset(token)
        if error is None:
            call.returned(None)
        else:
            call.failed(error)

    def _left(self) -> tuple[AgentCall | None, Any, Any]:
        """The run that is left: of several tasks in blocks of one manager, the one of this task."""
        current = otel_context.get_current()
        found = next((run for run in reversed(self._runs) if run[2] is current), self._runs[-1])
        self._runs.remove(found)
        return found

    async def __aenter__(self) -> Session:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)


def _nothing() -> None:
    """What a block runs is not a callable of ours."""


_BLOCK = Target(module=__name__, path="session", shape=Shape.SYNC, request=lambda _: None)
