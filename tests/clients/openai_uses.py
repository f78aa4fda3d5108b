"""Uses of every public entry point of the OpenAI client, as scenarios of the differential suite."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.clients import openai_bodies as bodies
from tests.clients import openai_client as clients
from tests.clients.openai_client import CHAT, RESPONSES, STREAM, Weather, drain, each, entered, settle
from tests.fake_server import FakeServer
from tests.transparency import Scenario

Note = Callable[[Any], None]
WEATHER = '{"city":"Paris"}'
HELPER = {**CHAT, "stream_options": {"include_usage": True}}


# --- what a program does --------------------------------------------------------------------------------------------
async def model(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Ask for a whole answer."""
    note(await settle(use(client)))


async def raw(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Ask for a raw response: its headers, and what it holds, which is the same object each time."""
    response = await settle(use(client))
    note(response)
    note(response.headers)
    note(response.request_id)
    note(await settle(response.parse()))
    note(await settle(response.parse()) is await settle(response.parse()))


async def stream(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Read a stream to its end, and once more."""
    answer = await settle(use(client))
    note(answer)
    note(await drain(answer))
    note(await drain(answer))
    note(answer.response.is_closed)


async def raw_stream(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Read the stream of a raw response."""
    response = await settle(use(client))
    note(response)
    note(await drain(response.parse()))
    note(response.parse())


async def held(method: str, use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Read a response while it arrives."""
    async with entered(use(client)) as response:
        note(response)
        answer = getattr(response, method)()
        note(await drain(answer) if method.startswith("iter_") else await settle(answer))
        note(response.is_closed)
    note(response.is_closed)


async def held_stream(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Read a stream in a response that is read while it arrives."""
    async with entered(use(client)) as response:
        answer = await settle(response.parse())
        note(answer)
        note(await drain(answer))
        note(await settle(response.parse()) is answer)


async def held_unread(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Only look at the headers of a response."""
    async with entered(use(client)) as response:
        note(response.headers)
    note(response)


async def helper(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Read the events of a stream helper, then ask it for the whole."""
    async with entered(use(client)) as events:
        note(events)
        note(await drain(events))
        final = getattr(events, "get_final_completion", None) or events.get_final_response
        note(await settle(final()))


async def left(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Read two chunks of a stream and close it."""
    answer = await settle(use(client))
    async for chunk in each(answer):
        note(chunk)
        if chunk.choices[0].delta.content:
            break
    await settle(answer.close())
    note(answer)  # not what reading on would give: that depends on what the transport has buffered


async def left_helper(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Leave the `with` block of a stream helper."""
    async with entered(use(client)) as events:
        async for event in each(events):
            note(event)
            if event.type.endswith("delta"):
                break
    note(events)


async def dropped(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Drop a stream after its first chunk."""
    async for chunk in each(await settle(use(client))):
        note(chunk)
        break


async def reader_fails(use: Callable[[Any], Any], client: Any, note: Note) -> None:
    """Fail while reading."""
    async with entered(await settle(use(client))) as answer:
        async for chunk in each(answer):
            note(chunk)
            raise LookupError(chunk.id)


def queue(*answers: Any, **options: Any) -> Callable[[FakeServer], None]:
    """Queue *answers*; a list is a stream."""

    def replies(server: FakeServer) -> None:
        for answer in answers:
            if isinstance(answer, list):
                server.reply(events=answer, **options)
            else:
                server.reply(answer, **options)

    return replies


def retried(server: FakeServer) -> None:
    server.reply(bodies.error(), status=429, headers={"retry-after-ms": "1"})
    server.reply(bodies.chat())


# --- public entry points --------------------------------------------------------------------------------------------
def completions(client: Any, variant: str = "") -> Any:
    return getattr(client.chat.completions, variant) if variant else client.chat.completions


RAW, HELD = "with_raw_response", "with_streaming_response"
PLAIN = queue(bodies.chat())
TOOLS = queue(bodies.chat(None, "tool_calls", tool_calls=bodies.tool_calls()))
CHUNKS = queue(bodies.chat_stream())
VECTORS = queue(bodies.embeddings([0.5, 0.25]))
EMBED = {"model": "text-embedding-3-small", "input": ["Hello"]}
CUT = queue(bodies.chat(WEATHER, "length"))
FAILED = queue([*bodies.chat_stream()[:2], {"error": {"message": "Overloaded", "code": "overloaded"}}])
UNAUTHORIZED = queue(bodies.error(), status=401)

USES: dict[str, tuple[Any, Any, Any]] = {
    "create": (model, lambda c: completions(c).create(**CHAT), PLAIN),
    "tools": (model, lambda c: completions(c).create(**CHAT, tools=[bodies.TOOL], seed=1, stop=["END"]), TOOLS),
    "parse": (model, lambda c: completions(c).parse(**CHAT, response_format=Weather), queue(bodies.chat(WEATHER))),
    "parse cut": (model, lambda c: completions(c).parse(**CHAT, response_format=Weather), CUT),
    "raw": (raw, lambda c: completions(c, RAW).create(**CHAT), PLAIN),
    "raw parse": (
        raw,
        lambda c: completions(c, RAW).parse(**CHAT, response_format=Weather),
        queue(bodies.chat(WEATHER)),
    ),
    "raw parse cut": (raw, lambda c: completions(c, RAW).parse(**CHAT, response_format=Weather), CUT),
    "stream": (stream, lambda c: completions(c).create(**STREAM), CHUNKS),
    "tool stream": (stream, lambda c: completions(c).create(**STREAM), queue(bodies.tool_stream())),
    "raw stream": (raw_stream, lambda c: completions(c, RAW).create(**STREAM), CHUNKS),
    **{
        f"held {method}": (partial(held, method), lambda c: completions(c, HELD).create(**CHAT), PLAIN)
        for method in ("parse", "json", "text", "read", "iter_lines", "iter_text", "iter_bytes")
    },
    "held stream": (held_stream, lambda c: completions(c, HELD).create(**STREAM), CHUNKS),
    "held stream lines": (partial(held, "iter_lines"), lambda c: completions(c, HELD).create(**STREAM), CHUNKS),
    "held unread": (held_unread, lambda c: completions(c, HELD).create(**STREAM), CHUNKS),
    "helper": (helper, lambda c: completions(c).stream(**HELPER), CHUNKS),
    "helper left": (left_helper, lambda c: completions(c).stream(**HELPER), CHUNKS),
    "left": (left, lambda c: completions(c).create(**STREAM), CHUNKS),
    "dropped": (dropped, lambda c: completions(c).create(**STREAM), CHUNKS),
    "reader fails": (reader_fails, lambda c: completions(c).create(**STREAM), CHUNKS),
    "responses": (model, lambda c: c.responses.create(**RESPONSES), queue(bodies.response())),
    "responses raw": (raw, lambda c: c.responses.with_raw_response.create(**RESPONSES), queue(bodies.response())),
    "responses parse": (
        model,
        lambda c: c.responses.parse(**RESPONSES, text_format=Weather),
        queue(bodies.response(bodies.text_item(WEATHER))),
    ),
    "responses stream": (
        stream,
        lambda c: c.responses.create(**RESPONSES, stream=True),
        queue(bodies.response_stream()),
    ),
    "responses raw stream": (
        raw_stream,
        lambda c: c.responses.with_raw_response.create(**RESPONSES, stream=True),
        queue(bodies.response_stream()),
    ),
    "responses helper": (helper, lambda c: c.responses.stream(**RESPONSES), queue(bodies.response_stream())),
    "responses helper left": (left_helper, lambda c: c.responses.stream(**RESPONSES), queue(bodies.response_stream())),
    "embeddings": (model, lambda c: c.embeddings.create(**EMBED), VECTORS),
    "embeddings raw": (raw, lambda c: c.embeddings.with_raw_response.create(**EMBED), VECTORS),
    "completions": (model, lambda c: c.completions.create(model="m", prompt="a"), queue(bodies.completion())),
    "completions stream": (
        stream,
        lambda c: c.completions.create(model="m", prompt="a", stream=True),
        queue(bodies.completion_stream()),
    ),
    "unauthorized": (model, lambda c: completions(c).create(**CHAT), UNAUTHORIZED),
    "stream unauthorized": (stream, lambda c: completions(c).create(**STREAM), UNAUTHORIZED),
    "error in stream": (stream, lambda c: completions(c).create(**STREAM), FAILED),
    "bad arguments": (model, lambda c: completions(c).create(model="m"), queue()),
    "no JSON": (model, lambda c: completions(c).create(**CHAT), queue(None)),
}
"""How the answer is used, how it is asked for, and what is answered."""

SCENARIOS = [
    Scenario(
        f"{name} {kind}",
        partial(clients.make, kind),
        replies,
        partial(way, use),
        requests=name != "bad arguments",
        collect=name in {"dropped", "left"},
    )
    for name, (way, use, replies) in USES.items()
    for kind in clients.KINDS
] + [
    scenario
    for kind in clients.KINDS
    for scenario in (
        Scenario(f"azure {kind}", partial(clients.make_azure, kind), PLAIN, partial(model, clients.create)),
        Scenario(
            f"retried {kind}", partial(clients.make, kind, max_retries=1), retried, partial(model, clients.create), 2
        ),
    )
]
