"""An operator's hand on the tools and LLM clients of this process: what is set, lifted and reset, and its audit."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from otel_tools import semconv
from otel_tools.engine import Engine
from otel_tools.errors import ConfigError, internal_error
from otel_tools.policy.circuit import Action, Override
from otel_tools.policy.pipelines import Pipelines

Kind: TypeAlias = Literal["tool", "client"]

CLIENT: Final = "client:"
"""What stands before the name of an LLM client where tools and clients share one namespace."""

LONGEST: Final = 500
"""Characters of a name, a reason, an actor."""

LONGEST_TIME: Final = 366 * 24 * 3600
"""Seconds that an override may hold, unless it has no end."""

_REFUSING: Final = frozenset({Action.DISABLE, Action.FORCE_OPEN})


def address(kind: Kind, name: str) -> str:
    """`search`, `client:openai`."""
    return CLIENT + name if kind == "client" else name


def parse(address: str) -> tuple[Kind, str]:
    """The reverse of `address`."""
    if address.startswith(CLIENT):
        return "client", address.removeprefix(CLIENT)
    return "tool", address


def check(*, name: str, actor: str, reason: str | None = None, expires_after: float | None = None) -> None:
    """Refuse what no override can be made of.

    Raises:
        ConfigError: A text is empty, too long or not one printable line, or the expiry is no time within a year.
    """
    texts = {"name": name, "actor": actor} | ({} if reason is None else {"reason": reason})
    for what, text in texts.items():
        if not (isinstance(text, str) and text.strip() and text.isprintable() and len(text) <= LONGEST):
            raise ConfigError(f"{what} must be one line of 1 to {LONGEST} printable characters, not {text!r:.60}")
    if expires_after is None:
        return
    if isinstance(expires_after, bool) or not isinstance(expires_after, (int, float)):
        raise ConfigError(f"expires_after must be seconds or None, not {expires_after!r:.60}")
    if not 0 < expires_after <= LONGEST_TIME:
        allowed = f"more than 0 and at most {LONGEST_TIME} seconds (366 days)"
        raise ConfigError(f"expires_after must be {allowed}, or None for never, not {expires_after!r:.60}")


def pipelines(engine: Engine, kind: Kind) -> Pipelines:
    """Those of the tools or of the LLM clients."""
    return engine.tools if kind == "tool" else engine.clients


def override(engine: Engine, kind: Kind, name: str, action: Action, hand: Override) -> None:
    """Set *action* on a tool or client of this process."""
    pipelines(engine, kind).override(name, action, hand)
    audit(engine, kind, name, action.value, hand=hand)


def lift(engine: Engine, kind: Kind, name: str, action: Action, *, actor: str) -> None:
    """Take *action* back where code of this process set it."""
    pipelines(engine, kind).lift(name, action, "process")
    audit(engine, kind, name, lifted(action), hand=Override("", actor))


def reset(engine: Engine, kind: Kind, name: str, *, actor: str) -> None:
    """Close the circuit of a tool or client of this process, and lift what its own code set on it."""
    pipelines(engine, kind).reset(name)
    audit(engine, kind, name, "reset", hand=Override("", actor))


def lifted(action: Action) -> str:
    """What the audit calls taking *action* back."""
    return "enable" if action is Action.DISABLE else f"lift_{action.value}"


def audit(engine: Engine, kind: Kind, name: str, word: str, *, hand: Override) -> None:
    """Write down what was done by whom, and the circuit's change that came of it. Never raises."""
    attributes: dict[str, Any] = {
        semconv.CONTROL_TARGET: address(kind, name),
        semconv.CONTROL_ACTION: word,
        semconv.CONTROL_LAYER: hand.layer,
        semconv.CONTROL_ACTOR: hand.actor,
        semconv.CONTROL_REASON: hand.reason,
        semconv.CONTROL_EXPIRES: hand.expires_after,
    }
    body = f"{word} {address(kind, name)}" + (f" by {hand.actor}" if hand.actor else "")
    told = {key: value for key, value in attributes.items() if value not in ("", None)}
    try:
        engine.ledger.orders += 1
        engine.telemetry.log(semconv.EVENT_CONTROL, told, failed=word in _REFUSING, body=body)
        engine.write_transitions()
    except Exception:
        internal_error("writing down what an operator did")
