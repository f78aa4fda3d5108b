"""The demo's model: what it says follows from the question and from what its tools gave, never from chance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool that the model wants to call."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model says: a text, or the tools it wants."""

    text: str = ""
    uses: tuple[ToolUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool gave back to the model."""

    name: str
    text: str

    @property
    def good(self) -> bool:
        """Whether it is the service's document, not an error or a note that there is none."""
        return self.text.startswith(("{", "["))


SEARCH: Final = "search_knowledge_base"
_WANTED: Final = {
    "order": ToolUse("get_order_status", {"order_id": "1042"}),
    "stock": ToolUse("check_inventory", {"sku": "trail-42"}),
    "how": ToolUse(SEARCH, {"query": "returns of worn shoes"}),
}
_PREFERENCES: Final = ToolUse("get_user_preferences", {"user_id": "u-7"})
_PERSISTENT: Final = "whatever it takes"
_QUERIES: Final = ("send shoes back", "return policy", "refund rules", "returns help", "parcel label", "exchange")
_FOUND: Final = {
    "get_order_status": "Order 1042 is on its way with ACME Parcel and should arrive tomorrow before noon.",
    "check_inventory": "We have seven pairs of the trail shoe in size 42 in stock.",
    SEARCH: "You can return shoes within 60 days, worn or not: print the label from the order page and hand the "
    "parcel in at any parcel shop.",
}
_MISSING: Final = {
    "get_order_status": "I could not look up the order just now.",
    "check_inventory": "I could not check the stock just now; please try again in a few minutes.",
    SEARCH: "I cannot look up the return policy at the moment, so I would rather not guess; please try again shortly.",
}


def next_turn(question: str, results: Sequence[Result]) -> Turn:
    """What the model says to *question* after these *results*, in the order they came."""
    words = question.lower()
    if not results:
        return Turn(uses=(*(use for word, use in _WANTED.items() if word in words), _PREFERENCES))
    searches = [result for result in results if result.name == SEARCH]
    patience = len(_QUERIES) if _PERSISTENT in words else 1
    if searches and not searches[-1].good and len(searches) <= patience:
        return Turn(uses=(ToolUse(SEARCH, {"query": _QUERIES[len(searches) - 1]}),))
    return Turn(_answer(results))


def _answer(results: Sequence[Result]) -> str:
    last = {result.name: result for result in results}
    return " ".join((_FOUND if result.good else _MISSING)[name] for name, result in last.items() if name in _FOUND)


def tokens(document: Any) -> int:
    """About as many tokens as a real model would count: one for four characters."""
    return max(1, len(document if isinstance(document, str) else json.dumps(document)) // 4)
