"""The service behind the agent's tools. Each endpoint can be made to answer, to dawdle, to hang or to fail."""

from __future__ import annotations

import enum
from typing import Any, Final
from urllib.parse import urlsplit

from otel_tools.demo.local_server import Handler, LocalServer


class Behaviour(enum.StrEnum):
    """What an endpoint does."""

    OK = "ok"
    SLOW = "slow"
    HANG = "hang"
    FAIL = "fail"


_ARTICLES: Final = {
    "Returns": """Shoes may be returned within 60 days, worn or not. Print the label from the order page, pack the shoes
in any box and hand it in at a parcel shop. The refund goes to the card that paid, three to five working days after the
parcel arrives. Sale items are exchanged, not refunded.""",
    "Warranty": """Soles, seams and eyelets are under warranty for two years. Send a photo of the damage and the order
number; most cases are decided from the photo alone. Repairs are free, and if a pair cannot be repaired it is replaced
by the current model. Wear of the profile is not covered.""",
    "Care": """Brush dry mud off, wash by hand with lukewarm water and a drop of soap, stuff with newspaper and dry away
from heat. Re-proof membrane shoes every ten washes. Do not machine-wash, tumble or iron; leather wants a thin coat of
wax twice a year.""",
}
_DOCUMENTS: Final = {
    "search": [
        {"title": title, "url": f"https://help.example/{title.lower()}", "text": text}
        for title, text in _ARTICLES.items()
    ],
    "orders": {
        "order_id": "1042",
        "status": "in transit",
        "carrier": "ACME Parcel",
        "expected": "tomorrow before noon",
        "items": [{"sku": "trail-42", "name": "Trail shoe, size 42", "quantity": 1}],
    },
    "inventory": {"sku": "trail-42", "warehouse": "north", "available": 7, "restock": "weekly"},
    "preferences": {"user_id": "u-7", "language": "en", "tone": "short", "newsletter": False},
}
_FAIL_STATUS: Final = 503


class Service(LocalServer):
    """Endpoints `/search`, `/orders`, `/inventory` and `/preferences`, all well at first."""

    def __init__(self) -> None:
        super().__init__()
        self._behaviour = dict.fromkeys(_DOCUMENTS, Behaviour.OK)

    def behave(self, **endpoints: Behaviour) -> None:
        """Change what these endpoints do from now on."""
        self._behaviour.update(endpoints)

    def answer(self, handler: Handler, path: str, body: Any) -> None:  # noqa: ARG002  every request is a GET
        """Answer as the endpoint's behaviour says."""
        endpoint = urlsplit(path).path.split("/")[1]
        if endpoint not in _DOCUMENTS:
            handler.send({"error": "no such endpoint"}, 404)
            return
        behaviour = self._behaviour[endpoint]
        self.closing.wait({Behaviour.HANG: 30, Behaviour.SLOW: 0.5}.get(behaviour, 0.02))
        if behaviour is Behaviour.FAIL:
            handler.send({"error": "the index is being rebuilt"}, _FAIL_STATUS)
        else:
            handler.send(_DOCUMENTS[endpoint])
