"""The `anthropic` client, sync or async, against the scripted server, and the span that a call of it should give.

Since 2.0 the client traces itself. Its span is ours then, with what only the client knows added to it.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import pytest

from tests.clients import anthropic_bodies as bodies
from tests.fake_server import FakeServer
from tests.recorder import Recorder

TRACES_ITSELF = int(anthropic.__version__.split(".")[0]) >= 2
ASK: dict[str, Any] = {"model": bodies.MODEL, "max_tokens": 100, "messages": bodies.MESSAGES}


def _clients(*kinds: str) -> list[Any]:
    natives = (False, True) if TRACES_ITSELF else (False,)
    return [
        pytest.param((kind, native), id=f"{kind}-native" if native else kind) for kind in kinds for native in natives
    ]


SYNC, ASYNC, CLIENTS = _clients("sync"), _clients("async"), _clients("sync", "async")
"""Parameters of a fixture that gives a `Connect`: sync or async, tracing itself or not."""


class Connect:
    """Makes clients for *server*, whose own spans would go where ours go, and closes them at the end."""

    def __init__(self, server: FakeServer, otel: Recorder, kind: str, native: bool) -> None:
        self.server = server
        self.native = native
        self.asynchronous = kind == "async"
        self._otel = otel
        self._clients: list[Any] = []

    def __call__(self, name: str = "Anthropic", **options: Any) -> Any:
        """A client."""
        prefix = "Async" if self.asynchronous else ""
        if TRACES_ITSELF:
            theirs = options.get("open_telemetry", {})
            options["open_telemetry"] = {"tracer_provider": self._otel.tracer_provider, "traces": self.native, **theirs}
        transport = getattr(anthropic, f"Default{prefix}HttpxClient")(verify=False)  # no certificates to be loaded
        options = {"api_key": "key", "base_url": self.server.url, "http_client": transport, **options}
        given = {option: value for option, value in options.items() if value is not None}
        return self.keep(getattr(anthropic, f"{prefix}{name}")(**given))

    def keep(self, client: Any) -> Any:
        """*client*, to be closed at the end."""
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """Close every client."""
        for client in self._clients:
            await settled(client.close())

    def chat(self, *, stream: bool = False, parent: str | None = None, **changes: Any) -> dict[str, Any]:
        """The span of a call that got the plain message; *changes* are to its attributes, `None` takes one away."""
        asked = _asked(self.server, stream=stream) | (_asked_natively(self.server) if self.native else {})
        known = ANSWERED | (ANSWERED_NATIVELY if self.native else {}) | ({FIRST_CHUNK: "some"} if stream else {})
        attributes = {**asked, **known, "otel_tools.outcome": "ok", **changes}
        return {
            "name": f"chat {attributes['gen_ai.request.model']}",
            "kind": "CLIENT",
            "status": "ERROR" if "error.type" in attributes else "UNSET",
            "parent": parent,
            "attributes": {name: value for name, value in attributes.items() if value is not None},
            "events": [],
        }


class Held(threading.Event):
    """Keeps an answer back, and says when the request has arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.arrived.set()
        return super().wait(timeout)


# --- sync and async alike -------------------------------------------------------------------------------------------
async def settled(value: Any) -> Any:
    """*value*, awaited if it is to be."""
    return await value if inspect.isawaitable(value) else value


async def listed(items: Any) -> list[Any]:
    """Everything in an iterable or async iterable."""
    return [item async for item in items] if hasattr(items, "__aiter__") else list(items)


async def first(items: Any) -> Any:
    """The next item of an iterator or async iterator."""
    return await anext(items) if hasattr(items, "__anext__") else next(items)


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """*manager* entered, whichever kind of context manager it is."""
    if hasattr(manager, "__aenter__"):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value


# --- what is expected -----------------------------------------------------------------------------------------------
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
ANSWERED: dict[str, Any] = {
    "gen_ai.response.id": "msg_1",
    "gen_ai.response.model": bodies.SERVED,
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.usage.input_tokens": 104,
    "gen_ai.usage.output_tokens": 25,
    "gen_ai.usage.cache_read.input_tokens": 64,
    "gen_ai.usage.cache_write.input_tokens": 30,
    "gen_ai.usage.reasoning.output_tokens": 8,
    "anthropic.response.service_tier": "standard",
    "otel_tools.usage.quality": "exact",
}
"""What a span says of the plain message."""
BODY_READ_NATIVELY: dict[str, Any] = {
    "anthropic.message.stop_reason": "end_turn",
    "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 20,
    "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 10,
}
ANSWERED_NATIVELY: dict[str, Any] = {"http.response.status_code": 200, **BODY_READ_NATIVELY}
UNKNOWN: dict[str, Any] = dict.fromkeys([*ANSWERED, *BODY_READ_NATIVELY])
"""The changes to a span of which no message is known."""


def _asked(server: FakeServer, *, stream: bool) -> dict[str, Any]:
    """What a span says of the request."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": bodies.MODEL,
        "gen_ai.request.max_tokens": 100,
        "server.address": "127.0.0.1",
        "server.port": server.port,
        **({"gen_ai.request.stream": True} if stream else {}),
    }


def _asked_natively(server: FakeServer) -> dict[str, Any]:
    return {
        "http.request.method": "POST",
        "http.route": "/v1/messages",
        "url.scheme": "http",
        "url.path": "/v1/messages",
        "url.full": f"{server.url}/v1/messages",
    }


def spans(otel: Recorder) -> list[dict[str, Any]]:
    """The finished spans, with what depends on the clock made comparable."""
    found = otel.spans
    for span in found:
        if FIRST_CHUNK in span["attributes"]:
            span["attributes"][FIRST_CHUNK] = "some"
    return found


def tokens(otel: Recorder) -> dict[str, tuple[int, int]]:
    """`gen_ai.client.token.usage` by token type: how often it was recorded, and the sum."""
    return {
        point["attributes"]["gen_ai.token.type"]: (point["count"], point["sum"])
        for point in otel.points("gen_ai.client.token.usage")
    }
