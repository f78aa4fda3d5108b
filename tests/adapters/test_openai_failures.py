"""Failures of the OpenAI client over real HTTP: errors, retries, timeouts, cancellation."""

from __future__ import annotations

import asyncio
import threading

import pytest

pytest.importorskip("openai")
import openai

from tests.clients import openai_bodies as bodies
from tests.clients import openai_client as clients
from tests.clients.openai_client import chat, expected


@pytest.fixture(params=["sync", "async"])
def kind(request):
    """Which client is used."""
    return request.param


@pytest.fixture
async def client(kind, server):
    """A client of the server."""
    client = clients.make(kind, server.url)
    yield client
    await clients.close(client)


class Held(threading.Event):
    """Keeps an answer back, and says when the request has arrived."""

    def __init__(self):
        super().__init__()
        self.arrived = threading.Event()

    def wait(self, timeout=None):
        self.arrived.set()
        return super().wait(timeout)


def failed(error_type, **changes):
    """The span of a chat that failed without an answer."""
    attributes = {**clients.request(), "otel_tools.outcome": "error", "error.type": error_type, **changes}
    return expected(attributes, status="ERROR")


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, "AuthenticationError"), (429, "RateLimitError"), (500, "InternalServerError"), (400, "BadRequestError")],
)
async def test_error(otel, server, client, status, error):
    """A failed request gives the client's own exception to the caller and its name to the span."""
    server.reply(bodies.error(), status=status)
    with pytest.raises(getattr(openai, error)):
        await clients.create(client)
    assert clients.span(otel, server) == failed(f"openai.{error}")
    assert "gen_ai.client.token.usage" not in otel.metrics


async def test_retries_are_one_call(otel, server, kind):
    """A call that succeeds on the second try is one span without an error."""
    client = clients.make(kind, server.url, max_retries=1)
    server.reply(bodies.error(), status=429, headers={"retry-after-ms": "1"})
    server.reply(bodies.chat())
    await clients.create(client)
    await clients.close(client)
    assert clients.span(otel, server) == expected(chat())
    assert len(server.requests) == 2


async def test_connection_error(otel, kind, server):
    """A service that is not there is a failed call."""
    client = clients.make(kind, server.url, base_url="http://127.0.0.1:1/v1")
    with pytest.raises(openai.APIConnectionError):
        await clients.create(client)
    await clients.close(client)
    attributes = otel.span()["attributes"]
    assert (attributes["error.type"], attributes["server.port"]) == ("openai.APIConnectionError", 1)


async def test_timeout_of_the_client(otel, server, client):
    """The client's own timeout is its error."""
    server.reply(bodies.chat(), hold=Held())
    with pytest.raises(openai.APITimeoutError):
        await clients.create(client.with_options(timeout=0.01))
    assert clients.span(otel, server) == failed("openai.APITimeoutError")


async def test_cancelled(otel, server):
    """A cancelled call is no error, and stays cancelled."""
    client = clients.make("async", server.url)
    held = Held()
    server.reply(bodies.chat(), hold=held)
    task = asyncio.create_task(clients.create(client))
    assert await asyncio.to_thread(held.arrived.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await clients.close(client)
    assert clients.span(otel, server) == expected({**clients.request(), "otel_tools.outcome": "cancelled"})


async def test_answer_that_cannot_be_parsed(otel, server, client):
    """A structured answer that is cut short raises, and is billed: its usage is there."""
    server.reply(bodies.chat('{"city":"Pa', "length"))
    with pytest.raises(openai.LengthFinishReasonError):
        await clients.parse(client)
    changes = {
        "gen_ai.output.type": "json",
        "gen_ai.response.finish_reasons": ("length",),
        "otel_tools.outcome": "error",
        "error.type": "openai.LengthFinishReasonError",
    }
    assert clients.span(otel, server) == expected(chat(**changes), status="ERROR")
    assert [point["sum"] for point in otel.metrics["gen_ai.client.token.usage"]] == [117, 25]
