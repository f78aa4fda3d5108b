"""What a write asks for: its body, checked by the rules that the OpenAPI document shows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from http import HTTPStatus
from typing import Final, NoReturn, TypeVar

from otel_tools import steering
from otel_tools.control.admin.problems import Problem
from otel_tools.errors import ConfigError

T = TypeVar("T", bound="Lift")

MOST_BYTES: Final = 16 * 1024
"""Of a body."""

DEFAULT_ACTOR: Final = "admin"

LINE: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": steering.LONGEST,
    "pattern": r"^(?: |[^\p{C}\p{Z}])*[^\p{C}\p{Z}](?: |[^\p{C}\p{Z}])*$",
}
"""One line of printable characters, as `steering.check` has it, in the words of JSON Schema."""

_TIME: Final = {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": steering.LONGEST_TIME}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """The body of the writes that take something back.

    Args:
        actor: Who does it, for the audit.
    """

    actor: str = field(default=DEFAULT_ACTOR, metadata=LINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(Lift):
    """The body of the writes that set something.

    Args:
        reason: Why, for people; it appears on the spans of refused calls, never in what a model sees.
        expires_after: Seconds after which it ends by itself; null: when it is lifted.
    """

    reason: str = field(metadata=LINE)
    expires_after: float | None = field(default=None, metadata=_TIME)


def read(shape: type[T], body: bytes) -> T:
    """The body of a write.

    Raises:
        Problem: 400, it is not JSON; 422, it is not what *shape* says.
    """
    try:
        value = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        detail = 'The body is not JSON. Send an object, such as {"reason": "..."}.'
        raise Problem(HTTPStatus.BAD_REQUEST, "not_json", detail) from None
    if not isinstance(value, dict):
        raise invalid("The body must be a JSON object.")
    allowed = [one.name for one in fields(shape)]
    for key in value:
        if key not in allowed:
            raise invalid(f"Unknown key {key[:40]!r}; allowed: {', '.join(allowed)}.")
    if "reason" in allowed and "reason" not in value:
        raise invalid("Say why: reason is missing.")
    return shape(**value)


def invalid(detail: str) -> Problem:
    """What is asked for cannot be."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", detail)


def check(name: str, order: Lift) -> None:
    """Refuse what no override can be made of.

    Raises:
        Problem: 422.
    """
    set_ = order if isinstance(order, Order) else None
    if set_ is not None and set_.reason is None:
        raise invalid("Say why: reason is null.")
    try:
        steering.check(
            name=name,
            actor=order.actor,
            reason=None if set_ is None else set_.reason,
            expires_after=None if set_ is None else set_.expires_after,
        )
    except ConfigError as error:
        raise invalid(f"{error}.") from None
    if "\ufffd" in name:  # what an ASGI server makes of bytes that are not UTF-8
        raise invalid("The name in the path must be percent-encoded UTF-8.")


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)
