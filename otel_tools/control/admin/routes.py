"""The table of what the admin server answers: the server, its OpenAPI document and the tests go by it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from otel_tools.control.admin import orders, rows
from otel_tools.control.admin.orders import Lift, Order
from otel_tools.control.directives import Kind
from otel_tools.control.operator import Operator
from otel_tools.errors import StoreError
from otel_tools.policy.circuit import Action

_KINDS: Final[tuple[Kind, ...]] = ("tool", "client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The server answers."""

    status: Literal["ok"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a write has done.

    Args:
        kind: What *name* is.
        action: `disable`, `enable`, `force_open`, `bypass`, `metrics_only` or `reset`.
        reaches: All processes of the `service`, through its store, or only the one `process` that answers.
        expires_at: When it ends by itself, in seconds of the wall clock; null: when it is lifted, or there is no end.
    """

    kind: Kind
    name: str
    action: str
    actor: str
    reason: str | None
    expires_at: float | None
    reaches: Literal["service", "process"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A `GET` of JSON.

    Args:
        path: Below the place where the app is mounted.
        answer: The dataclass of its body.
        read: Makes the answer.
        guarded: Whether it tells of the program, so that the token may be needed.
    """

    path: str
    summary: str
    answer: type[Any]
    read: Callable[[Operator], Any]
    guarded: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A `POST` that steers.

    Args:
        path: Below the place where the app is mounted; `{name}` is everything up to the last `/`, decoded.
        word: What the audit calls it.
        body: The dataclass of its body.
        write: Does it.
    """

    path: str
    summary: str
    word: str
    body: type[Lift]
    write: Callable[[Operator, Kind, str, Any], float | None]


class Found(NamedTuple):
    """The write that a path means, and the name in it."""

    write: Write
    name: str


# --- doing ----------------------------------------------------------------------------------------------------------
def _overrides(operator: Operator) -> rows.Overrides:
    """What is set; with a store that cannot be read this process still tells of itself."""
    store = None if operator.store is None else operator.store.label
    reaches = reach(operator)
    try:
        return rows.Overrides(reaches=reaches, store=store, directives=operator.document().directives)
    except StoreError as error:
        return rows.Overrides(reaches=reaches, store=store, problem=str(error))


def reach(operator: Operator) -> Literal["service", "process"]:
    """How far a write goes."""
    return "process" if operator.store is None else "service"


def _circuits(operator: Operator) -> rows.Circuits:
    return rows.circuits(operator.reports(), _overrides(operator), time.time())


def _tools(operator: Operator) -> rows.Tools:
    return rows.tools(operator.reports(), _overrides(operator), time.time())


def _sessions(operator: Operator) -> rows.Sessions:
    return rows.sessions(operator.reports(), time.time())


def _setting(action: Action) -> Callable[[Operator, Kind, str, Order], float | None]:
    def write(operator: Operator, kind: Kind, name: str, order: Order) -> float | None:
        return operator.set(
            kind, name, action, reason=order.reason, actor=order.actor, expires_after=order.expires_after
        ).expires_at

    return write


def _enable(operator: Operator, kind: Kind, name: str, order: Lift) -> None:
    operator.lift(kind, name, Action.DISABLE, actor=order.actor)


def _reset(operator: Operator, kind: Kind, name: str, order: Lift) -> None:
    operator.reset(kind, name, actor=order.actor)


def perform(write: Write, kind: Kind, name: str, order: Lift, operator: Operator) -> Done:
    """Do what *write* does.

    Raises:
        ConfigError, StoreError: As `Operator` does.
    """
    expires_at = write.write(operator, kind, name, order)
    return Done(
        kind=kind,
        name=name,
        action=write.word,
        actor=order.actor,
        reason=order.reason if isinstance(order, Order) else None,
        expires_at=expires_at,
        reaches=reach(operator),
    )


# --- the table ------------------------------------------------------------------------------------------------------
READS: Final = (
    Read(
        path="/circuits",
        summary="Every circuit of the service, over all processes, the worst first.",
        answer=rows.Circuits,
        read=_circuits,
    ),
    Read(
        path="/tools",
        summary="Every tool and LLM client of the service, over all processes, the worst first.",
        answer=rows.Tools,
        read=_tools,
    ),
    Read(
        path="/sessions",
        summary="The latest sessions of every process, the running ones first.",
        answer=rows.Sessions,
        read=_sessions,
    ),
    Read(
        path="/healthz",
        summary="Whether the admin server answers; it says nothing else.",
        answer=Health,
        read=lambda _: Health(status="ok"),
        guarded=False,
    ),
)

WRITES: Final = (
    Write(
        path="/tools/{name}/disable",
        summary="Refuse every call of a tool, in observe mode too, until it is enabled or the time is over.",
        word="disable",
        body=Order,
        write=_setting(Action.DISABLE),
    ),
    Write(
        path="/tools/{name}/enable",
        summary="Take `disable` back.",
        word="enable",
        body=Lift,
        write=_enable,
    ),
    Write(
        path="/circuits/{name}/force-open",
        summary="Open a circuit by hand, in observe mode too, until it is reset or the time is over.",
        word="force_open",
        body=Order,
        write=_setting(Action.FORCE_OPEN),
    ),
    Write(
        path="/circuits/{name}/bypass",
        summary="Switch a circuit breaker off, not the tool, until it is reset or the time is over.",
        word="bypass",
        body=Order,
        write=_setting(Action.BYPASS),
    ),
    Write(
        path="/circuits/{name}/metrics-only",
        summary="Let a circuit breaker count and refuse nothing, until it is reset or the time is over.",
        word="metrics_only",
        body=Order,
        write=_setting(Action.METRICS_ONLY),
    ),
    Write(
        path="/circuits/{name}/reset",
        summary="Close a circuit and lift what is set on it; a disabled tool stays disabled.",
        word="reset",
        body=Lift,
        write=_reset,
    ),
)

_PATHS: Final = [(re.compile(write.path.replace("{name}", "(.*)"), re.DOTALL), write) for write in WRITES]


def find_write(path: str) -> Found | None:
    """The write that *path*, percent-decoded, means."""
    matches = ((pattern.fullmatch(path), write) for pattern, write in _PATHS)
    return next((Found(write, match[1]) for match, write in matches if match is not None), None)


def find_read(path: str) -> Read | None:
    """The read of JSON that *path* means."""
    return next((read for read in READS if read.path == path), None)


def check_kind(kind: str) -> Kind:
    """*kind*, if it is one.

    Raises:
        Problem: 422.
    """
    found = next((known for known in _KINDS if known == kind), None)
    if found is None:
        raise orders.invalid(f"kind must be {' or '.join(_KINDS)}, not {kind[:40]!r}.")
    return found
