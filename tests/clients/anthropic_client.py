"""The `anthropic` client, sync or async, against the scripted server, and the span that a call of it should give.

Since 2.0 the client traces itself. Its span is ours then, with what only the client knows added to it.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic

from tests.clients import anthropic_bodies as bodies
from tests.fake_server import FakeServer
from tests.recorder import Recorder

TRACES_ITSELF = int(anthropic.__version__.split(".")[0]) >= 2
NATIVE = [False, True] if TRACES_ITSELF else [False]
FLAVOURS = [anthropic.Anthropic, anthropic.AsyncAnthropic]
ASK: dict[str, Any] = {"model": bodies.MODEL, "max_tokens": 100, "messages": bodies.MESSAGES}


class Connect:
    """Makes clients for *server* whose own spans would go where ours go, and closes them at the end."""

    def __init__(self, server: FakeServer, otel: Recorder) -> None:
        self._server = server
        self._otel = otel
        self._clients: list[Any] = []

    def __call__(self, flavour: Any, *, native: bool = TRACES_ITSELF, **options: Any) -> Any:
        """A client of *flavour*; *native* says whether it traces itself."""
        if TRACES_ITSELF:
            theirs = options.get("open_telemetry", {})
            options["open_telemetry"] = {"tracer_provider": self._otel.tracer_provider, "traces": native, **theirs}
        return self.keep(flavour(**{"api_key": "key", "base_url": self._server.url, **options}))

    def keep(self, client: Any) -> Any:
        """*client*, to be closed at the end."""
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """Close every client."""
        for client in self._clients:
            await settled(client.close())


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
USAGE = {
    "gen_ai.usage.input_tokens": 104,
    "gen_ai.usage.output_tokens": 25,
    "gen_ai.usage.cache_read.input_tokens": 64,
    "gen_ai.usage.cache_write.input_tokens": 30,
    "gen_ai.usage.reasoning.output_tokens": 8,
    "otel_tools.usage.quality": "exact",
}
NATIVE_USAGE = {
    "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 20,
    "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 10,
    "anthropic.message.stop_reason": "end_turn",
}


def asked(server: FakeServer, *, native: bool, stream: bool = False) -> dict[str, Any]:
    """What a span says of the request."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": bodies.MODEL,
        "gen_ai.request.max_tokens": 100,
        "server.address": "127.0.0.1",
        "server.port": server.port,
        **({"gen_ai.request.stream": True} if stream else {}),
        **(_native_request(server) if native else {}),
    }


def _native_request(server: FakeServer) -> dict[str, Any]:
    return {
        "http.request.method": "POST",
        "http.route": "/v1/messages",
        "url.scheme": "http",
        "url.path": "/v1/messages",
        "url.full": f"{server.url}/v1/messages",
    }


def answered(*, native: bool) -> dict[str, Any]:
    """What a span says of the plain message."""
    return {
        "gen_ai.response.id": "msg_1",
        "gen_ai.response.model": bodies.SERVED,
        "gen_ai.response.finish_reasons": ("stop",),
        "anthropic.response.service_tier": "standard",
        **USAGE,
        **({"http.response.status_code": 200, **NATIVE_USAGE} if native else {}),
    }


def chat(
    server: FakeServer, *, native: bool, stream: bool = False, parent: str | None = None, **changes: Any
) -> dict[str, Any]:
    """The span of a call that got the plain message; *changes* are to its attributes, `None` takes one away."""
    first_chunk = {"gen_ai.response.time_to_first_chunk": "some"} if stream else {}
    attributes = {**asked(server, native=native, stream=stream), **answered(native=native), **first_chunk}
    attributes = {**attributes, "otel_tools.outcome": "ok", **changes}
    return {
        "name": f"chat {attributes['gen_ai.request.model']}",
        "kind": "CLIENT",
        "status": "ERROR" if "error.type" in attributes else "UNSET",
        "parent": parent,
        "attributes": {name: value for name, value in attributes.items() if value is not None},
        "events": [],
    }


def spans(otel: Recorder) -> list[dict[str, Any]]:
    """The finished spans, with what depends on the clock made comparable."""
    found = otel.spans
    for span in found:
        if "gen_ai.response.time_to_first_chunk" in span["attributes"]:
            span["attributes"]["gen_ai.response.time_to_first_chunk"] = "some"
    return found


def tokens(otel: Recorder) -> dict[str, tuple[int, int]]:
    """`gen_ai.client.token.usage` by token type: how often it was recorded, and the sum."""
    return {
        point["attributes"]["gen_ai.token.type"]: (point["count"], point["sum"])
        for point in otel.points("gen_ai.client.token.usage")
    }
