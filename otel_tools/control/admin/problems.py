"""What the admin server says when it does not do what was asked (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemDetails:
    """The body of every answer that is an error.

    Args:
        type: Which problem it is, a word for programs.
        title: The status in words.
        detail: What is wrong and what to do, for people.
    """

    type: str
    title: str
    status: int
    detail: str


class Problem(Exception):  # noqa: N818  an answer, and not a fault of ours
    """Ends a request with an error.

    Args:
        status: Of the answer.
        type: Which problem it is, a word for programs.
        detail: What is wrong and what to do.
        headers: That the answer carries besides.
    """

    def __init__(self, status: HTTPStatus, type: str, detail: str, headers: Mapping[str, str] | None = None) -> None:  # noqa: A002  the standard's name
        super().__init__(detail)
        self.status = status
        self.type = type
        self.detail = detail
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """What the answer says."""
        details = ProblemDetails(type=self.type, title=self.status.phrase, status=self.status.value, detail=self.detail)
        return asdict(details)
